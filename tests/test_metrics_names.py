"""Names tell everything that the value depends on; categories are measured alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainer.metrics import names
from trainer.metrics.artifacts import periodic_artifacts
from trainer.metrics.categories import by_category
from trainer.metrics.distribution import fid, inception_score, kid, kid_subsets
from trainer.metrics.fidelity import delta_e_2000, ms_ssim, psnr, ssim
from trainer.metrics.memorisation import memorisation
from trainer.metrics.naturalness import Naturalness
from trainer.metrics.neighbours import density_coverage, precision_recall
from trainer.metrics.perceptual import feature_distance

PICTURES, TARGETS = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3)).astype(np.uint8)
REAL, FAKE = np.random.default_rng(1).standard_normal((2, 30, 4))


@pytest.mark.parametrize(
    "measure, protocol, name",
    [
        (psnr, dict(space="y", shave=4), "psnr_y_shave4"),
        (psnr, dict(shave=4, space="rgb"), "psnr_rgb_shave4"),
        (ssim, dict(space="rgb", shave=0), "ssim_rgb"),
        (ms_ssim, dict(space="y", shave=2, scales=2), "ms_ssim_y_shave2_scales2"),
        (delta_e_2000, dict(shave=1), "delta_e_2000_shave1"),
    ],
)
def test_measures_of_pairs(measure, protocol, name):
    (found,) = names.of_pairs(measure, PICTURES, TARGETS, **protocol).items()
    assert found[0] == name and np.array_equal(found[1], measure(PICTURES, TARGETS, **protocol))


def test_a_default_stands_in_the_name_too():
    large = np.zeros((1, 161, 161, 3), np.uint8)
    assert list(names.of_pairs(ms_ssim, large, large, space="y", shave=0)) == ["ms_ssim_y_scales5"]


@pytest.mark.parametrize("protocol", [dict(space="y"), dict(space="y", shave=0, k=3)])
def test_an_incomplete_or_unknown_protocol_has_no_name(protocol):
    with pytest.raises(TypeError, match="shave|k"):
        names.of_pairs(psnr, PICTURES, TARGETS, **protocol)


def test_measures_of_sets():
    assert names.of_sets(kid, "clothes-v1", REAL, FAKE) == {"kid_clothes-v1_n30": kid(REAL, FAKE)}
    assert names.of_sets(fid, "clothes-v1", REAL, FAKE[:9]) == {"fid_clothes-v1_n30x9": fid(REAL, FAKE[:9])}
    found = names.of_sets(precision_recall, "raw", REAL, FAKE, groups=5)
    assert list(found) == ["precision_raw_k3_n30", "recall_raw_k3_n30"]
    assert found["recall_raw_k3_n30"] == precision_recall(REAL, FAKE, groups=5).recall
    assert list(names.of_sets(density_coverage, "raw", REAL, FAKE, k=2)) == [
        "density_raw_k2_n30",
        "coverage_raw_k2_n30",
    ]
    assert list(names.of_sets(kid_subsets, "raw", REAL, FAKE, size=9)) == ["kid_subsets_raw_subsets100_size9_seed0_n30"]
    assert list(names.of_sets(memorisation, "raw", REAL, FAKE[:7], FAKE)) == ["memorisation_raw_n30x7x30"]
    chances = np.full((20, 2), 0.5)
    assert list(names.of_sets(inception_score, "clothes-v1", chances)) == ["inception_score_clothes-v1_splits10_n20"]


def test_measures_of_pictures_alone():
    found = names.of_pictures(periodic_artifacts, PICTURES, period=4)
    assert found == {"periodic_artifacts_p4": periodic_artifacts(PICTURES, 4)}


@pytest.mark.parametrize("features", ["", "a_b", "a b", "é"])
def test_a_name_of_features_cannot_be_taken_for_another_word(features):
    with pytest.raises(ValueError, match="letters, digits, dots and hyphens"):
        names.of_sets(kid, features, REAL, FAKE)
    with pytest.raises(ValueError, match="letters, digits, dots and hyphens"):
        names.of_maps(features, [], [])


def test_feature_distance_and_niqe():
    maps = [np.ones((2, 3, 3, 4))]
    assert names.of_maps("clothes-v1", maps, maps).keys() == {"feature_distance_clothes-v1"}
    weighted = names.of_maps("clothes-v1", maps, [maps[0] * [1, 2, 3, 4]], weights=[np.arange(4)])
    expected = feature_distance(maps, [maps[0] * [1, 2, 3, 4]], weights=[np.arange(4)])
    assert list(weighted) == ["feature_distance_clothes-v1_weighted"] and np.array_equal(*weighted.values(), expected)
    model = Naturalness(np.zeros(36), np.eye(36), patch=16)
    assert list(names.of_naturalness(PICTURES, model)) == [f"niqe_{model.digest}"]


def test_categories_are_measured_alone():
    labels = np.repeat([0, 2], 15)
    found = by_category(kid, REAL, labels, FAKE[:24], labels[:24], names=["shoe", "hat", "coat"], least=9)
    assert found["shoe"] == (15, 15, kid(REAL[:15], FAKE[:15]))
    assert found["hat"] == (0, 0, None)
    assert found["coat"] == (15, 9, kid(REAL[15:], FAKE[15:24]))
    assert by_category(kid, REAL, labels, FAKE[:24], labels[:24], names=["shoe", "hat", "coat"], least=10)["coat"] == (
        15,
        9,
        None,
    )
    recall = by_category(precision_recall, REAL, labels, FAKE, labels, names="abc", least=15, k=5)["c"].result.recall
    assert recall == precision_recall(REAL[15:], FAKE[15:], k=5).recall


@pytest.mark.parametrize(
    "labels, words",
    [
        (np.zeros(29, int), r"real labels must be integers \[30\], not int64 \[29\]"),
        (np.zeros(30), "not float64"),
        (np.arange(30), "real labels run from 0 to 29; there are 2 names"),
        (np.full(30, -1), "real labels run from -1 to -1"),
    ],
)
def test_labels_that_cannot_be(labels, words):
    with pytest.raises(ValueError, match=words):
        by_category(kid, REAL, labels, FAKE, np.zeros(30, int), names=["shoe", "hat"])


def test_measuring_does_not_import_tensorflow():
    root = Path(__file__).parent.parent
    modules = sorted(f"trainer.metrics.{path.stem}" for path in (root / "trainer" / "metrics").glob("[a-z]*.py"))
    code = f"import sys; sys.modules['tensorflow'] = None\nimport {', '.join(modules)}"
    assert "trainer.metrics.naturalness" in modules
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
