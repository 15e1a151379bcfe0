"""The arithmetic of LPIPS on maps small enough to do by hand."""

import numpy as np
import pytest

from trainer.metrics.perceptual import feature_distance


def maps(*pixels):
    """One picture's map of one row of pixels: float64 [1, 1, len(pixels), channels]."""
    return np.array([[pixels]], np.float64)


def test_angles_by_hand():
    """Equal, at a right angle and opposite directions: 0, 2 and 4; lengths do not matter."""
    a, b = maps([3, 0], [1, 0], [0.1, 0]), maps([7, 0], [0, 5], [-9, 0])
    np.testing.assert_allclose(feature_distance([a], [b]), [(0 + 2 + 4) / 3])


def test_layers_add_up_and_pixels_are_averaged():
    small, large = (
        (maps([1, 0]), maps([0, 1])),
        (maps([1, 0, 0]).repeat(4, axis=2), maps([1, 0, 0], [0, 2, 0], [1, 0, 0], [1, 0, 0])),
    )
    np.testing.assert_allclose(feature_distance([small[0], large[0]], [small[1], large[1]]), [2 + 2 / 4])


def test_weights_of_channels():
    """(0.6, 0.8) against (1, 0): squared differences 0.16 and 0.64."""
    found = feature_distance([maps([3, 4])], [maps([1, 0])], weights=[np.array([0.5, 10])])
    np.testing.assert_allclose(found, [0.08 + 6.4])


def test_one_value_a_picture_and_symmetric():
    random = np.random.default_rng(0)
    a, b = ([random.standard_normal((5, size, size, 3)) for size in (4, 2)] for _ in range(2))
    found = feature_distance(a, b)
    cosines = [
        np.sum(x * y, axis=3) / np.linalg.norm(x, axis=3) / np.linalg.norm(y, axis=3) for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(found, sum(2 - 2 * cosine.mean(axis=(1, 2)) for cosine in cosines))
    np.testing.assert_allclose(found, feature_distance(b, a))
    np.testing.assert_allclose(found[3], feature_distance([x[3:4] for x in a], [x[3:4] for x in b])[0])


def test_a_pixel_without_features_is_at_length_one_from_any():
    dark, lit = maps([0, 0]), maps([0, 3])
    assert feature_distance([dark], [dark]) == 0 and feature_distance([dark], [lit]) == 1


@pytest.mark.parametrize(
    "a, b, weights, words",
    [
        ([], [], None, "at least one: 0 and 0, no weights"),
        ([maps([1])], [maps([1])] * 2, None, "in pairs, at least one: 1 and 2"),
        ([maps([1])], [maps([1])], [], "1 and 1, 0 weights"),
        ([maps([1])], [maps([1, 2])], None, "layer 0: maps must be alike"),
        ([maps([1]), maps([1])[0]], [maps([1]), maps([1])[0]], None, "layer 1: maps must be alike"),
        ([maps([1])], [maps([np.nan])], None, "layer 0 holds a value that is not finite"),
        ([maps([1, 2])], [maps([1, 2])], [np.array([1, -1])], r"layer 0: weights must be >= 0, \[2\]"),
        ([maps([1, 2])], [maps([1, 2])], [np.ones(3)], r"weights must be >= 0, \[2\]"),
    ],
)
def test_maps_that_cannot_be(a, b, weights, words):
    with pytest.raises(ValueError, match=words):
        feature_distance(a, b, weights=weights)
