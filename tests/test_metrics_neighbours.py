"""Precision, recall, density and coverage against loops over pairs, closed forms and sets laid out by hand."""

import numpy as np
import pytest

from trainer.metrics import vectors
from trainer.metrics.neighbours import density_coverage, precision_recall, realism


def slowly(real, fake, k):
    """(precision, recall, density, coverage), one pair of rows at a time."""

    def distance(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5

    def radius(rows, index):
        return sorted(distance(rows[index], other) for j, other in enumerate(rows) if j != index)[k - 1]

    real_radii, fake_radii = ([radius(rows, i) for i in range(len(rows))] for rows in (real, fake))
    inside = np.array([[distance(a, b) <= r for b in fake] for a, r in zip(real, real_radii, strict=True)])
    inside_fake = np.array([[distance(a, b) <= r for b, r in zip(fake, fake_radii, strict=True)] for a in real])
    return (
        inside.any(axis=0).mean(),
        inside_fake.any(axis=1).mean(),
        inside.sum() / k / len(fake),
        inside.any(axis=1).mean(),
    )


def sets(n, m, d=2, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((n, d)), random.standard_normal((m, d)) * 1.3 + 0.5


def measured(real, fake, k, groups=10):
    return [*precision_recall(real, fake, k=k, groups=groups), *density_coverage(real, fake, k=k, groups=groups)]


@pytest.mark.parametrize("block", [1024, 7])
@pytest.mark.parametrize("k", [1, 3])
def test_values_agree_with_loops_over_pairs(k, block, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", block)
    real, fake = sets(23, 17)
    found = [estimate.value for estimate in measured(real, fake, k)]
    np.testing.assert_allclose(found, slowly(real, fake, k), rtol=1e-12)


@pytest.mark.parametrize("k, groups", [(2, 4), (5, 10)])
def test_errors_are_those_of_leaving_groups_out(k, groups):
    """Delete-a-group jackknife, done again with the loops."""
    real, fake = sets(22, 15)
    random = np.random.default_rng(0)
    shuffled = random.permutation(real), random.permutation(fake)
    without = [slowly(*(np.delete(x, np.s_[g::groups], axis=0) for x in shuffled), k) for g in range(groups)]
    expected = np.sqrt((groups - 1) ** 2 / groups * np.var(without, axis=0, ddof=1))
    np.testing.assert_allclose(
        [estimate.error for estimate in measured(real, fake, k, groups)], expected, rtol=1e-9, atol=1e-12
    )


def test_points_on_a_line():
    """Reals 0, 1, ..., 11: with k = 1 each ball reaches 1 far. Fakes at 0.5 lie in two balls, those at 50 in none."""
    real = np.arange(12.0)[:, None]
    fake = np.repeat([0.5, 50.0], 6)[:, None]
    assert precision_recall(real, fake, k=1).precision.value == 0.5
    assert density_coverage(real, fake, k=1).density.value == 1.0
    assert density_coverage(real, fake, k=1).coverage.value == 2 / 12
    # Each fake has equals beside it, so its ball has no size, and no real picture is in one.
    assert precision_recall(real, fake, k=1).recall.value == 0


def test_the_same_set_twice_and_sets_far_apart():
    real, _ = sets(40, 2, 5)
    assert [estimate.value for estimate in precision_recall(real, real)] == [1, 1]
    assert density_coverage(real, real).coverage.value == 1
    for found in (precision_recall(real, real + 1e3), density_coverage(real, real + 1e3)):
        assert np.array_equal(found, np.zeros((2, 2)))


def test_equal_distributions_have_density_one_and_the_known_coverage():
    """Naeem et al. 2020: expected coverage 1 - (n - 1) ... (n - k) / ((2n - 1) ... (2n - k)) at n = m, density 1."""
    n, k = 40, 3
    draws = np.random.default_rng(0).standard_normal((200, 2, n, 3))
    found = np.array([[e.value for e in density_coverage(*draw, k=k, groups=2)] for draw in draws])
    expected = 1, 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert (np.abs(found.mean(axis=0) - expected) < 3 * found.std(axis=0) / 200**0.5).all()


def test_a_generator_that_dropped_half_the_products_loses_recall_and_coverage():
    random = np.random.default_rng(0)
    kinds = random.standard_normal((2, 60, 4)) + [[[0] * 4], [[30] * 4]]
    real, fake = kinds.reshape(120, 4), random.standard_normal((120, 4))
    found = precision_recall(real, fake)
    assert found.precision.value > 0.8 and 0.3 < found.recall.value <= 0.5
    assert density_coverage(real, fake).coverage.value <= 0.5


def test_moving_everything_changes_nothing():
    real, fake = sets(30, 30)
    far = [(estimate.value, estimate.error) for estimate in measured(real + 1e4, fake + 1e4, 3)]
    np.testing.assert_allclose(far, measured(real, fake, 3), rtol=1e-9)


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
def test_arguments_that_cannot_be(measure):
    real, fake = sets(10, 10)
    assert len(measure(real, fake, k=8)) == 2  # without one row, each of nine has eight others
    with pytest.raises(ValueError, match="real has 10 rows; this measure needs at least 12"):
        measure(real, fake, k=9)
    with pytest.raises(ValueError, match="not 0 and 10"):
        measure(real, fake, k=0)
    with pytest.raises(ValueError, match="not 3 and 1"):
        measure(real, fake, k=3, groups=1)
    with pytest.raises(ValueError, match="differ in the number of features"):
        measure(real, fake[:, :1])
    with pytest.raises(ValueError, match="not finite, first in row 0"):
        measure(real, fake * np.inf)


@pytest.mark.parametrize("block", [1024, 7])
def test_realism_agrees_with_loops_over_pairs(block, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", block)
    real, fake = sets(23, 17)
    radii = [np.sort(np.linalg.norm(real - row, axis=1))[3] for row in real]
    usual = [i for i in range(23) if radii[i] <= np.median(radii)]
    expected = [max(radii[i] / np.linalg.norm(real[i] - row) for i in usual) for row in fake]
    np.testing.assert_allclose(realism(real, fake, k=3), expected, rtol=1e-9)


def test_a_copy_is_wholly_real_and_too_few_are_refused():
    real, fake = sets(23, 17)
    scores = realism(real, np.concatenate([real, fake]))
    assert (scores > 1e6).sum() == 12 and scores[23:].max() < 10
    with pytest.raises(ValueError):
        realism(real[:4], fake)
