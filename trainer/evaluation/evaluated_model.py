"""What is evaluated: an exported model, with the run that it came from."""

from dataclasses import dataclass

from data import files
from data.errors import UserError
from serving.export.export import report
from trainer.runs import exporting, history
from trainer.runs.config import Damaged, RunConfig
from trainer.runs.folder import RunDir
from trainer.runs.names import short_names


@dataclass(frozen=True)
class Subject:
    """A model in a version's folder `path`.

    name: for people. classes: what it was told the categories are, () when nothing. fingerprint: of the source it was trained on.
    history: the lines of the run's metrics.jsonl, () for an export alone. root: the run's folder, None for an export alone.
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

    def as_values(self) -> dict:
        """What the report says of it."""
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


def open_subject(path: str, say) -> Subject:
    """The newest export of a run (made now if it is behind), of a model's folder, or that version itself.

    Raises UserError or OSError, one sentence, when there is none or it does not say how it was made.
    """
    version = exporting.find_export(path, say)
    written = report(version)
    folder = RunDir(path)
    is_run = files.exists(folder.config)
    try:
        return Subject(
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
        )
    except (KeyError, TypeError, Damaged) as error:
        raise UserError(f"the export.json of {version} does not say how the model was made ({error})") from error
