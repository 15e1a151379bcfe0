"""The random numbers of one training step: a pure function of (seed, step).

A resumed run therefore needs no generator state beyond its step counter, and N replicas together draw exactly what one
replica would: every draw is made for the global batch and cut to the replica's rows.
"""

import math

import tensorflow as tf


class StepRandom:
    """Draws per-row random tensors for the rows of this replica.

    Draws are numbered in the order in which the step's code makes them, so two draws of one step never share numbers and
    the same code draws the same numbers again. They are made from random bits by arithmetic of our own, because TensorFlow's floats and
    normals from one seed differ between its own kernels and XLA, and its bits (Philox) do not.

    Args:
        seed: the run's seed, an int.
        step: the step counter, int64 scalar tensor.
        replicas: number of replicas in sync, an int.
        replica: this replica's number, an int or int32 scalar tensor.
    """

    def __init__(self, seed, step, replicas=1, replica=0):
        self._seed = seed
        self._step = step
        self._replicas = replicas
        self._replica = replica
        self._draws = 0

    def normal(self, rows, *shape):
        """Standard normal float32 [rows, *shape], by Box and Muller 1958; rows is an int or an int32 scalar tensor."""
        pairs = self.uniform(rows, *shape, 2)
        return tf.sqrt(-2.0 * tf.math.log(1.0 - pairs[..., 0])) * tf.cos(2.0 * math.pi * pairs[..., 1])

    def uniform(self, rows, *shape, low=0.0, high=1.0):
        """Uniform float32 [rows, *shape] on [low, high), in steps of 2^-24 of the interval."""
        self._draws += 1
        seed = tf.stack([tf.constant(self._seed * 65536 + self._draws, tf.int64), tf.cast(self._step, tf.int64)])
        bits = tf.random.stateless_uniform(
            [rows * self._replicas, *shape], seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
        )
        if self._replicas > 1:
            bits = bits[self._replica * rows : (self._replica + 1) * rows]
        return low + (high - low) * (
            tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) / 2.0**24
        )
