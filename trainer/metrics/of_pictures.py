"""Measures of a set of pictures alone: whether there is a grid in them."""

from collections.abc import Sequence

import numpy as np

from trainer.metrics import names
from trainer.metrics.artifacts import periodic_artifacts
from trainer.metrics.estimate import Estimate

MOST = 1_000  # pictures or tiles looked at: the value hardly depends on their number
TILE = 64  # px a side, of pictures of several sizes
VISIBLE = 2.0  # times the number of real pictures; docs/evaluation.md says what that looks like


def measure(pictures: Sequence[np.ndarray], *, period: int) -> dict[str, Estimate]:
    """Periodic artifacts of up to `MOST` pictures uint8 [height, width, 3], evenly taken, by their full name.

    Pictures of several sizes are cut into tiles of one size, since the value depends on it. {} for fewer than two pictures or tiles,
    and for such as the period does not fit into twice. Raises UserError for arrays that are not such pictures.
    """
    if len({picture.shape for picture in pictures}) > 1:
        side = min(TILE, *(min(picture.shape[:2]) for picture in pictures))
        pictures = [tile for picture in pictures for tile in _tiles(picture, side)]
    if len(pictures) < 2 or min(pictures[0].shape[:2]) < 2 * period:
        return {}
    chosen = np.linspace(0, len(pictures) - 1, min(len(pictures), MOST)).astype(int)
    return names.of_pictures(periodic_artifacts, np.stack([pictures[i] for i in chosen]), period=period)


def has_grid(made: Estimate, real: Estimate) -> bool:
    """Whether made pictures have a grid that is beyond doubt and beyond that of real ones: over `VISIBLE` times their number."""
    return bool(made.value - 3 * made.error > VISIBLE * real.value)


def _tiles(picture, side):
    height, width = picture.shape[:2]
    return [
        picture[top : top + side, left : left + side]
        for top in range(0, height - side + 1, side)
        for left in range(0, width - side + 1, side)
    ]
