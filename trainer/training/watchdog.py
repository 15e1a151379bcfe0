"""Rules that name faults of a training and their remedies.

Detectors are pure functions of the history of a run (`trainer.runs.history`): the lines of training, with the losses and sometimes the
spread of the samples, and the evaluations. Each returns a `Alarm` or None. Detectors of passing faults (a winning critic) look at
the latest lines only.
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
WON, SURE = 0.03, 0.95  # the critic's loss (0.25 or more without a winner) and confidence (0 without a winner)
SPENT = 0.95  # of ADA's strength, which ends at 1
SUSTAINED, PICTURES = 10, 2_000  # lines in a row, and the least pictures that they span


class Alarm(NamedTuple):
    """A fault. name: a word or two, always the same. sentence: the symptom and the remedy. fatal: the run should end."""

    name: str
    sentence: str
    fatal: bool = False


def not_finite(lines) -> Alarm | None:
    """Detects a number of the latest line that is not finite; names a term rather than the sum that holds it."""
    if not lines:
        return None
    line = lines[-1]
    bad = sorted((name for name, x in line.items() if not math.isfinite(x)), key=lambda name: name.endswith("loss"))
    if not bad:
        return None
    return Alarm(
        "divergence",
        f"{bad[0]} is {line[bad[0]]} at step {line['step']} ({line['images']} pictures): training has diverged. {KEPT}"
        " A lower learning rate, a larger penalty weight (gamma) or float32 precision usually helps.",
        fatal=True,
    )


def collapse(lines) -> Alarm | None:
    """Detects samples that differed once and are nearly equal on two sample grids in a row."""
    seen = [(line["step"], line["sample_spread"]) for line in lines if "sample_spread" in line]
    spreads = [spread for _, spread in seen]
    if len(spreads) < 3 or max(spreads[:-2]) <= ALIVE or max(spreads[-2:]) >= DEAD:
        return None
    return Alarm(
        "collapse",
        f"the generator has collapsed at step {seen[-1][0]}: its samples differ by {spreads[-1]:.1%} of what the training"
        f" pictures do. {KEPT} --augment ada, a larger penalty weight (gamma) or a lower learning rate usually helps.",
        fatal=True,
    )


def lost_variety(evaluations) -> Alarm | None:
    """Detects a recall that has nearly vanished for two evaluations in a row; fatal after two more."""
    recalls = [value for value, _ in _series(evaluations, RECALL)]
    peak = max(recalls, default=0.0)
    gone = _trailing(recalls, lambda recall: recall < LOST * peak)
    if peak <= SEEN or gone < 2:
        return None
    return Alarm(
        "lost variety",
        f"recall was {peak:.2f} and is {recalls[-1]:.3f} in the last {gone} evaluations: the generator makes a few kinds of picture"
        f" only. {KEPT} --augment ada, a larger penalty weight (gamma) or a lower learning rate usually helps;"
        f" {_take_the_best()}.",
        fatal=gone >= 4,
    )


def winning_critic(lines) -> Alarm | None:
    """Detects a critic with a small loss and high confidence, line after line, while the generator's loss does not fall.

    Applies to objectives whose critic's loss ends at 0: non-saturating, minimax, least squares, hinge and relativistic ones. The loss of a
    WGAN's critic is a distance, which may be below 0, and its logits have no zero; so runs with a negative critic's loss are skipped.
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
    return Alarm(
        "winning critic",
        f"the critic never confuses fakes and real pictures (its loss is {latest[-1]['critic_adversarial']:.3f}, the generator's"
        f" {latest[-1]['generator_adversarial']:.2f}), so the generator learns nothing from it. If there are few"
        " pictures, --augment ada or more pictures help; else a larger penalty weight (gamma) or a lower learning rate.",
    )


def spent_augmentation(lines) -> Alarm | None:
    """Detects an ADA strength at its maximum: the critic has memorised the real pictures."""
    latest = _sustained(lines)
    if latest is None or any(line.get("ada_strength", 0.0) < SPENT for line in latest):
        return None
    return Alarm(
        "too few pictures",
        f"the augmentation for the critic is at its maximum (ada_strength {latest[-1]['ada_strength']:.2f}): the critic has memorised the"
        f" training pictures. More pictures or a smaller network help; {_take_the_best()}.",
    )


def memorising(evaluations) -> Alarm | None:
    """Detects fakes nearer to training pictures than held-out pictures are, in two evaluations in a row, by more than three errors."""
    chances = _series(evaluations, MEMORISATION)
    if _trailing(chances, lambda chance: chance[0] - 3 * chance[1] > 0.5) < 2:
        return None
    value, error = chances[-1]
    return Alarm(
        "memorising",
        f"with a chance of {value:.2f} ± {error:.2f} a made picture is nearer to a training picture than a held-out picture is; new"
        " pictures have 0.50. The model repeats its training pictures (or the held-out pictures are of another kind). More pictures,"
        f" --augment ada or a shorter training help; {_take_the_best()}.",
    )


def grid(evaluations) -> Alarm | None:
    """Detects a grid in made pictures that real ones do not have, in two evaluations in a row."""
    pairs = [
        (name, made, e.found[of_real(name)])
        for e in evaluations
        for name, made in e.found.items()
        if measure_of(name) is PERIODIC_ARTIFACTS and of_real(name) in e.found
    ]
    if _trailing(pairs, lambda pair: has_grid(*pair[1:])) < 2:
        return None
    name, made, real = pairs[-1]
    return Alarm(
        "grid",
        f"{name} is {made.value:.3g}, and {real.value:.3g} for real pictures: there is a grid in the made pictures, from the upsampling"
        " layers. A generator that interpolates before it convolves, or filters after upsampling, has none; a longer training and a"
        " lower learning rate make it fainter.",
    )


def past_the_best(evaluations, metric) -> Alarm | None:
    """Detects three evaluations in a row that are worse than the best by more than two errors of the difference."""
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
    return Alarm(
        "past its best",
        f"{metric} was {value:.4g} at {top.images:,} pictures (step {top.step}) and has been clearly worse in three evaluations since:"
        f" further training makes it worse. {_take_the_best().capitalize()}, or lower the learning rate; --patience ends such a run.",
    )


def findings(history, metric: str | None) -> list[Alarm]:
    """Returns all findings for a history; `metric` is the full name of the measure that ranks evaluations."""
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
    """Reports each finding when it appears, and again only after it was gone; stops the run at a fatal one.

    Args:
        history: `trainer.runs.history.History` of the run so far. metric: see `findings`.
        record, say: functions (step, images, name, sentence); `say` does not get fatal findings, which the end of the run reports.
    """

    def __init__(self, history, metric, record, say):
        self._history, self._metric, self._record, self._say = history, metric, record, say
        self._said = {finding.name for finding in findings(history, metric)}

    def __call__(self, step, images, values):
        """Writer of lines of training. Raises Stopped."""
        self._history.lines.append({"step": step, "images": images} | values)
        self._look(step, images)

    def evaluation(self, made, seconds):
        """Writer of evaluations, which are already in the history. Raises Stopped."""
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
    """Returns the estimates of a measure in the evaluations that have it."""
    return [estimate for e in evaluations for name, estimate in e.found.items() if measure_of(name) is measure]


def _trailing(values, holds):
    """Counts the last values in a row that `holds` is true for."""
    count = 0
    for value in reversed(values):
        if not holds(value):
            break
        count += 1
    return count


def _sustained(lines):
    """Returns the latest lines, or None if they are too few."""
    latest = lines[-SUSTAINED:]
    enough = len(latest) == SUSTAINED and latest[-1]["images"] - latest[0]["images"] >= PICTURES
    return latest if enough else None


def _take_the_best():
    return "the best checkpoint so far is kept, see `packshot export --best`"
