"""Waves of pictures."""

import numpy as np
import tensorflow as tf
from scipy.fft import dctn

from models import spectrum


def pictures(side=16):
    return np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)


def test_waves_are_the_cosine_transform_of_grey_and_two_colours():
    """Against SciPy's; as many numbers of the same length, so that white noise stays what it is, and they go back."""
    red, green, blue = np.moveaxis(pictures(), 3, 0)
    colours = [(red + green + blue) / 3**0.5, (red - green) / 2**0.5, (red + green - 2 * blue) / 6**0.5]
    expected = np.stack([dctn(channel, axes=(1, 2), norm="ortho") for channel in colours], axis=3)
    waves = spectrum.to_waves(tf.constant(pictures()))
    np.testing.assert_allclose(waves, expected, atol=1e-5)
    np.testing.assert_allclose(spectrum.to_pictures(waves), pictures(), atol=1e-5)


def test_the_power_of_photos():
    """By hand at three waves; a larger picture of the same thing has the same waves, each as much stronger as it has pixels."""
    power = spectrum.photo_power(16)
    np.testing.assert_allclose(power[0, 0], [64, 256 / 60, 256 / 60], rtol=1e-5)
    np.testing.assert_allclose(power[3, 4, 0], 64 * 26**-1.35, rtol=1e-5)
    np.testing.assert_allclose(spectrum.photo_power(32)[:16, :16], 4 * power, rtol=1e-5)
