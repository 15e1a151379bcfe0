"""FID, KID and the Inception Score against closed forms, SciPy's matrix root, and sums written out."""

import math

import numpy as np
import pytest
from scipy import linalg

from trainer.metrics import vectors
from trainer.metrics.distribution import fid, frechet_distance, inception_score, kid, kid_subsets


def sets(n, m, d, seed=0):
    """Two sets of correlated, skewed features."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((d, d)) * np.exp(-np.arange(d) / 3)
    real = np.maximum(random.standard_normal((n, d)) @ mixing, -0.5)
    return real, np.maximum(
        random.standard_normal((m, d)) @ (mixing + 0.3 * random.standard_normal((d, d))), -0.5
    ) + 0.2


def frechet_by_matrix_root(real, fake, weights=None):
    """Heusel et al. 2017, eq. 6, as it stands; with weights on the rows of `real`, if given."""
    means = np.average(real, axis=0, weights=weights), fake.mean(axis=0)
    covariances = [np.cov(real, rowvar=False, aweights=weights), np.cov(fake, rowvar=False)]
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    return np.sum((means[0] - means[1]) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root.real)


def test_frechet_distance_of_two_numbers():
    """In one dimension it is (m1 - m2)^2 + (s1 - s2)^2."""
    assert frechet_distance([1.0], [[4.0]], [4.0], [[25.0]]) == pytest.approx(9 + 9)


def test_frechet_distance_of_covariances_with_common_axes():
    """With the same axes it is the sum of the squared differences of the deviations."""
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    first, second = np.array([1, 2, 3, 0, 0.5]), np.array([2, 2, 1, 4, 0])
    covariances = [(axes * deviations**2) @ axes.T for deviations in (first, second)]
    found = frechet_distance(np.zeros(5), covariances[0], np.full(5, 2.0), covariances[1])
    assert found == pytest.approx(5 * 4 + np.sum((first - second) ** 2), rel=1e-7)


def test_frechet_distance_and_fid_agree_with_scipys_root():
    real, fake = sets(60, 50, 6)
    expected = frechet_by_matrix_root(real, fake)
    moments = [moment for x in (real, fake) for moment in (x.mean(axis=0), np.cov(x, rowvar=False))]
    assert frechet_distance(*moments) == pytest.approx(expected, rel=1e-9)
    assert fid(real, fake).value == pytest.approx(expected, rel=1e-9)
    assert fid(fake, real) == pytest.approx(fid(real, fake), rel=1e-9)


@pytest.mark.parametrize("n, m", [(60, 50), (60, 8), (9, 7), (2, 3)])
def test_fid_does_not_mind_features_that_say_nothing_new(n, m):
    """Rotated into 40 dimensions, where no covariance has full rank, the value stays what it was in 4."""
    real, fake = sets(n, m, 4)
    wide = np.linalg.qr(np.random.default_rng(3).standard_normal((40, 40)))[0][:4]
    narrow, rotated = fid(real, fake), fid(real @ wide + 7, fake @ wide + 7)
    assert rotated == pytest.approx(narrow, rel=1e-6)


def test_fid_of_fewer_rows_than_features():
    """The roots of the eigenvalues of C1 C2, which lose half the digits at the many zeros, come near."""
    real, fake = sets(12, 15, 30)
    covariances = [np.cov(x, rowvar=False) for x in (real, fake)]
    roots = np.sqrt(np.maximum(linalg.eigvals(covariances[0] @ covariances[1]).real, 0)).sum()
    expected = np.sum((real.mean(axis=0) - fake.mean(axis=0)) ** 2) + np.trace(sum(covariances)) - 2 * roots
    assert fid(real, fake).value == pytest.approx(expected, rel=1e-5)


def test_fid_of_a_set_with_itself_and_moved():
    real, _ = sets(30, 2, 5)
    assert fid(real, real).value == pytest.approx(0, abs=1e-9)
    assert fid(real, real + [1, 2, 0, 0, 0]).value == pytest.approx(5, rel=1e-9)
    assert fid(np.ones((4, 3)), np.zeros((5, 3))) == (3, 0)


def test_the_error_of_fid_is_that_of_its_derivative_by_each_row():
    """Efron's infinitesimal jackknife, with the derivative taken numerically through SciPy's root."""
    real, fake = sets(40, 30, 3)

    def influence(one, other):
        step, found = 1e-4, []
        for row in range(len(one)):
            up, down = np.ones(len(one)), np.ones(len(one))
            up[row] += step
            down[row] -= step
            slope = (frechet_by_matrix_root(one, other, up) - frechet_by_matrix_root(one, other, down)) / (2 * step)
            found.append(slope * len(one))
        return np.array(found)

    variance = sum(np.var(influence(*pair), ddof=1) / len(pair[0]) for pair in ((real, fake), (fake, real)))
    # np.cov with weights divides by n - 1 of the whole; what is left between the two is of order 1 / n.
    assert fid(real, fake).error == pytest.approx(math.sqrt(variance), rel=0.03)


@pytest.mark.parametrize("n, d", [(50, 3), (25, 60)])
def test_errors_of_fid_and_kid_are_the_spread_over_fresh_samples(n, d):
    mixing = np.random.default_rng(5).standard_normal((d, d)) * np.exp(-np.arange(d) / 3)
    found = []
    for seed in range(150):
        random = np.random.default_rng(seed)
        real, fake = random.standard_normal((n, d)) @ mixing, random.standard_normal((n, d)) @ mixing * 1.5 + 0.3
        found.append([fid(real, fake), kid(real, fake)])
    found = np.array(found)
    spread, told = found[:, :, 0].std(axis=0, ddof=1), found[:, :, 1].mean(axis=0)
    assert (0.8 < told / spread).all() and (told / spread < 1.3).all(), told / spread


def kid_slowly(real, fake):
    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(rows):
        return np.mean([kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j])

    return within(real) + within(fake) - 2 * np.mean([kernel(x, y) for x in real for y in fake])


@pytest.mark.parametrize("block", [1024, 4])
def test_kid_by_its_sums(block, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", block)
    real, fake = sets(9, 7, 3)
    assert kid(real, fake).value == pytest.approx(kid_slowly(real, fake), rel=1e-9)
    without_real = [kid_slowly(np.delete(real, i, axis=0), fake) for i in range(9)]
    without_fake = [kid_slowly(real, np.delete(fake, i, axis=0)) for i in range(7)]
    variance = sum((len(x) - 1) / len(x) * np.sum((x - np.mean(x)) ** 2) for x in (without_real, without_fake))
    assert kid(real, fake).error == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_kid_by_hand():
    """One feature; reals 0, 0, 0 and fakes 1, 1, 1: kernels 1, 8 and 1, so 1 + 8 - 2."""
    assert kid(np.zeros((3, 1)), np.ones((3, 1))) == pytest.approx((7, 0))


def test_kid_is_unbiased_and_fid_is_not():
    """Of small sets from one distribution KID is 0 on average, while FID is far from it."""
    draws = [np.random.default_rng(seed).standard_normal((2, 12, 4)) for seed in range(300)]
    kids, fids = (np.array([measure(*draw).value for draw in draws]) for measure in (kid, fid))
    assert abs(kids.mean()) < 3 * kids.std() / math.sqrt(300)
    assert fids.min() > 0 and fids.mean() > 10 * fids.std() / math.sqrt(300)


def test_kid_subsets():
    real, fake = sets(30, 25, 3)
    whole = kid_subsets(real[:20], fake[:20], subsets=2, size=20)
    np.testing.assert_allclose(whole, kid(real[:20], fake[:20]).value)  # a subset of everything is everything
    many = kid_subsets(real, fake, subsets=400, size=10, seed=1)
    assert many.shape == (400,) and abs(many.mean() - kid(real, fake).value) < 4 * many.std() / 20
    assert np.array_equal(many, kid_subsets(real, fake, subsets=400, size=10, seed=1))


def test_inception_score_by_hand():
    assert inception_score(np.full((20, 4), 0.25), splits=2) == pytest.approx((1, 0))
    assert inception_score(np.tile(np.eye(5), (4, 1)), splits=2) == pytest.approx((5, 0))
    # Two pictures, (1, 0) and (1/2, 1/2), mean (3/4, 1/4): ln(4/3) and (ln(2/3) + ln 2) / 2.
    expected = math.exp((math.log(4 / 3) + (math.log(2 / 3) + math.log(2)) / 2) / 2)
    assert inception_score(np.array([[1, 0], [0.5, 0.5]]), splits=1).value == pytest.approx(expected)


def test_inception_score_is_the_mean_over_consecutive_parts():
    random = np.random.default_rng(0)
    rows = random.dirichlet(np.full(6, 0.3), 31)
    parts = [rows[:11], rows[11:21], rows[21:]]
    scores = [
        math.exp(sum((p * (np.log(p) - np.log(part.mean(axis=0)))).sum() for p in part) / len(part)) for part in parts
    ]
    expected = np.mean(scores), np.std(scores, ddof=1) / math.sqrt(3)
    assert inception_score(rows, splits=3) == pytest.approx(expected)
    assert math.isnan(inception_score(rows, splits=1).error)


@pytest.mark.parametrize("measure", [fid, kid])
@pytest.mark.parametrize(
    "real, fake, words",
    [
        (np.ones((5, 3)), np.ones((5, 4)), r"differ in the number of features: real \[5, 3\], fake \[5, 4\]"),
        (np.ones((5, 3)), np.ones((1, 3)), "fake has 1 rows; this measure needs at least"),
        (np.ones(5), np.ones((5, 3)), r"real must be numbers \[n, d\], not float64 \[5\]"),
        (
            np.ones((5, 3)),
            np.array([[0, 1, 2]] * 4 + [[0, np.nan, 2]]),
            "fake holds a value that is not finite, first in row 4",
        ),
        (np.full((5, 3), "a"), np.ones((5, 3)), "real must be numbers"),
    ],
)
def test_sets_that_cannot_be(measure, real, fake, words):
    with pytest.raises(ValueError, match=words):
        measure(real, fake)


def test_other_arguments_that_cannot_be():
    with pytest.raises(ValueError, match="fake has 5 rows; this measure needs at least 6"):
        kid_subsets(np.ones((6, 2)), np.ones((5, 2)), size=6)
    with pytest.raises(ValueError, match="not 3 of 1"):
        kid_subsets(np.ones((6, 2)), np.ones((5, 2)), subsets=3, size=1)
    with pytest.raises(ValueError, match="sum to 1"):
        inception_score(np.ones((20, 3)))
    with pytest.raises(ValueError, match="splits must be at least 1"):
        inception_score(np.ones((20, 1)), splits=0)
    with pytest.raises(ValueError, match="symmetric"):
        frechet_distance(np.zeros(2), [[1, 0.5], [0, 1]], np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="do not fit"):
        frechet_distance(np.zeros(2), np.eye(3), np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance([0, np.inf], np.eye(2), np.zeros(2), np.eye(2))
