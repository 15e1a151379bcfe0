"""Measures of one set of pictures: periodic artifacts."""

from collections.abc import Sequence

import numpy as np

from trainer.metrics import names
from trainer.metrics.artifacts import periodic_artifacts
from trainer.metrics.estimate import Estimate

MOST = 1_000  # pictures or tiles; the value hardly depends on their number
TILE = 64  # side in px, for pictures of several sizes
VISIBLE = 2.0  # times the value of real pictures; see docs/metrics.md


def measure(pictures: Sequence[np.ndarray], *, period: int) -> dict[str, Estimate]:
    """Measures periodic artifacts of up to `MOST` pictures uint8 [height, width, 3], evenly taken, by full name.

    Pictures of several sizes are cut into tiles of one size, since the value depends on it. {} for fewer than two pictures or tiles, and
    for sides of less than two periods. Raises UserError for arrays that are not such pictures.
    """
    if len({picture.shape for picture in pictures}) > 1:
        side = min(TILE, *(min(picture.shape[:2]) for picture in pictures))
        pictures = [tile for picture in pictures for tile in _tiles(picture, side)]
    if len(pictures) < 2 or min(pictures[0].shape[:2]) < 2 * period:
        return {}
    chosen = np.linspace(0, len(pictures) - 1, min(len(pictures), MOST)).astype(int)
    return names.of_pictures(periodic_artifacts, np.stack([pictures[i] for i in chosen]), period=period)


def has_grid(made: Estimate, real: Estimate) -> bool:
    """Returns whether made pictures have a grid: over `VISIBLE` times the value of real ones, by three errors."""
    return bool(made.value - 3 * made.error > VISIBLE * real.value)


def _tiles(picture, side):
    height, width = picture.shape[:2]
    return [
        picture[top : top + side, left : left + side]
        for top in range(0, height - side + 1, side)
        for left in range(0, width - side + 1, side)
    ]
