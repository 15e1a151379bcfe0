"""The random numbers of one training step: a pure function of (seed, step).

A resumed run therefore needs no generator state beyond its step counter, and N replicas together draw exactly what one
replica would: every draw is made for the global batch and cut to the replica's rows.
"""

import tensorflow as tf


class StepRandom:
    """Draws per-row random tensors for the rows of this replica.

    Draws are numbered in the order in which the step's code makes them, so two draws of one step never share numbers and
    the same code draws the same numbers again. Philox is named, because the default generator depends on the device.

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

    def normal(self, rows, *shape, dtype=tf.float32):
        """Standard normal [rows, *shape]; rows is an int or an int32 scalar tensor."""
        return self._own_rows(tf.random.stateless_normal, rows, shape, dtype=dtype)

    def uniform(self, rows, *shape, low=0.0, high=1.0, dtype=tf.float32):
        """Uniform [rows, *shape] on [low, high); for an integer dtype the bounds are integers."""
        return self._own_rows(tf.random.stateless_uniform, rows, shape, minval=low, maxval=high, dtype=dtype)

    def _own_rows(self, draw, rows, shape, **kwargs):
        self._draws += 1
        seed = tf.stack([tf.constant(self._seed * 65536 + self._draws, tf.int64), tf.cast(self._step, tf.int64)])
        everyone = draw([rows * self._replicas, *shape], seed=seed, alg="philox", **kwargs)
        if self._replicas == 1:
            return everyone
        return everyone[self._replica * rows : (self._replica + 1) * rows]
