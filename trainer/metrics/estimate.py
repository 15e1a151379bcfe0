"""A number and how sure one may be of it."""

from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A measured value and its standard error (one standard deviation of the value over fresh samples of the same size)."""

    value: float
    error: float


def of_mean(values: np.ndarray) -> Estimate:
    """The mean of independent values [n], such as one per picture, and its standard error.

    The error is nan for a single value. Raises ValueError for none.
    """
    if not len(values):
        raise ValueError("there is no mean of no values")
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return Estimate(float(np.mean(values)), float(error))


def of_groups(value: float, without: np.ndarray) -> Estimate:
    """A value whose error is judged by the values [groups] it takes when each group of rows in turn is left out.

    Delete-a-group jackknife (Shao & Tu 1995, section 2.3): the variance is (g - 1) / g times the sum of squared deviations.
    """
    deviations = np.asarray(without) - np.mean(without)
    share = (len(without) - 1) / len(without)
    return Estimate(float(value), float(np.sqrt(share * np.sum(deviations**2, axis=0))))
