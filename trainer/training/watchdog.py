"""What goes wrong in a training, by name, and what to change.

Detectors are pure functions of what a run has measured so far (`trainer.runs.history`): the lines of training, which hold the losses and
now and then the spread of the samples, and the evaluations. Each returns a `Finding` or None. A detector of one that should go away
again (a critic that wins) looks at the latest lines only.
"""

import math
from typing import NamedTuple

import numpy as np

from trainer.errors import Stopped
from trainer.metrics.of_pictures import has_grid
from trainer.metrics.table import MEMORISATION, PERIODIC_ARTIFACTS, RECALL, better, measure_of, of_real
from trainer.training.best import best, comparable

KEPT = "The last good checkpoint is kept."
ALIVE, DEAD = 0.2, 0.02  # spread of the samples, as a share of the training pictures'
SEEN, LOST = 0.05, 0.1  # a recall that counts as variety; the share of the best recall below which it is lost
WON, SURE = 0.03, 0.95  # the critic's loss, where a draw is 0.25 or more; its confidence, where a draw is 0
SPENT = 0.95  # of ADA's strength, which ends at 1
SUSTAINED, PICTURES = 10, 2_000  # lines in a row, and the pictures that they span at least


class Finding(NamedTuple):
    """name: a word or two, the same every time. sentence: what is seen and what to change. fatal: going on is pointless."""

    name: str
    sentence: str
    fatal: bool = False


def not_finite(lines) -> Finding | None:
    """A number of the latest line is not finite; a term is named rather than the sum it enters."""
    if not lines:
        return None
    line = lines[-1]
    bad = sorted((name for name, x in line.items() if not math.isfinite(x)), key=lambda name: name.endswith("loss"))
    if not bad:
        return None
    return Finding(
        "divergence",
        f"{bad[0]} is {line[bad[0]]} at step {line['step']} ({line['images']} pictures): training has diverged. {KEPT}"
        " A lower learning rate, a larger penalty weight (gamma) or float32 precision are what usually helps.",
        fatal=True,
    )


def collapse(lines) -> Finding | None:
    """The samples, which differed once, are all but alike on two sample grids in a row."""
    seen = [(line["step"], line["sample_spread"]) for line in lines if "sample_spread" in line]
    spreads = [spread for _, spread in seen]
    if len(spreads) < 3 or max(spreads[:-2]) <= ALIVE or max(spreads[-2:]) >= DEAD:
        return None
    return Finding(
        "collapse",
        f"the generator has collapsed at step {seen[-1][0]}: its samples differ by {spreads[-1]:.1%} of what the training"
        f" pictures do. {KEPT} --augment ada, a larger penalty weight (gamma) or a lower learning rate are what usually helps.",
        fatal=True,
    )


def lost_variety(evaluations) -> Finding | None:
    """Recall, once there, is all but gone for two evaluations in a row; pointless when two more have not brought it back."""
    recalls = [value for value, _ in _series(evaluations, RECALL)]
    peak = max(recalls, default=0.0)
    gone = _trailing(recalls, lambda recall: recall < LOST * peak)
    if peak <= SEEN or gone < 2:
        return None
    return Finding(
        "lost variety",
        f"recall was {peak:.2f} and is {recalls[-1]:.3f} in the last {gone} evaluations: the generator makes a few kinds of picture"
        f" only. {KEPT} --augment ada, a larger penalty weight (gamma) or a lower learning rate are what usually helps;"
        f" {_take_the_best()}.",
        fatal=gone >= 4,
    )


def winning_critic(lines) -> Finding | None:
    """The critic is right and sure of it, line after line, and the generator's loss does not fall.

    For objectives whose critic's loss ends at 0: non-saturating, minimax, least squares, hinge and relativistic ones. That of WGANs is a
    distance, which may be below 0, and their logits have no zero, so a run whose critic's loss was ever negative is not judged.
    """
    latest = _sustained(lines)
    if latest is None or any(line.get("critic_adversarial", -1.0) < 0 for line in lines):
        return None
    if any(line["critic_adversarial"] > WON or line["critic_confidence"] < SURE for line in latest):
        return None
    earlier, later = (
        np.mean([line["generator_adversarial"] for line in half]) for half in np.array_split(np.array(latest), 2)
    )
    if later < earlier - 0.1 * abs(earlier):
        return None
    return Finding(
        "winning critic",
        f"the critic tells fakes from real pictures without fail (its loss is {latest[-1]['critic_adversarial']:.3f}, the generator's"
        f" {latest[-1]['generator_adversarial']:.2f}), so the generator learns nothing from it. --augment ada or more pictures if there"
        " are few, else a larger penalty weight (gamma) or a lower learning rate.",
    )


def spent_augmentation(lines) -> Finding | None:
    """ADA stands at its end and the critic still knows the real pictures."""
    latest = _sustained(lines)
    if latest is None or any(line.get("ada_strength", 0.0) < SPENT for line in latest):
        return None
    return Finding(
        "too few pictures",
        f"the augmentation of what the critic sees is at its end (ada_strength {latest[-1]['ada_strength']:.2f}): the critic knows the"
        f" training pictures by heart. More pictures or a smaller network are what helps; {_take_the_best()}.",
    )


def memorising(evaluations) -> Finding | None:
    """Fakes are nearer to training pictures than held-out pictures are, in two evaluations in a row, by more than three errors."""
    chances = _series(evaluations, MEMORISATION)
    if _trailing(chances, lambda chance: chance[0] - 3 * chance[1] > 0.5) < 2:
        return None
    value, error = chances[-1]
    return Finding(
        "memorising",
        f"with a chance of {value:.2f} ± {error:.2f} a made picture is nearer to a training picture than a held-out picture is, and 0.50"
        " is new: the model repeats what it was shown (or the held-out pictures are of another kind). More pictures, --augment ada or"
        f" a shorter training help; {_take_the_best()}.",
    )


def grid(evaluations) -> Finding | None:
    """The made pictures have a grid that real ones do not have, in two evaluations in a row."""
    pairs = [
        (name, made, e.found[of_real(name)])
        for e in evaluations
        for name, made in e.found.items()
        if measure_of(name) is PERIODIC_ARTIFACTS and of_real(name) in e.found
    ]
    if _trailing(pairs, lambda pair: has_grid(*pair[1:])) < 2:
        return None
    name, made, real = pairs[-1]
    return Finding(
        "grid",
        f"{name} is {made.value:.3g}, and {real.value:.3g} of real pictures: there is a grid in the made pictures, which the layers that"
        " enlarge leave. A generator that interpolates before it convolves, or filters what it enlarges, has none; a longer training and"
        " a lower learning rate make it fainter.",
    )


def past_the_best(evaluations, metric) -> Finding | None:
    """Three evaluations in a row are worse than the best by more than two errors of the difference."""
    known = comparable(evaluations, metric)
    top = best(known, metric)
    if top is None:
        return None
    value, error = top.found[metric]

    def worse(evaluation):
        now = evaluation.found[metric]
        return better(metric) * (value - now.value) > 2 * np.nan_to_num(np.hypot(now.error, error))

    if _trailing(known, worse) < 3:
        return None
    return Finding(
        "past its best",
        f"{metric} was {value:.4g} at {top.images:,} pictures (step {top.step}) and has been clearly worse in three evaluations since:"
        f" going on makes it worse. {_take_the_best().capitalize()}, or lower the learning rate; --patience ends such a run.",
    )


def findings(history, metric: str | None) -> list[Finding]:
    """Everything that is to be said of a history now; `metric` is the full name of what evaluations are ranked by."""
    lines, evaluations = history.lines, history.evaluations
    found = [
        not_finite(lines),
        collapse(lines),
        lost_variety(evaluations),
        winning_critic(lines),
        spent_augmentation(lines),
        memorising(evaluations),
        grid(evaluations),
        past_the_best(evaluations, metric) if metric else None,
    ]
    return [finding for finding in found if finding]


class Watchdog:
    """Says each finding when it comes up, and again only after it has been gone; stops the run at a fatal one.

    Args:
        history: `trainer.runs.history.History`, as far as the run has come. metric: see `findings`.
        record, say: functions (step, images, name, sentence); `say` is spared what the end of the run says anyway.
    """

    def __init__(self, history, metric, record, say):
        self._history, self._metric, self._record, self._say = history, metric, record, say
        self._said = {finding.name for finding in findings(history, metric)}

    def __call__(self, step, images, values):
        """A writer of lines of training. Raises Stopped."""
        self._history.lines.append({"step": step, "images": images} | values)
        self._look(step, images)

    def evaluation(self, made, seconds):
        """A writer of evaluations, which the history has already. Raises Stopped."""
        self._look(made.step, made.images)

    def _look(self, step, images):
        found = findings(self._history, self._metric)
        for finding in found:
            if finding.fatal or finding.name not in self._said:
                for tell in self._record if finding.fatal else (*self._record, self._say):
                    tell(step, images, finding.name, finding.sentence)
            if finding.fatal:
                raise Stopped(finding.sentence)
        self._said = {finding.name for finding in found}


def _series(evaluations, measure):
    """The estimates of a measure, of the evaluations that have it."""
    return [estimate for e in evaluations for name, estimate in e.found.items() if measure_of(name) is measure]


def _trailing(values, holds):
    """How many values at the end, without a gap, it holds for."""
    count = 0
    for value in reversed(values):
        if not holds(value):
            break
        count += 1
    return count


def _sustained(lines):
    """The latest lines, if they are enough to judge by."""
    latest = lines[-SUSTAINED:]
    enough = len(latest) == SUSTAINED and latest[-1]["images"] - latest[0]["images"] >= PICTURES
    return latest if enough else None


def _take_the_best():
    return "the best so far is kept, see `packshot export --best`"
