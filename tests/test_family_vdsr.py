"""What is particular to VDSR."""

import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny
from PIL import Image

from data.errors import UserError
from models import catalogue
from models.enhancement import vdsr


def test_parameters_of_the_paper():
    """On luma without biases 664,704: 2 * 9 * 64 + 18 * 9 * 64 * 64. Three channels are two more at each end; and a bias a channel."""
    network = vdsr.build(vdsr.PRESETS["x4"], "n")
    assert network.count_params() == 664_704 + 2 * 2 * 9 * 64 + 19 * 64 + 3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_new_network_is_the_bicubic_enlargement_of_pillow(scale):
    network = vdsr.build(catalogue.configure(vdsr, f"x{scale}", {}), "n")
    low = np.random.default_rng(0).uniform(-1, 1, (7, 9)).astype(np.float32)
    enlarged = Image.fromarray(low, "F").resize((9 * scale, 7 * scale), Image.Resampling.BICUBIC)
    found = network(np.repeat(low[None, :, :, None], 3, axis=3)).numpy()
    for channel in range(3):
        np.testing.assert_allclose(found[0, :, :, channel], np.asarray(enlarged), atol=1e-5)


def test_a_pixel_sees_41_pixels():
    """Section 3.1: 2 * depth + 1, of the enlargement."""
    layers = [layer for layer in vdsr.build(vdsr.PRESETS["x2"], "n").layers if layer.weights]
    assert 1 + sum(layer.kernel_size[0] - 1 for layer in layers) == 41


def test_it_learns_to_do_better_than_bicubic():
    model = tiny("vdsr")
    rows = batch(model)
    step = tf.function(model.train_step)
    losses = [float(step(rows)["squared"]) for _ in range(60)]
    assert losses[-1] < 0.9 * losses[0]


def test_settings_must_fit():
    for changes, words in (({"scale": 5}, "scale must be 2, 3 or 4"), ({"depth": 1}, "depth must be 2 or more")):
        with pytest.raises(UserError, match=words):
            catalogue.configure(vdsr, "tiny", changes)
