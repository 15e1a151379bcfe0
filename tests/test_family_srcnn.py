"""What is particular to SRCNN."""

import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny
from PIL import Image

from data.errors import UserError
from models import catalogue
from models.enhancement import srcnn


def test_parameters_of_the_paper():
    """Section 4.1: 9-1-5 on luma has 8,032 weights without biases (64 * 81 + 32 * 64 + 25 * 32); here with three channels and biases."""
    network = srcnn.build(srcnn.PRESETS["x3"], "n")
    assert network.count_params() == 81 * 3 * 64 + 64 + 64 * 32 + 32 + 25 * 32 * 3 + 3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_new_network_is_the_bicubic_enlargement_of_pillow(scale):
    network = srcnn.build(catalogue.configure(srcnn, f"x{scale}", {}), "n")
    low = np.random.default_rng(0).uniform(-1, 1, (7, 9)).astype(np.float32)
    enlarged = Image.fromarray(low, "F").resize((9 * scale, 7 * scale), Image.Resampling.BICUBIC)
    found = network(np.repeat(low[None, :, :, None], 3, axis=3)).numpy()
    for channel in range(3):
        np.testing.assert_allclose(found[0, :, :, channel], np.asarray(enlarged), atol=1e-5)


def test_it_learns_to_do_better_than_bicubic():
    model = tiny("srcnn")
    rows = batch(model)
    step = tf.function(model.train_step)
    losses = [float(step(rows)["squared"]) for _ in range(60)]
    assert losses[-1] < 0.9 * losses[0]


def test_settings_must_fit():
    for changes, words in (({"scale": 5}, "scale must be 2, 3 or 4"), ({"kernels": (3, 3)}, "one layer more")):
        with pytest.raises(UserError, match=words):
            catalogue.configure(srcnn, "tiny", changes)
