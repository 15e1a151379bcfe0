"""The measures of a run's pictures: the same inputs every time, against what was read once at the start."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from data.batch import ENHANCEMENT, GENERATION
from data.images import to_float, to_uint8
from trainer.evaluation import pairs, sets
from trainer.evaluation.report import means
from trainer.metrics.estimate import Estimate
from trainer.training.best import ON_TRAINING_DATA

REFERENCE = 5_000  # real pictures at most whose features are kept
TOGETHER = 64  # pictures made, or looked at, in one call
FIRST_SEED = 1 << 40  # of the pictures that are measured: none that people look at, whose seeds begin at 0


@dataclass(frozen=True)
class Evaluator:
    """of: what is measured against what, in words. names: the full names that `measure()` finds, the headline first."""

    of: str
    names: tuple[str, ...]
    measure: Callable[[], dict[str, Estimate]]


def make_evaluator(model, rows, config, extractor, *, count, held_out=None, seed=0) -> Evaluator:
    """A judge of the averaged network of `model`.

    generation: fakes of fixed seeds, with the training set's mix of categories, against up to `REFERENCE` training pictures; with held-out
    pictures memorisation too. Others: what is made of held-out rows against their targets; without those, of training rows, and the names
    begin with `train_`. Rows are taken evenly over the set.

    Args:
        rows, held_out: `data.cache.Rows`. extractor: see `trainer.features.catalogue`.
        count: pictures made an evaluation; of pairs no more than there are.

    Raises UserError when there are too few pictures to measure with.
    """
    sample = tf.function(model.sample, reduce_retracing=True)
    if model.task == GENERATION:
        return _generation(model, sample, rows, config, extractor, held_out, count, seed)
    return _paired(model, sample, rows, config, extractor, held_out, count)


def _generation(model, sample, rows, config, extractor, held_out, count, seed):
    conditions = rows.take(_evenly(rows.count, count)) if model.facts else {}
    batch = {"seed": FIRST_SEED + np.arange(count, dtype=np.int64)}
    batch |= {name: conditions[name] for name in model.facts.names}
    real = _vectors(extractor, rows)
    apart = None if held_out is None else _vectors(extractor, held_out)

    def judged(fake):
        return sets.measure(extractor.name, real, fake, train=real, held_out=apart)

    def measure():
        made = (extractor.vectors(pictures) for pictures in _made(sample, batch))
        return judged(np.concatenate(list(made)))

    beside = f", {len(apart):,} held-out ones beside them" if apart is not None else ""
    return Evaluator(
        f"{count:,} made pictures against {len(real):,} training pictures by {extractor.name}{beside}",
        tuple(judged(real[np.arange(count) % len(real)])),
        measure,
    )


def _paired(model, sample, rows, config, extractor, held_out, count):
    shown = rows if held_out is None else held_out
    prefix = ON_TRAINING_DATA if held_out is None else ""
    count = min(count, shown.count)
    source, target = ("low", "high") if model.task == ENHANCEMENT else ("source", "target")
    taken = shown.take(_evenly(shown.count, count))
    batch = {source: to_float(tf.constant(taken[source])).numpy()}
    shave = config.scale if model.task == ENHANCEMENT else 0

    def judged(pictures, targets):
        found = means(pairs.measure(pictures, targets, shave=shave, extractor=extractor))
        return {prefix + name: estimate for name, estimate in found.items()}

    def measure():
        return judged(np.concatenate(list(_made(sample, batch))), taken[target])

    whose = "training" if held_out is None else "held-out"
    which = hashlib.sha256(taken[target].tobytes()).hexdigest()[:8]
    black = np.zeros_like(taken[target][:1])
    return Evaluator(
        f"{count:,} {whose} pairs ({which}) by {extractor.name}", tuple(judged(black, np.bitwise_not(black))), measure
    )


def _made(sample, batch):
    """Blocks of pictures uint8 [n, height, width, 3] that the network makes of the rows of a batch."""
    for block in _blocks(len(next(iter(batch.values())))):
        yield to_uint8(sample({key: tf.constant(value[block]) for key, value in batch.items()})).numpy()


def _vectors(extractor, rows):
    """The features of up to `REFERENCE` pictures, float [n, d], read and looked at a block at a time."""
    indices = _evenly(rows.count, min(rows.count, REFERENCE))
    with tqdm(desc="features", total=len(indices), unit="img", disable=None) as bar:
        found = []
        for block in _blocks(len(indices)):
            found.append(extractor.vectors(rows.take(indices[block])["image"]))
            bar.update(len(found[-1]))
    return np.concatenate(found)


def _evenly(total, count):
    return np.arange(count) * total // count


def _blocks(count):
    return (slice(start, start + TOGETHER) for start in range(0, count, TOGETHER))
