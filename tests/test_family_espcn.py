"""What is particular to ESPCN."""

import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny

from models import catalogue
from models.enhancement import espcn


def test_parameters_by_hand():
    """5x5x3x64 + 3x3x64x32 + 3x3x32x48, and a bias a channel."""
    network = espcn.build(espcn.PRESETS["x4"], "n")
    assert network.count_params() == 5 * 5 * 3 * 64 + 64 + 9 * 64 * 32 + 32 + 9 * 32 * 48 + 48


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_new_network_repeats_pixels(scale):
    """The last layer starts at zero and the input is added, so at the start every pixel becomes a square of its colour."""
    config = catalogue.configure(espcn, f"x{scale}", {})
    network = espcn.build(config, "n")
    low = tf.random.stateless_uniform([2, 5, 7, 3], [0, 1])
    np.testing.assert_allclose(network(low), low.numpy().repeat(scale, axis=1).repeat(scale, axis=2), atol=1e-6)


def test_it_learns_to_do_better_than_repeating():
    model = tiny("espcn")
    rows = batch(model)
    step = tf.function(model.train_step)
    losses = [float(step(rows)["squared"]) for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


def test_scale_must_fit():
    for changes in ({"scale": 5}, {"scale": 3}):
        with pytest.raises(ValueError, match="scale must be 2, 3 or 4"):
            espcn.Model(catalogue.configure(espcn, "tiny", changes))
