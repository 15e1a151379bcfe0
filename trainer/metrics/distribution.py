"""Distances between the distributions of two sets of feature vectors, FID and KID, and the Inception Score of one set.

Features come from any extractor, one row per picture. The real pictures are the first argument, though FID and KID are symmetric.
"""

import numpy as np

from trainer.metrics.estimate import Estimate, of_mean
from trainer.metrics.vectors import blocks, checked, checked_sets


def fid(real: np.ndarray, fake: np.ndarray) -> Estimate:
    """Frechet distance of the Gaussians with the means and covariances of two sets [n, d], [m, d]; >= 0, 0 is best.

    |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^1/2), Heusel et al. 2017, eq. 6, with covariances over n - 1. The trace of the root is the sum of
    the singular values of F1 F2', where F'F = C. F is the centred rows if n <= d, else their triangular factor. So no matrix root is taken,
    and sets with fewer rows than features are exact too. The value is biased upwards, the more so the smaller the sets: only values at the
    same n compare.

    The error is the infinitesimal jackknife (Jaeckel 1972): the derivative of the value by the weight of each row, squared and summed. The
    sets are assumed to be independent. Raises ValueError for fewer than 2 rows, differing d, or values that are not finite.
    """
    real, fake = checked_sets(real=real, fake=fake)
    shift = real.mean(axis=0) - fake.mean(axis=0)
    real, fake = (rows - rows.mean(axis=0) for rows in (real, fake))
    factors = [_factor(rows) for rows in (real, fake)]
    left, singular, right = np.linalg.svd(factors[0] @ factors[1].T, full_matrices=False)
    spread = sum(np.sum(factor**2) for factor in factors)
    variances = [
        _variance_of_rows(rows, sign * shift, factor, vectors, singular)
        for rows, sign, factor, vectors in ((real, 1, factors[1], right.T), (fake, -1, factors[0], left))
    ]
    value = shift @ shift + spread - 2 * singular.sum()
    return Estimate(max(float(value), 0.0), float(np.sqrt(sum(variances))))


def _factor(centred):
    """Returns F with F'F = the covariance of centred rows, with as few rows as possible."""
    triangular = centred if len(centred) <= centred.shape[1] else np.linalg.qr(centred, mode="r")
    return triangular / np.sqrt(len(centred) - 1)


def _variance_of_rows(centred, shift, other, vectors, singular):
    """Returns the variance of FID from one set, by the influence of each of its rows.

    With the other set's factor F, singular values S and singular vectors V on its side, the row x has the share |x F' V S^-1/2|^2 in the
    sum of S. The sum grows by half of this share with the row's weight.
    """
    kept = singular > 1e-7 * singular.max(initial=0.0)  # the others are rounding errors
    root = np.sum((centred @ (other.T @ (vectors[:, kept] / np.sqrt(singular[kept])))) ** 2, axis=1)
    influence = 2 * centred @ shift + np.sum(centred**2, axis=1) - root
    return np.var(influence, ddof=1) / len(centred)


def frechet_distance(mean_a, covariance_a, mean_b, covariance_b) -> float:
    """Frechet distance of two Gaussians given by means [d] and covariances [d, d]: Dowson & Landau 1982, eq. 4.

    For stored statistics instead of features; `fid` is more accurate and has an error. Raises ValueError for shapes that do
    not fit, values that are not finite, and a covariance that is not symmetric.
    """
    means = [np.asarray(mean, np.float64) for mean in (mean_a, mean_b)]
    factors = []
    for mean, covariance in zip(means, (covariance_a, covariance_b), strict=True):
        covariance = np.asarray(covariance, np.float64)
        if mean.ndim != 1 or covariance.shape != mean.shape * 2 or means[0].shape != mean.shape:
            raise ValueError(
                f"means [d] and covariances [d, d] do not fit: {list(mean.shape)}, {list(covariance.shape)}"
            )
        if not np.isfinite(mean).all() or not np.isfinite(covariance).all():
            raise ValueError("a mean or covariance holds a value that is not finite")
        if not np.allclose(covariance, covariance.T, rtol=1e-5, atol=1e-8 * np.abs(covariance).max()):
            raise ValueError("a covariance must be symmetric")
        powers, axes = np.linalg.eigh(covariance)
        factors.append(np.sqrt(np.maximum(powers, 0))[:, None] * axes.T)
    root = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    spread = sum(np.sum(factor**2) for factor in factors)
    return max(float(np.sum((means[0] - means[1]) ** 2) + spread - 2 * root), 0.0)


def kid(real: np.ndarray, fake: np.ndarray) -> Estimate:
    """Squared maximum mean discrepancy of two whole sets [n, d], [m, d] with the kernel (x.y / d + 1)^3; 0 is best.

    KID of Binkowski et al. 2018 by the unbiased estimate of Gretton et al. 2012, lemma 6: its expectation does not depend on n and is 0 for
    equal distributions, so the value may be slightly below 0. All rows are used; for subsets see `kid_subsets`. The error is the jackknife,
    with one row of either set left out at a time (Efron & Stein 1981: on average a little too large).
    Raises ValueError for fewer than 3 rows, differing d, or values that are not finite.
    """
    real, fake = checked_sets(least=3, real=real, fake=fake)
    m, n = len(real), len(fake)
    (of_real, _), (of_fake, _) = _kernel_sums(real, real), _kernel_sums(fake, fake)
    of_real, of_fake = of_real - _kernel_with_itself(real), of_fake - _kernel_with_itself(fake)
    across_real, across_fake = _kernel_sums(real, fake)
    within_real, within_fake, across = of_real.sum(), of_fake.sum(), across_real.sum()
    value = _discrepancy(within_real, m, within_fake, n, across)
    without_real = _discrepancy(within_real - 2 * of_real, m - 1, within_fake, n, across - across_real)
    without_fake = _discrepancy(within_real, m, within_fake - 2 * of_fake, n - 1, across - across_fake)
    variance = (m - 1) * np.var(without_real) + (n - 1) * np.var(without_fake)
    return Estimate(float(value), float(np.sqrt(variance)))


def kid_subsets(
    real: np.ndarray, fake: np.ndarray, *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> np.ndarray:
    """KID as in the literature: `kid` of `subsets` pairs of random subsets of `size` rows each; float64 [subsets].

    Papers print their mean and standard deviation (Binkowski et al. 2018). The deviation is of one subset, not the error of the mean, and
    the mean is no better than `kid` itself. Raises ValueError as `kid`, and if a set has fewer than `size` rows or `size` is below 2.
    """
    if subsets < 1 or size < 2:
        raise ValueError(f"KID needs at least 1 subset of at least 2 rows, not {subsets} of {size}")
    real, fake = checked_sets(least=size, real=real, fake=fake)
    random = np.random.default_rng(seed)
    values = np.empty(subsets)
    for index in range(subsets):
        a, b = (rows[random.choice(len(rows), size, replace=False)] for rows in (real, fake))
        within = [_kernel_sums(rows, rows)[0].sum() - _kernel_with_itself(rows).sum() for rows in (a, b)]
        values[index] = _discrepancy(within[0], size, within[1], size, _kernel_sums(a, b)[0].sum())
    return values


def _kernel_sums(rows, columns):
    """Returns sums of the kernel over the columns [n] and over the rows [m], computed block by block."""
    over_columns, over_rows = np.empty(len(rows)), np.zeros(len(columns))
    for block in blocks(len(rows)):
        kernel = (rows[block] @ columns.T / rows.shape[1] + 1) ** 3
        over_columns[block] = kernel.sum(axis=1)
        over_rows += kernel.sum(axis=0)
    return over_columns, over_rows


def _kernel_with_itself(rows):
    return (np.mean(rows**2, axis=1) + 1) ** 3


def _discrepancy(within_real, m, within_fake, n, across):
    """Returns the unbiased estimate from the kernel's sums over pairs of different rows within the sets, and over all pairs across them."""
    return within_real / (m * (m - 1)) + within_fake / (n * (n - 1)) - 2 * across / (m * n)


def inception_score(probabilities: np.ndarray, *, splits: int = 10) -> Estimate:
    """exp of the mean divergence KL(p(y|x) || p(y)) of class probabilities [n, classes]; from 1 to `classes`, more is better.

    Salimans et al. 2016, section 4: the mean over `splits` consecutive parts of the rows, which must be in random order. The error is
    of the mean; papers print the deviation between the parts, sqrt(splits) times as large. Real pictures are not used.
    Raises ValueError for fewer rows than splits, values that are not finite, and rows that are not probabilities.
    """
    if splits < 1:
        raise ValueError(f"splits must be at least 1, not {splits}")
    probabilities = checked(probabilities, "probabilities", least=splits)
    if (probabilities < 0).any() or np.abs(probabilities.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("each row of probabilities must be >= 0 and sum to 1")
    scores = []
    for part in np.array_split(probabilities, splits):
        ratio = np.divide(part, part.mean(axis=0), out=np.ones_like(part), where=part > 0)
        scores.append(np.exp(np.mean(np.sum(part * np.log(ratio), axis=1))))
    return of_mean(np.array(scores))
