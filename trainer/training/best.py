"""Ranks evaluations of a run by a named measure, and counts those since the last improvement. Pure functions."""

import math

from data.errors import UserError
from trainer.metrics.table import OF_TRAINING, better


def choose(names, wanted: str) -> str:
    """Returns the one of `names` that equals `wanted` or begins with it ("kid" for "kid_packshot1_n1000").

    Raises UserError, with the known names, if none or several match, and for a measure without a direction.
    """
    known = [name for name in names if better(name)]
    if wanted in known:
        return wanted
    matches = [name for name in known if name.startswith(wanted) or name.startswith(OF_TRAINING + wanted)]
    if len(matches) == 1:
        return matches[0]
    problem = f"may be {' or '.join(matches)}" if matches else "is not measured here"
    raise UserError(f"--best {wanted} {problem}; have: {', '.join(known)}")


def comparable(evaluations, name: str) -> list:
    """Returns the evaluations with a finite value of that name."""
    return [e for e in evaluations if name in e.found and math.isfinite(e.found[name].value)]


def best(evaluations, name: str):
    """Returns the best of comparable evaluations, the earliest of equal ones; None if there are none."""
    return max(evaluations, key=lambda e: better(name) * e.found[name].value, default=None)


def facts(evaluation, name: str) -> dict:
    """Content of best.json for an evaluation that is the best by the measure of that name."""
    value, error = evaluation.found[name]
    known = {"metric": name, "value": value, "error": error if math.isfinite(error) else None, "of": evaluation.of}
    return known | {"step": evaluation.step, "images": evaluation.images}


def beats(evaluation, kept: dict | None, name: str) -> bool:
    """Returns whether an evaluation beats the one in best.json, `kept`; it does if that is of another measure or of other pictures."""
    value = evaluation.found[name].value
    if kept is None or (kept["metric"], kept["of"]) != (name, evaluation.of):
        return math.isfinite(value)
    return better(name) * (value - kept["value"]) > 0


def stale(evaluations, name: str) -> int:
    """Counts the comparable evaluations since the last improvement by more than the error bar.

    An improvement is measured from the previous one, so several small steps count once they add up.
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
