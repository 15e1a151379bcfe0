"""History of a run, read from metrics.jsonl: the only state of the watchdog, of the best checkpoint and of patience.

A resumed run reads it up to its checkpoint's step, so these continue as if the run had not been interrupted.
"""

import json
import math
from dataclasses import dataclass, field
from typing import NamedTuple

from data import files
from trainer.metrics.estimate import Estimate


class LoggedEvaluation(NamedTuple):
    """Measures of the made pictures after `step` steps.

    of: the protocol in words; evaluations that differ in it do not compare.
    found: estimates by full name.
    """

    step: int
    images: int
    of: str
    found: dict[str, Estimate]


@dataclass
class History:
    """History of a run. lines: {name: number} for each line of training, with "step" and "images". evaluations: in order."""

    lines: list[dict] = field(default_factory=list)
    evaluations: list[LoggedEvaluation] = field(default_factory=list)


def read(path: str, of: str | None = None) -> History:
    """Reads the history in a metrics.jsonl, local or gs://, with the evaluations of the protocol `of`; empty if there is no file."""
    history = History()
    for line in lines(path):
        if "evaluation" not in line and "warning" not in line:
            history.lines.append(line)
        elif of is not None and line.get("evaluation") == of:
            history.evaluations.append(_evaluation(line))
    return history


def lines(path: str) -> list[dict]:
    """Reads the lines of a metrics.jsonl, without those cut off by a killed process; [] if there is no file. Raises OSError."""
    contents = []
    for line in files.read(path).splitlines() if files.exists(path) else ():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict) and isinstance(content.get("step"), int):
            contents.append(content)
    return contents


def _evaluation(line):
    found = {
        name: Estimate(*(math.nan if x is None else x for x in (value, line[f"{name}_error"])))
        for name, value in line.items()
        if f"{name}_error" in line
    }
    return LoggedEvaluation(line["step"], line["images"], line["evaluation"], found)
