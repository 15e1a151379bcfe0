"""Terms of a bound on the likelihood, against SciPy's densities."""

import numpy as np
import tensorflow as tf
from scipy import stats

from models.losses.variational import divergence, surprise


def test_the_divergence_is_that_of_two_normal_distributions():
    """Against the integral of q log(q / p), by quadrature in NumPy, one dimension after the other."""
    rng = np.random.default_rng(0)
    mean, log_variance = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    z = np.linspace(-30, 30, 200_001)
    expected = np.zeros(3)
    for row, column in np.ndindex(3, 2):
        posterior = stats.norm(mean[row, column], np.exp(0.5 * log_variance[row, column]))
        density = posterior.pdf(z)
        expected[row] += np.trapezoid(density * (posterior.logpdf(z) - stats.norm.logpdf(z)), z)
    found = divergence(tf.constant(mean, tf.float32), tf.constant(log_variance, tf.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_surprise_is_the_density_under_the_best_deviation():
    """No other deviation makes a picture more likely; the mean over its values."""
    rng = np.random.default_rng(1)
    seen, pictures = rng.uniform(-1, 1, (2, 3, 8, 8, 3)).astype(np.float32)
    found = surprise(seen, pictures, 1e-6).numpy()
    deviations = np.linspace(0.3, 2.0, 2001)[:, None, None, None]
    for row in range(3):
        likely = -stats.norm.logpdf(pictures[row], seen[row], deviations[..., None][:, 0][:, None]).mean(
            axis=(-3, -2, -1)
        )
        np.testing.assert_allclose(found[row], likely.min(), rtol=1e-4)
