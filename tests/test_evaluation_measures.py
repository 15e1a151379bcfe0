"""Measures of sets, pairs and pictures: their numbers, under their names, equal to the measures called alone."""

import numpy as np
import pytest

from data.facts import Condition
from trainer.evaluation import grey_cards
from trainer.evaluation.pairs import PairEvaluator
from trainer.evaluation.sets import Pictures, SetEvaluator, named
from trainer.features.extractor import Extractor
from trainer.metrics import of_pairs, of_pictures, of_sets
from trainer.metrics.artifacts import periodic_artifacts
from trainer.metrics.distribution import fid, kid
from trainer.metrics.estimate import Estimate
from trainer.metrics.fidelity import delta_e_2000, psnr, ssim
from trainer.metrics.perceptual import feature_distance
from trainer.metrics.table import FEATURE_DISTANCE


def vectors(seed, count=60, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (count, 6))


def test_fakes_are_measured_against_real_pictures_the_headline_first():
    real, fake = vectors(0), vectors(1, 50, 0.5)
    found = of_sets.measure("toy-1", real, fake)
    assert list(found) == [
        "kid_toy-1_n60x50",
        "fid_toy-1_n60x50",
        "precision_toy-1_k3_n60x50",
        "recall_toy-1_k3_n60x50",
        "density_toy-1_k5_n60x50",
        "coverage_toy-1_k5_n60x50",
    ]
    assert found["kid_toy-1_n60x50"] == kid(real, fake)
    assert found["fid_toy-1_n60x50"] == fid(real, fake)


def test_memorisation_needs_pictures_held_out():
    real, fake = vectors(0), vectors(1)
    assert of_sets.measure("toy-1", real, fake, train=real).keys() == of_sets.measure("toy-1", real, fake).keys()
    copies = of_sets.measure("toy-1", real, real + 1e-3, train=real, held_out=vectors(2))
    assert copies["memorisation_toy-1_n60"].value == 1


def test_the_product_is_measured_alone_where_every_picture_shows_some():
    made, target = pair(16)
    masks = np.zeros((2, 16, 16, 1), np.uint8)
    masks[:, 4:9, 5:12] = 255
    name = "delta_e_2000_product_shave2"
    found = of_pairs.measure(made, target, shave=2, masks=masks)
    inside = delta_e_2000(made[:, 4:9, 5:12], target[:, 4:9, 5:12], shave=0)
    np.testing.assert_allclose(found[name], inside, rtol=1e-9)
    masks[1] = 0
    assert name not in of_pairs.measure(made, target, shave=2, masks=masks)
    masks[1, 0, 0] = 255  # shaved off
    assert name not in of_pairs.measure(made, target, shave=2, masks=masks)


def test_grey_cards():
    """A model that leaves greys as they are, but for a border; one that makes them blue; one that doubles them in size."""

    def changed(function):
        return grey_cards.measure(lambda cards: map(function, cards))["grey_cast"]

    def with_a_border(card):
        return np.pad(card[8:-8, 8:-8], ((8, 8), (8, 8), (0, 0)))

    assert changed(with_a_border) == changed(lambda card: card.repeat(2, axis=0).repeat(2, axis=1)) == (0, 0)
    blue = changed(lambda card: np.maximum(card, np.array([0, 0, 25], np.uint8)))  # of the darkest card alone
    dark = np.full((1, 1, 1, 3), 15, np.uint8)
    assert blue.value == pytest.approx(delta_e_2000(dark + np.array([0, 0, 10], np.uint8), dark, shave=0)[0] / 9)


class Distances:
    """LPIPS on a network that the extractor below looks through too, or on another."""

    name, network = "lpips_toy", "toy-2"

    def distances(self, pairs):
        return np.zeros(len(list(pairs)))


@pytest.mark.parametrize("trained_with", [(), ("toy-1",), ("toy-2",), ("toy-1", "toy-2", "toy-3")])
def test_nothing_is_measured_through_a_network_trained_with(trained_with):
    extractor = Extractor("toy-1", 16, None, lambda batch: [batch])
    made, targets = pair(16)
    evaluator = PairEvaluator(targets, extractor, 0, 4, FEATURE_DISTANCE, Distances(), trained_with)
    metrics, each = evaluator.measure(made)
    present = {"feature_distance_toy-1": "toy-1", "lpips_toy": "toy-2"}
    expected = {name for name, network in present.items() if network not in trained_with}
    assert metrics.keys() & present.keys() == each.keys() & present.keys() == expected
    assert evaluator.names() == tuple(metrics)
    assert evaluator.left_out == tuple(name for name in trained_with if name != "toy-3")
    assert next(iter(metrics)) == ("psnr_y" if "toy-1" in trained_with else "feature_distance_toy-1")


def test_too_few_pictures_are_refused():
    with pytest.raises(ValueError, match="12 made pictures are too few"):
        of_sets.measure("toy-1", vectors(0), vectors(1, 12))


def pair(side):
    random = np.random.default_rng(side)
    target = random.integers(0, 256, (2, side, side, 3), np.uint8)
    return np.clip(target.astype(int) + random.integers(-20, 20, target.shape), 0, 255).astype(np.uint8), target


def test_pictures_are_measured_against_their_targets():
    made, target = pair(32)
    found = of_pairs.measure(made, target, shave=4)
    assert list(found) == [
        "psnr_y_shave4",
        "ssim_y_shave4",
        "psnr_rgb_shave4",
        "ssim_rgb_shave4",
        "delta_e_2000_shave4",
        "white_lost_shave4",
    ]
    np.testing.assert_array_equal(found["psnr_y_shave4"], psnr(made, target, space="y", shave=4))
    np.testing.assert_array_equal(found["ssim_rgb_shave4"], ssim(made, target, space="rgb", shave=4))


@pytest.mark.parametrize(
    ("side", "shave", "present", "absent"),
    [(8, 0, "psnr_y", "ssim_y"), (161, 0, "ms_ssim_y_scales5", None), (162, 1, None, "ms_ssim_y_shave1_scales5")],
)
def test_measures_that_do_not_fit_a_small_picture_are_left_out(side, shave, present, absent):
    found = of_pairs.measure(*pair(side), shave=shave)
    assert present is None or present in found
    assert absent not in found


def test_an_extractor_with_layers_adds_its_distance():
    made, target = pair(16)
    extractor = Extractor("toy-1", 16, None, lambda batch: [batch])
    found = of_pairs.measure(made, target, shave=0, extractor=extractor)
    np.testing.assert_allclose(found["feature_distance_toy-1"], feature_distance([made], [target]), rtol=1e-6)
    without = Extractor("toy-1", 16, None)
    assert "feature_distance_toy-1" not in of_pairs.measure(made, target, shave=0, extractor=without)


def test_large_pictures_are_looked_at_in_parts_of_their_own_size():
    made, target = pair(40)
    extractor = Extractor("toy-1", 16, None, lambda batch: [batch])
    found = of_pairs.measure(made, target, shave=0, extractor=extractor)["feature_distance_toy-1"]
    corners = [np.s_[:, top : top + 16, left : left + 16] for top in (0, 16) for left in (0, 16)]
    expected = np.mean([feature_distance([made[part]], [target[part]]) for part in corners], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_pairs_may_differ_in_size_and_what_does_not_fit_all_is_left_out():
    pairs = [pair(32), pair(8)]
    made, targets = ([one[side][0] for one in pairs] for side in (0, 1))
    found = of_pairs.measure(made, targets, shave=0)
    assert list(found) == ["psnr_y", "psnr_rgb", "delta_e_2000", "white_lost"]
    for place in (0, 1):
        alone = psnr(made[place][None], targets[place][None], space="y", shave=0)
        assert found["psnr_y"][place] == alone[0]


def noise(count, side):
    return np.random.default_rng(side).integers(0, 256, (count, side, side, 3), np.uint8)


def test_periodic_artifacts_of_pictures_of_one_size():
    pictures = noise(9, 16)
    assert of_pictures.measure(pictures, period=4) == {"periodic_artifacts_p4": periodic_artifacts(pictures, 4)}
    assert list(of_pictures.measure(list(pictures), period=3)) == ["periodic_artifacts_p3"]


def test_periodic_artifacts_of_more_pictures_than_are_looked_at(monkeypatch):
    monkeypatch.setattr(of_pictures, "MOST", 5)
    pictures = noise(9, 16)
    assert of_pictures.measure(pictures, period=4) == {"periodic_artifacts_p4": periodic_artifacts(pictures[::2], 4)}


def test_periodic_artifacts_of_pictures_of_several_sizes_are_those_of_tiles():
    large, small = noise(1, 130)[0], noise(1, 64)[0, :, :]
    tiles = np.stack([large[:64, :64], large[:64, 64:128], large[64:128, :64], large[64:128, 64:128], small])
    found = of_pictures.measure([large, small], period=4)
    assert found == {"periodic_artifacts_p4": periodic_artifacts(tiles, 4)}


@pytest.mark.parametrize("pictures", [noise(1, 64), noise(5, 7), [noise(1, 40)[0], noise(1, 6)[0]]])
def test_where_no_grid_can_be_looked_for_there_is_no_number(pictures):
    assert of_pictures.measure(pictures, period=4) == {}


def test_a_grid_is_over_twice_that_of_real_pictures_by_three_errors():
    real = Estimate(1.2, 0.1)
    values = [(2.3, 0.01), (2.5, 0.01), (2.7, 0.11), (1.0, 0.0)]
    assert [of_pictures.has_grid(Estimate(*value), real) for value in values] == [False, True, False, False]


@pytest.mark.parametrize("blocks", [[60], [7, 50, 3]])
def test_a_set_is_measured_the_same_in_one_piece_and_in_blocks(blocks, monkeypatch):
    monkeypatch.setattr(of_pictures, "MOST", 20)
    pictures, real = noise(60, 16), vectors(0)
    extractor = Extractor("toy-1", 16, lambda batch: batch[:, :1, :2].reshape(len(batch), 6).astype(np.float32))
    evaluator = SetEvaluator(extractor, real, real, None, 4, {})
    found, seen = evaluator.measure(np.split(pictures, np.cumsum(blocks)[:-1]), 60)
    np.testing.assert_array_equal(seen, extractor.vectors(pictures))
    assert found == of_sets.measure("toy-1", real, seen) | of_pictures.measure(pictures[::3], period=4)


def test_names_of_pairs_are_known_before_there_are_any_the_headline_first():
    made, targets = noise(3, 20), noise(3, 24)[:, :20, :20]
    evaluator = PairEvaluator(targets, Extractor("toy-1", 16, None, lambda batch: [batch]), 2, 4, FEATURE_DISTANCE)
    metrics, each = evaluator.measure(made)
    assert tuple(metrics) == evaluator.names()
    assert list(each) == ["feature_distance_toy-1", *list(of_pairs.measure(made, targets, shave=2))]
    assert metrics["psnr_y_shave2"].value == each["psnr_y_shave2"].mean()
    assert metrics["periodic_artifacts_p4"] == periodic_artifacts(made, 4)


def test_a_caption_asks_for_the_values_that_it_names():
    """Word by word, in any case and with any signs between; what is known but not said is not asked for."""
    colour = Condition("colour", ("red", "sky blue", "blue"))
    captions = ["A red mug.", "a Sky-Blue mug", "a blue mug", "a mug", "a coloured mug", "a red hat"]
    values = np.array([0, 1, 2, 0, 0, -1])
    real = Pictures("x", None, None, None, (), None, attributes={"colour": values}, captions=captions)
    np.testing.assert_array_equal(named(colour, real), [0, 1, 2, -1, -1, -1])
