"""Layers against Keras' own, against NumPy, and against cases worked by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from data.facts import Condition, Facts
from models.layers import condition, conv
from models.layers.conv import GroupedConv2D, StridedConv2D, StridedConv2DTranspose, has_grouped_gradients
from models.layers.norm import FusedBatchNormalization
from models.layers.resample import Downsample2x, PixelShuffle, Upsample2x


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def round_trip(layer):
    """The layer that its saved configuration makes."""
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is type(layer) and again.get_config() == layer.get_config()
    return again


# Convolution


@pytest.mark.parametrize("channels, filters, groups, size", [(6, 9, 3, 3), (4, 4, 4, 3), (4, 8, 1, 5), (8, 4, 2, 1)])
def test_grouped_convolution_is_one_convolution_a_group(channels, filters, groups, size):
    layer, x = GroupedConv2D(filters, size, groups), normal(2, 5, 7, channels)
    layer.build(x.shape)
    layer.bias.assign(normal(filters, seed=1))
    kernels = np.split(layer.kernel.numpy(), groups, axis=3)
    biases = np.split(layer.bias.numpy(), groups)
    expected = []
    for part, kernel, bias in zip(np.split(x, groups, axis=3), kernels, biases, strict=True):
        plain = keras.layers.Conv2D(filters // groups, size, padding="same")
        plain.build(part.shape)
        plain.set_weights([kernel, bias])
        expected.append(plain(part).numpy())
    found = layer(x)
    np.testing.assert_allclose(found, np.concatenate(expected, axis=3), atol=2e-5)
    assert found.shape == layer.compute_output_shape(x.shape)


def test_grouped_convolution_has_the_gradients_of_keras_own():
    x = tf.constant(normal(2, 4, 4, 4))
    ours = GroupedConv2D(6, 3, 2)
    theirs = keras.layers.Conv2D(6, 3, padding="same", groups=2)
    ours.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    weight = normal(2, 4, 4, 6, seed=2)
    found = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(layer(x) * weight)
        found.append(tape.gradient(total, [x, layer.kernel.value, layer.bias.value]))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("mixed_float16", marks=pytest.mark.low_precision)])
def test_grouped_convolution_without_gradients_of_its_own_is_the_same_to_the_second_derivative(dtype, monkeypatch):
    """Group by group, as on a machine that has no gradient of a grouped convolution."""
    x, layer = tf.constant(normal(2, 4, 4, 16)), GroupedConv2D(32, 3, 2, dtype=dtype)
    reference = GroupedConv2D(32, 3, 2)
    layer.build(x.shape), reference.build(x.shape)
    reference.set_weights(layer.get_weights())

    def derivatives(layer):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = tf.reduce_sum(tf.square(tf.cast(layer(x), tf.float32)))
            slope = tape.gradient(total, x)
            length = tf.reduce_sum(slope * slope)
        return [slope, outer.gradient(length, layer.kernel.value)]

    monkeypatch.setattr(conv, "has_grouped_gradients", lambda dtype: False)
    expected, found = derivatives(reference), derivatives(layer)
    for a, b in zip(found, expected, strict=True):
        error = 1e-5 if dtype == "float32" else 0.02
        np.testing.assert_allclose(a, b, atol=error * np.abs(b).max())
    if not has_grouped_gradients(tf.float32):
        return
    monkeypatch.undo()
    for a, b in zip(derivatives(reference), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("patch", [2, 4])
@pytest.mark.parametrize(
    "ours, theirs, side",
    [(StridedConv2D, keras.layers.Conv2D, 12), (StridedConv2DTranspose, keras.layers.Conv2DTranspose, 3)],
)
def test_strided_convolutions_are_those_of_keras_with_their_gradients(ours, theirs, side, patch):
    x = tf.constant(normal(2, side, side + 4, 3))
    layers = [ours(5, patch), theirs(5, 2 * patch, patch, "same")]
    for layer in layers:
        layer.build(x.shape)
        layer.bias.assign(normal(5, seed=1))
    layers[1].set_weights([layers[0].kernel.numpy(), layers[0].bias.numpy()])
    weight = normal(*layers[1](x).shape, seed=2)
    found = []
    for layer in layers:
        with tf.GradientTape() as second:
            second.watch(x)
            with tf.GradientTape() as first:
                first.watch(x)
                answer = layer(x)
                total = tf.reduce_sum(weight * answer**2)
            slope = first.gradient(total, x)
            penalty = tf.reduce_sum(slope**2)
        found.append([answer, slope, *second.gradient(penalty, [x, layer.kernel.value, layer.bias.value])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())
    assert found[0][0].shape == layers[0].compute_output_shape(x.shape)
    bare = round_trip(ours(5, patch, use_bias=False))
    bare.build(x.shape)
    assert len(bare.weights) == 1


@pytest.mark.parametrize(
    "layer",
    [lambda **k: keras.layers.Conv2DTranspose(3, 4, 2, "same", **k), lambda **k: StridedConv2DTranspose(3, 2, **k)],
)
def test_equal_phases_draw_no_grid_on_a_constant(layer):
    """Away from the border; and what is projected already stays."""
    even = conv.EqualPhases(2)
    layer = layer(use_bias=False, kernel_constraint=even)
    x = np.broadcast_to(normal(5), (1, 6, 6, 5))
    assert np.ptp(layer(x)[0, 2:-2, 2:-2], axis=(0, 1)).max() > 0.01
    assert layer.kernel.constraint is even
    layer.kernel.assign(even(layer.kernel))
    inner = layer(x)[0, 2:-2, 2:-2].numpy()
    np.testing.assert_allclose(inner, np.broadcast_to(inner[0, 0], inner.shape), atol=1e-6)
    np.testing.assert_allclose(even(layer.kernel), layer.kernel, atol=1e-6)
    assert keras.constraints.deserialize(keras.constraints.serialize(even)).stride == 2


def test_equal_phases_by_hand():
    """Side 4, stride 2 along one axis: phases (0, 2) and (1, 3) of the taps 1 2 4 9 sum to 5 and 11, and each shall sum to 8."""
    taps = np.array([1, 2, 4, 9], np.float32)
    kernel = (taps[:, None] + np.zeros(4, np.float32))[:, :, None, None]
    found = conv.EqualPhases(2)(kernel).numpy()[:, :, 0, 0]
    np.testing.assert_allclose(found, np.tile([[2.5], [0.5], [5.5], [7.5]], 4), rtol=1e-6)


def test_grouped_convolution_is_made_again_from_its_configuration():
    layer = GroupedConv2D(6, 3, 2, kernel_initializer=keras.initializers.RandomNormal(stddev=0.5), name="mine")
    again = round_trip(layer)
    assert (again.filters, again.kernel_size, again.groups, again.name) == (6, 3, 2, "mine")
    assert again.kernel_initializer.stddev == 0.5


@pytest.mark.parametrize("channels, filters", [(5, 4), (4, 5)])
def test_groups_that_do_not_divide_are_refused(channels, filters):
    with pytest.raises(ValueError, match=f"{channels} channels and {filters} filters must be multiples of groups=2"):
        GroupedConv2D(filters, 3, 2).build((None, 8, 8, channels))


# Normalisation


def norms(channels=3, momentum=0.9):
    """(ours, Keras' own) with the same scale and shift."""
    both = FusedBatchNormalization(momentum), keras.layers.BatchNormalization(momentum=momentum, epsilon=1e-5)
    for layer in both:
        layer.build((None, None, None, channels))
        layer.gamma.assign(normal(channels, seed=1))
        layer.beta.assign(normal(channels, seed=2))
    return both


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (1, 2, 2, 3), (3, 1, 1, 3), (1, 1, 1, 3)])
def test_batch_normalisation_is_that_of_keras(shape):
    """Outputs of three training steps and the statistics they leave, few rows or many; then inference."""
    ours, theirs = norms()
    for number in range(3):
        x = 2 * normal(*shape, seed=number + 3) + 1
        np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), atol=1e-4)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, atol=1e-5)
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, rtol=1e-5)
    x = normal(*shape, seed=9)
    np.testing.assert_allclose(ours(x, training=False), theirs(x, training=False), atol=1e-5)


def test_moving_statistics_by_hand():
    """Pixels 0, 0, 2, 6 have mean 2 and variance 6; a tenth of the way from 0 and 1 that is 0.2 and 1.5."""
    layer = FusedBatchNormalization()
    x = np.array([0, 0, 2, 6], np.float32).reshape(1, 2, 2, 1)
    found = layer(x, training=True)
    np.testing.assert_allclose(layer.moving_mean, [0.2], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, [1.5], rtol=1e-6)
    np.testing.assert_allclose(np.ravel(found), np.array([-2, -2, 0, 4]) / np.sqrt(6), rtol=1e-4)
    layer(x, training=False)
    np.testing.assert_allclose(layer.moving_mean, [0.2], rtol=1e-6)


def test_moving_statistics_do_not_need_a_known_batch_size():
    ours, theirs = norms()
    traced = tf.function(lambda x: ours(x, training=True), input_signature=[tf.TensorSpec([None, None, None, 3])])
    x = normal(2, 3, 1, 3)
    np.testing.assert_allclose(traced(x), theirs(x, training=True), atol=1e-4)
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_has_the_gradients_of_keras_own(training):
    x, weight, found = tf.constant(normal(3, 2, 2, 3)), normal(3, 2, 2, 3, seed=5), []
    for layer in norms():
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(layer(x, training=training) * weight)
        found.append(tape.gradient(total, [x, layer.gamma.value, layer.beta.value]))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.low_precision
@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_in_bfloat16(training):
    exact = norms()[0]
    layer = FusedBatchNormalization(dtype="mixed_bfloat16")
    layer.build((None, None, None, 3))
    layer.set_weights(exact.get_weights())
    x = normal(4, 5, 5, 3)
    found = layer(x, training=training)
    assert found.dtype == tf.bfloat16
    assert all(weight.dtype == "float32" for weight in layer.weights)
    np.testing.assert_allclose(tf.cast(found, tf.float32), exact(x, training=training), atol=0.04)
    np.testing.assert_allclose(layer.moving_variance, exact.moving_variance, rtol=2e-3)


def test_batch_normalisation_is_made_again_from_its_configuration():
    again = round_trip(FusedBatchNormalization(0.8, 1e-3, gamma_initializer="zeros"))
    assert (again.momentum, again.epsilon) == (0.8, 1e-3)
    np.testing.assert_array_equal(again(normal(1, 2, 2, 3), training=True), np.zeros((1, 2, 2, 3)))


# Resampling


@pytest.mark.parametrize("height, width", [(4, 4), (2, 6), (1, 3), (8, 2)])
def test_upsampling_filters_what_zeros_were_put_between(height, width):
    """The definition: repeat the edge, put a zero behind every pixel, filter with [1, 3, 3, 1] / 4."""
    x = normal(2, height, width, 3)
    expected = x
    for axis in (1, 2):
        edged = np.pad(expected, [(1, 1) if a == axis else (0, 0) for a in range(4)], "edge")
        spread = np.zeros([n * 2 if a == axis else n for a, n in enumerate(edged.shape)], np.float32)
        spread[(slice(None),) * axis + (slice(0, None, 2),)] = edged
        kept = (slice(None),) * axis + (slice(2, -2),)
        expected = ndimage.correlate1d(spread, np.array([1, 3, 3, 1]) / 4, axis, mode="constant", origin=0)[kept]
    found = Upsample2x()(x)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.shape == Upsample2x().compute_output_shape(x.shape)


@pytest.mark.parametrize("height, width", [(8, 8), (4, 12), (2, 2)])
def test_downsampling_filters_and_takes_every_second(height, width):
    """The definition: repeat the edge, filter with [1, 3, 3, 1] / 8, keep what lies between pixels 2i and 2i + 1."""
    x = normal(2, height, width, 3)
    expected = x
    for axis in (1, 2):
        filtered = ndimage.correlate1d(expected, np.array([1, 3, 3, 1]) / 8, axis, mode="nearest", origin=-1)
        expected = filtered[(slice(None),) * axis + (slice(0, None, 2),)]
    found = Downsample2x()(x)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.shape == Downsample2x().compute_output_shape(x.shape)


def test_resampling_a_line_by_hand():
    line = np.array([0.0, 4.0, 8.0, 0.0], np.float32)
    up = Upsample2x()(line.reshape(1, 1, 4, 1)).numpy()
    np.testing.assert_allclose(up[0, :, :, 0], [[0, 1, 3, 5, 7, 6, 2, 0]] * 2)
    down = Downsample2x()(np.repeat(line.reshape(1, 1, 4, 1), 2, axis=1)).numpy()
    np.testing.assert_allclose(down.ravel(), [(0 + 0 + 12 + 8) / 8, (4 + 24 + 0 + 0) / 8])


@pytest.mark.low_precision
@pytest.mark.parametrize("layer", [Upsample2x, Downsample2x])
def test_resampling_keeps_constant_pictures_and_compute_type(layer):
    x = np.full((1, 4, 6, 2), 0.7, np.float32)
    np.testing.assert_allclose(layer()(x), 0.7, rtol=1e-6)
    assert layer(dtype="mixed_bfloat16")(x).dtype == tf.bfloat16
    round_trip(layer())


def test_resampling_keeps_the_middle_of_mass():
    """What is enlarged and made smaller again has not moved: a symmetric picture stays symmetric."""
    x = normal(1, 8, 8, 1)
    x = x + x[:, ::-1] + x[:, :, ::-1] + x[:, ::-1, ::-1]
    y = Downsample2x()(Upsample2x()(x)).numpy()
    np.testing.assert_allclose(y, y[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(y, y[:, :, ::-1], atol=1e-5)


def test_pixel_shuffle_by_hand():
    """Channels are ordered by row in the block, column in the block, then colour."""
    x = np.arange(12, dtype=np.float32).reshape(1, 1, 1, 12)
    expected = [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    np.testing.assert_array_equal(PixelShuffle(2)(x)[0], expected)
    two = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 4)
    np.testing.assert_array_equal(PixelShuffle(2)(two)[0, :, :, 0], [[0, 1, 4, 5], [2, 3, 6, 7]])


@pytest.mark.parametrize("block", [1, 2, 3])
def test_pixel_unshuffle_undoes_pixel_shuffle(block):
    x = normal(2, 3, 4, 2 * block**2)
    large = PixelShuffle(block)(x)
    assert large.shape == (2, 3 * block, 4 * block, 2) == PixelShuffle(block).compute_output_shape(x.shape)
    np.testing.assert_array_equal(tf.nn.space_to_depth(large, block) if block > 1 else large, x)
    assert PixelShuffle(block).compute_output_shape((None, None, None, block**2)) == (None, None, None, 1)
    assert round_trip(PixelShuffle(block)).block == block


# Conditions


THREE, TWO = Condition("label", ("a", "b", "c")), Condition("colour", ("red", "blue"))


def test_no_conditions_no_input():
    assert condition.condition_inputs(Facts()) == []
    latent = keras.Input((5,))
    assert condition.join(latent, [], Facts(), 4) is latent


def test_join_puts_an_embedding_of_each_condition_behind_and_zeros_for_what_is_unknown():
    facts = Facts((THREE, TWO))
    latent, inputs = keras.Input((5,)), condition.condition_inputs(facts)
    assert [each.name for each in inputs] == ["label", "colour"]
    model = keras.Model([latent, *inputs], condition.join(latent, inputs, facts, 4))
    z, label, colour = normal(6, 5), np.array([0, 1, 2, 2, -1, 0], np.int32), np.array([1, -1, 0, 1, -1, 0], np.int32)
    found = model([z, label, colour]).numpy()
    assert found.shape == (6, 13)
    np.testing.assert_array_equal(found[:, :5], z)
    labels, colours = model.get_weights()
    assert labels.shape == (3, 4) and colours.shape == (2, 4)
    for column, table, part in ((label, labels, found[:, 5:9]), (colour, colours, found[:, 9:])):
        np.testing.assert_array_equal(part, np.where(column[:, None] < 0, 0, table[column]))


def test_the_unknown_moves_no_embedding():
    column = tf.constant([-1, 2, -1])
    layer = condition.KnownEmbedding(3, 4)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(column))
    gradient = tf.convert_to_tensor(tape.gradient(total, layer.trainable_weights[0].value))
    np.testing.assert_array_equal(gradient, [[0] * 4, [0] * 4, [1] * 4])
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert isinstance(again, condition.KnownEmbedding) and again.output_dim == 4


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("facts", [Facts(), Facts((THREE,)), Facts((THREE, TWO))], ids=len)
def test_logits_are_a_line_and_a_projection_of_each_condition(facts, use_bias):
    """By hand: <w, x> + b + <e[label], x> + <e[colour], x>."""
    features, inputs = keras.Input((4,)), condition.condition_inputs(facts)
    model = keras.Model([features, *inputs], condition.logits(features, inputs, facts, use_bias=use_bias))
    model.set_weights([normal(*weight.shape, seed=5 + i) for i, weight in enumerate(model.weights)])
    kernel = next(w for w in model.weights if w.name == "kernel").numpy()
    bias = next((w.numpy() for w in model.weights if w.name == "bias"), 0.0)
    x, columns = normal(5, 4), [np.array(c, np.int32) for c in ([2, 0, 1, -1, 0], [1, -1, 0, -1, 1])]
    expected = (x @ kernel)[:, 0] + bias
    tables = [w.numpy() for w in model.weights if w.name == "embeddings"]
    for table, column in zip(tables, columns, strict=False):
        expected = expected + np.where(column < 0, 0, (x * table[column]).sum(axis=1))
    found = model([x, *columns[: len(facts)]])
    assert found.shape == (5,) and found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(model.weights) == 1 + use_bias + len(facts)


@pytest.mark.low_precision
def test_logits_are_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        facts = Facts((THREE,))
        features, inputs = keras.Input((4,)), condition.condition_inputs(facts)
        model = keras.Model([features, *inputs], condition.logits(features, inputs, facts))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model([normal(5, 4), np.zeros(5, np.int32)]).dtype == tf.float32
