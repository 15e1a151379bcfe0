"""What is particular to StyleGAN2."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import COLOUR, LABEL, batch, tiny, told

from data.errors import UserError
from data.facts import Facts
from data.random import RowRandom
from models import catalogue
from models.generation import stylegan2
from models.layers.equalized import ModulatedConv2D


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_a_style_mixes_from_its_layer_on():
    """The first layers have one w, the others a second; with `mixing` 0 all layers have the first."""
    model = tiny("stylegan2", mixing=1.0)
    model._replica.random = RowRandom(tf.range(64, dtype=tf.int64))
    styles = model._mixed_styles(64, []).numpy()
    same = (styles == styles[:, :1]).all(axis=2)
    cuts = same.sum(axis=1)
    assert set(cuts) == set(range(1, len(model.config.sides)))
    np.testing.assert_array_equal(same, np.arange(len(model.config.sides)) < cuts[:, None])
    np.testing.assert_array_equal(styles[~same], np.repeat(styles[:, -1:], same.shape[1], axis=1)[~same])
    model = tiny("stylegan2", mixing=0.0)
    model._replica.random = RowRandom(tf.range(8, dtype=tf.int64))
    styles = model._mixed_styles(8, []).numpy()
    np.testing.assert_array_equal(styles, np.repeat(styles[:, :1], styles.shape[1], axis=1))


def test_the_average_of_w_is_that_of_each_category():
    """After many batches: the mean of the w of a label's rows, which differ by label."""
    facts = Facts((LABEL,))
    layer = stylegan2.Average(facts)
    centres, rng = np.array([[4.0, 0.0], [-2.0, 1.0], [0.0, -3.0]], np.float32), np.random.default_rng(0)
    layer.build([(None, 2), (None,)])
    follow = tf.function(lambda w, label: layer.follow(w, [label]))
    for _ in range(1500):
        label = rng.integers(3, size=8)
        w = centres[label] + rng.normal(size=(8, 2)).astype(np.float32)
        follow(tf.constant(w), tf.constant(label))
    found = layer([tf.zeros([3, 2]), tf.range(3)])
    np.testing.assert_allclose(found, centres, atol=0.3)
    unknown = layer([tf.zeros([1, 2]), tf.constant([-1])])
    np.testing.assert_array_equal(unknown[0], layer.mean.numpy())


def test_truncation_draws_w_to_its_average():
    """At 0 every row of a condition has its average, at 0.5 half of the way."""
    model = tiny("stylegan2", facts=Facts((LABEL, COLOUR)))
    average = model.ema.get_layer("mapping").get_layer("average")
    for weight in (average.mean, *average.tables):
        weight.assign(normal(*weight.shape, seed=weight.shape[0]))
    latent, columns = (
        tf.constant(normal(3, model.config.latent_size)),
        [tf.constant([0, 2, 1]), tf.constant([1, -1, 0])],
    )
    w, half, none = (
        model.styles(latent, columns, truncation=None if share is None else tf.fill([3], share))[:, 0].numpy()
        for share in (None, 0.5, 0.0)
    )
    tables = [table.numpy() for table in average.tables]
    expected = average.mean.numpy() + tables[0][[0, 2, 1]] + tables[1][[1, 0, 0]] * [[1], [0], [1]]
    np.testing.assert_allclose(none, expected, atol=1e-5)
    np.testing.assert_allclose(half, (w + expected) / 2, atol=1e-5)


def test_noise_is_of_the_seed_and_has_an_effect():
    model = tiny("stylegan2")
    for layer in model.ema.get_layer("synthesis").layers:
        if isinstance(layer, stylegan2.AddNoise):
            layer.strength.assign(0.5)
    styles = model.styles(tf.constant(normal(1, model.config.latent_size)), [])
    pictures = [
        model.synthesize(styles, model.noise(RowRandom(tf.constant([seed], tf.int64)), 1)).numpy() for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[0] - pictures[2]).max() > 0.01


def test_the_deviation_of_a_group_by_hand():
    """Groups of four rows that follow each other; a batch of six has two of three."""
    for rows, group in ((8, 4), (6, 3), (5, 1)):
        x = normal(rows, 3, 2, 5)
        found = stylegan2.MinibatchDeviation()(x).numpy()
        np.testing.assert_array_equal(found[..., :5], x)
        for row in range(rows):
            first = row // group * group
            expected = x[first : first + group].std(axis=0).mean()
            np.testing.assert_allclose(found[row, ..., 5], expected, rtol=1e-4, atol=2e-4)


def test_patches_make_a_strided_convolution():
    """A 2x2 convolution of 2x2 patches is one of 4x4 with stride 2 and padding 1, by loops."""
    x, kernel = normal(2, 6, 6, 3), normal(4, 4, 3, 5, seed=1)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    expected = np.zeros((2, 3, 3, 5))
    for row, column in np.ndindex(3, 3):
        window = padded[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
        expected[:, row, column] = np.einsum("bijc,ijcf->bf", window, kernel)
    folded = kernel.reshape(2, 2, 2, 2, 3, 5).transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 12, 5)
    layer = stylegan2.Patches(2)
    found = layer(x)
    assert found.shape == layer.compute_output_shape(x.shape)
    np.testing.assert_allclose(tf.nn.conv2d(found, folded, 1, "VALID"), expected, atol=1e-4)


def test_the_objective_by_hand():
    """Non-saturating; R1 on the real pictures alone; lengths away from their average, on the steps that are due."""
    model = tiny("stylegan2", gamma=3.0, path_weight=5.0)
    model.critic_logits = lambda pictures, batch: tf.reduce_sum(pictures**2, axis=[1, 2, 3])
    model._path_lengths = lambda batch: tf.constant([0.5, 2.0])
    model.path_length.assign(1.0)
    model._replica.recorded = {}
    real, fake = normal(2, 1, 1, 3), normal(2, 1, 1, 3, seed=1)
    rows, fakes = {"image": tf.constant(real)}, tf.constant(fake)
    answers = [(pictures**2).sum(axis=(1, 2, 3)) for pictures in (real, fake)]
    critic, generator = model.critic_terms(rows, fakes, True), model.generator_terms(rows, fakes, True)
    np.testing.assert_allclose(
        critic["adversarial"], np.log1p(np.exp(-answers[0])) + np.log1p(np.exp(answers[1])), rtol=1e-5
    )
    np.testing.assert_allclose(critic["r1"], 0.5 * 3.0 * 4 * answers[0], rtol=1e-5)
    np.testing.assert_allclose(generator["adversarial"], np.log1p(np.exp(-answers[1])), rtol=1e-5)
    np.testing.assert_allclose(generator["path"], [5.0 * 0.25, 5.0 * 1.0])
    assert (
        set(model.critic_terms(rows, fakes, False)) == set(model.generator_terms(rows, fakes, False)) == {"adversarial"}
    )


def test_averages_follow_the_steps():
    """That of w on each, in both networks; that of path lengths on those that measured one."""
    model = tiny("stylegan2", facts=told("stylegan2"))
    logged = model.train_step(batch(model))
    averages = [network.get_layer("mapping").get_layer("average") for network in (model.network, model.ema)]
    for layer in averages:
        assert all(np.abs(weight.numpy()).max() > 0 for weight in (layer.mean, *layer.tables))
    np.testing.assert_array_equal(averages[0].mean.numpy(), averages[1].mean.numpy())
    first, mean = float(logged["generator_path_length"]), averages[0].mean.numpy()
    assert float(model.path_length.value) == pytest.approx(first) and first > 0
    model.train_step(batch(model, 1))
    assert float(model.path_length.value) == pytest.approx(first) and np.abs(averages[0].mean.numpy() - mean).max() > 0
    for number, expected in ((2, (first + 5.0) / 2), (2 * 500, 0.99 * first + 0.01 * 5.0)):
        model.path_length.assign(first)
        model.step.assign(number)
        model.observe({"generator_path_length": tf.constant(5.0)})
        assert float(model.path_length.value) == pytest.approx(expected)


def test_parameters_by_hand():
    """Of the paper's network at 64 px: 512 channels, a mapping of eight layers, nine styled convolutions, five pictures."""
    config, c = stylegan2.PRESETS["64"], 512
    affine = c * c + c
    mapping = 8 * (c * c + c) + c  # and the average of w
    styled = 9 * (9 * c * c + affine + c + 1)
    colours = 5 * (3 * c + 3 + affine)
    assert stylegan2.build_mapping(config, Facts()).count_params() == mapping
    assert stylegan2.build_synthesis(config).count_params() == 16 * c + styled + colours
    blocks = 4 * (2 * (9 * c * c + c) + c * c)
    critic = (3 * c + c) + blocks + (9 * (c + 1) * c + c) + (16 * c * c + c) + (c + 1)
    assert stylegan2.build_critic(config, Facts(), "critic").count_params() == critic


def test_styles_and_synthesis_make_the_picture_of_generate():
    """As the export answers: the styles of a seed, given back with that seed, are its picture."""
    keras.utils.set_random_seed(0)
    model = tiny("stylegan2", facts=told("stylegan2"))
    answer = {name: signature.function for name, signature in model.signatures().items()}
    seed = tf.constant([5, 6, 7], tf.int64)
    asked = {name: tf.constant([0.0, 1.0, -2.0]) for name in stylegan2.DIRECTIONS}
    asked |= {"seed": seed, "label": tf.constant([2, 0, 1], tf.int64), "truncation": tf.constant([0.5, 1.0, 0.7])}
    expected = answer["generate"](**asked)["images"].numpy().astype(int)
    w = answer["styles"](**asked)["w"]
    found = answer["synthesize"](w=w, seed=seed)["images"].numpy().astype(int)
    assert w.shape == (3, len(model.config.sides), model.config.latent_size)
    assert np.abs(found - expected).max() <= 1 and np.abs(np.diff(found, axis=0)).max() > 1


def test_modulated_convolutions_have_the_sizes_of_their_stages():
    model = tiny("stylegan2")
    sizes = [
        layer.output.shape[1:]
        for layer in model.ema.get_layer("synthesis").layers
        if isinstance(layer, ModulatedConv2D)
    ]
    assert [size for size in sizes if size[-1] != 3] == [(4, 4, 16), (9, 9, 12), (8, 8, 12), (17, 17, 8), (16, 16, 8)]
    assert model.config.sides == (4, 8, 8, 16, 16)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"resolution": 32}, "make pictures of 16 px"),
        ({"patch": 4}, "patch must be 1, 2 or 4, and leave 8x8 px of resolution=16"),
        ({"mixing": 1.5}, "mixing must be 1 or less"),
        ({"channels": (8,), "resolution": 4}, "channels must name two stages or more"),
    ],
)
def test_settings_must_fit(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        dataclasses.replace(stylegan2.PRESETS["tiny"], **changes)
    if "channels" not in changes:
        with pytest.raises(UserError, match=sentence):
            catalogue.configure(stylegan2, "tiny", changes)
