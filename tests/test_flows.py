"""Flows of normal distributions, whose velocities and paths have closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from models import flows

MEAN, DEVIATION = 0.7, 0.4


def noise(rows=5):
    return np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)


def moments(t):
    """Mean and variance of z at a time."""
    return (1 - t) * MEAN, (1 - t) ** 2 * DEVIATION**2 + t**2


def velocity(z, t, r):
    """E[e - x | z] of jointly normal x, e and z = (1 - t) x + t e."""
    t = t[:, None]
    mean, variance = moments(t)
    return -MEAN + (t - (1 - t) * DEVIATION**2) / variance * (z - mean)


def mean_velocity(z, t, r):
    """From the path: z keeps its place among the others, so that (z - mean) / deviation is the same at all times."""
    t, r = t[:, None], r[:, None]
    (mean, variance), (mean_r, variance_r) = moments(t), moments(r)
    there = mean_r + (z - mean) * tf.sqrt(variance_r / variance)
    return tf.math.divide_no_nan(z - there, t - r)


def errors(solve, steps):
    found = solve(velocity, tf.constant(noise()), tf.fill([5], float(steps)))
    return np.abs(found - (MEAN + DEVIATION * noise())).max()


@pytest.mark.parametrize("solve, order", [(flows.euler, 1), (flows.heun, 2)])
def test_solvers_come_to_the_exact_answer_at_their_order(solve, order):
    """Noise e flows to mean + deviation * e. Twice the steps leave a half, or a quarter, of the error."""
    assert errors(solve, 40) / errors(solve, 80) == pytest.approx(2**order, rel=0.1)
    assert errors(solve, 80) < 2e-2 / order**4


@pytest.mark.parametrize("steps", [1.0, 3.0])
def test_euler_is_exact_with_mean_velocities(steps):
    found = flows.euler(mean_velocity, tf.constant(noise()), tf.fill([5], steps))
    np.testing.assert_allclose(found, MEAN + DEVIATION * noise(), atol=1e-5)


@pytest.mark.parametrize("solve", [flows.euler, flows.heun])
def test_each_row_takes_its_own_steps(solve):
    steps = np.array([1, 7, 2, 30, 4], np.float32)
    together = solve(velocity, tf.constant(noise()), tf.constant(steps))
    for row in range(5):
        alone = solve(velocity, tf.constant(noise()[row : row + 1]), tf.constant(steps[row : row + 1]))
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-5, atol=1e-6)


def test_the_calls_of_a_solver():
    """(t, r) of each call; Heun asks for velocities only, at both ends of a step."""
    asked = []

    def still(z, t, r):
        asked.append((float(t[0]), float(r[0])))
        return tf.zeros_like(z)

    flows.euler(still, tf.zeros([1, 2]), tf.constant([2.0]))
    flows.heun(still, tf.zeros([1, 2]), tf.constant([2.0]))
    assert asked == [(1, 0.5), (0.5, 0), (1, 1), (0.5, 0.5), (0.5, 0.5), (0, 0)]


def test_the_velocity_of_gaussian_data():
    """Against least squares on drawn pairs (the slope of e - x on z, and the deviation of what is left), and against the path."""
    rng = np.random.default_rng(1)
    x, e = DEVIATION * rng.normal(size=200_000), rng.normal(size=200_000)
    for time in (0.0, 0.2, 0.5, 0.9, 1.0):
        z = flows.between(tf.constant(x), tf.constant(e), tf.constant([time], tf.float64)).numpy()
        np.testing.assert_allclose(z, (1 - time) * x + time * e)
        slope = (z * (e - x)).mean() / (z * z).mean()
        left = (e - x - slope * z).std()
        np.testing.assert_allclose(
            flows.gaussian_velocity(time, time, DEVIATION**2), (slope, left), rtol=0.02, atol=0.02
        )
        for until in (0.0, 0.1, 0.7):
            if until < time:
                mean, _ = flows.gaussian_velocity(time, until, DEVIATION**2)
                stays = np.sqrt(moments(until)[1] / moments(time)[1])
                assert float(mean) == pytest.approx((1 - stays) / (time - until))
