"""Search for one product in several colours: the same shot, recoloured or taken again in its place.

Edges stay where they are whatever colour lies between them. Pairs whose edges agree at 16x16 are compared at 64x64, where each
small window of the one picture must follow from that of the other by some mixture of its colours, moved by less than a
pixel: a print that only one of them has does not.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from data.inspection.duplicates import SIDE, alike, colour_differences, groups, unit
from data.inspection.thresholds import COLOUR_APART, EDGES_ALIKE, OUTLINES_ALIKE, PART_APART, UNEXPLAINED
from data.progress import Progress, silent

_CELLS = 16  # a side, over which edges are averaged for the first comparison
_WINDOW, _STEP = 8, 4  # px
_NOISE = 2.0  # grey levels, of noise
_FEWEST = 6  # windows that must differ


def find(
    copies: Sequence[np.ndarray | None],
    progress: Progress = silent,
) -> list[list[int]]:
    """Groups of the indices of pictures that differ in colour alone, of what `duplicates.small_copy` gave."""
    compared = [index for index, copy in enumerate(copies) if copy is not None]
    if len(compared) < 2:
        return []
    cell = SIDE // _CELLS
    outlines = np.stack([_edges(copies[index]) for index in compared])
    outlines = outlines.reshape(-1, _CELLS, cell, _CELLS, cell).mean(axis=(2, 4)).reshape(len(compared), -1)
    pairs = [(compared[one], compared[other]) for one, other in alike(unit(outlines), OUTLINES_ALIKE)]
    pairs = progress(pairs, len(pairs), "comparing")
    return groups([pair for pair in pairs if are_variants(*(copies[index] for index in pair))], len(copies))


def are_variants(one: np.ndarray, other: np.ndarray) -> bool:
    """Returns whether uint8 [64, 64, 3] of two pictures differ in colour and in nothing else."""
    if (unit(_edges(one).reshape(1, -1)) * unit(_edges(other).reshape(1, -1))).sum() < EDGES_ALIKE:
        return False
    one, other = one.astype(np.float32), other.astype(np.float32)
    whole, part = colour_differences(one, other)
    if whole <= COLOUR_APART and part <= PART_APART:
        return False
    unexplained = np.maximum(_unexplained(one, other), _unexplained(other, one))
    return np.sort(unexplained)[-_FEWEST] <= UNEXPLAINED


def _edges(copy):
    """float32 [64, 64]: the root of how steeply any channel rises, a px, so that strong edges do not dominate."""
    down, right = (np.abs(ndimage.sobel(copy.astype(np.float32), axis)).max(axis=2) / 8 for axis in (0, 1))
    return np.sqrt(np.hypot(down, right))


def _unexplained(one, other):
    """Grey levels, float [n], that each window of `other` differs from the best mixture of the channels of `one` and of its slopes."""
    slopes = np.gradient(one.mean(axis=2))
    inputs, targets = _windows(np.dstack([one, *slopes])), _windows(other)
    square = inputs.transpose(0, 2, 1) @ inputs + _WINDOW**2 * _NOISE**2 * np.eye(inputs.shape[2])
    rest = targets - inputs @ np.linalg.solve(square, inputs.transpose(0, 2, 1) @ targets)
    return np.sqrt((rest**2).mean(axis=1)).max(axis=1)


def _windows(picture):
    """float [n, 64 px, channels], each channel of a window without its mean."""
    windows = sliding_window_view(picture, (_WINDOW, _WINDOW), (0, 1))[::_STEP, ::_STEP]
    windows = windows.transpose(0, 1, 3, 4, 2).reshape(-1, _WINDOW**2, picture.shape[2])
    return windows - windows.mean(axis=1, keepdims=True)
