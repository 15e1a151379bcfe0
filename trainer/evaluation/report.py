"""What an evaluation gives: numbers for machines, sentences and pictures for people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainer.evaluation.evaluated_model import EvaluatedModel
from trainer.metrics.estimate import Estimate

SCHEMA = 1  # raised when a field changes its meaning or goes; new fields may come without


@dataclass(frozen=True)
class Row:
    """Pictures side by side, uint8 [height, width, 3] each, under a name; a caption for each, or none."""

    name: str
    pictures: Sequence[np.ndarray]
    captions: Sequence[str] = ()


@dataclass(frozen=True)
class Gallery:
    """Rows of pictures with a title and what they show."""

    title: str
    text: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Example:
    """What a model made, one picture or several, and what it stands beside: pictures uint8 [height, width, 3] with their captions."""

    name: str
    baselines: Sequence[tuple[str, np.ndarray]]
    made: Sequence[np.ndarray]


def side_by_side(names: Sequence[str], examples: Sequence[Example]) -> list[Row]:
    """Rows of the same example by several models, called `names`: a picture each in one row, or several each in a row each."""
    first = examples[0]
    captions, baselines = zip(*first.baselines, strict=True)
    if len(first.made) == 1:
        made = [example.made[0] for example in examples]
        return [Row(first.name, [*baselines, *made], [*captions, *names])]
    rows = [Row(f"{first.name} {captions[0]}".strip(), baselines)]
    return rows + [Row(f"{first.name} {name}".strip(), e.made) for name, e in zip(names, examples, strict=True)]


@dataclass(frozen=True)
class Evaluation:
    """One model, measured.

    protocol: what was done, as plain values. metrics: by full name, the headline first. baselines: what the same measures say of
    something else, by its name, such as real pictures that were held out, or bicubic enlargement. categories: for each, its counts and
    metrics. each: of pairs, {full name: float64 [n]} in the order of the data. notes: sentences. examples: the same for every model that is
    measured so. galleries: what this one did best, worst and the like. copies: of made pictures, the closest training pictures.
    """

    model: EvaluatedModel
    protocol: dict
    metrics: dict[str, Estimate]
    baselines: dict[str, dict[str, Estimate]]
    categories: dict[str, dict]
    notes: Sequence[str]
    examples: Sequence[Example]
    galleries: Sequence[Gallery]
    each: Mapping[str, np.ndarray] = field(default_factory=dict)
    copies: Sequence[dict] = ()

    @property
    def headline(self) -> str:
        """The name of the metric that models are ranked by."""
        return next(iter(self.metrics))


def as_values(evaluation: Evaluation) -> dict:
    """What `--json` writes: dicts, lists, strings and finite numbers only; a number that is not finite is null."""
    return {
        "schema": SCHEMA,
        "model": evaluation.model.as_values(),
        "protocol": evaluation.protocol,
        "headline": evaluation.headline,
        "metrics": _plain(evaluation.metrics),
        "beside": _plain(evaluation.baselines),
        "categories": _plain(evaluation.categories),
        "notes": list(evaluation.notes),
        "copies": _plain(list(evaluation.copies)),
        "each": _plain({name: values.tolist() for name, values in evaluation.each.items()}),
    }


def _plain(value):
    if isinstance(value, Estimate):
        return {"value": _plain(value.value), "error": _plain(value.error)}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
