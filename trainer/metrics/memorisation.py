"""Memorisation: distances of fakes to the nearest training picture, compared with those of held-out real pictures.

Held-out pictures show how near a new picture of the same kind comes by chance. A generator that has learnt the kind is as far from its
training pictures as they are; one that copies is nearer. Only features are compared: a copy that they do not recognise, such as a mirrored
one with features that are not symmetric, is not found.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from trainer.metrics.estimate import Estimate
from trainer.metrics.vectors import blocks, checked_sets, squared_distances


@dataclass(frozen=True)
class Memorisation:
    """Result of `memorisation`.

    nearer: the chance that a fake is nearer to its nearest training picture than a held-out picture is to its own, in [0, 1], with ties
        counted half, and its standard error. 1/2: fakes are as new as held-out pictures; 1: they are copies; below 1/2: they are further
        away than real pictures (poor, not copied).
    score: C_T of Meehan et al. 2020 over one cell: Mann and Whitney's z; below about -3 means copying, above 3 underfitting.
    p_value: of the one-sided test against "fakes are no nearer", in [0, 1].
    nearest: int [m], the index of each fake's nearest training picture.
    distance: float64 [m], Euclidean, to that picture.
    held_out_distance: float64 [h], of each held-out picture to its nearest training picture.
    """

    nearer: Estimate
    score: float
    p_value: float
    nearest: np.ndarray
    distance: np.ndarray
    held_out_distance: np.ndarray

    def closest(self, count: int) -> np.ndarray:
        """Returns the `count` closest pairs, int [count, 2] of (fake, training picture), the closest first."""
        fakes = np.argsort(self.distance, kind="stable")[:count]
        return np.stack([fakes, self.nearest[fakes]], axis=1)


def memorisation(train: np.ndarray, held_out: np.ndarray, fake: np.ndarray) -> Memorisation:
    """Compares features [n, d] of the training pictures, [h, d] of held-out real pictures, and [m, d] of fakes.

    Raises ValueError for fewer than 2 rows, differing d, or values that are not finite.
    """
    train, held_out, fake = checked_sets(train=train, held_out=held_out, fake=fake)
    _, held_out_distance = nearest(held_out, train)
    places, distance = nearest(fake, train)
    m, h = len(fake), len(held_out)
    # Share of the other set above each distance, ties counted half.
    above_fake = (h - _places(distance, held_out_distance)) / h
    below_held_out = _places(held_out_distance, distance) / m
    # DeLong et al. 1988: the variance of a rank statistic by the placements of each set in the other.
    error = np.sqrt(np.var(above_fake, ddof=1) / m + np.var(below_held_out, ddof=1) / h)
    nearer = above_fake.mean()
    ties = stats.tiecorrect(stats.rankdata(np.concatenate([distance, held_out_distance])))
    deviation = np.sqrt(ties * (m + h + 1) / (12 * m * h))  # of `nearer` for equal distributions
    score = (0.5 - nearer) / deviation if deviation else 0.0
    return Memorisation(
        nearer=Estimate(float(nearer), float(error)),
        score=float(score),
        p_value=float(stats.norm.cdf(score)),
        nearest=places,
        distance=distance,
        held_out_distance=held_out_distance,
    )


def nearest(rows: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (index int [n], Euclidean distance float64 [n]) of the nearest training row [.., d] of each row [n, d]; exactly 0 for copies.

    Raises ValueError for no rows, differing d, or values that are not finite.
    """
    rows, train = checked_sets(least=1, rows=rows, train=train)
    middle = train.mean(axis=0)
    places = np.concatenate(
        [squared_distances(rows[block] - middle, train - middle).argmin(axis=1) for block in blocks(len(rows))]
    )
    return places, np.linalg.norm(rows - train[places], axis=1)


def _places(values, others):
    """Returns the number of `others` below each value, equal ones counted half."""
    others = np.sort(others)
    return (np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")) / 2
