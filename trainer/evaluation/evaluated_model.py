"""An exported model under evaluation, with its run."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from data import files
from data.errors import UserError
from data.facts import Facts
from models import catalogue
from serving.export import offline
from serving.export.export import report
from trainer.runs import exporting, history
from trainer.runs.config import Damaged, RunConfig
from trainer.runs.folder import RunDir
from trainer.runs.names import short_names


@dataclass(frozen=True)
class EvaluatedModel:
    """A model in a version's folder `path`.

    name: for people. classes: of a conditional model, else (). fingerprint: of the training source. history: lines of the run's
    metrics.jsonl, () for an export alone. root: the run's folder, None for an export alone. borrowed: names of the frozen networks that
    it was trained with. words: whether it is told words.
    """

    name: str
    path: str
    task: str
    run: RunConfig
    classes: tuple[str, ...]
    step: int
    images: int
    parameters: int
    fingerprint: str
    history: tuple[dict, ...]
    root: str | None
    borrowed: tuple[str, ...] = ()
    words: bool = False

    @property
    def EVALUATOR(self) -> str | None:
        """Evaluator that the family names: see `models.base.ImageModel`."""
        return catalogue.load(self.run.model).Model.EVALUATOR

    def generate(
        self, count: int, seed: int, conditions: Mapping[str, np.ndarray], truncation: float, progress, *, text=None
    ) -> Iterator[np.ndarray]:
        """Makes `count` pictures, picture i from the seed `seed + i`, in blocks uint8 [n, height, width, 3].

        Args:
            conditions: int [count] of each condition of the model, by name; one left out is unknown.
            progress: see `data.progress`. text: what each picture shows, [count] texts, for a model of words.
        """
        numbers = {} if truncation == 1 else {"truncation": truncation}
        parts = offline.samples(self.path, count, seed, conditions=conditions, text=text, numbers=numbers)
        return progress(parts, -(-count // offline.BATCH), "making")

    def change(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Makes a picture uint8 [height, width, 3] from each of these, one at a time."""
        return offline.changed(self.path, pictures)

    def as_values(self) -> dict:
        """Returns the model's part of the JSON report."""
        return {
            "name": self.name,
            "path": self.path,
            "task": self.task,
            "step": self.step,
            "images": self.images,
            "parameters": self.parameters,
            "classes": list(self.classes),
            "run": self.run.as_values(),
        }


def open_model(path: str, say) -> EvaluatedModel:
    """Opens the newest export of a run (exported now if outdated) or of a model's folder, or a version itself.

    Raises UserError or OSError if there is none, or its metadata are missing.
    """
    version = exporting.find_export(path, say)
    written = report(version)
    folder = RunDir(path)
    is_run = files.exists(folder.config)
    try:
        return EvaluatedModel(
            name=short_names([path if is_run else version])[0],
            path=version,
            task=written["metadata"]["task"],
            run=RunConfig.from_values(written["metadata"]["configuration"], f"the export.json of {version}"),
            classes=tuple(written["metadata"]["classes"]),
            step=written["metadata"]["step"],
            images=written["metadata"]["images_seen"],
            parameters=written["parameters"],
            fingerprint=written["metadata"]["data"]["fingerprint"],
            history=tuple(history.lines(folder.metrics)) if is_run else (),
            root=folder.root if is_run else None,
            borrowed=tuple(written["metadata"].get("borrowed", ())),
            words=Facts.from_json(written["metadata"].get("conditions", [])).words is not None,
        )
    except (KeyError, TypeError, Damaged) as error:
        raise UserError(f"the export.json of {version} does not say how the model was made ({error})") from error
