"""Measure models of a task, one or several, all with the same pictures."""

from collections.abc import Sequence

from data.batch import GENERATION
from data.errors import UserError
from trainer.evaluation import pairs, sets
from trainer.evaluation.evaluated_model import Subject
from trainer.evaluation.report import Evaluation
from trainer.evaluation.request import Request


def measure_all(subjects: Sequence[Subject], request: Request, extractor, track) -> list[Evaluation]:
    """An evaluation of each subject, in their order.

    Args:
        extractor: see `trainer.features.catalogue`. track: function (iterator, total, what) -> iterator, such as a progress bar.

    Raises UserError, one sentence, when they are of different tasks, when the data differ and none is named, and for data that cannot
    be read.
    """
    first = subjects[0]
    for other in subjects[1:]:
        if other.task != first.task:
            raise UserError(
                f"{first.name} is a model for {first.task} and {other.name} one for {other.task}: they do not compare"
            )
        if other.run.data != first.run.data and not request.data:
            raise UserError(
                f"{first.name} was trained on {first.run.data} and {other.name} on {other.run.data}: say with --data what to measure with"
            )
        one, two = _protocol(first), _protocol(other)
        if one != two:
            raise UserError(f"{first.name} makes pictures by {one} and {other.name} by {two}: they do not compare")
    if first.task == GENERATION:
        reference = sets.gather(first.run, request, extractor, track)
        return [sets.evaluate(subject, reference, request, track) for subject in subjects]
    reference = pairs.gather(first, request, track)
    return [pairs.evaluate(subject, reference, request, extractor, track) for subject in subjects]


def _protocol(subject):
    """What of a run decides which pictures it is held against."""
    return {"fit": subject.run.fit, "view": subject.run.view} | {
        name: subject.run.settings[name] for name in _DECIDING[subject.task] if name in subject.run.settings
    }


_DECIDING = {"generation": ("resolution",), "translation": ("resolution",), "enhancement": ("scale",)}
