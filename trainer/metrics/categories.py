"""The same measure for each category alone: one number hides the category a generator has dropped."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Category(NamedTuple):
    """How many rows of each set a category has, and what the measure says of them: None when it has too few."""

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
    """`measure(real, fake, **protocol)`, such as `kid` or `precision_recall`, for the rows of each label, by its name in `names`.

    Args:
        real, fake: features [n, d], [m, d].
        real_labels, fake_labels: int [n], [m], indices into `names`.
        least: a category with fewer rows in either set is counted and not measured.

    Categories have far fewer rows than the whole, so only measures whose expectation does not depend on n (KID) compare with the value
    of the whole; recall, precision and FID compare between models, within a category. Raises ValueError for labels that are not one
    per row or have no name, and whatever `measure` raises.
    """
    for rows, labels, what in ((real, real_labels, "real"), (fake, fake_labels, "fake")):
        labels = np.asarray(labels)
        if labels.shape != (len(rows),) or labels.dtype.kind not in "iu":
            raise ValueError(f"{what} labels must be integers [{len(rows)}], not {labels.dtype} {list(labels.shape)}")
        if labels.size and not 0 <= labels.min() <= labels.max() < len(names):
            raise ValueError(f"{what} labels run from {labels.min()} to {labels.max()}; there are {len(names)} names")
    found = {}
    for label, name in enumerate(names):
        a, b = real[np.asarray(real_labels) == label], fake[np.asarray(fake_labels) == label]
        enough = min(len(a), len(b)) >= least
        found[name] = Category(len(a), len(b), measure(a, b, **protocol) if enough else None)
    return found
