"""Copies are told from new pictures; the statistic agrees with SciPy and with counting pairs."""

import numpy as np
import pytest
from scipy import stats

from trainer.metrics import vectors
from trainer.metrics.memorisation import memorisation


def sets(seed=0, n=60, h=25, m=35, d=4):
    random = np.random.default_rng(seed)
    return [random.standard_normal((rows, d)) for rows in (n, h, m)]


@pytest.mark.parametrize("block", [1024, 8])
def test_nearest_pictures_and_the_share_of_pairs(block, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", block)
    train, held_out, fake = sets()
    found = memorisation(train, held_out, fake)
    apart = [np.linalg.norm(rows[:, None] - train, axis=2) for rows in (fake, held_out)]
    assert found.nearest.tolist() == apart[0].argmin(axis=1).tolist()
    np.testing.assert_allclose(found.distance, apart[0].min(axis=1))
    np.testing.assert_allclose(found.held_out_distance, apart[1].min(axis=1))
    nearer = [a < b for a in found.distance for b in found.held_out_distance]
    assert found.nearer.value == pytest.approx(np.mean(nearer))


def test_score_and_p_value_agree_with_scipy():
    train, held_out, fake = sets()
    found = memorisation(np.round(train), np.round(held_out), np.round(fake))  # on a lattice, so with ties
    assert len(set(found.distance)) < 10
    settings = dict(alternative="less", method="asymptotic", use_continuity=False)
    test = stats.mannwhitneyu(found.distance, found.held_out_distance, **settings)
    assert found.nearer.value == pytest.approx(1 - test.statistic / (35 * 25))
    assert found.p_value == pytest.approx(test.pvalue)
    assert found.score == pytest.approx(stats.norm.ppf(test.pvalue))


def test_new_pictures_copies_and_far_ones():
    train, held_out, fake = sets()
    new = memorisation(train, held_out, fake)
    assert abs(new.nearer.value - 0.5) < 3 * new.nearer.error and 0.01 < new.p_value < 0.99
    copies = memorisation(train, held_out, np.concatenate([train[7:20], train[:9] + 1e-3]))
    assert copies.nearer.value > 0.99 and copies.score < -5 and copies.p_value < 1e-6
    assert copies.nearest.tolist() == [*range(7, 20), *range(9)]
    assert (copies.distance[:13] == 0).all()
    far = memorisation(train, held_out, fake + 9)
    assert far.nearer == (0, 0) and far.score > 5 and far.p_value > 0.999


def test_the_error_and_the_p_value_are_those_of_fresh_samples():
    found = [memorisation(*sets(seed, n=40)) for seed in range(300)]
    nearer = np.array([one.nearer for one in found])
    # One set of training pictures a time, which the error takes as given, so the spread is a little wider.
    assert 0.85 < nearer[:, 1].mean() / nearer[:, 0].std(ddof=1) < 1.1
    assert abs(nearer[:, 0].mean() - 0.5) < 3 * nearer[:, 0].std() / 300**0.5
    assert stats.kstest([one.p_value for one in found], "uniform").pvalue > 0.01


def test_the_closest_pairs_come_first():
    train, held_out, fake = sets()
    fake[4], fake[30] = train[11] + 0.01, train[2]
    found = memorisation(train, held_out, fake)
    assert found.closest(2).tolist() == [[30, 2], [4, 11]]
    assert found.closest(99).shape == (35, 2)


def test_everything_equal():
    same = memorisation(*(np.ones((5, 2)) for _ in range(3)))
    assert (same.nearer, same.score, same.p_value) == ((0.5, 0), 0, 0.5)


def test_sets_that_cannot_be():
    train, held_out, fake = sets()
    with pytest.raises(ValueError, match=r"train \[60, 4\], held_out \[25, 4\], fake \[35, 3\]"):
        memorisation(train, held_out, fake[:, :3])
    with pytest.raises(ValueError, match="held_out has 1 rows"):
        memorisation(train, held_out[:1], fake)
