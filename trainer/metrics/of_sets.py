"""Measures of a set of made pictures against real ones, by their features."""

import numpy as np

from data.errors import UserError
from trainer.metrics import names
from trainer.metrics.distribution import fid, kid
from trainer.metrics.estimate import Estimate
from trainer.metrics.memorisation import memorisation
from trainer.metrics.neighbours import density_coverage, precision_recall

LEAST = 20  # vectors in each set, so that the balls of `precision_recall` have neighbours


def measure(
    features: str,
    real: np.ndarray,
    fake: np.ndarray,
    *,
    train: np.ndarray | None = None,
    held_out: np.ndarray | None = None,
) -> dict[str, Estimate]:
    """Measures KID, FID, precision, recall, density and coverage of fakes, by full name, in this order.

    Args:
        features: the extractor's name. real, fake: its vectors, float [n, d], [m, d].
        train, held_out: vectors of training and of held-out pictures; with both, memorisation is measured too.

    Raises UserError for sets of fewer than `LEAST` rows, differing d, or values that are not finite.
    """
    for what, rows in (("real", real), ("made", fake)):
        if len(rows) < LEAST:
            raise UserError(f"{len(rows)} {what} pictures are too few to measure with: at least {LEAST} are needed")
    metrics = {}
    for function in (kid, fid, precision_recall, density_coverage):
        metrics |= names.of_sets(function, features, real, fake)
    if train is not None and held_out is not None:
        copying = names.of_sets(memorisation, features, train, held_out, fake)
        metrics |= {name: result.nearer for name, result in copying.items()}
    return metrics
