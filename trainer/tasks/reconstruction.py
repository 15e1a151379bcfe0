"""Reconstruction: generation by a model that encodes pictures and decodes them, each measured against itself."""

import numpy as np

from data import views
from data.batch import GENERATION
from data.cache import load_rows
from trainer.evaluation.pairs import Pair
from trainer.metrics.table import PSNR_RGB
from trainer.tasks.generation import Generation
from trainer.tasks.task import PairTask


class Reconstruction(PairTask):
    """Measures what comes back of a picture against the picture."""

    name = GENERATION
    source = target = "image"
    augmentations = Generation.augmentations
    measure = PSNR_RGB
    deciding = ("resolution",)
    made_by = "encoding and decoding them"

    def view(self, config, kind="auto", *, keys=()):
        return Generation().view(config, kind, keys=keys)

    def references(self, pair):
        return np.s_[:, :], [("photo", pair.target)]

    def read(self, model, source, quarantine, count, progress):
        view = views.generation(model.run.settings["resolution"])
        rows = load_rows(source, view, fit=model.run.fit, quarantine=quarantine, progress=progress)
        chosen = rows.take(np.linspace(0, rows.count - 1, min(rows.count, count)).astype(int))
        labels = chosen.get("label", [None] * len(chosen["image"]))
        return (Pair(picture, picture, label) for picture, label in zip(chosen["image"], labels, strict=True))
