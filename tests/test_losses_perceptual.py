"""Losses in the layers of a network, by hand on one that can be worked out, and against NumPy on packshot's own."""

import numpy as np
import pytest
import tensorflow as tf

from models.features.catalogue import open_network
from models.losses.perceptual import lpips, perceptual
from models.losses.reconstruction import absolute, squared
from trainer.metrics.perceptual import feature_distance


class Toy:
    """`twice` is the picture times 2; `colours` its mean over places."""

    lpips = {"twice": tf.constant([1.0, 0.5, 2.0]), "colours": tf.constant([0.0, 3.0, 0.0])}

    def maps(self, pictures, layers):
        found = {"twice": 2 * pictures, "colours": tf.reduce_mean(pictures, axis=[1, 2], keepdims=True)}
        return {name: found[name] for name in layers}


def pixels(*colours):
    """A picture of one row: float32 [1, 1, len(colours), 3]."""
    return tf.constant([[colours]], tf.float32)


def test_weighted_differences_of_layers_by_hand():
    """twice: differences 2, 0, 0 and 0, 0, -6; colours: 0.5, 0, -1.5."""
    made, wanted = pixels([1, 0, 0], [0, 0, 0]), pixels([0, 0, 0], [0, 0, 3])
    layers = {"twice": 0.5, "colours": 2.0}
    np.testing.assert_allclose(
        perceptual(Toy(), made, wanted, layers), [0.5 * (4 + 36) / 6 + 2 * (0.25 + 2.25) / 3], rtol=1e-6
    )
    np.testing.assert_allclose(
        perceptual(Toy(), made, wanted, layers, difference=absolute),
        [0.5 * (2 + 6) / 6 + 2 * (0.5 + 1.5) / 3],
        rtol=1e-6,
    )
    np.testing.assert_allclose(perceptual(Toy(), made, wanted, {"twice": 1.0}), squared(2 * made, 2 * wanted))


def test_lpips_by_hand():
    """twice: (0.6, 0.8, 0) against (1, 0, 0), and equal pixels; colours: (3, 4, 2) and (1, 0, 2) over 2 for both pixels."""
    made, wanted = pixels([0.3, 0.4, 0], [0, 0, 0.2]), pixels([0.1, 0, 0], [0, 0, 0.2])
    green = 0.4 / np.sqrt(0.3**2 + 0.4**2 + 0.2**2)
    expected = (1 * 0.16 + 0.5 * 0.64) / 2 + 3 * green**2
    np.testing.assert_allclose(lpips(Toy(), made, wanted), [expected], rtol=1e-5)


@pytest.fixture(scope="module")
def encoder():
    return open_network("packshot")


@pytest.fixture(scope="module")
def batches():
    return np.random.default_rng(0).uniform(-1, 1, (2, 3, 40, 48, 3)).astype(np.float32)


@pytest.mark.parametrize("difference, power", [(absolute, 1), (squared, 2)])
def test_one_value_per_example_and_the_same_as_numpy(encoder, batches, difference, power):
    layers = {"depth1": 1.0, "depth4": 0.1}
    found = perceptual(encoder, *batches, layers, difference=difference)
    assert found.shape == (3,) and found.dtype == tf.float32
    made, wanted = (encoder.maps(batch, list(layers)) for batch in batches)
    for index in range(3):
        alone = [batch[index : index + 1] for batch in batches]
        np.testing.assert_allclose(
            perceptual(encoder, *alone, layers, difference=difference)[0], found[index], rtol=1e-5
        )
    expected = sum(
        weight * np.mean(np.abs(np.float64(made[name]) - np.float64(wanted[name])) ** power, axis=(1, 2, 3))
        for name, weight in layers.items()
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_lpips_is_the_measure_of_the_same_name(encoder, batches):
    class Weighted:
        maps = staticmethod(encoder.maps)
        lpips = {"depth2": tf.linspace(0.0, 1.0, 40), "depth5": tf.linspace(2.0, 0.0, 192)}

    made, wanted = (encoder.maps(batch, list(Weighted.lpips)).values() for batch in batches)
    expected = feature_distance(
        [layer.numpy() for layer in made],
        [layer.numpy() for layer in wanted],
        weights=[weights.numpy() for weights in Weighted.lpips.values()],
    )
    np.testing.assert_allclose(lpips(Weighted, *batches), expected, rtol=1e-5)


@pytest.mark.parametrize("difference", [absolute, squared])
def test_the_gradient_leads_to_the_target(encoder, batches, difference):
    """It is finite everywhere, 0 at the target, and a small step against it lowers the loss."""
    made, wanted = batches
    layers = {"depth1": 1.0, "depth3": 1.0}
    slopes = {}
    for name, start in (("away", made), ("there", wanted)):
        start = tf.constant(start)
        with tf.GradientTape() as tape:
            tape.watch(start)
            loss = perceptual(encoder, start, wanted, layers, difference=difference)
        slopes[name] = tape.gradient(loss, start).numpy()
    assert np.isfinite(slopes["away"]).all() and not slopes["there"].any()
    step = 0.01 * slopes["away"] / np.abs(slopes["away"]).max()
    before, after = (perceptual(encoder, x, wanted, layers, difference=difference).numpy() for x in (made, made - step))
    assert (after < before).all()


def test_layers_that_are_not_there_are_refused(encoder, batches):
    with pytest.raises(ValueError, match="has no layer conv5_4; have: depth1"):
        perceptual(encoder, *batches, {"conv5_4": 1.0})
    with pytest.raises(ValueError, match="no layers of packshot1-.* are asked for"):
        perceptual(encoder, *batches, {})
