"""Builds the evaluation schedule of a run from its options."""

from dataclasses import dataclass

import numpy as np

from data.batch import REQUIRED
from data.cache import load_rows
from data.catalogue import open_source
from data.errors import UserError
from data.held_out import sibling_split
from data.quarantine import Quarantine
from trainer import tasks
from trainer.console import progress
from trainer.evaluation.live import Evaluator
from trainer.runs.config import EvaluationOptions, RunConfig
from trainer.training import best

EVALUATIONS = 10  # per run, unless they cost too much
SHORT = 20_000  # pictures; shorter runs, and the preset "tiny", are evaluated only on request


@dataclass(frozen=True)
class EvaluationSchedule:
    """Evaluator of a run and its cadence.

    every: pictures between two evaluations. metric: full name of the measure that ranks them. patience: evaluations without improvement
    after which training ends, or None.
    """

    evaluator: Evaluator
    every: int
    metric: str
    patience: int | None

    def patience_is_over(self, history) -> bool:
        """Returns whether the last improvement in the history is `patience` evaluations ago."""
        passed = best.stale(best.comparable(history.evaluations, self.metric), self.metric)
        return self.patience is not None and passed >= self.patience


def make_schedule(wanted: EvaluationOptions, run: RunConfig, model, *, view, rows, say) -> EvaluationSchedule | None:
    """The schedule by which a run is measured; None: not at all.

    Default evaluations that are not possible are left out, and `say` gets the reason.

    Raises:
        UserError, OSError: requested evaluations with a source that cannot be opened, too few pictures, or contradictory options.
    """
    task = tasks.of(model)
    count = wanted.count or min(task.count, rows.count)
    every = wanted.every
    if every is None:
        price = count * (task.price + task.call_price * (model.calls - 1))
        every = usual_every(wanted, run.preset, model.config.images, price)
    if not every:
        return None
    try:
        held_out = open_held_out(wanted, run, REQUIRED[task.name], view=view, rows=rows, say=say)
        extractor = open_extractor(wanted.features)
        if extractor.name in model.borrowed():
            say(f"no evaluation measures the distance in {extractor.name}: the model is trained with that network")
        evaluator = task.evaluator(model, rows, extractor, count=count, held_out=held_out, seed=run.seed)
        metric = best.choose(evaluator.names, wanted.best or task.measure.name)
    except (UserError, OSError) as error:
        if wanted.asked_for:
            raise
        say(f"no evaluations during this training: {error}")
        return None
    say(f"an evaluation every {every:,} pictures: {evaluator.of}; ranked by {metric}")
    return EvaluationSchedule(evaluator, every, metric, wanted.patience)


def usual_every(wanted: EvaluationOptions, preset: str | None, images: int, price: int) -> int:
    """Returns the default pictures between two evaluations; 0: none. `price`: the number at which evaluations cost little."""
    if wanted.asked_for:
        return -(-images // EVALUATIONS)
    if preset == "tiny" or images < SHORT:
        return 0
    return max(-(-images // EVALUATIONS), price)


def open_held_out(wanted: EvaluationOptions, run: RunConfig, keys, *, view, rows, say):
    """Rows of pictures that are not trained on, or None when there are none.

    `studio` draws them with another seed. Raises UserError if --eval-data cannot be used, or equals the training rows in `keys`.
    """
    spec = wanted.data or sibling_split(run.data)
    if spec is None:
        return None
    apart = open_source(spec, run.seed + 1)
    quarantine = Quarantine()
    held_out = load_rows(apart, view, fit=run.fit, quarantine=quarantine, progress=progress, say=say)
    quarantine.tell(say, of=f"{spec}: ")
    if all(np.array_equal(held_out.arrays[key], rows.arrays[key]) for key in keys):
        raise UserError(f"--eval-data {spec} holds the training pictures; give it others")
    return held_out


def open_extractor(spec):
    """Returns the extractor of that name."""
    from trainer.features.catalogue import open_features

    return open_features(spec)
