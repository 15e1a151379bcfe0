"""Periodic artifacts: grids in pictures from transposed convolutions and sub-pixel layers."""

import numpy as np

from trainer.metrics.estimate import Estimate, of_groups

_ROUNDING = 1 / 12  # power per pixel of the rounding to whole grey levels
_GROUPS = 16  # of pictures, for the error


def periodic_artifacts(pictures: np.ndarray, period: int) -> Estimate:
    """Power at the frequencies of a grid of `period` pixels, relative to the power around them; 1 for pictures without a grid.

    Pictures are uint8 [n, height, width, channels], n >= 2. A layer that treats the pixels of a period differently adds the same pattern of
    period x period pixels everywhere. Its power lies at the frequencies (a, b) / period cycles per pixel (Odena, Dumoulin & Olah 2016,
    "Deconvolution and Checkerboard Artifacts", distill.pub). For each of these frequencies except (0, 0), with conjugates counted once
    (nine for a period of 4), the mean power over pictures and channels is divided by the median over its neighbours. The value is the
    geometric mean of the quotients.

    The neighbours are all frequencies up to half-way to the next one of the grid, since the power of a grid of varying strength spreads
    around its frequencies. On an axis, where the picture's borders and upright edges have their power, the neighbours are on the same axis.

    Channels are transformed one by one, since luminance does not show grids of colour. The power of rounding is added to both sides of a
    quotient, so that flat pictures have the value 1. Rows and columns beyond the last whole period are left out.

    The value hardly depends on n. The error is the jackknife, with one of up to 16 groups of pictures left out at a time. Raises ValueError
    for other pictures, fewer than two, sides of less than two periods, and a period below 2.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4:
        raise ValueError(
            f"pictures must be uint8 [n, height, width, channels], not {pictures.dtype} {list(pictures.shape)}"
        )
    count, height, width, _ = pictures.shape
    if count < 2:
        raise ValueError(f"periodic artifacts need at least two pictures, not {count}")
    if period < 2 or min(height, width) < 2 * period:
        raise ValueError(f"a period must be 2 pixels or more and fit twice into {height}x{width}, not {period}")
    whole = pictures[:, : height - height % period, : width - width % period]
    groups = np.array_split(whole, min(count, _GROUPS))
    sizes = np.array([len(group) for group in groups])
    powers = np.stack([_power(group) for group in groups])
    total = powers.sum(axis=0)
    without = [_excess((total - power) / (count - size), period) for power, size in zip(powers, sizes, strict=True)]
    return of_groups(_excess(total / count, period), np.array(without))


def _power(pictures):
    """Returns the power, summed over pictures and averaged over channels: float64 [height, width]."""
    height, width = pictures.shape[1:3]
    power = np.abs(np.fft.fft2(pictures, axes=(1, 2))) ** 2 / (height * width)
    return np.mean(power + _ROUNDING, axis=3).sum(axis=0)


def _excess(power, period):
    """Returns the geometric mean over the grid's frequencies of power / median of the neighbours."""
    quotients = []
    for a, b in np.ndindex(period, period):
        if (0, 0) < (a, b) <= (-a % period, -b % period):
            rows, columns = (_near(number, side, period) for number, side in zip((a, b), power.shape, strict=True))
            around = power[np.ix_(rows, columns)].ravel()  # the frequency itself is in the middle
            quotients.append(around[around.size // 2] / np.median(np.delete(around, around.size // 2)))
    return np.exp(np.mean(np.log(quotients)))


def _near(number, side, period):
    """Returns indices of the frequencies around number / period along a side, or only 0."""
    spacing = side // period
    reach = spacing // 2 if number else 0
    return np.arange(number * spacing - reach, number * spacing + reach + 1) % side
