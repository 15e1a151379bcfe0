"""Ranks evaluations of a run by a named measure; tells how long ago the last improvement was. Pure functions."""

import math

from data.errors import UserError
from trainer.metrics.table import OF_TRAINING, better


def choose(names, wanted: str) -> str:
    """The one of `names` that is `wanted`, or begins with it ("kid" for "kid_packshot1_n1000").

    Raises UserError, with the known names, when none or several begin so, and for one that says neither better nor worse.
    """
    known = [name for name in names if better(name)]
    if wanted in known:
        return wanted
    found = [name for name in known if name.startswith(wanted) or name.startswith(OF_TRAINING + wanted)]
    if len(found) == 1:
        return found[0]
    problem = f"may be {' or '.join(found)}" if found else "is none of what is measured here"
    raise UserError(f"--best {wanted} {problem}; have: {', '.join(known)}")


def comparable(evaluations, name: str) -> list:
    """The evaluations that have a finite value of that name."""
    return [e for e in evaluations if name in e.found and math.isfinite(e.found[name].value)]


def best(evaluations, name: str):
    """The best of comparable evaluations, the earliest of equals; None for none."""
    return max(evaluations, key=lambda e: better(name) * e.found[name].value, default=None)


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
    return better(name) * (value - kept["value"]) > 0


def stale(evaluations, name: str) -> int:
    """How many comparable evaluations have passed since one was better by more than its error bar.

    Better than the last that was: steps that are each too small to be seen count once they add up.
    """
    passed, last = 0, None
    for evaluation in evaluations:
        value, error = evaluation.found[name]
        bar = error if math.isfinite(error) else 0.0
        if last is None or better(name) * (value - last) > bar:
            passed, last = 0, value
        else:
            passed += 1
    return passed
