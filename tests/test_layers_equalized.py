"""Equalised layers and modulated convolutions, against kernels made for each row in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import signal

from models.layers.equalized import EqualConv2D, EqualDense, EqualEmbedding, ModulatedConv2D
from models.layers.resample import Blur, Downsample2x, Upsample2x
from models.losses import penalties


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def round_trip(layer):
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is type(layer) and again.get_config() == layer.get_config()


def correlated(picture, kernel):
    """[h, w, in] with [k, k, in, out], as a convolution of a network with "same" padding."""
    return np.stack(
        [
            sum(signal.correlate2d(picture[..., i], kernel[..., i, o], "same") for i in range(kernel.shape[2]))
            for o in range(kernel.shape[3])
        ],
        axis=-1,
    )


def enlarged(picture, kernel):
    """Zeros between the pixels, then the flipped kernel over all places that it touches: a transposed convolution."""
    height, width, channels = picture.shape
    spread = np.zeros((2 * height - 1, 2 * width - 1, channels), np.float32)
    spread[::2, ::2] = picture
    return np.stack(
        [
            sum(signal.convolve2d(spread[..., i], kernel[..., i, o]) for i in range(channels))
            for o in range(kernel.shape[3])
        ],
        axis=-1,
    )


@pytest.mark.parametrize("enlarge", [False, True])
@pytest.mark.parametrize("demodulate", [True, False])
def test_scaling_inputs_and_outputs_is_a_kernel_for_each_row(demodulate, enlarge):
    """Eq. 1 and 3 of the paper: w' = s_i w, w'' = w' / sqrt(sum over inputs and taps of w'^2), then an ordinary convolution."""
    layer = ModulatedConv2D(5, 3, gain=1.3, demodulate=demodulate, enlarge=enlarge)
    x, w = normal(3, 6, 4, 7), normal(3, 8, seed=1)
    layer.build([x.shape, w.shape])
    layer.bias.assign(normal(5, seed=2))
    found = layer([x, w]).numpy()
    assert found.shape == tuple(layer.compute_output_shape([x.shape, w.shape]))
    styles = w @ layer.affine.numpy() / np.sqrt(8) + 1.0
    for row in range(3):
        kernel = layer.kernel.numpy() / np.sqrt(9 * 7) * styles[row][:, None]
        if demodulate:
            kernel /= np.sqrt((kernel**2).sum(axis=(0, 1, 2)))
        expected = (enlarged if enlarge else correlated)(x[row], 1.3 * kernel) + layer.bias.numpy()
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-4)


def test_demodulated_outputs_have_deviation_one():
    """Whatever the style's size (section 2.2): for independent inputs of deviation 1."""
    layer = ModulatedConv2D(16, 3)
    layer.build([(None, 32, 32, 8), (None, 4)])
    x = normal(4, 32, 32, 8)
    for size in (1.0, 30.0):
        inside = layer([x, size * normal(4, 4, seed=1)]).numpy()[:, 1:-1, 1:-1]
        np.testing.assert_allclose(inside.std(axis=(1, 2)).mean(), 1.0, atol=0.03)


def test_layers_scale_their_kernels_when_they_use_them():
    x = normal(3, 20)
    dense = EqualDense(4, gain=2.0, rate=0.1)
    dense.build(x.shape)
    dense.bias.assign(normal(4, seed=1))
    assert dense.kernel.numpy().std() == pytest.approx(10.0, rel=0.3)
    expected = x @ dense.kernel.numpy() * 0.1 * 2 / np.sqrt(20) + 0.1 * dense.bias.numpy()
    np.testing.assert_allclose(dense(x), expected, rtol=1e-4, atol=1e-5)
    table = EqualEmbedding(3, 16)
    found = table(tf.constant([2, -1])).numpy()
    np.testing.assert_allclose(found, [table.embeddings.numpy()[2] / 4, np.zeros(16)], rtol=1e-6)


@pytest.mark.parametrize("stride, padding, size", [(1, "same", 6), (2, "valid", 7), (1, "valid", 6)])
def test_an_equalised_convolution_is_keras_own_with_a_scaled_kernel(stride, padding, size):
    x = normal(2, size, size, 3)
    ours, theirs = EqualConv2D(4, 3, stride=stride, padding=padding), keras.layers.Conv2D(4, 3, stride, padding)
    ours.build(x.shape), theirs.build(x.shape)
    theirs.set_weights([ours.kernel.numpy() / np.sqrt(27), ours.bias.numpy()])
    found = ours(x)
    assert found.shape == ours.compute_output_shape(x.shape)
    np.testing.assert_allclose(found, theirs(x), atol=1e-5)


@pytest.mark.parametrize("change", [-1, 1])
def test_the_blur_is_a_filter_between_the_pixels(change):
    x, taps = normal(2, 6, 5, 3), np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0
    found = Blur(change, gain=2.0)(x).numpy()
    for row, channel in np.ndindex(2, 3):
        padded = np.pad(x[row, ..., channel], 2 if change > 0 else 1, "edge")
        np.testing.assert_allclose(found[row, ..., channel], 4 * signal.correlate2d(padded, taps, "valid"), atol=1e-5)
    assert found.shape == Blur(change).compute_output_shape(x.shape)
    np.testing.assert_allclose(Blur(change)(np.ones_like(x)), 1.0, atol=1e-6)


def test_with_a_single_tap_the_blurs_are_smooth_resampling():
    """Before a convolution of stride 2 whose kernel only picks pixels, and, but for the border, behind a transposed one."""
    x, single = normal(1, 8, 8, 1), np.zeros((3, 3, 1, 1), np.float32)
    single[1, 1] = 1
    np.testing.assert_allclose(tf.nn.conv2d(Blur(1)(x), single, 2, "VALID"), Downsample2x()(x), atol=1e-5)
    doubled = Blur(-1, gain=2.0)(tf.nn.conv2d_transpose(x, single, [1, 17, 17, 1], 2, "VALID"))
    np.testing.assert_allclose(doubled[:, 1:-1, 1:-1], Upsample2x()(x)[:, 1:-1, 1:-1], atol=1e-5)


def test_a_layer_is_made_again_from_its_settings():
    for layer in (
        EqualDense(3, gain=2.0, rate=0.5, use_bias=False),
        EqualConv2D(3, 5, stride=2, padding="valid"),
        ModulatedConv2D(3, 1, demodulate=False, enlarge=True),
        Blur(-1, gain=2.0),
    ):
        round_trip(layer)
    with pytest.raises(ValueError, match="change must be -1 or 1, not 2"):
        Blur(2)


def test_path_lengths_of_a_linear_map():
    """Pictures that are J w: |J^T y|, by NumPy."""
    jacobian, styles, directions = normal(2 * 3 * 3, 4 * 5), normal(6, 4, 5, seed=1), normal(6, 2, 3, 3, seed=2)

    def synthesize(w):
        return tf.reshape(tf.matmul(tf.reshape(w, [-1, 20]), jacobian, transpose_b=True), [-1, 2, 3, 3])

    found = penalties.path_lengths(synthesize, tf.constant(styles), tf.constant(directions))
    expected = np.linalg.norm(directions.reshape(6, 18) @ jacobian, axis=1) / np.sqrt(2 * 3 * 4)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_weight_of_path_lengths_is_the_papers():
    """Appendix B: ln 2 / (r^2 (ln r - ln 2)) of unscaled lengths, for r x r pixels and 2 log2(r) - 2 layers."""
    for side in (64, 1024):
        layers = 2 * np.log2(side) - 2
        assert 2 / (side**2 * layers) == pytest.approx(np.log(2) / (side**2 * (np.log(side) - np.log(2))))
