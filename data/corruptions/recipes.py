"""Recipes of damage: what makes the low half of an enhancement pair from the high one, afresh at every draw.

A recipe is one line, such as `noise:25`, `blur+noise:10+jpeg:40` or `photo`. Blur and light come before the picture is shrunk, noise and
compression after it, in the order in which they are named.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from data.corruptions import kernels, steps
from data.corruptions.steps import Draw
from data.errors import UserError

PLAIN = ("auto", "bicubic")  # shrunk once, before the cache: see `data.degrade`


def _blur(picture, draw, deviation):
    """The same in all directions; without a number 0.2 to 3 px."""
    deviation = draw.uniform(0.2, 3.0) if deviation is None else deviation
    return kernels.convolve(picture, kernels.gaussian(deviation, deviation))


def _oval_blur(picture, draw, deviation):
    """Different in two directions, one of which has this deviation at most."""
    along, across, angle = draw.uniform(0.2, deviation), draw.uniform(0.2, deviation), draw.uniform(0.0, math.pi)
    return kernels.convolve(picture, kernels.gaussian(along, across, angle=angle))


def _motion(picture, draw, length):
    length = draw.uniform(3.0, 15.0) if length is None else length
    return kernels.convolve(picture, kernels.motion(length, draw.uniform(0.0, math.pi)))


def _defocus(picture, draw, radius):
    return kernels.convolve(picture, kernels.disc(draw.uniform(1.0, 5.0) if radius is None else radius))


def _exposure(picture, draw, stops):
    return steps.exposure(picture, draw.uniform(-stops, stops))


def _cast(picture, draw, stops):
    """Red and blue by up to so many stops up or down, green unchanged."""
    red, blue = draw.uniform(-stops, stops), draw.uniform(-stops, stops)
    return steps.cast(picture, tf.stack([2.0**red, tf.ones_like(red), 2.0**blue]))


def _noise(picture, draw, deviation):
    return steps.noise(picture, draw, deviation)


def _grey_noise(picture, draw, deviation):
    return steps.noise(picture, draw, deviation, grey=True)


def _poisson(picture, draw, factor):
    return steps.poisson(picture, draw, factor)


def _jpeg(picture, draw, quality):
    quality = tf.cast(draw.uniform(10.0, 96.0), tf.int32) if quality is None else quality
    return steps.jpeg(picture, quality)


@dataclass(frozen=True)
class Step:
    """A corruption of a recipe.

    apply: function (picture, draw, number). number: default, None for a random one. low, high: accepted numbers. before: the shrinking.
    """

    apply: Callable
    number: float | None
    low: float
    high: float
    meaning: str
    before: bool = False


STEPS = {
    "blur": Step(_blur, None, 0.1, 5, "Gaussian blur, standard deviation in px", before=True),
    "oval_blur": Step(_oval_blur, 3.0, 0.3, 5, "Gaussian blur of two widths, highest deviation in px", before=True),
    "motion": Step(_motion, None, 1, 21, "blur of a moved camera, length in px", before=True),
    "defocus": Step(_defocus, None, 0.5, 10, "blur of a lens out of focus, radius in px", before=True),
    "exposure": Step(_exposure, 1.0, 0, 4, "too dark or too light by up to so many stops", before=True),
    "cast": Step(_cast, 0.5, 0, 2, "wrong white balance, red and blue by up to so many stops", before=True),
    "noise": Step(_noise, 25.0, 0, 100, "normal noise, standard deviation in grey levels"),
    "grey_noise": Step(_grey_noise, 25.0, 0, 100, "the same noise in all channels"),
    "poisson": Step(_poisson, 1.0, 0, 5, "shot noise of 256 photons at white, times a factor"),
    "jpeg": Step(_jpeg, None, 1, 100, "JPEG, quality"),
}
PHOTO = "photo"


@dataclass(frozen=True)
class Recipe:
    """Damage by a list of (name, number) of `STEPS`, or by `PHOTO`, and shrinking by `scale`; made by `parse`."""

    line: str
    steps: tuple[tuple[str, float | None], ...]
    scale: int

    def __call__(self, pictures, seed: int, places) -> tf.Tensor:
        """Damage pictures, each by the numbers of its own place.

        Args:
            pictures: uint8 [n, height, width, 3]; sides are multiples of the scale. seed: of the run. places: int64 [n].

        Returns:
            uint8 [n, height / scale, width / scale, 3].
        """
        sides = [None if side is None else side // self.scale for side in pictures.shape[1:3]]
        damaged = _graph(self)(pictures, tf.convert_to_tensor(seed, tf.int64), tf.cast(places, tf.int64))
        return tf.ensure_shape(damaged, [pictures.shape[0], *sides, 3])

    def numpy(self, picture: np.ndarray, seed: int, place: int) -> np.ndarray:
        """One picture uint8 [height, width, 3] damaged as at that place: uint8 [height / scale, width / scale, 3]."""
        return self(picture[np.newaxis], seed, np.array([place]))[0].numpy()

    def one(self, seed, picture, place):
        """One picture, in a graph."""
        draw = Draw(seed, place)
        damaged = tf.cast(picture, tf.float32) / 255.0
        size = tf.shape(damaged)[:2] // self.scale
        damaged = _photo(damaged, draw, size) if self.line == PHOTO else self._in_order(damaged, draw, size)
        pixels = tf.cast(tf.round(tf.clip_by_value(damaged, 0.0, 1.0) * 255.0), tf.uint8)
        return tf.ensure_shape(
            pixels, [None if side is None else side // self.scale for side in picture.shape[:2]] + [3]
        )

    def _in_order(self, picture, draw, size):
        for before in (True, False):
            for name, number in self.steps:
                if STEPS[name].before == before:
                    picture = STEPS[name].apply(picture, draw, number)
            if before and self.scale > 1:
                picture = tf.image.resize(picture, size, "bicubic", antialias=True)
        return picture


def parse(line: str, scale: int) -> Recipe | None:
    """Read a recipe; None for one of `PLAIN`.

    Raises:
        UserError: an unknown name, or a number that it does not take.
    """
    if line in PLAIN:
        return None
    if line == PHOTO:
        return Recipe(line, (), scale)
    return Recipe(line, tuple(map(_step, line.split("+"))), scale)


def _step(text):
    name, colon, number = text.partition(":")
    if name not in STEPS:
        raise UserError(
            f"there is no damage {name!r}; --view takes {', '.join(PLAIN)}, {PHOTO}, or some of {', '.join(STEPS)}"
            " joined by +, each with a number behind a colon or without"
        )
    step = STEPS[name]
    try:
        value = float(number) if colon else step.number
        if value is not None and not step.low <= value <= step.high:
            raise ValueError(number)
    except ValueError:
        raise UserError(
            f"{name} takes a number from {step.low:g} to {step.high:g} ({step.meaning}), not {number!r}"
        ) from None
    return name, value


@functools.cache
def _graph(recipe):
    """The recipe as a graph, always: branches that are not taken count their draws there, and in eager code would not."""
    pictures, many, one = (
        tf.TensorSpec([None] * 3 + [3], tf.uint8),
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([], tf.int64),
    )

    @tf.function(input_signature=[pictures, one, many])
    def damaged(pictures, seed, places):
        row = tf.TensorSpec([None, None, 3], tf.uint8)
        return tf.map_fn(lambda each: recipe.one(seed, *each), (pictures, places), fn_output_signature=row)

    return damaged


def _photo(picture, draw, size):
    """The second-order process of "Real-ESRGAN" (arXiv 2107.10833), section 3 and appendix, down to `size`."""
    picture = steps.mixed_blur(picture, draw, (0.2, 3.0), 0.1)
    picture = _resized(picture, draw, tf.shape(picture)[:2], (0.2, 0.7, 0.1), (0.15, 1.5))
    picture = _sensor(picture, draw, (1.0, 30.0), (0.05, 3.0))
    picture = _compressed(picture, draw)
    blurred = draw.chance(0.8)
    picture = tf.cond(blurred, lambda: steps.mixed_blur(picture, draw, (0.2, 1.5), 0.1), lambda: picture)
    picture = _resized(picture, draw, size, (0.3, 0.4, 0.3), (0.3, 1.2))
    picture = _sensor(picture, draw, (1.0, 25.0), (0.05, 2.5))
    last = draw.chance(0.5)  # whether compression comes last
    picture = tf.cond(last, lambda: picture, lambda: _compressed(picture, draw))
    picture = steps.resize(picture, size, draw.choice((1 / 3, 1 / 3, 1 / 3)))
    kernel = steps.drawn_sinc(draw, 2 * tf.cast(draw.uniform(3.0, 11.0), tf.int32) + 1)
    picture = tf.cond(draw.chance(0.8), lambda: kernels.convolve(picture, kernel), lambda: picture)
    return tf.cond(last, lambda: _compressed(picture, draw), lambda: picture)


def _resized(picture, draw, size, probabilities, factors):
    """To a random factor of `size`: enlarged, shrunk or left, with these probabilities."""
    kind = draw.choice(probabilities)
    factor = tf.stack([draw.uniform(1.0, factors[1]), draw.uniform(factors[0], 1.0), 1.0])[kind]
    size = tf.maximum(tf.cast(tf.cast(size, tf.float32) * factor, tf.int32), 1)
    return steps.resize(picture, size, draw.choice((1 / 3, 1 / 3, 1 / 3)))


def _sensor(picture, draw, deviations, factors):
    grey, normal = draw.chance(0.4), draw.chance(0.5)
    deviation, factor = draw.uniform(*deviations), draw.uniform(*factors)
    return tf.cond(
        normal,
        lambda: steps.noise(picture, draw, deviation, grey=grey),
        lambda: steps.poisson(picture, draw, factor, grey=grey),
    )


def _compressed(picture, draw):
    return steps.jpeg(picture, tf.cast(draw.uniform(30.0, 96.0), tf.int32))
