"""What is particular to RRDB."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny

from data.errors import UserError
from models import catalogue
from models.enhancement import rrdb
from models.layers.enlargers import dense


def test_parameters_of_the_paper():
    """The authors' network for x4, 23 blocks of 64 channels that grow by 32, has 16,697,987 weights."""
    assert rrdb.build(rrdb.PRESETS["x4-paper"], "n").count_params() == 16_697_987


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_new_network_repeats_pixels(scale):
    """The last layer starts at zero and the input is added."""
    config = catalogue.configure(rrdb, "tiny", {"scale": scale, "resolution": 12})
    low = tf.random.stateless_uniform([2, 5, 7, 3], [0, 1])
    repeated = low.numpy().repeat(scale, axis=1).repeat(scale, axis=2)
    np.testing.assert_allclose(rrdb.build(config, "n")(low), repeated, atol=1e-6)


def test_a_dense_block_by_hand():
    """One place and one channel: the convolutions are products with the middle of their kernels."""
    low = keras.Input((1, 1, 1))
    network = keras.Model(low, dense(low, scale=2, width=1, blocks=1, growth=1, residual=False))
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.7, weight.shape) for weight in network.weights])
    weights = iter(network.get_weights())

    def conv(values):
        kernel, bias = next(weights), next(weights)
        return np.asarray(values) @ kernel[1, 1] + bias

    def leaky(x):
        return np.where(x < 0, 0.2 * x, x)

    head = inner = conv([0.6])
    for _ in range(3):
        known = inner
        for place in range(5):
            added = conv(known)
            known = np.concatenate([known, leaky(added)]) if place < 4 else known
        inner = inner + 0.2 * added
    middle = head + conv(head + 0.2 * inner)
    layers = [layer for layer in network.layers if layer.weights]
    probe = keras.Model(low, layers[16].output)  # behind the head, 15 convolutions and the last of the body
    np.testing.assert_allclose(head + probe(np.full((1, 1, 1, 1), 0.6))[0, 0, 0], middle, rtol=1e-4)


def test_it_learns_to_do_better_than_repeating():
    model = tiny("rrdb")
    rows = batch(model)
    step = tf.function(model.train_step)
    losses = [float(step(rows)["absolute"]) for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


def test_settings_must_fit():
    with pytest.raises(UserError, match="scale must be 2, 3 or 4"):
        catalogue.configure(rrdb, "tiny", {"scale": 5})
