"""How the packshot encoder is made: scenes that can be made again, and a frozen network that is the trained one."""

import numpy as np
import pytest

from data.images import to_float
from models.features import packshot
from trainer.features import make_encoder
from trainer.features.damage import blurred, compressed, faded, noisy
from trainer.features.scenes import CANVAS, NOTHING, Scenes


@pytest.fixture(scope="module")
def scenes():
    return Scenes(seed=3, products=4, backdrops=4)


def test_a_scene_is_a_function_of_seed_and_number(scenes):
    again = Scenes(seed=3, products=4, backdrops=4)
    for number in (5, 2, 9):
        for (scene, view), (same, other) in zip(scenes.pair(number), again.pair(number), strict=True):
            assert scene.picture.shape == (CANVAS, CANVAS, 3) and scene.picture.dtype == np.uint8
            assert np.array_equal(scene.picture, same.picture) and np.array_equal(view.picture, other.picture)
    assert not np.array_equal(scenes.pair(5)[0][0].picture, scenes.pair(6)[0][0].picture)


def test_views_of_a_scene_are_spoilt_alike_and_labels_fit(scenes):
    pairs = [scenes.pair(number) for number in range(40)]
    for (first, one), (second, other) in pairs:
        assert np.array_equal(one.damage, other.damage) and one.picture.shape == other.picture.shape
        assert first.label == second.label and (first.label == NOTHING) == (not first.mask.any())
        assert ((one.damage >= 0) & (one.damage <= 1.05)).all()
    sound = [one.damage[:4].any() for (_, one), _ in pairs]
    assert 0 < sum(sound) < 40
    assert {first.label == NOTHING for (first, _), _ in pairs} == {True, False}


def test_damage_by_hand():
    random = np.random.default_rng(0)
    picture = random.integers(60, 196, (64, 64, 3)).astype(np.uint8)
    mean = picture.mean(axis=(0, 1))
    assert np.array_equal(faded(picture, 1), picture)
    np.testing.assert_allclose(faded(picture, 0.5), (picture + mean) / 2, atol=0.5001)
    assert noisy(picture, 8, random).astype(float).std() ** 2 - picture.std() ** 2 == pytest.approx(64, rel=0.5)
    point = np.zeros((33, 33, 3), np.uint8)
    point[16, 16] = 255
    assert blurred(point, 1.0)[16, 16, 0] == round(255 / (2 * np.pi))  # the top of a Gaussian of deviation 1
    errors = [np.abs(compressed(picture, quality).astype(int) - picture).mean() for quality in (90, 50, 10)]
    assert errors == sorted(errors) and errors[0] > 0


def test_the_frozen_network_is_the_trained_one():
    trunk = make_encoder.network(seed=0)
    random = np.random.default_rng(0)
    for number in range(sum(map(len, packshot.DEPTHS))):
        norm = trunk.get_layer(f"norm{number}")
        norm.set_weights([random.uniform(0.5, 1.5, weights.shape) for weights in norm.get_weights()])
    pictures = random.uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    frozen = packshot.maps(to_float(pictures), make_encoder.folded(trunk, 9))
    for layer, expected in zip(frozen, trunk(pictures, training=False), strict=True):
        expected = np.asarray(expected, np.float32)
        assert layer.shape == expected.shape
        assert np.abs(layer - expected).max() < 0.03 * np.abs(expected).max()  # trained in bfloat16


def test_components_are_whitened(scenes):
    """On the very scenes that they were made from, the strong ones have mean 0, deviation 1 and nothing in common."""
    weights = make_encoder.folded(make_encoder.network(seed=0), 9)
    weights = {name: array.astype(np.float16).astype(np.float32) for name, array in weights.items()}
    found = make_encoder.whitening(scenes, weights, range(144))
    for depth, (channels, share) in enumerate(zip(packshot.DEPTHS, packshot.SHARES, strict=True)):
        assert found[f"matrix{depth}"].shape == (2 * channels[-1], share)
    first = [batch["pictures"][: make_encoder.SCENES] for batch in make_encoder.batches(scenes, range(144))]
    pooled = packshot.pool(packshot.maps(to_float(np.concatenate(first)), weights))
    rows = (pooled[0].numpy() - found["centre0"]) @ found["matrix0"]
    np.testing.assert_allclose(np.cov(rows[:, :4], rowvar=False, ddof=0), np.eye(4), atol=0.01)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=0.01)
