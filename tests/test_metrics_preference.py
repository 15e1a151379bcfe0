"""Bradley and Terry's model against a published fit, closed forms, a direct maximisation, and simulated raters."""

import numpy as np
import pytest
from scipy import optimize, special

from trainer.metrics.preference import preference, strengths

# Wins of the row over the column, American League 1987: Milwaukee, Detroit, Toronto, New York, Boston, Cleveland, Baltimore.
BASEBALL = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]
)


def _choices(models, count, rng, spread=1.0):
    left = rng.integers(models, size=count)
    right = (left + rng.integers(1, models, size=count)) % models
    truth = spread * np.linspace(1, -1, models)
    points = (rng.random(count) < special.expit(truth[left] - truth[right])).astype(float)
    points[rng.random(count) < 0.1] = 0.5
    return left, right, points


def _loss(strength, left, right, points):
    gap = strength[left] - strength[right]
    return np.sum(np.logaddexp(0, gap) - points * gap)


def _with_ties_added(models, left, right, points):
    """The choices with the ties written out, as weights: 2 / k of a tie a pair."""
    first, second = np.triu_indices(models, 1)

    def loss(strength):
        gap = strength[first] - strength[second]
        return _loss(strength, left, right, points) + np.sum(2 / models * (np.logaddexp(0, gap) - gap / 2))

    return loss


def test_published_strengths():
    """Agresti, Categorical Data Analysis, table 10.10: relative to Baltimore."""
    found = strengths(BASEBALL)
    np.testing.assert_allclose(found - found[-1], [1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0], atol=0.006)
    assert abs(found.mean()) < 1e-12


def test_strengths_are_where_a_direct_maximisation_finds_them():
    rng = np.random.default_rng(1)
    wins = rng.integers(1, 30, size=(5, 5)) * (1 - np.eye(5))
    rows, columns = np.nonzero(wins)

    def loss(strength):
        return np.sum(wins[rows, columns] * np.logaddexp(0, strength[columns] - strength[rows]))

    direct = optimize.minimize(loss, np.zeros(5), method="BFGS", options={"gtol": 1e-9}).x
    np.testing.assert_allclose(strengths(wins), direct - direct.mean(), atol=1e-6)


def test_two_models_have_a_closed_form():
    points = np.array([1.0] * 13 + [0.5] * 4 + [0.0] * 5)
    zeros, ones = np.zeros(22, int), np.ones(22, int)
    found = preference(zeros, ones, points, 2)
    won, lost = 13 + 2 + 0.5, 5 + 2 + 0.5
    odds, error = np.log(won / lost), np.sqrt(1 / won + 1 / lost)
    np.testing.assert_allclose(found.strength, [odds / 2, -odds / 2], atol=1e-10)
    np.testing.assert_allclose(found.score, [won / 23, lost / 23], atol=1e-10)
    np.testing.assert_allclose(found.low, special.expit([odds - 1.959964 * error, -odds - 1.959964 * error]), atol=1e-6)
    np.testing.assert_allclose(
        found.high, special.expit([odds + 1.959964 * error, -odds + 1.959964 * error]), atol=1e-6
    )


def test_interval_is_that_of_the_numerical_curvature():
    left, right, points = _choices(4, 120, np.random.default_rng(2))
    found = preference(left, right, points, 4)
    loss = _with_ties_added(4, left, right, points)
    free = optimize.minimize(lambda t: loss(np.append(t, 0)), np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x
    np.testing.assert_allclose(found.strength, np.append(free, 0) - np.append(free, 0).mean(), atol=1e-6)

    def odds(t):
        t = np.append(t, 0)
        return special.logit([np.mean([special.expit(t[i] - t[j]) for j in range(4) if j != i]) for i in range(4)])

    step = 1e-4 * np.eye(3)
    value = [[loss(np.append(free + a + b, 0)) for b in (*step, *-step)] for a in (*step, *-step)]
    value = np.array(value).reshape(2, 3, 2, 3)
    curvature = (value[0, :, 0] - value[0, :, 1] - value[1, :, 0] + value[1, :, 1]) / 4e-8
    slope = np.array([(odds(free + a) - odds(free - a)) / 2e-4 for a in step]).T
    error = np.sqrt(np.diag(slope @ np.linalg.inv(curvature) @ slope.T))
    np.testing.assert_allclose(found.high, special.expit(odds(free) + 1.959964 * error), atol=1e-5)
    np.testing.assert_allclose(found.low, special.expit(odds(free) - 1.959964 * error), atol=1e-5)


def test_groups_that_differ_widen_the_interval_by_the_sandwich():
    """Six raters of ten choices: three always for the one, three for the other. Two models, so all can be worked by hand."""
    points = np.repeat([1.0, 1.0, 1.0, 0.0, 0.0, 0.0], 10)
    rater = np.repeat(np.arange(6), 10)
    zeros, ones = np.zeros(60, int), np.ones(60, int)
    found = preference(zeros, ones, points, 2, groupings=(rater,))
    information = 61 / 4
    variance = 6 * 5.0**2 * 6 / 5 / information**2
    np.testing.assert_allclose(found.high[0], special.expit(2.570582 * np.sqrt(variance)), atol=1e-6)
    assert found.high[0] > preference(zeros, ones, points, 2).high[0] + 0.1


def test_few_groups_are_not_judged():
    left, right, points = _choices(3, 40, np.random.default_rng(3))
    plain = preference(left, right, points, 3)
    np.testing.assert_array_equal(preference(left, right, points, 3, groupings=(np.arange(40) % 4,)).high, plain.high)


@pytest.mark.parametrize("groupings", [0, 2])
def test_neither_order_nor_sides_nor_numbers_matter(groupings):
    rng = np.random.default_rng(4)
    left, right, points = _choices(4, 80, rng)
    groups = [rng.integers(8, size=80) for _ in range(groupings)]
    found = np.array(preference(left, right, points, 4, groupings=tuple(groups)))
    order, turned, number = rng.permutation(80), rng.random(80) < 0.5, rng.permutation(4)
    other = preference(
        number[np.where(turned, right, left)[order]],
        number[np.where(turned, left, right)[order]],
        np.where(turned, 1 - points, points)[order],
        4,
        groupings=tuple(7 - group[order] for group in groups),
    )
    np.testing.assert_allclose(np.array(other)[:, number], found, atol=1e-9)


def test_a_model_that_always_wins_has_a_score_and_an_open_interval():
    found = preference(np.zeros(10, int), np.ones(10, int), np.ones(10), 2)
    assert found.score[0] == pytest.approx(10.5 / 11)
    assert 0.5 < found.low[0] < 0.6 and 0.99 < found.high[0] < 1
    with pytest.raises(ValueError, match="no finite strengths"):
        strengths([[0, 10], [0, 0]])


def test_models_that_never_met_are_told_apart_by_nothing():
    found = preference(np.array([0, 2] * 10), np.array([1, 3] * 10), np.array([1.0, 0.0] * 10), 4)
    np.testing.assert_allclose(found.score[[0, 1]], found.score[[3, 2]], atol=1e-6)
    assert found.low[0] < 0.5


@pytest.mark.parametrize("raters", [1, 10])
def test_intervals_hold_what_they_promise(raters):
    """Simulated pages of 60 questions about three models. Raters differ in taste where there are several."""
    rng = np.random.default_rng(5)
    truth, pairs = np.array([0.8, 0.0, -0.8]), np.array([(0, 1), (1, 2), (2, 0)])
    taste = 0.6 * (raters > 1)
    # The mean score over raters, whose gaps deviate by taste * sqrt(2), by Gauss-Hermite quadrature.
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    gaps = truth[:, None, None] - truth[None, :, None] + taste * np.sqrt(2) * nodes
    chance = special.expit(gaps) @ (weights / weights.sum())
    target = (chance.sum(axis=1) - 0.5) / 2
    question, rater = np.tile(np.arange(60), raters), np.repeat(np.arange(raters), 60)
    left, right = pairs[question % 3].T
    inside = []
    for _ in range(300):
        own = truth + taste * rng.standard_normal((raters, 3))
        points = (rng.random(60 * raters) < special.expit(own[rater, left] - own[rater, right])).astype(float)
        found = preference(left, right, points, 3, groupings=(rater, question))
        inside.append((found.low <= target) & (target <= found.high))
    assert 0.92 < np.mean(inside) < 0.985


@pytest.mark.parametrize(
    "left, right, points, models, what",
    [
        ([0], [1], [1], 1, "at least 2"),
        ([0, 1], [1], [1], 2, "one length"),
        ([0], [2], [1], 2, "from 0 to 1"),
        ([0.0], [1.0], [1], 2, "whole numbers"),
        ([1], [1], [1], 2, "itself"),
        ([0], [1], [0.7], 2, "1/2"),
    ],
)
def test_nonsense_is_refused(left, right, points, models, what):
    with pytest.raises(ValueError, match=what):
        preference(np.array(left), np.array(right), np.array(points), models)
