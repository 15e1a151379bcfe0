"""Evaluates pictures made from pictures against their targets, with one value for each pair."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data.catalogue import open_source
from data.errors import UserError
from data.progress import Progress, silent
from data.quarantine import Quarantine
from trainer.evaluation.report import Evaluation, Example, Gallery, side_by_side
from trainer.evaluation.request import Request
from trainer.evaluation.sets import grid_notes
from trainer.metrics import names, naturalness, of_pairs, of_pictures, of_sets
from trainer.metrics.estimate import Estimate, format_estimate, means
from trainer.metrics.table import Measure, better, measure_of

MOST = 1_000  # pairs, by default
TARGETS = "targets"
_SHOWN, _EXTREMES = 12, 4  # pairs in the first gallery; best and worst pairs without classes


@dataclass(frozen=True)
class PairEvaluator:
    """Measures pictures of any origin against their targets.

    Args:
        targets: uint8 [height, width, 3] each. extractor: see `trainer.features.catalogue`.
        shave: px cut from each border first. period: of periodic artifacts, in px. headline: the measure that comes first, if it can be
            taken. lpips: see `trainer.features.lpips`; None leaves it out. trained_with: names of the feature networks that the model
            was trained with: nothing is measured through these, since it has learned to please them. masks: of the products in the
            targets, uint8 [height, width, 1] each, or None.
    """

    targets: Sequence[np.ndarray]
    extractor: object
    shave: int
    period: int
    headline: Measure
    lpips: object = None
    trained_with: Collection[str] = ()
    masks: Sequence[np.ndarray] | None = None

    @property
    def left_out(self) -> tuple[str, ...]:
        """Returns the names of the networks, of those asked for, that the model was trained with."""
        asked = (self.extractor.name, *([self.lpips.network] if self.lpips else []))
        return tuple(sorted({name for name in asked if name in self.trained_with}))

    def measure(
        self, pictures: Sequence[np.ndarray], progress: Progress = silent
    ) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
        """(measures, values of each pair float64 [n]) by their full names, the headline first; see `of_pairs.measure`."""
        return self._measure(pictures, self.targets, progress, masks=self.masks)

    def alone(self, pictures: Sequence[np.ndarray]) -> dict[str, Estimate]:
        """Takes measures without targets: periodic artifacts, and naturalness of pictures that are large enough."""
        return of_pictures.measure(pictures, period=self.period) | _naturalness(pictures)

    def names(self) -> tuple[str, ...]:
        """Returns the full names of the results of `measure` for as many pictures."""
        black = np.zeros_like(self.targets[0])
        metrics, _ = self._measure([black], [np.bitwise_not(black)], silent)
        return (*metrics, *(name for name in self.alone(self.targets) if name not in metrics))

    def _measure(self, pictures, targets, progress, *, masks=None):
        extractor = None if self.extractor.name in self.left_out else self.extractor
        each = of_pairs.measure(
            pictures, targets, shave=self.shave, extractor=extractor, masks=masks, progress=progress
        )
        if self.lpips is not None and self.lpips.network not in self.left_out:
            each[self.lpips.name] = self.lpips.distances(
                progress(zip(pictures, targets, strict=True), len(targets), "measuring by LPIPS")
            )
        each = dict(sorted(each.items(), key=lambda item: measure_of(item[0]) is not self.headline))
        return means(each) | self.alone(pictures), each


def _naturalness(pictures):
    """Returns the NIQE of pictures that hold several patches; {} if these are fewer than two or than half."""
    model = naturalness.default_model()
    large = [picture for picture in pictures if min(picture.shape[:2]) >= 2 * model.patch]
    if len(large) < max(2, len(pictures) / 2):
        return {}
    each = [names.of_naturalness(picture[np.newaxis], model) for picture in large]
    return means({name: np.concatenate([one[name] for one in each]) for name in each[0]})


class Pair(NamedTuple):
    """Source and target uint8 [height, width, 3]; for enhancement the source is smaller. label: int or None. mask: of the product in the
    target, uint8 [height, width, 1], or None."""

    source: np.ndarray
    target: np.ndarray
    label: int | None
    mask: np.ndarray | None = None


class Pairs(NamedTuple):
    """Pairs to measure with.

    seen: whether the model was trained on these pictures. others: real pictures uint8 [n, side, side, 3] apart from the targets, for
    measures of sets, or None. These need independent sets, and a made picture is not independent of its target.
    """

    spec: str
    seen: bool
    pairs: list[Pair]
    classes: tuple[str, ...]
    left_out: str | None
    others: np.ndarray | None = None


def gather(model, request: Request, read: Callable[..., Iterable[Pair]]) -> Pairs:
    """Reads the pairs, made as in the run.

    Args:
        read: function (source, quarantine, count) -> at most `count` of the source's pairs.

    Raises UserError if the source cannot be read or holds nothing usable.
    """
    run = model.run
    spec = request.data or request.held_out_of(run) or run.data
    source = open_source(spec, run.seed)
    quarantine = Quarantine()
    pairs = list(read(source, quarantine, request.count or MOST))
    if not pairs:
        raise UserError(f"nothing usable was found in {spec}. {quarantine.sentence()}")
    left_out = f"{spec}: {quarantine.sentence()}" if quarantine else None
    return Pairs(spec, source.fingerprint() == model.fingerprint, pairs, source.classes, left_out)


def evaluate(
    model,
    reference: Pairs,
    evaluator: PairEvaluator,
    *,
    made_by: str,
    alternatives: Mapping[str, Sequence[np.ndarray]],
    show: Callable[[Pair, np.ndarray, str], Example],
    progress,
) -> Evaluation:
    """Sends the sources through the model, and measures the results.

    Args:
        made_by: origin of the sources, for the protocol.
        alternatives: pictures made without a model, by name, measured as baselines.
        show: function (pair, made picture, name) -> the example of that name.
    """
    pairs, extractor = reference.pairs, evaluator.extractor
    made = list(model.change(progress((pair.source for pair in pairs), len(pairs), "changing")))
    metrics, each = evaluator.measure(made, progress)
    baselines = {name: evaluator.measure(pictures)[0] for name, pictures in alternatives.items()}
    baselines[TARGETS] = evaluator.alone(evaluator.targets)
    if reference.others is not None and min(len(pairs), len(reference.others)) >= of_sets.LEAST:
        others, vectors, targets = (
            extractor.vectors(x) for x in (reference.others, np.stack(made), np.stack(evaluator.targets))
        )
        metrics |= of_sets.measure(extractor.name, others, vectors)
        baselines[TARGETS] |= of_sets.measure(extractor.name, others, targets)
    headline = next(iter(metrics))

    def example(place):
        pair = pairs[place]
        category = reference.classes[pair.label] if pair.label is not None and reference.classes else ""
        return show(pair, made[place], f"{category} {each[headline][place]:.4g}".strip())

    return Evaluation(
        model=model,
        protocol=_protocol(model, reference, evaluator, made_by),
        metrics=metrics,
        baselines={name: values for name, values in baselines.items() if values},
        categories=_categories(reference, each),
        notes=list(_notes(metrics, baselines, reference, headline, evaluator.left_out)),
        examples=[example(i) for i in np.linspace(0, len(made) - 1, min(len(made), _SHOWN)).astype(int)],
        galleries=_extremes(reference, example, headline, each),
        each=each,
    )


def _categories(reference, each):
    labels = [pair.label for pair in reference.pairs]
    if labels[0] is None or not reference.classes:
        return {}
    labels = np.array(labels)
    return {
        name: {
            "pictures": int((labels == i).sum()),
            **means({key: values[labels == i] for key, values in each.items()}),
        }
        for i, name in enumerate(reference.classes)
        if (labels == i).any()
    }


def _protocol(model, reference, evaluator, made_by):
    return {
        "data": reference.spec,
        "pictures": len(reference.pairs),
        "trained on": model.run.data,
        "sources": f"made of the pictures by {made_by}" if not reference.spec.startswith("pairs:") else "given",
        "pixels shaved": evaluator.shave,
        "features": evaluator.extractor.name,
        "trained with the networks": ", ".join(evaluator.trained_with) or None,
        "real pictures for measures of sets": None
        if reference.others is None
        else f"{len(reference.others)}, trained on",
        "left out": reference.left_out,
        "run by": "TensorFlow's C++ session, as TensorFlow Serving does",
    }


def _notes(metrics, baselines, reference, headline, left_out):
    way = measure_of(headline).direction
    note = f"{headline} is {format_estimate(metrics[headline])}, {way} is better"
    for name, values in baselines.items():
        if headline in values:
            note += f"; {name} has {format_estimate(values[headline])}"
    yield f"{note}."
    yield from grid_notes(metrics, baselines[TARGETS])
    if left_out:
        yield (
            f"The model was trained to be near its targets in {' and '.join(left_out)}, so no distance in it is measured; name another"
            " network with --features or --lpips."
        )
    if reference.seen:
        yield (
            "The model was trained on these pictures, so the numbers are too good. Give others with --data, such as a"
            " validation folder."
        )
    if reference.left_out:
        yield f"{reference.left_out}."


def _extremes(reference, example, headline, each):
    ordered = np.argsort(-better(headline) * each[headline], kind="stable")
    galleries = []
    for title, places in (("Best", ordered), ("Worst", ordered[::-1])):
        counts, chosen = Counter(), []
        for place in places:
            label = reference.pairs[place].label
            counts[label] += 1
            if counts[label] <= (_EXTREMES if label is None else 1):
                chosen.append(example(place))
        text = f"By {headline}" + (", one of each class." if len(counts) > 1 else ".")
        galleries.append(Gallery(title, text, [row for one in chosen for row in side_by_side(["made"], [one])]))
    return galleries
