"""Evaluations as one HTML page each: every picture is inside it, nothing is loaded, and no script runs."""

import re
from collections.abc import Sequence
from pathlib import Path

from data import pages
from trainer.evaluation.chart import COLOURS, chart
from trainer.evaluation.comparison import Comparison
from trainer.evaluation.evaluated_model import Subject
from trainer.evaluation.report import Evaluation, Gallery, better, measure_of, shown, side_by_side

_NEED_EQUAL_COUNTS = {"fid", "recall", "coverage"}  # to be compared
_NOT_DRAWN = {"step", "images", "time"}
MEANINGS = {
    "kid": "distance of the two distributions (Binkowski et al. 2018), 0 is none",
    "fid": "distance of two Gaussians (Heusel et al. 2017); compare only at equal numbers of pictures",
    "precision": "share of made pictures that lie among real ones (Kynkäänniemi et al. 2019)",
    "recall": "share of real pictures that could have been made (Kynkäänniemi et al. 2019)",
    "density": "how densely made pictures lie among real ones (Naeem et al. 2020), about 1 for equal distributions",
    "coverage": "share of real pictures that have a made one near (Naeem et al. 2020)",
    "memorisation": "chance that a made picture is nearer to a training picture than a held-out one is; 0.5 is new, 1 copied",
    "inception_score": "sure of each, even over all (Salimans et al. 2016); never looks at real pictures",
    "psnr": "decibels of signal to error, out of 255; y is luma of BT.601",
    "ssim": "structural similarity (Wang et al. 2004), 1 for equal pictures",
    "ms_ssim": "structural similarity over five scales (Wang et al. 2003)",
    "delta_e_2000": "colour difference (CIE 2000); about 1 can just be seen",
    "feature_distance": "distance in the layers of the features' network (the arithmetic of LPIPS)",
    "niqe": "distance from the statistics of sharp photos (Mittal et al. 2013), without a target",
}


def page(evaluation: Evaluation) -> str:
    """HTML of one evaluation: sentences, numbers, pictures, categories, curves, protocol."""
    categories = {name: _without_counts(row) for name, row in evaluation.categories.items()}
    return _render(
        "evaluation.html",
        evaluation=evaluation,
        galleries=[_with_uris(gallery) for gallery in [_examples(["made"], [evaluation]), *evaluation.galleries]],
        metrics=_metric_rows([evaluation]),
        baselines=list(evaluation.baselines),
        categories=categories,
        category_columns=list(dict.fromkeys(column for row in categories.values() for column in row)),
        curves=curves([evaluation.subject]),
    )


def comparison_page(comparison: Comparison) -> str:
    """HTML of several models measured alike: the ranking, the numbers side by side, pictures, curves, people's ratings."""
    evaluations = comparison.evaluations
    return _render(
        "comparison.html",
        comparison=comparison,
        galleries=[_with_uris(_examples(comparison.names, evaluations), stacked=True)],
        metrics=_metric_rows(evaluations),
        curves=curves([evaluation.subject for evaluation in evaluations], comparison.names),
        colours=COLOURS,
    )


def _examples(names, evaluations):
    rows = [row for alike in zip(*(e.examples for e in evaluations), strict=True) for row in side_by_side(names, alike)]
    return Gallery("Examples", "Picked evenly or first come, none by hand.", rows)


def curves(subjects: Sequence[Subject], names: Sequence[str] = ("",)) -> list[dict]:
    """What the runs logged, a chart a number: [{"title", "svg"}], measures first; errors of measures are not drawn."""
    keys = list(dict.fromkeys(key for subject in subjects for line in subject.history for key in line))
    keys = [key for key in keys if key not in _NOT_DRAWN and not key.endswith("_error")]
    keys.sort(key=lambda key: measure_of(key) not in MEANINGS)
    found = []
    for key in keys:
        lines = {}
        for name, subject in zip(names, subjects, strict=True):
            points = [
                (line["images"], line[key]) for line in subject.history if isinstance(line.get(key), (int, float))
            ]
            lines[name or key] = tuple(zip(*points, strict=True)) if points else ((), ())
        if svg := chart(lines):
            found.append({"title": key, "svg": svg})
    return found


def _metric_rows(evaluations):
    """A row a metric. A baseline may have another number of pictures in its name, so it is found by its measure and protocol."""
    rows = []
    for name in dict.fromkeys(name for evaluation in evaluations for name in evaluation.metrics):
        found = [evaluation.metrics.get(name) for evaluation in evaluations]
        known = [estimate.value for estimate in found if estimate is not None]
        best = max(known, key=lambda value: better(name) * value) if len(known) > 1 else None
        rows.append(
            {
                "name": name,
                "better": _direction(name),
                "meaning": MEANINGS.get(measure_of(name), ""),
                "values": [
                    {
                        "text": shown(estimate) if estimate else "",
                        "best": best is not None and estimate and estimate.value == best,
                    }
                    for estimate in found
                ],
                "baselines": [_shown_baseline(values, name) for values in evaluations[0].baselines.values()],
            }
        )
    return rows


def _without_counts(row):
    """A category's numbers by names that are alike for all categories, which differ in their number of pictures."""
    return {_stem(name): value for name, value in row.items()}


def _stem(name):
    """A metric's name without its numbers of pictures: "kid_packshot-1_n3068" -> "kid_packshot-1"."""
    return re.sub(r"_n\d[\dx]*$", "", name)


def _direction(name):
    if measure_of(name) == "memorisation":
        return "0.5"
    return "more" if better(name) > 0 else "less"


def _shown_baseline(values, name):
    for key, value in values.items():
        if _stem(key) == _stem(name) and (key == name or measure_of(name) not in _NEED_EQUAL_COUNTS):
            return shown(value)
    return ""


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
    return shown(value) if isinstance(value, tuple) else f"{value:,}"
