"""Single corruptions of a picture float32 [height, width, 3] in [0, 1]; those with random numbers take them from a `Draw`."""

import math

import tensorflow as tf

from data.corruptions import kernels
from data.random import StepRandom

RESIZES = ("area", "bilinear", "bicubic")


class Draw:
    """Random numbers of the picture at one place of a stream: a pure function of (seed, place), whatever is drawn beside it."""

    def __init__(self, seed, place):
        # Places count down from -1: training steps, which have numbers of the same kind, count up from 0.
        self._random = StepRandom(seed, -1 - tf.cast(place, tf.int64))

    def uniform(self, low=0.0, high=1.0, *, shape=()):
        """float32 [*shape] on [low, high)."""
        return self._random.uniform(1, *shape, low=low, high=high)[0]

    def normal(self, *shape):
        """Standard normal float32 [*shape]."""
        return self._random.normal(1, *shape)[0]

    def chance(self, probability):
        """A bool that is true so often."""
        return self.uniform() < probability

    def choice(self, probabilities):
        """An int32 index, drawn with these probabilities."""
        ends = tf.cumsum(tf.constant(probabilities, tf.float32))
        return tf.minimum(tf.reduce_sum(tf.cast(self.uniform() >= ends, tf.int32)), len(probabilities) - 1)


def noise(picture, draw, deviation, *, grey=False):
    """Add normal noise with a standard deviation in grey levels of 255; `grey`, a bool: the same to all channels."""
    height, width = tf.shape(picture)[0], tf.shape(picture)[1]
    drawn = draw.normal(height, width, 3)
    drawn = tf.where(grey, drawn[:, :, :1], drawn)
    return picture + drawn * (deviation / 255.0)


def poisson(picture, draw, factor, *, grey=False):
    """Add `factor` times the shot noise of 256 photons at white; `grey`, a bool: that of the luma to all channels."""
    luma = tf.reduce_sum(picture * [0.299, 0.587, 0.114], axis=2, keepdims=True) * tf.ones(3)
    light = 256.0 * tf.clip_by_value(tf.where(grey, luma, picture), 0.0, 1.0)
    seed = tf.cast(draw.uniform(high=2.0**24, shape=(2,)), tf.int32)
    counted = tf.random.stateless_poisson(tf.shape(light), seed, light, tf.float32)
    drawn = (counted - light) / 256.0
    return picture + factor * tf.where(grey, drawn[:, :, :1], drawn)


def jpeg(picture, quality):
    """Through libjpeg, as TensorFlow links it: 4:2:0, its quantisation tables; quality int32 in 1 .. 100."""
    pixels = tf.cast(tf.round(tf.clip_by_value(picture, 0.0, 1.0) * 255.0), tf.uint8)
    again = tf.image.adjust_jpeg_quality(pixels, tf.cast(quality, tf.int32), dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(tf.cast(again, tf.float32) / 255.0, picture.shape)


def resize(picture, size, kernel):
    """To `size`, int32 [2], by one of `RESIZES` with antialiasing; kernel is its index."""
    ways = [
        lambda method=method: tf.image.resize(picture, size, method, antialias=method != "area") for method in RESIZES
    ]
    return tf.switch_case(kernel, ways)


def exposure(picture, stops):
    """Multiply linear light by 2^stops."""
    return _encoded(_linear(picture) * 2.0**stops)


def cast(picture, gains):
    """Multiply the channels of linear light, which is what a wrong white balance does; gains float32 [3]."""
    return _encoded(_linear(picture) * gains)


def mixed_blur(picture, draw, deviations, sinc_probability):
    """Blur as in "Real-ESRGAN" (arXiv 2107.10833), appendix: a sinc filter, or one of six kernels of 7 to 21 px.

    Args:
        deviations: lowest and highest standard deviation, px.
    """
    side = 2 * tf.cast(draw.uniform(3.0, 11.0), tf.int32) + 1
    kind = draw.choice((0.45, 0.25, 0.12, 0.03, 0.12, 0.03))
    x, y = draw.uniform(*deviations), draw.uniform(*deviations)
    angle = draw.uniform(-math.pi, math.pi)
    round_ = kind % 2 == 0
    axes = x, tf.where(round_, x, y), tf.where(round_, 0.0, angle)
    flat, wide = draw.uniform(0.5, 4.0), draw.uniform(1.0, 2.0)
    kernel = tf.switch_case(
        kind // 2,
        [
            lambda: kernels.gaussian(*axes[:2], angle=axes[2]),
            lambda: kernels.generalized(*axes, flat),
            lambda: kernels.plateau(*axes, wide),
        ],
    )
    kernel = tf.where(draw.chance(sinc_probability), drawn_sinc(draw, side), kernels.cut(kernel, side))
    return kernels.convolve(picture, kernel)


def drawn_sinc(draw, side):
    """A sinc kernel of `side` px with a random cutoff, which is not low for small kernels."""
    lowest = tf.where(side < 13, math.pi / 3.0, math.pi / 5.0)
    return kernels.cut(kernels.sinc(lowest + (math.pi - lowest) * draw.uniform()), side)


def _linear(picture):
    """sRGB (IEC 61966-2-1) to linear light."""
    picture = tf.clip_by_value(picture, 0.0, 1.0)
    return tf.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)


def _encoded(light):
    light = tf.clip_by_value(light, 0.0, 1.0)
    return tf.where(light <= 0.0031308, 12.92 * light, 1.055 * tf.maximum(light, 1e-6) ** (1.0 / 2.4) - 0.055)
