"""Pictures in tiles: a toy convolution, whose reach is known, tells what the result must be."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from data.errors import UserError
from serving.export.tiles import LEAST, Tiled, _passing, _spread


class Toy:
    """A convolution that reaches `reach` px far, zeros beyond the border; pixels repeated `scale` times. `sent`: its tiles' sizes."""

    def __init__(self, reach=4, scale=1, largest=None):
        rng = np.random.default_rng(0)
        self.kernel = rng.random((2 * reach + 1, 2 * reach + 1))
        self.kernel /= self.kernel.sum()
        self.scale, self.largest, self.sent = scale, largest, []

    def __call__(self, pictures):
        assert pictures.dtype == np.uint8 and len(pictures) == 1 and pictures.flags.c_contiguous
        height, width = pictures.shape[1:3]
        self.sent.append((height, width))
        if self.largest and max(height, width) > self.largest:
            raise MemoryError("OOM when allocating tensor")
        smooth = [ndimage.convolve(pictures[0, :, :, c] / 1.0, self.kernel, mode="constant") for c in range(3)]
        whole = np.rint(np.stack(smooth, axis=2)).astype(np.uint8)
        return whole.repeat(self.scale, axis=0).repeat(self.scale, axis=1)[np.newaxis]


def noise(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("shape", [(150, 217), (40, 300), (64, 64), (1, 1), (300, 5)])
def test_tiles_give_what_the_whole_picture_gives(scale, shape):
    toy, picture = Toy(4, scale), noise(*shape)
    tiled = Tiled(toy, tile=64, overlap=16)
    assert tiled.scale == scale
    np.testing.assert_array_equal(tiled(picture), toy(picture[np.newaxis])[0])


def test_what_reaches_farther_than_the_overlap_differs_little_and_leaves_no_seam():
    toy, picture = Toy(12), np.full((200, 200, 3), 200, np.uint8)
    tiled = Tiled(toy, tile=64, overlap=16)(picture)[12:-12, 12:-12].astype(int)
    lost = np.abs(tiled - 200).max()  # to the zeros beyond a tile's border
    assert 0 < lost < 70 and max(np.abs(np.diff(tiled, axis=axis)).max() for axis in (0, 1)) < lost / 4


def test_a_small_picture_is_sent_whole():
    toy = Toy()
    tiled = Tiled(toy, tile=64)
    toy.sent.clear()
    tiled(noise(32, 128)), tiled(noise(32, 129))
    assert toy.sent == [(32, 128), *[(32, 57)] * 4]


def test_tiles_shrink_when_memory_does_not_suffice_and_stay_small():
    toy, picture = Toy(2, largest=100), noise(300, 260)
    tiled = Tiled(toy, tile=256, overlap=16)
    toy.sent.clear()
    result = tiled(picture)
    np.testing.assert_array_equal(result, Toy(2)(picture[np.newaxis])[0])
    assert tiled.tile == 64 and [max(size) > 100 for size in toy.sent].count(True) == 2
    toy.sent.clear()
    tiled(picture)
    assert max(map(max, toy.sent)) <= 64


def test_a_whole_picture_shrinks_to_parts_of_it():
    toy, picture = Toy(2, largest=100), noise(120, 110)
    np.testing.assert_array_equal(Tiled(toy, tile=1024, overlap=16)(picture), Toy(2)(picture[np.newaxis])[0])


def test_when_the_smallest_tile_is_too_large_the_error_is_raised():
    tiled = Tiled(Toy(), tile=256)

    def fails(pictures):
        raise MemoryError

    tiled._run = fails
    with pytest.raises(MemoryError):
        tiled(noise(300, 300))
    assert tiled.tile == LEAST


def test_other_errors_are_raised_at_once():
    tiled, calls = Tiled(Toy(), tile=256), []

    def fails(pictures):
        calls.append(pictures.shape)
        raise ValueError("wrong")

    tiled._run = fails
    with pytest.raises(ValueError, match="wrong"):
        tiled(noise(300, 300))
    assert len(calls) == 1 and tiled.tile == 256


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_a_model_that_changes_size_otherwise_is_refused(factor):
    with pytest.raises(UserError, match="the model makes .* of a picture of 96x64"):
        Tiled(lambda pictures: ndimage.zoom(pictures, (1, factor, factor, 1), order=0))


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(LEAST, 600), st.integers(0, 300))
def test_tiles_cover_the_length_with_at_least_the_overlap(length, tile, overlap):
    overlap = min(overlap, tile // 2)
    side, starts = _spread(length, tile, overlap)
    assert side <= tile or length <= tile
    assert starts[0] == 0 and starts[-1] + side == length
    assert all(a + side - b >= overlap for a, b in zip(starts, starts[1:], strict=False))


def test_one_passes_into_the_other_by_hand():
    before, after = np.zeros((8, 1), np.uint8), np.full((8, 1), 200, np.uint8)
    assert _passing(before, after).ravel().tolist() == [0, 0, 25, 75, 125, 175, 200, 200]
    same = noise(8, 8)
    np.testing.assert_array_equal(_passing(same, same), same)


def test_memory_is_that_of_the_result_and_a_row_of_tiles():
    tiled = Tiled(lambda pictures: pictures.repeat(2, axis=1).repeat(2, axis=2), tile=128, overlap=32)
    picture = noise(1500, 1000)
    tracemalloc.start()
    result = tiled(picture)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    row, tile = 2 * 128 * 2000 * 3, 128 * 128 * 3
    assert peak < result.nbytes + 2 * row + 40 * tile
