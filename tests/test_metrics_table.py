"""The table of measures: every full name that is built has its measure, and directions are right."""

import numpy as np
import pytest

from trainer.evaluation import grey_cards
from trainer.features.extractor import Extractor
from trainer.metrics import names, of_pairs, of_pictures, of_sets, table
from trainer.metrics.distribution import inception_score, kid_subsets
from trainer.metrics.naturalness import Naturalness
from trainer.metrics.table import MEASURES, better, measure_of, of_real

PICTURES, TARGETS = np.random.default_rng(0).integers(0, 256, (2, 3, 192, 192, 3)).astype(np.uint8)


def built():
    """Full names of everything that is measured."""
    real, fake, held_out = np.random.default_rng(1).standard_normal((3, 30, 4))
    extractor = Extractor("toy-1", 192, None, lambda batch: [batch])
    found = of_sets.measure("toy-1", real, fake, train=real, held_out=held_out)
    found |= names.of_sets(kid_subsets, "toy-1", real, fake, size=9)
    found |= names.of_sets(inception_score, "toy-1", np.full((20, 2), 0.5))
    masks = np.full((3, 192, 192, 1), 255, np.uint8)
    found |= of_pairs.measure(PICTURES, TARGETS, shave=2, extractor=extractor, masks=masks)
    found |= grey_cards.measure(lambda cards: cards)
    found |= of_pictures.measure(PICTURES, period=4)
    found |= {"attribute_accuracy_colour_cnn-v1": None}  # `trainer.evaluation.sets` names it
    found |= {"lpips_alex_443c5bc3": None}  # `trainer.features.lpips` names it
    return [*found, *names.of_naturalness(PICTURES, Naturalness(np.zeros(36), np.eye(36), patch=16))]


def test_every_full_name_has_its_measure_and_every_measure_is_used():
    measures = [measure_of(name) for name in built()]
    assert set(measures) == set(MEASURES) and len(measures) == len(MEASURES)


def test_names_of_measures_are_different_and_described():
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)
    assert all(measure.meaning and measure.source and measure.better in (-1, 0, 1) for measure in MEASURES)


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("kid_packshot-1_n3068", table.KID),
        ("kid_subsets_raw_subsets100_size9_seed0_n30", table.KID_SUBSETS),
        ("kid", table.KID),
        ("ms_ssim_y_shave4_scales5", table.MS_SSIM_Y),
        ("train_psnr_rgb_shave4", table.PSNR_RGB),
        ("feature_distance_packshot-1", table.FEATURE_DISTANCE),
        ("periodic_artifacts_p4", table.PERIODIC_ARTIFACTS),
        ("real_periodic_artifacts_p4", None),
        ("critic_loss", None),
        ("kidney", None),
    ],
)
def test_the_measure_of_a_full_name(name, measure):
    assert measure_of(name) is measure


def test_directions():
    more = ["psnr_y", "recall_a_k3_n9", "inception_score_a_splits10_n9"]
    less = ["kid_a_n9", "train_delta_e_2000", "periodic_artifacts_p4", "niqe_0"]
    neither = ["memorisation_a_n9", "real_periodic_artifacts_p4", "loss"]
    assert [better(name) for name in more + less + neither] == [1] * 3 + [-1] * 4 + [0] * 3
    words = [measure.direction for measure in (table.RECALL, table.FID, table.MEMORISATION, table.PERIODIC_ARTIFACTS)]
    assert words == ["more", "less", "0.5", "as real"]


def test_values_that_hang_on_the_number_of_pictures():
    assert {measure.name for measure in MEASURES if measure.equal_counts} == {"fid", "recall", "coverage"}


def test_names_of_real_pictures():
    assert of_real("periodic_artifacts_p4") == of_real("train_periodic_artifacts_p4") == "real_periodic_artifacts_p4"
