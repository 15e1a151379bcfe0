"""Periodic artifacts: against sums of waves written out, and on noise with grids of known strength."""

import cmath
import math
import statistics

import numpy as np
import pytest

from trainer.metrics.artifacts import periodic_artifacts

NINE = [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2)]  # quarters of a cycle a pixel


def noise(count, height, width, deviation=20.0, seed=0):
    """Grey noise around 128, float64 [count, height, width, 3]."""
    return 128 + np.random.default_rng(seed).normal(0, deviation, (count, height, width, 3))


def rounded(pictures):
    return np.clip(np.round(pictures), 0, 255).astype(np.uint8)


def wave(height, width, down, across):
    """cos of a wave with so many cycles a pixel, [1, height, width, 1]."""
    y, x = np.mgrid[:height, :width]
    return np.cos(2 * np.pi * (down * y + across * x))[None, :, :, None]


def by_hand(pictures, points, height, width, period):
    """The definition, one frequency at a time."""

    def power(down, across):
        total = 0.0
        for picture in pictures.astype(float):
            for channel in picture.transpose(2, 0, 1):
                amplitude = sum(
                    channel[y, x] * cmath.exp(-2j * math.pi * (down * y / height + across * x / width))
                    for y in range(height)
                    for x in range(width)
                )
                total += abs(amplitude) ** 2 / (height * width) + 1 / 12
        return total / len(pictures) / 3

    logs = []
    for a, b in points:
        y, x = a * height // period, b * width // period
        down, across = ((side // period // 2 if n else 0) for n, side in ((a, height), (b, width)))
        around = [
            power(y + i, x + j) for i in range(-down, down + 1) for j in range(-across, across + 1) if (i, j) != (0, 0)
        ]
        logs.append(math.log(power(y, x) / statistics.median(around)))
    return math.exp(statistics.mean(logs))


@pytest.mark.parametrize(
    "points, height, width, period",
    [(NINE, 8, 12, 4), ([(0, 1), (1, 0), (1, 1)], 10, 6, 2), ([(0, 1), (1, 0), (1, 1), (1, 2)], 6, 9, 3)],
)
def test_the_definition_by_hand(points, height, width, period):
    pictures = rounded(noise(2, height, width))
    found = periodic_artifacts(pictures, period).value
    assert found == pytest.approx(by_hand(pictures, points, height, width, period), rel=1e-9)


@pytest.mark.parametrize("period", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [(64, 64), (48, 80), (51, 37)])
def test_white_noise_has_no_grid(period, size):
    found = periodic_artifacts(rounded(noise(128, *size)), period)
    assert found.value == pytest.approx(1, abs=0.08)
    assert abs(found.value - 1) < 4 * found.error


@pytest.mark.parametrize("point, gain", [((2, 2), 1.0), ((0, 2), 1.0), ((1, 0), 0.25), ((1, 3), 0.25)])
def test_a_grid_of_known_amplitude(point, gain):
    """A wave of amplitude A has A^2 n of the power a pixel where it is its own conjugate, and A^2 n / 4 elsewhere; noise has its
    variance. One of nine frequencies has it."""
    amplitude, deviation, side = 3.0, 10.0, 64
    planted = noise(256, side, side, deviation) + amplitude * wave(side, side, point[0] / 4, point[1] / 4)
    floor = deviation**2 + 2 / 12  # rounding once in the pictures, and once by definition
    expected = (1 + gain * amplitude**2 * side**2 / floor) ** (1 / 9)
    assert periodic_artifacts(rounded(planted), 4).value == pytest.approx(expected, rel=0.03)


def test_a_grid_of_colour_alone_is_found():
    """Red against blue, with no luminance of its own."""
    grid = 4 * wave(32, 32, 1 / 4, 1 / 4) * [1 / 0.299, 0, -1 / 0.114]
    assert periodic_artifacts(rounded(noise(64, 32, 32) + grid), 4).value > 1.3


def test_a_grid_that_is_strong_in_one_place_only_is_found():
    """It spreads to the frequencies next to those of the grid, which must not hide it."""
    tile = np.random.default_rng(3).normal(0, 12, (1, 4, 4, 1))
    y, x = np.mgrid[:64, :64] - 32.0
    spot = np.exp(-(y**2 + x**2) / (2 * 8**2))[None, :, :, None]
    pictures = noise(64, 64, 64, 4.0)
    assert periodic_artifacts(rounded(pictures + spot * np.tile(tile, (1, 16, 16, 1))), 4).value > 4


def test_edges_along_the_axes_are_no_grid():
    """Upright bars of random places and widths have all their power on one axis."""
    random = np.random.default_rng(0)
    pictures = np.full((200, 64, 64, 3), 60.0)
    for picture in pictures:
        start, stop = np.sort(random.choice(65, 2, replace=False))
        picture[:, start:stop] = 200
    assert periodic_artifacts(rounded(pictures + noise(200, 64, 64, 2.0) - 128), 4).value == pytest.approx(1, abs=0.1)


def test_what_is_beyond_the_last_whole_period_is_left_out():
    pictures = rounded(noise(4, 35, 29))
    assert periodic_artifacts(pictures, 8) == periodic_artifacts(pictures[:, :32, :24], 8)


def test_flat_pictures_have_no_grid():
    flat = np.broadcast_to(np.arange(5, dtype=np.uint8)[:, None, None, None], (5, 16, 16, 3))
    assert periodic_artifacts(flat, 4).value == pytest.approx(1)


def test_the_error_is_the_spread_over_sets():
    values = [periodic_artifacts(rounded(noise(32, 32, 32, seed=seed)), 4) for seed in range(40)]
    spread = np.std([value.value for value in values], ddof=1)
    assert np.mean([value.error for value in values]) == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize(
    "pictures, period, sentence",
    [
        (np.zeros((2, 16, 16, 3)), 4, "must be uint8"),
        (np.zeros((16, 16, 3), np.uint8), 4, "must be uint8"),
        (np.zeros((1, 16, 16, 3), np.uint8), 4, "at least two pictures, not 1"),
        (np.zeros((2, 16, 7, 3), np.uint8), 4, "fit twice into 16x7, not 4"),
        (np.zeros((2, 16, 16, 3), np.uint8), 1, "2 pixels or more"),
    ],
)
def test_what_cannot_be_measured_is_refused(pictures, period, sentence):
    with pytest.raises(ValueError, match=sentence):
        periodic_artifacts(pictures, period)
