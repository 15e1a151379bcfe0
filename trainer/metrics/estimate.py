"""Estimates: values with standard errors."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A measured value and its standard error (one standard deviation of the value over fresh samples of the same size)."""

    value: float
    error: float


def of_mean(values: np.ndarray) -> Estimate:
    """Returns the mean of independent values [n], such as one per picture, with its standard error.

    The error is nan for a single value. Raises ValueError for none.
    """
    if not len(values):
        raise ValueError("there is no mean of no values")
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return Estimate(float(np.mean(values)), float(error))


def of_groups(value: float, without: np.ndarray) -> Estimate:
    """Returns a value with an error from the values [groups] with each group of rows left out in turn.

    Delete-a-group jackknife (Shao & Tu 1995, section 2.3): the variance is (g - 1) / g times the sum of squared deviations.
    """
    deviations = np.asarray(without) - np.mean(without)
    share = (len(without) - 1) / len(without)
    return Estimate(float(value), float(np.sqrt(share * np.sum(deviations**2, axis=0))))


def means(each: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Returns the mean of each measure over pictures, with its error, from one value per picture."""
    with np.errstate(invalid="ignore"):
        return {name: of_mean(values) for name, values in each.items()}


def format_estimate(estimate: Estimate) -> str:
    """Formats a value and its error, to two digits of the error or four of the value, whichever is more: "30.35 ± 1.46"."""
    value, error = estimate
    if not math.isfinite(error) or error == 0:
        return f"{value:.4g}"
    digits = max(1 - math.floor(math.log10(error)), 3 - math.floor(math.log10(abs(value) or error)))
    digits = min(max(digits, 0), 6)
    return f"{value:.{digits}f} ± {error:.{digits}f}"
