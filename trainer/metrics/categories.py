"""Measures of each class alone, since one number hides a class that a generator has dropped."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Category(NamedTuple):
    """Rows of a class in each set, and the result of the measure, or None for too few rows."""

    real: int
    fake: int
    result: Any


def by_category(
    measure: Callable,
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
    *,
    names: Sequence[str],
    least: int = 20,
    **protocol,
) -> dict[str, Category]:
    """Calls `measure(real, fake, **protocol)`, such as `kid` or `precision_recall`, for each label; returns results by name.

    Args:
        real, fake: features [n, d], [m, d].
        real_labels, fake_labels: int [n], [m], indices into `names`.
        least: a class with fewer rows in either set is counted but not measured.

    Classes have far fewer rows than the whole set. So only measures whose expectation does not depend on n (KID) compare with the value of
    the whole set; recall, precision and FID compare only between models, within a class. Raises ValueError for labels that are not one per
    row or have no name, and the exceptions of `measure`.
    """
    for rows, labels, what in ((real, real_labels, "real"), (fake, fake_labels, "fake")):
        labels = np.asarray(labels)
        if labels.shape != (len(rows),) or labels.dtype.kind not in "iu":
            raise ValueError(f"{what} labels must be integers [{len(rows)}], not {labels.dtype} {list(labels.shape)}")
        if labels.size and not 0 <= labels.min() <= labels.max() < len(names):
            raise ValueError(f"{what} labels run from {labels.min()} to {labels.max()}; there are {len(names)} names")
    classes = {}
    for label, name in enumerate(names):
        a, b = real[np.asarray(real_labels) == label], fake[np.asarray(fake_labels) == label]
        enough = min(len(a), len(b)) >= least
        classes[name] = Category(len(a), len(b), measure(a, b, **protocol) if enough else None)
    return classes
