"""Flows from noise to data: ordinary differential equations dz/dt = v(z, t), solved from t = 1, noise, to t = 0, data.

On the straight path between a data point x and noise e (Liu et al. 2022, "Flow Straight and Fast", arXiv 2209.03003) lies
z = (1 - t) x + t e, which moves by e - x; v is the mean of that over all paths through z.

A velocity is a function (z, t, r) of z float32 [n, ...] and times float32 [n], r <= t, that gives the velocity at t, or its mean on the way
from t to r, float32 [n, ...]. One that is the velocity at t ignores r.
"""

import tensorflow as tf


def column(values, like):
    """[n] -> [n, 1, ...], of the rank of `like`."""
    return tf.reshape(values, [-1] + [1] * (len(like.shape) - 1))


def between(data, noise, time):
    """z = (1 - t) x + t e: data and noise [n, ...], time [n] -> [n, ...]."""
    time = column(time, data)
    return (1.0 - time) * data + time * noise


def euler(velocity, noise, steps):
    """The data that noise flows to, by Euler's method; exact in one step if `velocity` gives means.

    Args:
        velocity: as above. noise: float32 [n, ...].
        steps: float32 [n], whole numbers from 1 on: of each row, which depends on no other row.

    Returns:
        float32 [n, ...].
    """
    return _solve(lambda z, t, r: z + column(r - t, z) * velocity(z, t, r), noise, steps)


def heun(velocity, noise, steps):
    """As `euler`, by Heun's method of the second order: two calls a step, and an error that falls with the square of the steps."""

    def step(z, t, r):
        there = velocity(z, t, t)
        tried = z + column(r - t, z) * there
        return z + column(r - t, z) * 0.5 * (there + velocity(tried, r, r))

    return _solve(step, noise, steps)


def _solve(step, noise, steps):
    """Take `step(z, t, r)` through equal steps of each row; rows that have arrived stay, since t = r = 0."""

    def forward(number, z):
        t, r = (1.0 - tf.minimum(each / steps, 1.0) for each in (number, number + 1.0))
        return number + 1.0, step(z, t, r)

    most = tf.reduce_max(steps)
    return tf.while_loop(lambda number, z: number < most, forward, (tf.constant(0.0), noise))[1]


def gaussian_velocity(time, deviation):
    """(a, b), float32 like `time`: of data with mean 0 and that deviation, the velocity nearest to the true one is a(t) z, and what it
    misses has the deviation b(t).

    The preconditioning of Karras et al. 2022 (EDM, arXiv 2206.00364, appendix B.6), written for a velocity: where a network gives
    v = a z - b F, the best F has variance 1 at all times. With q = (1 - t)^2 s^2 + t^2, the variance of z:
    a = (t - (1 - t) s^2) / q and b = s / sqrt(q).
    """
    left = 1.0 - time
    q = tf.square(left * deviation) + tf.square(time)
    return (time - left * deviation**2) / q, deviation * tf.math.rsqrt(q)
