"""Measure models of a task, one or several, all with the same pictures."""

from collections.abc import Sequence

from data.batch import GENERATION
from trainer.evaluation import generation, paired
from trainer.evaluation.report import Evaluation
from trainer.evaluation.request import Request
from trainer.evaluation.subject import Subject


def measure_all(subjects: Sequence[Subject], request: Request, extractor, track, lpips=None) -> list[Evaluation]:
    """An evaluation of each subject, in their order.

    Args:
        extractor: see `trainer.features.catalogue`. track: function (iterator, total, what) -> iterator, such as a progress bar.
        lpips: see `trainer.features.lpips`; None leaves it out.

    Raises ValueError, one sentence, when they are of different tasks, when the data differ and none is named, and for data that cannot
    be read; also for LPIPS of a generator, whose pictures have no targets.
    """
    first = subjects[0]
    for other in subjects[1:]:
        if other.task != first.task:
            raise ValueError(
                f"{first.name} is a model for {first.task} and {other.name} one for {other.task}: they do not compare"
            )
        if other.run.data != first.run.data and not request.data:
            raise ValueError(
                f"{first.name} was trained on {first.run.data} and {other.name} on {other.run.data}: say with --data what to measure with"
            )
        one, two = _protocol(first), _protocol(other)
        if one != two:
            raise ValueError(f"{first.name} makes pictures by {one} and {other.name} by {two}: they do not compare")
    if first.task == GENERATION:
        if lpips is not None:
            raise ValueError(f"{lpips.name} compares pictures with their targets, and those of {first.name} have none")
        reference = generation.gather(first.run, request, extractor, track)
        return [generation.evaluate(subject, reference, request, track) for subject in subjects]
    reference = paired.gather(first, request, track)
    return [paired.evaluate(subject, reference, request, extractor, track, lpips) for subject in subjects]


def _protocol(subject):
    """What of a run decides which pictures it is held against."""
    return {"fit": subject.run.fit, "view": subject.run.view} | {
        name: subject.run.settings[name] for name in _DECIDING[subject.task] if name in subject.run.settings
    }


_DECIDING = {"generation": ("resolution",), "translation": ("resolution",), "enhancement": ("scale",)}
