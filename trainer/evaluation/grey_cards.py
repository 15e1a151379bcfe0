"""Colour cast of an enhancement model, measured on flat greys."""

from collections.abc import Callable, Iterable

import numpy as np

from trainer.metrics import names
from trainer.metrics.estimate import Estimate, means
from trainer.metrics.table import GREY_CAST

LEVELS = range(15, 256, 30)  # grey levels of the cards, up to white
SIDE = 96  # px


def measure(change: Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]]) -> dict[str, Estimate]:
    """Measures the colour difference that a model adds to grey cards: the mean over `LEVELS`, by its full name.

    Args:
        change: from pictures uint8 [height, width, 3] to a picture made of each, as large or larger.
    """
    cards = [np.full((SIDE, SIDE, 3), level, np.uint8) for level in LEVELS]
    made = np.stack(list(change(cards)))
    same = np.stack([np.full_like(picture, level) for picture, level in zip(made, LEVELS, strict=True)])
    return means(names.of_pairs(GREY_CAST.function, made, same))
