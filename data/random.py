"""Random numbers as pure functions: of (seed, step) while a model trains, of a row's own seed when it is asked for pictures.

Both classes draw per-row tensors by one interface, so that one function can draw a family's pictures, whoever asks. Draws are
numbered in the order in which the code makes them: two draws never share numbers, and the same code draws the same numbers again.
Numbers are made from random bits by arithmetic of our own, because TensorFlow's floats and normals from one seed differ between its own
kernels and XLA, and its bits (Philox) do not.
"""

import math

import tensorflow as tf


class _Random:
    """Draws floats from the bits of a subclass, which gives `_bits(rows, shape, draw)`: uint32 [rows, *shape] of draw number `draw`."""

    def __init__(self):
        self._draws = 0

    def normal(self, rows, *shape):
        """Standard normal float32 [rows, *shape], by Box and Muller 1958; rows is an int or an int32 scalar tensor."""
        pairs = self.uniform(rows, *shape, 2)
        return tf.sqrt(-2.0 * tf.math.log(1.0 - pairs[..., 0])) * tf.cos(2.0 * math.pi * pairs[..., 1])

    def uniform(self, rows, *shape, low=0.0, high=1.0):
        """Uniform float32 [rows, *shape] on [low, high), in steps of 2^-24 of the interval."""
        self._draws += 1
        bits = tf.bitwise.right_shift(self._bits(rows, shape, self._draws), tf.constant(8, tf.uint32))
        return low + (high - low) * (tf.cast(bits, tf.float32) / 2.0**24)


class StepRandom(_Random):
    """The random numbers of one training step, for the rows of this replica: a pure function of (seed, step).

    A resumed run therefore needs no generator state beyond its step counter, and N replicas together draw exactly what one replica
    would: every draw is made for the global batch and cut to the replica's rows.

    Args:
        seed: the run's seed, an int.
        step: the step counter, int64 scalar tensor.
        replicas: number of replicas in sync, an int.
        replica: this replica's number, an int or int32 scalar tensor.
    """

    def __init__(self, seed, step, *, replicas=1, replica=0):
        super().__init__()
        self._seed = seed
        self._step = step
        self._replicas = replicas
        self._replica = replica

    def _bits(self, rows, shape, draw):
        seed = tf.stack([tf.convert_to_tensor(self._seed, tf.int64) * 65536 + draw, tf.cast(self._step, tf.int64)])
        bits = _philox([rows * self._replicas, *shape], seed)
        if self._replicas > 1:
            bits = bits[self._replica * rows : (self._replica + 1) * rows]
        return bits


class RowRandom(_Random):
    """The random numbers of one answer of a generator: row i is a function of seed[i] alone, whatever rows stand beside it.

    Args:
        seed: int64 [n]; the draws are of n rows.
    """

    def __init__(self, seed):
        super().__init__()
        self._seed = seed

    @property
    def rows(self):
        """n, an int32 scalar tensor."""
        return tf.shape(self._seed)[0]

    def _bits(self, rows, shape, draw):
        # The second number is below 0, where no step of a training is.
        return tf.map_fn(
            lambda seed: _philox(shape, tf.stack([seed, -draw])),
            self._seed,
            fn_output_signature=tf.TensorSpec(shape, tf.uint32),
        )


def _philox(shape, seed):
    return tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
