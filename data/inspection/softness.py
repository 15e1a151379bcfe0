"""Detector of pictures that are out of focus, shaken or enlarged, by their spectrum, whatever they show.

The power of natural pictures falls with about the square of the frequency (Field, "Relations between the statistics of natural
images and the response properties of cortical cells", JOSA A 4, 1987). Blur takes from each frequency the more, the higher it is,
and enlarging leaves the highest empty. A camera that moves over n px takes them in one direction only, but those of every n-th wave
altogether, so that the logarithm of the spectrum has a hollow each 1 / n, and its own spectrum a dip at n px (Cannon, "Blind
deconvolution of spatially invariant image blurs with phase", IEEE Transactions on ASSP 24, 1976).

A drawing, or a product of one smooth colour, has as little fine detail as what is blurred, but its edges are sharp: a picture that
has such edges in all directions is not blurred.

`measures` are eight numbers that say this; `softness` weighs them and their products by a logistic regression, which
`benchmarks.make_softness` fits to photos blurred on purpose.
"""

from functools import cache
from pathlib import Path

import numpy as np
from scipy import fft, ndimage

from data.inspection.thresholds import SHARP, SOFT

TILE = 64  # px, side of the squares whose spectra are averaged; no picture below has one
FILE = Path(__file__).parent / "softness.npz"
_DIRECTIONS = 8
_BANDS = ((0.03, 0.06), (0.09, 0.12), (0.16, 0.20), (0.30, 0.36))  # cycles per px: 33 px to 3 px a wave
_ROUNDING = 1 / 12  # grey levels^2, the variance of rounding to whole ones: what any picture has at every frequency
_SEEN = (0.03, 0.42)  # cycles per px in which dips are looked for
_MOVED = (5, 30)  # px by which a camera may move
_EDGE = 9  # px, over which the height of an edge is measured
_HIGH = 40  # grey levels, the least height of an edge that counts
_FEWEST = 50  # px on such edges
_FARTHEST = 6.0  # deviations from the mean of sound photos; what lies beyond says no more


def softness(grey: np.ndarray) -> float | None:
    """Log odds that float32 grey [height, width] in [0, 255] is blurred rather than a sound photo; None for one below 64 px.

    Where edges are sharp, never above the limit `SOFT`.
    """
    values = measures(grey)
    if values is None:
        return None
    soft = float(odds(values, _shipped()))
    return float(SOFT) if soft > SOFT and sharpness(grey) > SHARP else soft


def sharpness(grey: np.ndarray) -> float:
    """The share of an edge's height that its sharpest tenth rises within 2 px, across, down and on both diagonals, whichever is
    least, in [0, 1]: along its way a moved camera leaves no edge sharp.
    """
    return min(_steepest(*lines) for lines in _lines(grey))


def _lines(grey):
    """Rows, columns and both diagonals as rows, and which of their pixels are far from where a diagonal goes on at the other side."""
    height, width = grey.shape
    column = (np.arange(width) + np.arange(height)[:, None]) % width
    whole = (column >= _EDGE) & (column < width - _EDGE)
    yield grey, np.ones_like(whole)
    yield grey.T, np.ones_like(whole.T)
    yield np.take_along_axis(grey, column, 1).T, whole.T
    yield np.take_along_axis(grey[:, ::-1], column, 1).T, whole.T


def _steepest(lines, whole):
    inner = slice(None), slice(1, -1)
    height = (ndimage.maximum_filter1d(lines, _EDGE) - ndimage.minimum_filter1d(lines, _EDGE))[inner]
    high = (height >= _HIGH) & whole[inner]
    rise = np.abs(lines[:, 2:] - lines[:, :-2])
    return float(np.percentile(rise[high] / height[high], 90)) if high.sum() >= _FEWEST else 0.0


def odds(found: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Log odds float [...] of measures [..., 8]."""
    return products(found, weights["centre"], weights["scale"]) @ weights["weight"] + weights["offset"]


def products(found: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Measures [..., 8] in deviations from those of sound photos, and their products: [..., 8 + 36]."""
    level = np.clip((found - centre) / scale, -_FARTHEST, _FARTHEST)
    one, other = np.triu_indices(level.shape[-1])
    return np.concatenate([level, level[..., one] * level[..., other] / 2], axis=-1)


def measures(grey: np.ndarray) -> np.ndarray | None:
    """Float64 [8] of float32 grey [height, width] in [0, 255]; None for one below 64 px.

    The dips by the mean power and by the mean of its logarithm, then the median over directions and the most of any, in powers of ten,
    by which power falls from waves of 17 to 33 px to those of 8 to 11, to those of 5 to 6, and from 8 to 11 to those of 3.
    """
    height, width = grey.shape
    if min(height, width) < TILE:
        return None
    rows, columns = (np.linspace(0, side - TILE, max(1, 2 * side // TILE - 1)).astype(int) for side in (height, width))
    tiles = np.stack([grey[y : y + TILE, x : x + TILE] for y in rows for x in columns])
    tiles = (tiles - tiles.mean(axis=(1, 2), keepdims=True)) * _WINDOW
    power = np.abs(fft.rfft2(tiles)) ** 2 + _FLOOR
    mean = power.mean(axis=0)
    sums = np.bincount(_CELL.ravel(), mean.ravel(), _DIRECTIONS * len(_BANDS) + 1)[:-1]
    longest, long, middling, short = np.log10(sums / _SIZES).reshape(_DIRECTIONS, -1).T
    falls = (longest - long, longest - middling, long - short)
    return np.array([_dip(np.log(mean)), _dip(np.log(power).mean(axis=0)), *map(np.median, falls), *map(np.max, falls)])


def _dip(level):
    """Depth of the dip in the spectrum of the log spectrum float [TILE, TILE / 2 + 1] at the distances of a moved camera."""
    mean = np.bincount(_RADIUS.ravel(), level.ravel()) / _AT_RADIUS
    around = np.where((_FREQUENCY > _SEEN[0]) & (_FREQUENCY < _SEEN[1]), level - mean[_RADIUS], 0.0)
    return -ndimage.gaussian_filter(fft.irfft2(around, (TILE, TILE)), 0.7, mode="wrap")[_RING].min()


def _cells():
    """To which direction and band each number of a tile's spectrum belongs; the last cell takes those of no band."""
    direction = np.round(np.arctan2(_DOWN, _RIGHT) / (np.pi / _DIRECTIONS)).astype(int) % _DIRECTIONS
    cell = np.full(_FREQUENCY.shape, _DIRECTIONS * len(_BANDS))
    for band, (low, high) in enumerate(_BANDS):
        inside = (_FREQUENCY >= low) & (_FREQUENCY < high)
        cell[inside] = direction[inside] * len(_BANDS) + band
    return cell


@cache
def _shipped():
    with np.load(FILE) as file:
        return dict(file)


_WINDOW = np.outer(np.hanning(TILE), np.hanning(TILE)).astype(np.float32)
_FLOOR = _ROUNDING * (_WINDOW**2).sum()
_DOWN, _RIGHT = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)
_FREQUENCY = np.hypot(_DOWN, _RIGHT)
_RADIUS = np.round(_FREQUENCY * TILE).astype(int)
_AT_RADIUS = np.bincount(_RADIUS.ravel())
_CELL = _cells()
_SIZES = np.bincount(_CELL.ravel(), minlength=_DIRECTIONS * len(_BANDS) + 1)[:-1]
_FAR = np.hypot(_DOWN, np.fft.fftfreq(TILE)) * TILE
_RING = (_FAR >= _MOVED[0]) & (_FAR <= _MOVED[1])
