"""Renders evaluations as HTML pages that contain every picture, load nothing and run no script."""

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
    """Returns the HTML of one evaluation: sentences, numbers, pictures, classes, curves, protocol."""
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
    """Returns the HTML of a comparison: ranking, numbers side by side, pictures, curves, ratings by people."""
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
    return Gallery("Examples", "Taken evenly or in order, none picked by hand.", rows)


def curves(models: Sequence[EvaluatedModel], names: Sequence[str] = ("",)) -> list[dict]:
    """Draws a chart for each logged number: [{"title", "svg"}], measures first.

    Errors are not drawn. The value of a measure for real pictures is a line in its chart.
    """
    keys = list(dict.fromkeys(key for model in models for line in model.history for key in line))
    real = {key: of_real(key) for key in keys if of_real(key) in keys}
    keys = [key for key in keys if key not in {*_NOT_DRAWN, *real.values()} and not key.endswith("_error")]
    keys.sort(key=lambda key: measure_of(key) is None)
    charts = []
    for key in keys:
        lines = {name or key: _points(model, key) for name, model in zip(names, models, strict=True)}
        if key in real:
            lines["real"] = next(filter(any, (_points(model, real[key]) for model in models)))
        if svg := chart(lines):
            charts.append({"title": key, "svg": svg})
    return charts


def _points(model, key):
    """Returns (pictures shown, values) of a logged number."""
    points = [(line["images"], line[key]) for line in model.history if isinstance(line.get(key), (int, float))]
    return tuple(zip(*points, strict=True)) if points else ((), ())


def _metric_rows(evaluations):
    """Returns a row for each measure. Baselines are matched by measure, since their full names may hold another number of pictures."""
    rows = []
    for name in dict.fromkeys(name for evaluation in evaluations for name in evaluation.metrics):
        measure = measure_of(name)
        estimates = [evaluation.metrics.get(name) for evaluation in evaluations]
        values = [estimate.value for estimate in estimates if estimate is not None]
        ranked = len(values) > 1 and not measure.aim
        best = max(values, key=lambda value: measure.better * value) if ranked else None
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
                    for estimate in estimates
                ],
                "baselines": [_baseline(baseline, measure, name) for baseline in evaluations[0].baselines.values()],
            }
        )
    return rows


def _baseline(values, measure, name):
    """Returns the text of a baseline's value of a measure; "" if it is missing or does not compare with that of the full name."""
    texts = [
        format_estimate(value)
        for key, value in values.items()
        if measure_of(key) is measure and (key == name or not measure.equal_counts)
    ]
    return texts[0] if texts else ""


def _by_measure(row):
    """Returns the numbers of a class by the names of their measures, since full names hold its number of pictures."""
    named = {name: measure_of(name) for name in row}
    return {measure.name if measure else name: row[name] for name, measure in named.items()}


def _with_uris(gallery, stacked=False):
    """Returns a gallery for the template; `stacked`: its rows below one another."""
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
    """Returns the width of a picture in CSS px: small ones are enlarged by whole factors."""
    width = picture.shape[1]
    return width * max(1, 96 // width) if width < 160 else min(width, 256)


def _render(template, **values):
    return pages.render(Path(__file__).with_name(template), format=_formatted, **values)


def _formatted(value):
    return format_estimate(value) if isinstance(value, tuple) else f"{value:,}"
