"""Translation: from one picture to another of the same size, ranked by distance in features."""

import numpy as np

from data import views
from data.batch import TRANSLATION
from data.cache import load_rows
from data.catalogue import open_source
from data.sources.protocol import SourceError
from trainer.evaluation import sets
from trainer.evaluation.pairs import Pair
from trainer.metrics.table import FEATURE_DISTANCE
from trainer.tasks.task import PairTask


class Translation(PairTask):
    """Measures made pictures against their targets, and as a set against other real pictures.

    A drawing does not determine the details, and PSNR prefers blurred pictures, so the distance in features ranks.
    """

    name = TRANSLATION
    source, target = "source", "target"
    augmentations = ("flip", "jitter")
    measure = FEATURE_DISTANCE
    deciding = ("resolution",)
    made_by = "the view {view}"

    def view(self, config, kind="auto", *, keys=()):
        return views.translation(config.resolution, kind, keys=keys)

    def rated_view(self, side, kind, setting):
        return side, views.translation(side, kind)

    def read(self, model, source, quarantine, count, progress):
        view = views.translation(model.run.settings["resolution"], model.run.view)
        chosen = _rows(source, view, model.run.fit, count, progress=progress, quarantine=quarantine)
        labels = chosen.get("label", [None] * len(chosen["source"]))
        return (Pair(*pair) for pair in zip(chosen["source"], chosen["target"], labels, strict=True))

    def gather(self, model, request, extractor, progress):
        reference = super().gather(model, request, extractor, progress)
        return reference if reference.seen else reference._replace(others=_trained_on(model.run, progress))


def _trained_on(run, progress):
    """The pictures a translation was trained to make, uint8 [n, side, side, 3], `sets.MOST` at most; None when they are elsewhere."""
    try:
        source = open_source(run.data, run.seed)
    except (SourceError, OSError):
        return None
    side, alone = run.settings["resolution"], "image" in source.keys
    view = views.generation(side) if alone else views.translation(side, run.view)
    return _rows(source, view, run.fit, sets.MOST, progress=progress)["image" if alone else "target"]


def _rows(source, view, fit, count, *, progress, quarantine=None):
    """Up to `count` rows of a source, evenly taken, as a dict of arrays."""
    rows = load_rows(source, view, fit=fit, quarantine=quarantine, progress=progress)
    return rows.take(np.linspace(0, rows.count - 1, min(rows.count, count)).astype(int))
