"""Which evaluation of a run is the best by a named measure, and how long ago it last became better: pure functions."""

import math

from data.batch import ENHANCEMENT, GENERATION, TRANSLATION
from data.errors import UserError
from trainer.evaluation.report import better, measure_of

UNRANKED = ("memorisation",)  # best in the middle
ON_TRAINING_DATA = "train_"  # begins the name of a measure whose pictures were trained on

# What a task is judged by when nobody says: of translations, PSNR likes blurred ones best.
DEFAULT = {GENERATION: "kid", TRANSLATION: "feature_distance", ENHANCEMENT: "psnr_y"}


def direction(name: str) -> int:
    """1 for a measure that is better when more, -1 when less, 0 for one that nothing can be ranked by."""
    plain = name.removeprefix(ON_TRAINING_DATA)
    return 0 if measure_of(plain) in UNRANKED else better(plain)


def choose(names, wanted: str) -> str:
    """The one of `names` that is `wanted`, or begins with it ("kid" for "kid_packshot1_n1000").

    Raises UserError, with the known names, when none or several begin so, and for one that says neither better nor worse.
    """
    known = [name for name in names if direction(name)]
    if wanted in known:
        return wanted
    found = [name for name in known if name.startswith(wanted) or name.startswith(ON_TRAINING_DATA + wanted)]
    if len(found) == 1:
        return found[0]
    problem = f"may be {' or '.join(found)}" if found else "is none of what is measured here"
    raise UserError(f"--best {wanted} {problem}; have: {', '.join(known)}")


def comparable(evaluations, name: str) -> list:
    """The evaluations that have a finite value of that name."""
    return [e for e in evaluations if name in e.found and math.isfinite(e.found[name].value)]


def best(evaluations, name: str):
    """The best of comparable evaluations, the earliest of equals; None for none."""
    return max(evaluations, key=lambda e: direction(name) * e.found[name].value, default=None)


def facts(evaluation, name: str) -> dict:
    """What best.json says of an evaluation that is kept as the best by the measure of that name."""
    value, error = evaluation.found[name]
    known = {"metric": name, "value": value, "error": error if math.isfinite(error) else None, "of": evaluation.of}
    return known | {"step": evaluation.step, "images": evaluation.images}


def beats(evaluation, kept: dict | None, name: str) -> bool:
    """Whether an evaluation is better than the one that best.json tells of; always when that was of another measure or other pictures."""
    value = evaluation.found[name].value
    if kept is None or (kept["metric"], kept["of"]) != (name, evaluation.of):
        return math.isfinite(value)
    return direction(name) * (value - kept["value"]) > 0


def stale(evaluations, name: str) -> int:
    """How many comparable evaluations have passed since one was better by more than its error bar.

    Better than the last that was: steps that are each too small to be seen count once they add up.
    """
    passed, last = 0, None
    for evaluation in evaluations:
        value, error = evaluation.found[name]
        bar = error if math.isfinite(error) else 0.0
        if last is None or direction(name) * (value - last) > bar:
            passed, last = 0, value
        else:
            passed += 1
    return passed
