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

EVALUATIONS = 10  # a run, unless they would cost too much
SHORT = 20_000  # pictures; shorter runs, and the preset "tiny", are measured only when it is asked for


@dataclass(frozen=True)
class EvaluationSchedule:
    """evaluator: what measures. every: pictures between two evaluations. metric: the full name that they are ranked by.
    patience: evaluations without improvement after which training ends, or None.
    """

    evaluator: Evaluator
    every: int
    metric: str
    patience: int | None

    def patience_is_over(self, history) -> bool:
        """Whether a run with that history has gone on for long enough without becoming better."""
        passed = best.stale(best.comparable(history.evaluations, self.metric), self.metric)
        return self.patience is not None and passed >= self.patience


def make_schedule(wanted: EvaluationOptions, run: RunConfig, model, *, view, rows, say) -> EvaluationSchedule | None:
    """The schedule by which a run is measured; None: not at all.

    What nobody asked for is never a reason to refuse a training: `say` tells why there are no evaluations then.

    Raises:
        UserError, OSError: what was asked for cannot be opened, is too little to measure with, or contradicts itself.
    """
    task = tasks.of(model)
    count = wanted.count or min(task.count, rows.count)
    every = wanted.every
    if every is None:
        every = usual_every(wanted, run.preset, model.config.images, task.price * count)
    if not every:
        return None
    try:
        held_out = open_held_out(wanted, run, REQUIRED[task.name], view=view, rows=rows, say=say)
        extractor = open_extractor(wanted.features)
        evaluator = task.evaluator(model, rows, extractor, count=count, held_out=held_out, seed=run.seed)
        metric = best.choose(evaluator.names, wanted.best or task.measure.name)
    except (UserError, OSError) as error:
        if wanted.asked_for:
            raise
        say(f"the pictures are not measured while it trains: {error}")
        return None
    say(f"an evaluation every {every:,} pictures: {evaluator.of}; ranked by {metric}")
    return EvaluationSchedule(evaluator, every, metric, wanted.patience)


def usual_every(wanted: EvaluationOptions, preset: str | None, images: int, price: int) -> int:
    """Pictures between two evaluations when nobody says; 0: none. `price`: as many as make an evaluation cheap beside training."""
    if wanted.asked_for:
        return -(-images // EVALUATIONS)
    if preset == "tiny" or images < SHORT:
        return 0
    return max(-(-images // EVALUATIONS), price)


def open_held_out(wanted: EvaluationOptions, run: RunConfig, keys, *, view, rows, say):
    """Rows of pictures that are not trained on, or None when there are none.

    Drawn ones (`studio`) are drawn with another seed. Raises UserError when --eval-data cannot be used, or is, by these keys, what is
    trained on.
    """
    spec = wanted.data or sibling_split(run.data)
    if spec is None:
        return None
    apart = open_source(spec, run.seed + 1)
    quarantine = Quarantine()
    held_out = load_rows(apart, view, fit=run.fit, quarantine=quarantine, progress=progress, say=say)
    quarantine.tell(say, of=f"{spec}: ")
    if all(np.array_equal(held_out.arrays[key], rows.arrays[key]) for key in keys):
        raise UserError(f"--eval-data {spec} is what is trained on; it takes pictures that are not")
    return held_out


def open_extractor(spec):
    """The extractor of that name."""
    from trainer.features.catalogue import open_features

    return open_features(spec)
