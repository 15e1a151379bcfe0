"""Evaluators of a network in training: the same inputs every time, against pictures read once at the start."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from data.images import to_uint8
from trainer.console import progress
from trainer.evaluation.pairs import PairEvaluator
from trainer.evaluation.sets import SetEvaluator
from trainer.metrics import of_pictures
from trainer.metrics.estimate import Estimate
from trainer.metrics.table import OF_TRAINING, PERIODIC_ARTIFACTS, measure_of, of_real

REFERENCE = 5_000  # real pictures at most whose features are kept
TOGETHER = 64  # pictures in one call of a network


@dataclass(frozen=True)
class Evaluator:
    """Evaluator of a run. of: the protocol in words. names: full names of the measures of `measure()`, the headline first."""

    of: str
    names: tuple[str, ...]
    measure: Callable[[], dict[str, Estimate]]


def maker(model, batch: dict[str, np.ndarray]) -> Callable[[], Iterator[np.ndarray]]:
    """Returns a function () -> blocks uint8 [n, height, width, 3] of pictures that the current EMA makes from the rows of a batch."""
    sample = tf.function(model.sample, reduce_retracing=True)

    def make():
        for block in _blocks(len(next(iter(batch.values())))):
            yield to_uint8(sample({key: tf.constant(value[block]) for key, value in batch.items()})).numpy()

    return make


def of_sets(make, count: int, *, rows, held_out, extractor, period: int, key: str = "image") -> Evaluator:
    """Measures `count` pictures that `make` makes against up to `REFERENCE` rows of training, and memorisation with those held out.

    Args:
        make: see `maker`. rows, held_out: `data.cache.Rows` with the key `key`; held_out may be None.
        extractor, period: see `SetEvaluator`.

    Raises UserError if there are too few pictures.
    """
    real = _vectors(extractor, rows, key)
    apart = None if held_out is None else _vectors(extractor, held_out, key)
    some = rows.take(evenly(rows.count, min(rows.count, of_pictures.MOST)))[key]
    artifacts = of_pictures.measure(some, period=period)
    evaluator = SetEvaluator(extractor, real, real, apart, period, artifacts)
    also = f", {len(apart):,} held-out ones beside them" if apart is not None else ""
    return Evaluator(
        f"{count:,} made pictures against {len(real):,} training pictures by {extractor.name}{also}",
        (*evaluator.of_vectors(real[np.arange(count) % len(real)]), *artifacts, *map(of_real, artifacts)),
        lambda: evaluator.measure(make(), count)[0] | _as_real(artifacts),
    )


def of_pairs(make, evaluator: PairEvaluator, seen: bool) -> Evaluator:
    """Measures the pictures of `make` against an evaluator's targets; `seen`: they are trained on, which prefixes the names."""
    prefix = OF_TRAINING if seen else ""
    alone = evaluator.alone(evaluator.targets)
    artifacts = {name: value for name, value in alone.items() if measure_of(name) is PERIODIC_ARTIFACTS}

    def measure():
        metrics, _ = evaluator.measure(np.concatenate(list(make())))
        return {prefix + name: value for name, value in metrics.items()} | _as_real(artifacts)

    targets = np.asarray(evaluator.targets)
    which = hashlib.sha256(targets.tobytes()).hexdigest()[:8]
    whose = "training" if seen else "held-out"
    return Evaluator(
        f"{len(targets):,} {whose} pairs ({which}) by {evaluator.extractor.name}",
        (*(prefix + name for name in evaluator.names()), *map(of_real, artifacts)),
        measure,
    )


def evenly(total: int, count: int) -> np.ndarray:
    """Returns `count` of `total` indices, int [count], evenly spread; repeated if `count` is larger."""
    return np.arange(count) * total // count


def _as_real(artifacts):
    return {of_real(name): value for name, value in artifacts.items()}


def _vectors(extractor, rows, key):
    """The features of up to `REFERENCE` pictures, float [n, d], read and looked at a block at a time."""
    indices = evenly(rows.count, min(rows.count, REFERENCE))
    blocks = progress(_blocks(len(indices)), -(-len(indices) // TOGETHER), "features")
    return np.concatenate([extractor.vectors(rows.take(indices[block])[key]) for block in blocks])


def _blocks(count):
    return (slice(start, start + TOGETHER) for start in range(0, count, TOGETHER))
