"""Scores with intervals from choices between two pictures, by the model of Bradley and Terry."""

from typing import NamedTuple

import numpy as np
from scipy import special, stats

from data.errors import UserError

GROUPS = 5  # least number of raters, or questions, to measure their differences
_STEPS, _SETTLED = 100_000, 1e-12


class Preference(NamedTuple):
    """Strength (log odds, mean 0), score and ends of the score's interval for each model: float64 [models] each.

    The score is the probability of being preferred to another model, drawn at random: 1/2 is the average.
    """

    strength: np.ndarray
    score: np.ndarray
    low: np.ndarray
    high: np.ndarray


def strengths(wins: np.ndarray) -> np.ndarray:
    """Returns the maximum-likelihood strengths t [k], mean 0, of P(i beats j) = 1 / (1 + exp(t_j - t_i)): Bradley & Terry 1952.

    Args:
        wins: number of wins of i against j, [k, k], floats >= 0; a tie is half a win each.

    Uses the MM algorithm (Hunter 2004), which increases the likelihood at every step. A finite maximum exists if every model has beaten
    every other one, directly or over a chain of others. Raises UserError if the steps do not converge.
    """
    wins = np.asarray(wins, np.float64)
    played, won = wins + wins.T, wins.sum(axis=1)
    worth = np.ones(len(wins))
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_STEPS):
            new = won / (played / (worth[:, None] + worth)).sum(axis=1)
            new /= np.exp(np.log(new).mean())
            if not np.all(np.isfinite(new) & (new > 0)):
                break
            moved = np.abs(np.log(new / worth)).max()
            worth = new
            if moved < _SETTLED:
                return np.log(worth)
    raise UserError("the choices have no finite strengths: some models never lost to some others")


def preference(
    left: np.ndarray,
    right: np.ndarray,
    points: np.ndarray,
    models: int,
    *,
    groupings: tuple[np.ndarray, ...] = (),
    confidence: float = 0.95,
) -> Preference:
    """Computes strengths and scores of `models` models from n choices.

    Args:
        left, right: the two models of each choice, int [n] below `models`.
        points: 1 if the left one was chosen, 0 if the right one, 1/2 for a tie, float [n].
        groupings: int [n] each, such as raters or pictures. Choices of one group may be correlated.
        confidence: of the intervals, in (0, 1).

    One tie for each parameter is added in total, spread evenly over the pairs (each pair gets 2 / k of a tie; with two models each gets
    half a win), as in Firth (1993). So a model that always won has a finite score, with an interval that reaches far down and nearly up
    to 1, and models that never met can be scored. For two models the score is (wins + 1/2) / (n + 1).

    The interval is symmetric in the score's log odds (delta method) and the widest of several. The first is from the inverse Fisher
    information, as if all choices were independent. It counts a tie as half a win and half a loss, so it is too wide with many ties. Each
    grouping of at least `GROUPS` groups gives another, by the sandwich estimator over groups (Liang & Zeger 1986) with Student's t; it
    holds for other groups of the kind.

    Raises ValueError for fewer than 2 models, arrays of differing lengths, models out of range or against themselves, and other points.
    """
    left, right, points = np.asarray(left), np.asarray(right), np.asarray(points, np.float64)
    _check(left, right, points, models, groupings)
    wins = np.full((models, models), 1 / models)
    np.fill_diagonal(wins, 0)
    np.add.at(wins, (left, right), points)
    np.add.at(wins, (right, left), 1 - points)
    strength = strengths(wins)
    chance = special.expit(strength[:, None] - strength)  # of i against j
    slope = chance * (1 - chance)
    information = -(wins + wins.T) * slope
    np.fill_diagonal(information, -information.sum(axis=1))
    covariance = np.linalg.pinv(information, hermitian=True)

    score = (chance.sum(axis=1) - 0.5) / (models - 1)
    np.fill_diagonal(slope, 0)
    gradient = (np.diag(slope.sum(axis=1)) - slope) / (models - 1) / (score * (1 - score))[:, None]  # of the log odds

    def reach(covariance, freedom):
        variance = np.einsum("ij,jk,ik->i", gradient, covariance, gradient)
        return stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(variance)

    reaches = [reach(covariance, np.inf)]
    surprise = points - chance[left, right]
    for grouping in groupings:
        _, group = np.unique(grouping, return_inverse=True)
        groups = int(group.max(initial=-1)) + 1
        if groups >= GROUPS:
            pull = np.zeros((groups, models))
            np.add.at(pull, (group, left), surprise)
            np.add.at(pull, (group, right), -surprise)
            middle = covariance @ pull.T
            reaches.append(reach(middle @ middle.T * groups / (groups - 1), groups - 1))
    widest = np.max(reaches, axis=0)
    odds = special.logit(score)
    return Preference(strength, score, special.expit(odds - widest), special.expit(odds + widest))


def _check(left, right, points, models, groupings):
    if models < 2:
        raise ValueError(f"a preference is between at least 2 models, not {models}")
    if any(array.shape != (len(left),) for array in (left, right, points, *map(np.asarray, groupings))):
        raise ValueError("left, right, points and groupings must be rows of one length")
    for side in (left, right):
        if len(side) and not (side.dtype.kind in "iu" and 0 <= side.min() <= side.max() < models):
            raise ValueError(f"models are whole numbers from 0 to {models - 1}")
    if np.any(left == right):
        raise ValueError("a model cannot be preferred to itself")
    if not np.all(np.isin(points, (0, 0.5, 1))):
        raise ValueError("points are 1, 1/2 or 0")
