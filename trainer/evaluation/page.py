"""Evaluations as one HTML page each: every picture is inside it, nothing is loaded, and no script runs."""

from collections.abc import Sequence
from pathlib import Path

from data import pages
from trainer.evaluation.chart import COLOURS, chart
from trainer.evaluation.comparison import Comparison
from trainer.evaluation.evaluated_model import EvaluatedModel
from trainer.evaluation.report import Evaluation, Gallery, side_by_side
from trainer.metrics.estimate import format_estimate
from trainer.metrics.table import measure_of, of_real

_NOT_DRAWN = {"step", "images", "time"}


def page(evaluation: Evaluation) -> str:
    """HTML of one evaluation: sentences, numbers, pictures, categories, curves, protocol."""
    categories = {name: _by_measure(row) for name, row in evaluation.categories.items()}
    return _render(
        "evaluation.html",
        evaluation=evaluation,
        galleries=[_with_uris(gallery) for gallery in [_examples(["made"], [evaluation]), *evaluation.galleries]],
        metrics=_metric_rows([evaluation]),
        baselines=list(evaluation.baselines),
        categories=categories,
        category_columns=list(dict.fromkeys(column for row in categories.values() for column in row)),
        curves=curves([evaluation.model]),
    )


def comparison_page(comparison: Comparison) -> str:
    """HTML of several models measured alike: the ranking, the numbers side by side, pictures, curves, people's ratings."""
    evaluations = comparison.evaluations
    return _render(
        "comparison.html",
        comparison=comparison,
        galleries=[_with_uris(_examples(comparison.names, evaluations), stacked=True)],
        metrics=_metric_rows(evaluations),
        curves=curves([evaluation.model for evaluation in evaluations], comparison.names),
        colours=COLOURS,
    )


def _examples(names, evaluations):
    rows = [row for alike in zip(*(e.examples for e in evaluations), strict=True) for row in side_by_side(names, alike)]
    return Gallery("Examples", "Picked evenly or first come, none by hand.", rows)


def curves(models: Sequence[EvaluatedModel], names: Sequence[str] = ("",)) -> list[dict]:
    """Charts of what the runs logged, one a number: [{"title", "svg"}], measures first.

    Errors of measures are not drawn; what a measure says of real pictures is a line in its chart.
    """
    keys = list(dict.fromkeys(key for model in models for line in model.history for key in line))
    beside = {key: of_real(key) for key in keys if of_real(key) in keys}
    keys = [key for key in keys if key not in {*_NOT_DRAWN, *beside.values()} and not key.endswith("_error")]
    keys.sort(key=lambda key: measure_of(key) is None)
    found = []
    for key in keys:
        lines = {name or key: _points(model, key) for name, model in zip(names, models, strict=True)}
        if key in beside:
            lines["real"] = next(filter(any, (_points(model, beside[key]) for model in models)))
        if svg := chart(lines):
            found.append({"title": key, "svg": svg})
    return found


def _points(model, key):
    """(pictures trained on, values) of what a run logged under a key."""
    points = [(line["images"], line[key]) for line in model.history if isinstance(line.get(key), (int, float))]
    return tuple(zip(*points, strict=True)) if points else ((), ())


def _metric_rows(evaluations):
    """A row a metric. A baseline may have another number of pictures in its name, so it is found by its measure."""
    rows = []
    for name in dict.fromkeys(name for evaluation in evaluations for name in evaluation.metrics):
        measure = measure_of(name)
        found = [evaluation.metrics.get(name) for evaluation in evaluations]
        known = [estimate.value for estimate in found if estimate is not None]
        ranked = len(known) > 1 and not measure.aim
        best = max(known, key=lambda value: measure.better * value) if ranked else None
        rows.append(
            {
                "name": name,
                "better": measure.direction,
                "meaning": f"{measure.meaning} ({measure.source})",
                "values": [
                    {
                        "text": format_estimate(estimate) if estimate else "",
                        "best": best is not None and estimate and estimate.value == best,
                    }
                    for estimate in found
                ],
                "baselines": [_baseline(values, measure, name) for values in evaluations[0].baselines.values()],
            }
        )
    return rows


def _baseline(values, measure, name):
    """The text of a baseline's value of a measure; "" when there is none, and when it does not compare with that of the full name."""
    found = [
        format_estimate(value)
        for key, value in values.items()
        if measure_of(key) is measure and (key == name or not measure.equal_counts)
    ]
    return found[0] if found else ""


def _by_measure(row):
    """A category's numbers under the names of their measures: full names hold its number of pictures, which differs."""
    named = {name: measure_of(name) for name in row}
    return {measure.name if measure else name: row[name] for name, measure in named.items()}


def _with_uris(gallery, stacked=False):
    """A gallery as the template takes it; `stacked`: a row under another, to be compared."""
    return {
        "stacked": stacked,
        "title": gallery.title,
        "text": gallery.text,
        "rows": [
            {
                "name": row.name,
                "cells": [
                    {
                        "uri": pages.data_uri(picture),
                        "width": _width(picture),
                        "caption": row.captions[i] if len(row.captions) else "",
                    }
                    for i, picture in enumerate(row.pictures)
                ],
            }
            for row in gallery.rows
        ],
    }


def _width(picture):
    """CSS px at which a picture shows: small ones are enlarged, whole pixels only."""
    width = picture.shape[1]
    return width * max(1, 96 // width) if width < 160 else min(width, 256)


def _render(template, **values):
    return pages.render(Path(__file__).with_name(template), format=_formatted, **values)


def _formatted(value):
    return format_estimate(value) if isinstance(value, tuple) else f"{value:,}"
