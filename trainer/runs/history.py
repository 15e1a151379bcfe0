"""What a run has measured so far, as its metrics.jsonl tells it: the memory of the watchdog, of the best and of patience.

A resumed run reads it back up to the step that it goes on from, so all that is judged by it goes on as if nothing had happened.
"""

import json
import math
from dataclasses import dataclass, field
from typing import NamedTuple

from data import files
from trainer.metrics.estimate import Estimate


class Evaluation(NamedTuple):
    """What was measured of the made pictures after `step` steps.

    of: what was measured against what, in words; evaluations that differ in it do not compare.
    found: the estimates by their full names.
    """

    step: int
    images: int
    of: str
    found: dict[str, Estimate]


@dataclass
class History:
    """lines: dict of name -> number for each line of training, with "step" and "images"; evaluations: in order."""

    lines: list[dict] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)


def read(path: str, of: str | None = None) -> History:
    """The history in a metrics.jsonl, which may be gs://, with the evaluations of that kind; empty when there is no such file."""
    history = History()
    for line in lines(path):
        if "evaluation" not in line and "warning" not in line:
            history.lines.append(line)
        elif of is not None and line.get("evaluation") == of:
            history.evaluations.append(_evaluation(line))
    return history


def lines(path: str) -> list[dict]:
    """Each line of a metrics.jsonl, those left out that a process was killed in; [] when there is no such file. Raises OSError."""
    found = []
    for line in files.read(path).splitlines() if files.exists(path) else ():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict) and isinstance(content.get("step"), int):
            found.append(content)
    return found


def _evaluation(line):
    found = {
        name: Estimate(*(math.nan if x is None else x for x in (value, line[f"{name}_error"])))
        for name, value in line.items()
        if f"{name}_error" in line
    }
    return Evaluation(line["step"], line["images"], line["evaluation"], found)
