"""Ports: the kinds of things that an exported model takes and gives.

A port knows its tensor on the wire (pictures uint8, numbers float32, one row an example), how that becomes what a model computes with
(pictures float32 in [-1, 1]) and back, what is refused, and how it is described in export.json. The server checks no shapes, and a
picture of the wrong rank aborts its process: hence `tf.ensure_shape` before anything else.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from data import facts
from data.images import to_float, to_uint8
from data.random import RowRandom


class Port:
    """An input or output of an endpoint.

    `kind` names it in export.json. `spec` is its tensor on the wire, batch axis first. `absent` is what an input is when a request
    leaves it out, an array of one row, or None when it must be there.
    """

    kind: str
    spec: tf.TensorSpec
    absent = None

    def read(self, name, value):
        """A tensor from the wire, of the input called `name`, as the model takes it."""
        raise TypeError(f"{self.kind} is no input")

    def write(self, value):
        """Returns an output of the model as a tensor for the wire."""
        raise TypeError(f"{self.kind} is no output")

    def sample(self, rng, n):
        """n rows of a request, drawn from a `numpy.random.Generator`."""
        raise TypeError(f"{self.kind} is no input")

    def describe(self) -> dict:
        """The port as JSON, its kind first."""
        return {"kind": self.kind} | dataclasses.asdict(self)


@dataclass(frozen=True)
class Picture(Port):
    """Pictures: uint8 [n, size, size, channels] on the wire, float32 in [-1, 1] inside. `size` None: of any height and width."""

    size: int | None = None
    channels: int = 3
    kind = "picture"

    @property
    def spec(self):
        return tf.TensorSpec([None, self.size, self.size, self.channels], tf.uint8)

    def read(self, name, value):
        return to_float(tf.ensure_shape(value, self.spec.shape))

    def write(self, value):
        return tf.ensure_shape(to_uint8(value), self.spec.shape)

    def sample(self, rng, n):
        return rng.integers(256, size=(n, self.size or 24, self.size or 32, self.channels)).astype(np.uint8)

    def decode(self, content):
        """A file as float32 [size, size, channels], resized with antialiasing, or in its own size.

        Transparency is laid over white; orientation marks are not read.
        """
        picture = to_float(_over_white(content))
        if self.size is None:
            return picture
        return tf.clip_by_value(resized(picture, [self.size, self.size]), -1.0, 1.0)

    def sample_file(self, rng, row):
        """The file of a picture, of another size for each row: a signature that only works when all are alike must not pass."""
        drawn = rng.integers(256, size=(16 + 4 * row, 24, 3)).astype(np.uint8)
        return (tf.io.encode_jpeg if row else tf.io.encode_png)(drawn).numpy()


@dataclass(frozen=True)
class Mask(Port):
    """Maps of one channel: uint8 [n, size, size, 1] on the wire, float32 in [0, 1] inside. `size` None: of any height and width.

    In a file a pixel from 128 on is 1.
    """

    size: int | None = None
    kind = "mask"

    @property
    def spec(self):
        return tf.TensorSpec([None, self.size, self.size, 1], tf.uint8)

    def read(self, name, value):
        return tf.cast(tf.ensure_shape(value, self.spec.shape), tf.float32) / 255.0

    def write(self, value):
        scaled = tf.clip_by_value(tf.cast(value, tf.float32), 0.0, 1.0) * 255.0
        return tf.ensure_shape(tf.cast(tf.round(scaled), tf.uint8), self.spec.shape)

    def sample(self, rng, n):
        return (255 * rng.integers(2, size=(n, self.size or 24, self.size or 32, 1))).astype(np.uint8)

    def decode(self, content):
        """A file as float32 [size, size, 1], all zeros and ones; resized, a pixel is 1 where any part of it was."""
        values = tf.reduce_mean(tf.cast(_over_white(content), tf.float32), axis=2, keepdims=True)
        mask = tf.cast(values >= 128.0, tf.float32)
        if self.size is None:
            return mask
        return tf.cast(resized(mask, [self.size, self.size], method="bilinear") > 1e-3, tf.float32)

    def sample_file(self, rng, row):
        """The file of a mask, of the same size as the picture of that row."""
        return tf.io.encode_png((255 * rng.integers(2, size=(16 + 4 * row, 24, 1))).astype(np.uint8)).numpy()


@dataclass(frozen=True)
class File(Port):
    """A picture or a mask as a file: string [n] on the wire. Read from JPEG, PNG, GIF, BMP or WebP of any size, written as PNG.

    Pictures of any size come in batches of one.
    """

    of: Picture | Mask
    kind = "file"
    spec = tf.TensorSpec([None], tf.string)

    def read(self, name, value):
        value = tf.ensure_shape(value, [None])
        if self.of.size is None:
            return self.of.decode(value[0])[tf.newaxis]
        return tf.map_fn(self.of.decode, value, fn_output_signature=tf.TensorSpec(self.of.spec.shape[1:], tf.float32))

    def write(self, value):
        return tf.io.encode_png(self.of.write(value))

    def sample(self, rng, n):
        return np.array([self.of.sample_file(rng, row) for row in range(n)], object)

    def describe(self):
        return self.of.describe() | {"file": True}


@dataclass(frozen=True)
class Condition(Port):
    """A fact that the model is told: int64 [n] on the wire, int32 inside; a number of a value, or -1 where that may be unknown."""

    of: facts.Condition
    kind = "condition"
    spec = tf.TensorSpec([None], tf.int64)

    @property
    def absent(self):
        return np.array([facts.UNKNOWN], np.int64) if self.of.optional else None

    @property
    def lowest(self):
        return facts.UNKNOWN if self.of.optional else 0

    def read(self, name, value):
        value, most = tf.ensure_shape(value, [None]), self.of.count - 1
        fine = (value >= self.lowest) & (value <= most)
        return tf.cast(_once(fine, f"{name} must lie in {self.lowest} .. {most}, not", value), tf.int32)

    def sample(self, rng, n):
        return rng.integers(self.lowest, self.of.count, size=n)

    def describe(self):
        return {"kind": self.kind, "values": list(self.of.values), "optional": self.of.optional}


@dataclass(frozen=True)
class Number(Port):
    """A knob: finite float32 [n], one a row. At its default it changes nothing.

    default: what it is when a request leaves it out. low, high: where it is useful, for commands and for samples. doc: one phrase.
    """

    default: float
    low: float
    high: float
    doc: str = ""
    kind = "number"
    spec = tf.TensorSpec([None], tf.float32)

    @property
    def absent(self):
        return np.array([self.default], np.float32)

    def read(self, name, value):
        value = tf.ensure_shape(value, [None])
        return _once(tf.math.is_finite(value), f"{name} must be finite, not", value)

    def sample(self, rng, n):
        return rng.uniform(self.low, self.high, n).astype(np.float32)


@dataclass(frozen=True)
class Seed(Port):
    """A seed a row: int64 [n] on the wire, a `RowRandom` inside.

    default: what it is when a request leaves it out; None: it must be there.
    """

    default: int | None = None
    kind = "seed"
    spec = tf.TensorSpec([None], tf.int64)

    @property
    def absent(self):
        return None if self.default is None else np.array([self.default], np.int64)

    def read(self, name, value):
        return RowRandom(tf.ensure_shape(value, [None]))

    def sample(self, rng, n):
        return rng.integers(2**31, size=n)

    def describe(self):
        return {"kind": self.kind} | ({} if self.default is None else {"default": self.default})


@dataclass(frozen=True)
class Latent(Port):
    """Points of a latent space: finite float32 [n, *shape]."""

    shape: tuple[int, ...]
    kind = "latent"

    @property
    def spec(self):
        return tf.TensorSpec([None, *self.shape], tf.float32)

    def read(self, name, value):
        value = tf.ensure_shape(value, self.spec.shape)
        return _once(tf.math.is_finite(value), f"{name} must be finite, not", value)

    def write(self, value):
        return tf.ensure_shape(tf.cast(value, tf.float32), self.spec.shape)

    def sample(self, rng, n):
        return rng.standard_normal((n, *self.shape), np.float32)


@dataclass(frozen=True)
class Codes(Port):
    """Entries of a codebook: int64 [n, *shape] in 0 .. count - 1 on the wire, int32 inside."""

    shape: tuple[int, ...]
    count: int
    kind = "codes"

    @property
    def spec(self):
        return tf.TensorSpec([None, *self.shape], tf.int64)

    def read(self, name, value):
        value = tf.ensure_shape(value, self.spec.shape)
        fine = (value >= 0) & (value < self.count)
        return tf.cast(_once(fine, f"{name} must lie in 0 .. {self.count - 1}, not", value), tf.int32)

    def write(self, value):
        return tf.ensure_shape(tf.cast(value, tf.int64), self.spec.shape)

    def sample(self, rng, n):
        return rng.integers(self.count, size=(n, *self.shape))


@dataclass(frozen=True)
class Text(Port):
    """A text a row: string [n], UTF-8.

    words: those that the model knows, () where it makes no difference. optional: a text that a request leaves out is "".
    """

    words: tuple[str, ...] = ()
    optional: bool = False
    kind = "text"
    spec = tf.TensorSpec([None], tf.string)

    @property
    def absent(self):
        return np.array([b""], object) if self.optional else None

    def read(self, name, value):
        return tf.ensure_shape(value, [None])

    def write(self, value):
        return tf.ensure_shape(value, [None])

    def sample(self, rng, n):
        if not self.words:
            return np.array([b"text %d" % number for number in rng.integers(1000, size=n)], object)
        return np.array([" ".join(rng.choice(self.words, 3)).encode() for _ in range(n)], object)

    def describe(self):
        return {"kind": self.kind} | ({"words": list(self.words), "optional": self.optional} if self.words else {})


@dataclass(frozen=True)
class Count(Port):
    """Numbers of things: int64 [n]. An output only."""

    kind = "count"
    spec = tf.TensorSpec([None], tf.int64)

    def write(self, value):
        return tf.ensure_shape(tf.cast(value, tf.int64), [None])


def resized(picture, size, *, method="bicubic"):
    """float32 [height, width, channels] at another size [height, width], with antialiasing."""
    return tf.image.resize(picture, size, method, antialias=True)


def _once(fine, words, values):
    """`values` once `fine` holds for all: the model waits for them, so it cannot run before. `words` and the values tell what is wrong."""
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(fine), [words, values], 16)]):
        return tf.identity(values)


def _over_white(content):
    """The file of a picture (grey, grey and alpha, RGB, RGBA) as uint8 [height, width, 3]."""
    picture = tf.cast(tf.io.decode_image(content, expand_animations=False), tf.float32)
    has_alpha = tf.shape(picture)[2] % 2 == 0
    colour = picture[:, :, : tf.shape(picture)[2] - tf.cast(has_alpha, tf.int32)] * tf.ones([3])
    alpha = tf.where(has_alpha, picture[:, :, -1:] / 255.0, 1.0)
    return tf.cast(tf.round(colour * alpha + 255.0 * (1.0 - alpha)), tf.uint8)
