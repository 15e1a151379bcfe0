"""What is particular to NAFNet."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny

from data.errors import UserError
from models.enhancement import nafnet


@pytest.mark.slow
def test_parameters_agree_with_the_published_network():
    """The authors count 29.16 M for width 32, and others 115.9 M for width 64, with their code (issues 60 and 51 of its repository)."""
    for preset, millions in (("32", 29.16), ("64", 115.9)):
        weights = nafnet.build(nafnet.PRESETS[preset], "n").trainable_weights
        assert sum(int(np.prod(weight.shape)) for weight in weights) / 1e6 == pytest.approx(millions, abs=0.1)


def test_the_loss_is_the_negative_psnr():
    model = tiny("nafnet")
    rows = batch(model)
    before = np.asarray(model.network(rows["low"], training=True), float)
    error = ((before - np.asarray(rows["high"], float)) / 2) ** 2
    expected = -10 * np.log10(1 / error.mean((1, 2, 3)))
    np.testing.assert_allclose(model.terms(rows)["negative_psnr"], expected, rtol=1e-4)


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (1, 1), (3, 2)])
def test_any_size_comes_back_in_that_size(size):
    model = tiny("nafnet")
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, *size, 3)).astype("float32")
    assert model.apply(pictures).shape == pictures.shape


def test_the_border_is_mirrored():
    rows = np.arange(5, dtype="float32").reshape(1, 5, 1, 1)
    np.testing.assert_array_equal(nafnet.MirrorTo(8)(rows)[0, :, 0, 0], [0, 1, 2, 3, 4, 3, 2, 1])
    np.testing.assert_array_equal(nafnet.MirrorTo(4)(rows[:, :2])[0, :, 0, 0], [0, 1, 0, 1])


@pytest.mark.parametrize(
    "change, words",
    [
        ({"scale": 2}, "scale must be 1, not 2"),
        ({"decoder": (1, 1)}, "must have as many stages"),
        ({"resolution": 20}, "be a multiple of 2 to their number"),
    ],
)
def test_settings_that_do_not_fit_are_told(change, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(nafnet.PRESETS["cpu"], **change)


def test_strength_mixes_the_restored_picture_with_the_picture():
    model = tiny("nafnet")
    model.ema.set_weights([weight + 0.1 for weight in model.ema.get_weights()])
    pictures = tf.constant(np.random.default_rng(0).uniform(-1, 1, (3, 6, 9, 3)), tf.float32)
    answer = model.endpoints()["apply"].function
    whole = model.apply(pictures)
    assert np.abs(whole - pictures).max() > 0.01
    found = answer(images=pictures, strength=tf.constant([1.0, 0.0, 0.25]))["images"].numpy()
    np.testing.assert_array_equal(found[0], whole[0])
    np.testing.assert_array_equal(found[1], pictures[1])
    np.testing.assert_allclose(found[2], 0.25 * whole[2] + 0.75 * pictures[2], atol=1e-6)
