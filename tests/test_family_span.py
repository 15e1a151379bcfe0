"""What is particular to SPAN."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny

from data.errors import UserError
from models import catalogue
from models.enhancement import span


@pytest.mark.parametrize(
    ("preset", "thousands"), [("x4", 151), ("x2-48", 411), ("x4-48", 426), ("x2-52", 481), ("x4-52", 498)]
)
def test_parameters_of_the_paper(preset, thousands):
    """Tables 1 and 4, in the form that is served."""
    network = span.build(span.PRESETS[preset], "n", merged=True)
    assert round(network.count_params() / 1000) == thousands


def random_weights(network, seed=0):
    random = np.random.default_rng(seed)
    network.set_weights([random.normal(0, 0.3, weight.shape) for weight in network.weights])


def test_a_merged_convolution_equals_its_parts_one_after_the_other():
    """With zeros put around the input, and not around what the first part makes of it."""
    layer = span.MergedConv2D(5, 2)
    x = tf.random.stateless_uniform([2, 6, 7, 3], [0, 1])
    layer.build(x.shape)
    random_weights(layer)
    wide = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]) @ layer.expand.value + layer.expand_bias.value
    middle = tf.nn.conv2d(wide, layer.middle.value, 1, "VALID") + layer.middle_bias.value
    ways = middle @ layer.squeeze.value + layer.squeeze_bias.value, x @ layer.skip.value
    np.testing.assert_allclose(layer(x), ways[0] + ways[1], atol=1e-4)


def test_the_served_network_has_plain_convolutions_and_answers_as_the_trained_one():
    """With ema_images=0 it is the trained one, merged."""
    model = tiny("span", ema_images=0)
    for number in range(3):
        model.train_step(batch(model, number))
    assert {type(layer) for layer in model.ema.layers if layer.weights} == {keras.layers.Conv2D}
    low = batch(model, 9)["low"]
    np.testing.assert_allclose(model.ema(low), model.network(low), atol=1e-5)


def test_the_average_is_one_of_merged_kernels():
    """The recurrence of `models.base`: w' <- w + (w' - w) 0.5^(rows / (0.05 rows)) in the first step."""
    model = tiny("span")
    before = model.ema.get_weights()
    model.train_step(batch(model))
    for old, new, (merge, weights) in zip(before, model.ema.get_weights(), model.followed(), strict=True):
        target = merge(*(weight.value for weight in weights)).numpy()
        np.testing.assert_allclose(new, target + (old - target) * 0.5**20, atol=1e-6)


def test_a_new_network_repeats_pixels():
    network = span.build(span.PRESETS["x2"], "n", merged=False)
    low = tf.random.stateless_uniform([2, 5, 7, 3], [0, 1])
    np.testing.assert_allclose(network(low), low.numpy().repeat(2, axis=1).repeat(2, axis=2), atol=1e-6)


def test_it_learns_to_do_better_than_repeating():
    model = tiny("span")
    rows = batch(model)
    step = tf.function(model.train_step)
    losses = [float(step(rows)["absolute"]) for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


def test_settings_must_fit():
    with pytest.raises(UserError, match="scale must be 2, 3 or 4"):
        catalogue.configure(span, "tiny", {"scale": 5})
