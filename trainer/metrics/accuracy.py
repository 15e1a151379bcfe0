"""Accuracy of what was asked for."""

import numpy as np


def hits(found: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """1 where a value is the one that was asked for and 0 where not, float64 [known], of those that are known (0 or more).

    Args:
        found, asked: int [n], numbers of values. Raises ValueError for other shapes.
    """
    found, asked = np.asarray(found), np.asarray(asked)
    if found.shape != asked.shape or found.ndim != 1:
        raise ValueError(f"values must be two columns of as many, not {list(found.shape)} and {list(asked.shape)}")
    known = asked >= 0
    return (found[known] == asked[known]).astype(np.float64)
