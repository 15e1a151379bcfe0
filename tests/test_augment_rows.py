"""Augmentation of rows: exact symmetries, the same for every picture of a row, eager or in a dataset."""

import numpy as np
import pytest
import tensorflow as tf

from data.augment import AUGMENTATIONS, apply, dihedral, flip, jitter, numbers_of

LOW, HIGH = 0.25, 0.75  # numbers on either side of the coin
EIGHT = np.array([[a, b, c] for a in (LOW, HIGH) for b in (LOW, HIGH) for c in (LOW, HIGH)], np.float32)


def noise(rows, side, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, side, side, channels)).astype(np.uint8)


def test_each_says_how_many_numbers_it_needs_and_is_given_no_more():
    needs = {name: function.numbers for name, function in AUGMENTATIONS.items()}
    assert needs == {"flip": 1, "dihedral": 3, "jitter": 2}
    pictures = {"image": tf.constant(noise(8, 6))}
    for name, few in needs.items():
        AUGMENTATIONS[name](pictures, tf.constant(EIGHT[:, :few]))


def uniform(rows, seed=0):
    return np.random.default_rng(seed).random((rows, 3)).astype(np.float32)


def run(function, pictures, numbers):
    made = function({key: tf.constant(value) for key, value in pictures.items()}, tf.constant(numbers))
    return {key: value.numpy() for key, value in made.items()}


def symmetries(picture):
    """The eight, as NumPy makes them: four quarter turns, each mirrored or not."""
    return [turned for mirrored in (picture, picture[:, ::-1]) for turned in (np.rot90(mirrored, k) for k in range(4))]


def test_flip_is_a_reversal_below_one_half():
    pictures = noise(5, 6)
    numbers = np.array([0.0, 0.49999, 0.5, 0.99, 0.25], np.float32)[:, None].repeat(3, axis=1)
    made = run(flip, {"image": pictures}, numbers)["image"]
    for row, mirrored in enumerate([True, True, False, False, True]):
        np.testing.assert_array_equal(made[row], pictures[row, :, ::-1] if mirrored else pictures[row])


def test_dihedral_gives_each_of_the_eight_symmetries():
    picture = noise(1, 6)
    made = run(dihedral, {"image": picture.repeat(8, axis=0)}, EIGHT)["image"]
    expected = {turned.tobytes() for turned in symmetries(picture[0])}
    assert len(expected) == 8
    assert {row.tobytes() for row in made} == expected


def test_symmetries_are_equally_likely():
    picture = noise(1, 3)
    rows = 4000
    made = run(dihedral, {"image": picture.repeat(rows, axis=0)}, uniform(rows))["image"]
    _, counts = np.unique(made.reshape(rows, -1), axis=0, return_counts=True)
    assert len(counts) == 8
    np.testing.assert_allclose(counts, rows / 8, atol=5 * np.sqrt(rows / 8))
    moved = (run(flip, {"image": picture.repeat(rows, axis=0)}, uniform(rows))["image"] != picture).any(axis=(1, 2, 3))
    assert abs(moved.mean() - 0.5) < 0.04


@pytest.mark.parametrize("function", [flip, dihedral])
def test_a_small_picture_moves_with_its_large_one(function):
    """`high` repeats every pixel of `low` twice each way, before and after."""
    low = noise(8, 4)
    made = run(function, {"low": low, "high": low.repeat(2, axis=1).repeat(2, axis=2)}, EIGHT)
    np.testing.assert_array_equal(made["high"], made["low"].repeat(2, axis=1).repeat(2, axis=2))
    assert (made["low"] != low).any()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_two_pictures_of_a_row_are_changed_alike(name):
    pictures = noise(8, 7)
    made = run(AUGMENTATIONS[name], {"source": pictures, "target": pictures.copy(), "mask": pictures[..., :1]}, EIGHT)
    np.testing.assert_array_equal(made["source"], made["target"])
    np.testing.assert_array_equal(made["source"][..., :1], made["mask"])


def test_jitter_is_a_cut_of_the_enlarged_picture():
    """Bilinear sampling at evenly spaced points between the box's corners, first to last pixel."""
    side, rows = 9, 12
    pictures, numbers = noise(rows, side), uniform(rows, 3)
    numbers[0], numbers[1] = 0, 1 - 2**-20
    made = run(jitter, {"image": pictures}, numbers)["image"]
    assert made.dtype == np.uint8 and made.shape == pictures.shape
    share = 256 / 286
    for row, picture in enumerate(pictures.astype(float)):
        for axis in (0, 1):
            start = numbers[row, axis] * (1 - share) * (side - 1)
            places = start + np.arange(side) * share
            assert -1e-9 <= places[0] and places[-1] <= side - 1 + 1e-4
            below = np.clip(np.floor(places).astype(int), 0, side - 2)
            part = (places - below).reshape([-1 if a == axis else 1 for a in range(3)])
            picture = np.take(picture, below, axis) * (1 - part) + np.take(picture, below + 1, axis) * part
        np.testing.assert_allclose(made[row], picture, atol=0.51)


def test_jitter_of_a_gradient_is_a_gentler_gradient():
    side = 64
    ramp = np.broadcast_to((np.arange(side) * 4)[None, None, :, None], (20, side, side, 3)).astype(np.uint8)
    made = run(jitter, {"image": ramp}, uniform(20))["image"].astype(float)
    np.testing.assert_allclose(np.diff(made, axis=2).mean(axis=(1, 2, 3)), 4 * 256 / 286, atol=0.03)
    np.testing.assert_array_equal(np.diff(made, axis=1), 0)
    starts = made[:, 0, 0, 0]
    assert starts.min() >= 0 and starts.max() <= 4 * 63 * 30 / 286 + 0.5 and np.unique(starts).size > 10


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_jitter_leaves_a_uniform_picture_alone(level):
    pictures = np.full((6, 5, 5, 3), level, np.uint8)
    np.testing.assert_array_equal(run(jitter, {"image": pictures}, uniform(6))["image"], pictures)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_eager_and_in_a_dataset_are_the_same(name):
    pictures, numbers = {"low": noise(6, 4), "high": noise(6, 8, seed=1)}, uniform(6, 2)
    mapped = tf.data.Dataset.from_tensors((pictures, numbers)).map(AUGMENTATIONS[name])
    (made,) = mapped.as_numpy_iterator()
    for key, value in run(AUGMENTATIONS[name], pictures, numbers).items():
        np.testing.assert_array_equal(made[key], value)
        assert value.dtype == np.uint8
        assert mapped.element_spec[key] == tf.TensorSpec(pictures[key].shape, tf.uint8)


def test_apply_goes_in_order_with_numbers_of_its_own_for_each():
    pictures = {"image": noise(8, 6)}
    names = ("jitter", "dihedral")
    numbers = np.random.default_rng(4).random((8, numbers_of(names))).astype(np.float32)
    made = run(lambda p, n: apply(names, p, n), pictures, numbers)
    expected = run(dihedral, run(jitter, pictures, numbers[:, :3]), numbers[:, 3:])
    np.testing.assert_array_equal(made["image"], expected["image"])
    untouched = run(lambda p, n: apply((), p, n), pictures, numbers[:, :0])
    np.testing.assert_array_equal(untouched["image"], pictures["image"])
