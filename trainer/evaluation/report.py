"""Results of an evaluation: numbers for machines, sentences and pictures for people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainer.evaluation.evaluated_model import EvaluatedModel
from trainer.metrics.estimate import Estimate

SCHEMA = 1  # raised when a field changes its meaning or is removed, not for new fields


@dataclass(frozen=True)
class Row:
    """Named pictures side by side, uint8 [height, width, 3] each, with a caption for each, or none."""

    name: str
    pictures: Sequence[np.ndarray]
    captions: Sequence[str] = ()


@dataclass(frozen=True)
class Gallery:
    """Rows of pictures with a title and a description."""

    title: str
    text: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Example:
    """Pictures by a model, one or several, and the baselines to show with them: (caption, picture uint8 [height, width, 3])."""

    name: str
    baselines: Sequence[tuple[str, np.ndarray]]
    made: Sequence[np.ndarray]


def side_by_side(names: Sequence[str], examples: Sequence[Example]) -> list[Row]:
    """Arranges the same example by several models, called `names`: in one row for single pictures, else in a row for each model."""
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

    protocol: as plain values. metrics: by full name, the headline first. baselines: the same measures of something else, by its name, such
    as held-out pictures or bicubic enlargement. categories: counts and metrics of each class. each: for pairs, {full name: float64 [n]} in
    the order of the data. notes: sentences. examples: the same for every model measured so. galleries: best and worst results and the
    like. copies: training pictures closest to made ones.
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
        """Full name of the measure that ranks models."""
        return next(iter(self.metrics))


def as_values(evaluation: Evaluation) -> dict:
    """Returns the content of the JSON file: dicts, lists, strings and finite numbers; a number that is not finite is null."""
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
