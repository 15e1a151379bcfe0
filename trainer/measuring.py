"""From what the user asked for to a judge: against what a run's pictures are measured, how often, and by what they are ranked."""

from dataclasses import dataclass

import numpy as np

from data.batch import GENERATION, REQUIRED
from data.cache import load_rows
from data.catalogue import open_source
from data.held_out import beside
from data.quarantine import Quarantine
from trainer import best
from trainer.config import Measuring, RunConfig
from trainer.judge import Judge, make_judge
from trainer.writers import counting

FAKES, PAIRS = 1_000, 200  # pictures made an evaluation
EVALUATIONS = 10  # a run, unless they would cost too much
PRICE = 25  # pictures trained on for each one measured: evaluations then take a twentieth of the time or so
SHORT = 20_000  # pictures; shorter runs, and the preset "tiny", are measured only when it is asked for


@dataclass(frozen=True)
class Plan:
    """judge: what measures. every: pictures between two evaluations. metric: the full name that they are ranked by.
    patience: evaluations without improvement after which training ends, or None.
    """

    judge: Judge
    every: int
    metric: str
    patience: int | None

    def patience_is_over(self, history) -> bool:
        """Whether a run with that history has gone on for long enough without becoming better."""
        passed = best.stale(best.comparable(history.evaluations, self.metric), self.metric)
        return self.patience is not None and passed >= self.patience


def make_plan(wanted: Measuring, run: RunConfig, config, model, view, rows, say) -> Plan | None:
    """How a run is measured; None: not at all.

    What nobody asked for is never a reason to refuse a training: `say` tells why there are no evaluations then.

    Raises:
        ValueError, OSError: what was asked for cannot be opened, is too little to measure with, or contradicts itself.
    """
    count = wanted.count or min(FAKES if model.task == GENERATION else PAIRS, rows.count)
    every = wanted.every if wanted.every is not None else usual_every(wanted, run.preset, config.images, count)
    if not every:
        return None
    try:
        held_out = open_held_out(wanted, run, model.task, view, rows, say)
        judge = make_judge(
            model, rows, config, open_extractor(wanted.features), held_out=held_out, count=count, seed=run.seed
        )
        metric = best.choose(judge.names, wanted.best or best.DEFAULT[model.task])
    except (ValueError, OSError) as error:
        if wanted.asked_for:
            raise
        say(f"the pictures are not measured while it trains: {error}")
        return None
    say(f"an evaluation every {every:,} pictures: {judge.of}; ranked by {metric}")
    return Plan(judge, every, metric, wanted.patience)


def usual_every(wanted: Measuring, preset: str | None, images: int, count: int) -> int:
    """Pictures between two evaluations when nobody says; 0: none."""
    if wanted.asked_for:
        return -(-images // EVALUATIONS)
    if preset == "tiny" or images < SHORT:
        return 0
    return max(-(-images // EVALUATIONS), PRICE * count)


def open_held_out(wanted: Measuring, run: RunConfig, task, view, rows, say):
    """Rows of pictures that are not trained on, or None when there are none.

    Drawn ones (`studio`) are drawn with another seed. Raises ValueError when --eval-data cannot be used, or is what is trained on.
    """
    spec = wanted.data or beside(run.data)
    if spec is None:
        return None
    apart = open_source(spec, run.seed + 1)
    quarantine = Quarantine()
    held_out = load_rows(apart, view, fit=run.fit, quarantine=quarantine, progress=counting, say=say)
    quarantine.tell(say, of=f"{spec}: ")
    if all(np.array_equal(held_out.arrays[key], rows.arrays[key]) for key in REQUIRED[task]):
        raise ValueError(f"--eval-data {spec} is what is trained on; it takes pictures that are not")
    return held_out


def open_extractor(spec):
    """The extractor of that name."""
    from trainer.features.catalogue import open_features

    return open_features(spec)
