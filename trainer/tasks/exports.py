"""Measures exported models of one task with the same pictures."""

from collections.abc import Sequence

from data.errors import UserError
from trainer import tasks
from trainer.evaluation.evaluated_model import EvaluatedModel
from trainer.evaluation.report import Evaluation
from trainer.evaluation.request import Request


def measure_all(models: Sequence[EvaluatedModel], request: Request, extractor, progress) -> list[Evaluation]:
    """An evaluation of each model, in their order.

    Args:
        extractor: see `trainer.features.catalogue`. progress: see `data.progress`.

    Raises UserError if the tasks differ, if the training data differ and `request` names none, and for data that cannot be read.
    """
    first = models[0]
    task = tasks.of(first)
    for other in models[1:]:
        if other.task != first.task:
            raise UserError(
                f"{first.name} is a model for {first.task} and {other.name} one for {other.task}: they do not compare"
            )
        if tasks.of(other) is not task:
            raise UserError(f"{first.name} and {other.name} are measured in different ways: they do not compare")
        if other.run.data != first.run.data and not request.data:
            raise UserError(
                f"{first.name} was trained on {first.run.data} and {other.name} on {other.run.data}: name one by --data"
            )
        one, two = _protocol(first, task), _protocol(other, task)
        if one != two:
            raise UserError(f"{first.name} makes pictures by {one} and {other.name} by {two}: they do not compare")
    reference = task.gather(first, request, extractor, progress)
    return [task.evaluate(model, reference, request, extractor, progress) for model in models]


def _protocol(model, task):
    """Returns the settings of a run that decide the pictures to measure with."""
    decided = {name: model.run.settings[name] for name in task.deciding if name in model.run.settings}
    return {"fit": model.run.fit, "view": model.run.view} | decided
