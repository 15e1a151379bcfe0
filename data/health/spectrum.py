"""How steeply detail fades towards the finest: the spectrum of a photo falls gently, of a blurred or enlarged one it breaks off.

The power of natural pictures falls with about the square of the frequency (Field, "Relations between the statistics of
natural images and the response properties of cortical cells", JOSA A 4, 1987), whatever they show; blur takes from
each frequency the more, the higher it is, and enlarging leaves the highest empty. A shaken camera spares only
directions across its way, so of the directions the median counts.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

_TILE = 64  # px, side of the squares whose spectra are averaged; no picture below has one
_DIRECTIONS = 8
_BANDS = ((0.03, 0.06), (0.09, 0.12), (0.16, 0.20), (0.30, 0.36))  # cycles per px: 33 px to 3 px a wave
_ROUNDING = 1 / 12  # grey levels^2, the variance of rounding to whole ones: what any picture has at every frequency


@dataclass(frozen=True)
class Fading:
    """Powers of ten by which the power of detail falls: about 2.0 and 1.2 in a sharp photo, more in a blurred one."""

    middling: float  # from waves of 17 to 33 px to those of 5 to 6 px
    fine: float  # from waves of 8 to 11 px to those of 3 px


def fading(grey: np.ndarray) -> Fading | None:
    """Of float32 grey [height, width] in [0, 255]; None for one below 64 px."""
    height, width = grey.shape
    if min(height, width) < _TILE:
        return None
    rows, columns = (np.linspace(0, side - _TILE, side // _TILE).astype(int) for side in (height, width))
    tiles = np.stack([grey[y : y + _TILE, x : x + _TILE] for y in rows for x in columns])
    tiles = (tiles - tiles.mean(axis=(1, 2), keepdims=True)) * _WINDOW
    power = (np.abs(fft.rfft2(tiles)) ** 2).mean(axis=0) + _ROUNDING * (_WINDOW**2).sum()
    sums = np.bincount(_CELL.ravel(), power.ravel(), _DIRECTIONS * len(_BANDS) + 1)[:-1]
    levels = np.median(np.log10(sums / _SIZES).reshape(_DIRECTIONS, -1), axis=0)
    return Fading(middling=float(levels[0] - levels[2]), fine=float(levels[1] - levels[3]))


def _cells():
    """To which direction and band each number of a tile's spectrum belongs; the last cell takes those of no band."""
    down, right = np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)
    frequency = np.hypot(down, right)
    direction = np.round(np.arctan2(down, right) / (np.pi / _DIRECTIONS)).astype(int) % _DIRECTIONS
    cell = np.full(frequency.shape, _DIRECTIONS * len(_BANDS))
    for band, (low, high) in enumerate(_BANDS):
        inside = (frequency >= low) & (frequency < high)
        cell[inside] = direction[inside] * len(_BANDS) + band
    return cell


_WINDOW = np.outer(np.hanning(_TILE), np.hanning(_TILE)).astype(np.float32)
_CELL = _cells()
_SIZES = np.bincount(_CELL.ravel(), minlength=_DIRECTIONS * len(_BANDS) + 1)[:-1]
