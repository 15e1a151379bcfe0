"""Overlap of two sets of feature vectors, by balls from each vector to its k-th neighbour in its own set.

Precision and density measure whether fakes lie among real pictures, recall and coverage whether real pictures lie among fakes. Errors come
from leaving out a tenth of both sets at a time (`groups`, in an order shuffled with a fixed seed). A bootstrap would put copies into the
sets and shrink their balls. The errors are 1.1 to 1.5 times too large in simulations.
"""

from typing import NamedTuple

import numpy as np

from trainer.metrics.estimate import Estimate, of_groups
from trainer.metrics.vectors import blocks, checked_sets, squared_distances


class PrecisionRecall(NamedTuple):
    """Precision and recall, both in [0, 1], 1 is best."""

    precision: Estimate
    recall: Estimate


class DensityCoverage(NamedTuple):
    """Density >= 0, about 1 for equal distributions and above where fakes crowd; coverage in [0, 1], 1 is best."""

    density: Estimate
    coverage: Estimate


def precision_recall(real: np.ndarray, fake: np.ndarray, *, k: int = 3, groups: int = 10) -> PrecisionRecall:
    """Improved precision and recall of Kynkaanniemi et al. 2019, eq. 1 and 2, of features [n, d], [m, d].

    precision: share of fakes inside the ball of any real picture. recall: share of real pictures inside the ball of any fake. Both grow
    with n and with k. Raises ValueError for too few rows for `k` and `groups`, differing d, or values that are not finite.
    """
    real, fake = _prepared(real, fake, k, groups)
    real_group, fake_group = (_groups(len(rows), groups) for rows in (real, fake))
    holding_fake, _ = _balls(real, _radii(real, real_group, k, groups), fake, fake_group)
    holding_real, _ = _balls(fake, _radii(fake, fake_group, k, groups), real, real_group)
    return PrecisionRecall(
        _estimate(holding_fake > 0, fake_group),
        _estimate(holding_real > 0, real_group),
    )


def density_coverage(real: np.ndarray, fake: np.ndarray, *, k: int = 5, groups: int = 10) -> DensityCoverage:
    """Density and coverage of Naeem et al. 2020, of features [n, d], [m, d].

    density: mean number of real pictures' balls that hold a fake, over `k`. coverage: share of real pictures whose ball holds a fake.
    Equal distributions with n = m have a coverage of about 1 - 2^-k. Raises ValueError as `precision_recall` does.
    """
    real, fake = _prepared(real, fake, k, groups)
    real_group, fake_group = (_groups(len(rows), groups) for rows in (real, fake))
    holding, occupied = _balls(real, _radii(real, real_group, k, groups), fake, fake_group)
    return DensityCoverage(_estimate(holding / k, fake_group), _estimate(occupied, real_group))


def realism(real: np.ndarray, fake: np.ndarray, *, k: int = 3) -> np.ndarray:
    """Realism of each fake [m, d] among real vectors [n, d]: float64 [m], >= 0, 1 on the border of a ball, more is better.

    Kynkaanniemi et al. 2019, eq. 3: the largest ratio of a real vector's radius, to its k-th neighbour, and its distance to the fake. The
    half of the real vectors with the larger radii, the outliers, is not used. Beyond 1e6, or infinite, for a copy of a real vector.
    Raises ValueError for fewer than k + 2 real vectors, differing d, or values that are not finite.
    """
    (real,) = checked_sets(least=k + 2, real=real)
    real, fake = checked_sets(least=1, real=real, fake=fake)
    middle = real.mean(axis=0)
    real, fake = real - middle, fake - middle
    radii = np.empty(len(real))
    for block in blocks(len(real)):
        distances = squared_distances(real[block], real)
        distances[np.arange(len(distances)), np.arange(block.start, block.stop)] = np.inf
        radii[block] = _kth(distances[:, None], k)
    usual = radii <= np.median(radii)
    with np.errstate(divide="ignore"):
        ratios = [
            (radii[usual] / squared_distances(fake[block], real[usual])).max(axis=1) for block in blocks(len(fake))
        ]
    return np.sqrt(np.concatenate(ratios))


def _prepared(real, fake, k, groups):
    """Returns checked and shuffled sets, centred at 0 to reduce rounding errors of distances."""
    if k < 1 or groups < 2:
        raise ValueError(f"k must be at least 1 and groups at least 2, not {k} and {groups}")
    # Without the largest group, each row must still have k other rows.
    least = next(n for n in range(groups, 2 * (k + 2) + groups) if n - -(-n // groups) > k)
    real, fake = checked_sets(least=least, real=real, fake=fake)
    middle = real.mean(axis=0)
    random = np.random.default_rng(0)
    return random.permutation(real) - middle, random.permutation(fake) - middle


def _groups(count, groups):
    """Returns the group of each row, int [count]."""
    return np.arange(count) % groups


def _radii(rows, group, k, groups):
    """Returns squared distances to the k-th neighbour within the set: [1 + groups, n].

    First with all rows, then without each group. A row that is itself left out gets -1, an empty ball.
    """
    radii = np.empty((1 + groups, len(rows)))
    for block in blocks(len(rows)):
        distances = squared_distances(rows[block], rows)
        distances[np.arange(len(distances)), np.arange(block.start, block.stop)] = np.inf  # not its own neighbour
        # The k nearest overall without a group are among the k nearest of each other group.
        nearest = np.full((len(distances), groups, k), np.inf)
        for index in range(groups):
            members = distances[:, group == index]
            closest = np.partition(members, min(k, members.shape[1]) - 1, axis=1)[:, :k]
            nearest[:, index, : closest.shape[1]] = closest
        radii[0, block] = _kth(nearest, k)
        for index in range(groups):
            radii[1 + index, block] = _kth(np.delete(nearest, index, axis=1), k)
    radii[1:][np.arange(groups)[:, None] == group] = -1
    return radii


def _kth(nearest, k):
    flat = nearest.reshape(len(nearest), -1)
    return np.partition(flat, k - 1, axis=1)[:, k - 1]


def _balls(centres, radii, points, group):
    """Returns the number of balls that hold each point [1 + groups, m], and whether each ball holds any [.., n].

    First for all rows, then without each group.
    """
    holding, occupied = np.zeros((len(radii), len(points)), int), np.empty(radii.shape, bool)
    for block in blocks(len(centres)):
        distances = squared_distances(centres[block], points)
        for version, radius in enumerate(radii[:, block]):
            inside = distances <= radius[:, None]
            holding[version] += inside.sum(axis=0)
            inside[:, group == version - 1] = False
            occupied[version, block] = inside.any(axis=1)
    return holding, occupied


def _estimate(values, group):
    """Returns the mean of row 0 of `values` [1 + groups, n], with an error from the other rows, each without its group."""
    without = [values[1 + index, group != index].mean() for index in range(len(values) - 1)]
    return of_groups(values[0].mean(), np.array(without))
