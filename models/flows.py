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


def gaussian_velocity(time, until, variance):
    """(a, b) of data that are normal with mean 0 and this variance: their mean velocity from t to r is a z, and e - x misses that at t by b
    times a normal number, all tensors or arrays that broadcast.

    With q(t) = (1 - t)^2 s^2 + t^2, the variance of z, its flow is z(r) = z(t) sqrt(q(r) / q(t)). So a = (1 - sqrt(q(r) / q(t))) / (t - r),
    here without the difference below the line, and b = s / sqrt(q(t)). Where a network gives v = a z - b F, the best F has variance 1 at
    all times: the preconditioning of Karras et al. 2022 (EDM, arXiv 2206.00364, appendix B.6), written for velocities.
    """
    here, there = (tf.sqrt(tf.square(1.0 - each) * variance + tf.square(each)) for each in (time, until))
    slope = (1.0 + variance) * (time + until) - 2.0 * variance  # of q between the times
    return slope / (here * (here + there)), tf.sqrt(variance) / here
