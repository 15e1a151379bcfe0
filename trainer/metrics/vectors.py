"""Checks of sets of feature vectors, and distances between them in bounded memory."""

from collections.abc import Iterator

import numpy as np

from data.errors import UserError

BLOCK = 1024  # rows compared with a whole set at a time: 25 MB against 3,068 rows


def checked(vectors: np.ndarray, what: str, *, least: int = 2) -> np.ndarray:
    """Returns the vectors as float64 [n, d]; `what` names them in errors.

    Raises ValueError if they are not [n, d], and UserError for values that are not finite and fewer than `least` rows.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or not vectors.shape[1] or vectors.dtype.kind not in "fiu":
        raise ValueError(f"{what} must be numbers [n, d], not {vectors.dtype} {list(vectors.shape)}")
    if len(vectors) < least:
        raise UserError(f"{what} has {len(vectors)} rows; this measure needs at least {least}")
    vectors = vectors.astype(np.float64)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise UserError(f"{what} holds a value that is not finite, first in row {row}")
    return vectors


def checked_sets(least: int = 2, **sets: np.ndarray) -> list[np.ndarray]:
    """Checks several sets by name, as `checked`. Raises ValueError also if they differ in d."""
    arrays = [checked(vectors, name, least=least) for name, vectors in sets.items()]
    if len({vectors.shape[1] for vectors in arrays}) > 1:
        shapes = ", ".join(f"{name} {list(vectors.shape)}" for name, vectors in zip(sets, arrays, strict=True))
        raise ValueError(f"the sets differ in the number of features: {shapes}")
    return arrays


def blocks(count: int) -> Iterator[slice]:
    """Yields slices of at most `BLOCK` rows that cover `count` rows."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def squared_distances(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances of float64 [n, d] to [m, d]: float64 [n, m], >= 0, one matrix product.

    The rounding error is about 1e-15 of the squared lengths, so equal rows may be that far apart.
    """
    lengths = np.einsum("nd,nd->n", rows, rows)[:, None] + np.einsum("nd,nd->n", columns, columns)
    return np.maximum(lengths - 2 * (rows @ columns.T), 0)
