"""Evaluates made pictures against real ones, as sets: by their features, and for grids."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from data.cache import load_rows
from data.catalogue import open_source
from data.errors import UserError
from data.facts import LABEL, UNKNOWN, Facts, facts_of
from data.quarantine import Quarantine
from data.sources.protocol import SourceError
from data.words import CAPTION, split
from trainer.evaluation.report import Evaluation, Example, Gallery, Row
from trainer.evaluation.request import Request
from trainer.features import attributes
from trainer.features.attributes import AttributeClassifier
from trainer.metrics import names, of_pictures, of_sets
from trainer.metrics.accuracy import hits
from trainer.metrics.categories import by_category
from trainer.metrics.distribution import inception_score, kid
from trainer.metrics.estimate import Estimate, format_estimate, of_mean
from trainer.metrics.memorisation import nearest
from trainer.metrics.neighbours import precision_recall, realism
from trainer.metrics.table import (
    ATTRIBUTE_ACCURACY,
    KID,
    MEMORISATION,
    PERIODIC_ARTIFACTS,
    PRECISION,
    RECALL,
    measure_of,
)
from trainer.runs.config import RunConfig

MOST = 10_000  # made pictures, by default
REAL, HELD_OUT = "real", "real, held out"
REAL_ATTRIBUTES = "real, by the classifier of attributes, held out from it"
_SHOWN, _EXTREMES = 8, 4  # pictures of a class; best and worst of it
_COPIES = 12  # pairs of made and training picture


@dataclass(frozen=True)
class SetEvaluator:
    """Measures sets of pictures of any origin against real ones.

    Args:
        extractor: see `trainer.features.catalogue`.
        real, train, held_out: vectors float [n, d] of real, training and held-out pictures; the last two, for memorisation, may be None.
        period: of periodic artifacts, in px. artifacts: `of_pictures.measure` of real pictures.
    """

    extractor: object
    real: np.ndarray
    train: np.ndarray | None
    held_out: np.ndarray | None
    period: int
    artifacts: dict[str, Estimate]

    def measure(self, blocks: Iterable[np.ndarray], count: int) -> tuple[dict[str, Estimate], np.ndarray]:
        """Returns (measures by full name, the headline first; vectors [count, d]) of `count` made pictures.

        Args:
            blocks: uint8 [n, side, side, 3] each; only pictures for measures of pixels are kept.

        Raises UserError if there are too few.
        """
        step, seen = -(-count // of_pictures.MOST), 0
        vectors, kept = [], []
        for block in blocks:
            vectors.append(self.extractor.vectors(block))
            kept += list(block[-seen % step :: step])
            seen += len(block)
        vectors = np.concatenate(vectors)
        return self.of_vectors(vectors) | of_pictures.measure(kept, period=self.period), vectors

    def of_vectors(self, vectors: np.ndarray) -> dict[str, Estimate]:
        """Takes only the measures of features."""
        return of_sets.measure(self.extractor.name, self.real, vectors, train=self.train, held_out=self.held_out)


@dataclass(frozen=True)
class Pictures:
    """Real pictures uint8 [n, side, side, 3], their vectors [n, d], and labels int [n] when they have any.

    sources: uint8 [n, height, width, 3], of which the model makes pictures; None where it makes them from nothing.
    attributes: int [n] of each attribute the source has, by name. facts: the conditions of the source. captions: texts [n], or None.
    """

    spec: str
    pictures: np.ndarray
    vectors: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    left_out: str | None
    sources: np.ndarray | None = None
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Facts = Facts()
    captions: Sequence[str] | None = None

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The label, if any, and the attributes by name."""
        return ({} if self.labels is None else {LABEL: self.labels}) | dict(self.attributes)


@dataclass(frozen=True)
class Reference:
    """Real pictures to measure with. `held_out` is None if there are none, `train` if they are not on this machine. `classifier` is that of
    the attributes of the real pictures, if it is asked for."""

    extractor: object
    real: Pictures
    train: Pictures | None
    held_out: Pictures | None
    period: int
    classifier: AttributeClassifier | None = None

    @functools.cached_property
    def evaluator(self) -> SetEvaluator:
        train, held_out = (None if seen is None else seen.vectors for seen in (self.train, self.held_out))
        artifacts = of_pictures.measure(self.real.pictures, period=self.period)
        return SetEvaluator(self.extractor, self.real.vectors, train, held_out, self.period, artifacts)


def gather(
    run: RunConfig,
    view,
    request: Request,
    *,
    extractor,
    period: int,
    progress,
    key: str = "image",
    source: str | None = None,
) -> Reference:
    """Read the pictures and extract their features.

    Args:
        run: of the model; says how pictures were squared, and what was trained on.
        view: what it trains on. extractor: see `trainer.features.catalogue`. period: see `SetEvaluator`.
        progress: see `data.progress`.
        key: of the real pictures in the rows of the view. source: of what the model makes pictures of, None where it takes nothing.

    Raises UserError, one sentence, when LPIPS is asked for, and when a source that is asked for cannot be read; when `data` is given, what
    was trained on may be elsewhere.
    """
    if request.lpips is not None:
        raise UserError(
            f"{request.lpips.name} compares pictures with their targets, and those of {run.model} have none"
        )

    @functools.cache
    def read(spec):
        opened = open_source(spec, run.seed)
        quarantine = Quarantine()
        rows = load_rows(opened, view, fit=run.fit, quarantine=quarantine, progress=progress)
        chosen = rows.take(np.linspace(0, rows.count - 1, min(rows.count, request.count or MOST)).astype(int))
        labels = chosen.get("label")
        vectors = extractor.vectors(chosen[key])
        classes = rows.classes if labels is not None else ()
        left_out = f"{spec}: {quarantine.sentence()}" if quarantine else None
        told = {name: chosen[name] for name in rows.attributes if name in chosen}
        captions = [text.decode() for text in chosen[CAPTION]] if CAPTION in chosen else None
        return Pictures(
            spec, chosen[key], vectors, labels, classes, left_out, chosen.get(source), told, facts_of(rows), captions
        )

    held_out = request.held_out_of(run)
    real = read(request.data or run.data)
    try:
        train = read(run.data)
    except (SourceError, OSError):
        train = None
    classifier = None
    if request.attributes:
        if not real.values:
            raise UserError(f"--attributes: {real.spec} has no classes and no attributes")
        classifier = attributes.train(real.pictures, real.values, real.facts.select(real.values), progress=progress)
    return Reference(extractor, real, train, read(held_out) if held_out else None, period, classifier)


def evaluate(model, reference: Reference, request: Request, progress) -> Evaluation:
    """Make pictures, of sources or from nothing with the real ones' mix of categories, and measure them.

    Raises UserError when model and data do not fit.
    """
    real, extractor, evaluator = reference.real, reference.extractor, reference.evaluator
    _check(model, reference)
    changes = real.sources is not None
    count = len(real.pictures) if changes else request.count or len(real.pictures)
    labels = None if real.labels is None else np.resize(real.labels, count)
    conditional = bool(model.classes)
    if changes:
        made = np.stack(list(model.change(progress(real.sources, count, "changing"))))
    else:
        conditions = _conditions(model, real, count)
        text = np.resize(real.captions, count).tolist() if model.words else None
        blocks = model.generate(count, request.seed, conditions, request.truncation, progress, text=text)
        made = np.concatenate(list(blocks))
    metrics, vectors = evaluator.measure([made], count)
    if extractor.classes:
        metrics |= _inception_score(extractor, made)
    baselines = {REAL: evaluator.artifacts} if evaluator.artifacts else {}
    held_out = reference.held_out
    if held_out is not None and len(held_out.vectors) >= of_sets.LEAST:
        baselines[HELD_OUT] = of_sets.measure(extractor.name, real.vectors, held_out.vectors)
        baselines[HELD_OUT] |= of_pictures.measure(held_out.pictures, period=evaluator.period)
    if labels is not None and not conditional:
        labels = real.labels[nearest(vectors, real.vectors)[0]]
    categories = _categories(extractor.name, real, vectors, labels, conditional)
    if reference.classifier:
        accuracy, of_values = _attributes(model, reference, made, vectors)
        metrics, categories = metrics | accuracy, categories | of_values
        baselines[REAL_ATTRIBUTES] = {
            _accuracy(n): of_mean(h) for n, h in reference.classifier.accuracy.items() if len(h)
        }
    galleries, copies = [_extremes(real, made, vectors, labels)], []
    train = reference.train
    if train is not None:
        places, distances = nearest(vectors, train.vectors)
        closest = np.argsort(distances, kind="stable")[:_COPIES]
        galleries.append(_nearest_training(train, made, closest, places, distances))
        copies = [
            {
                "source" if changes else "seed": int(i if changes else request.seed + i),
                "training_picture": int(places[i]),
                "distance": float(distances[i]),
            }
            for i in closest
        ]
    return Evaluation(
        model=model,
        protocol=_protocol(model, reference, request, count, conditional),
        metrics=metrics,
        baselines=baselines,
        categories=categories,
        notes=[*_notes(metrics, baselines, categories, conditional), *_left_out(reference)],
        examples=[
            Example(category, [("real", real.pictures[i]) for i in a[:_SHOWN]], made[b[:_SHOWN]])
            for category, a, b in _groups(real, made, labels)
        ],
        galleries=galleries,
        copies=copies,
    )


def _attributes(model, reference, made, vectors):
    """Measures whether pictures show what was asked for: ({full name: Estimate} of each condition, {"colour: red": as in `_categories`}).

    Asked for are the conditions that the model is told. One that is told words is also asked for the values that its captions name.
    """
    real, classifier = reference.real, reference.classifier
    asked = _conditions(model, real, len(made))
    if model.words:
        asked = {condition.name: named(condition, real) for condition in classifier.conditions} | asked
    asked = {name: np.resize(values, len(made)) for name, values in asked.items()}
    asked = {name: values for name, values in asked.items() if (values >= 0).any()}
    if not asked:
        known = ", ".join(real.values)
        raise UserError(
            f"--attributes: no caption of {real.spec} names a value of {known}, and {model.name} is told none"
            if model.words
            else f"--attributes: {model.name} is told neither words nor any of {known}"
        )
    found, metrics, categories = classifier.values(made), {}, {}
    for condition in classifier.conditions:
        if condition.name not in asked:
            continue
        column, shown = asked[condition.name], found[condition.name]
        metrics[_accuracy(condition.name)] = of_mean(hits(shown, column))
        for number, value in enumerate(condition.values):
            ours, theirs = column == number, real.values[condition.name] == number
            if min(ours.sum(), theirs.sum()) >= of_sets.LEAST:
                distance = names.of_sets(kid, reference.extractor.name, real.vectors[theirs], vectors[ours])
                right = {_accuracy(condition.name): of_mean(hits(shown[ours], column[ours]))}
                counts = {"real": int(theirs.sum()), "made": int(ours.sum())}
                categories[f"{condition.name}: {value}"] = counts | distance | right
    return metrics, categories


def named(condition, real: Pictures) -> np.ndarray:
    """The value of a condition for each real picture whose caption names it, word by word, int [n]; `UNKNOWN` for the others."""
    words = [f" {' '.join(split(value))} " for value in condition.values]
    captions = [f" {' '.join(split(caption))} " for caption in real.captions]
    known = zip(captions, real.values[condition.name], strict=True)
    return np.array([value if value >= 0 and words[value] in caption else UNKNOWN for caption, value in known])


def _accuracy(name):
    return f"attribute_accuracy_{name}_{attributes.VERSION}"


def _check(model, reference):
    if model.words and reference.real.captions is None:
        raise UserError(f"{model.name} is told words, and {reference.real.spec} has no captions")
    if model.classes and reference.real.classes != model.classes:
        have = ", ".join(reference.real.classes) or "no classes"
        raise UserError(
            f"{model.name} was trained on the classes {', '.join(model.classes)}; {reference.real.spec} has {have}"
        )


def _conditions(model, real, count):
    """The conditions of `count` pictures, in the mix of the real ones; attributes of other data than its own stay unknown."""
    known = {LABEL: real.labels} | (real.attributes if real.spec == model.run.data else {})
    return {name: np.resize(known[name], count) for name in model.run.told if known.get(name) is not None}


def _inception_score(extractor, made):
    order = np.random.default_rng(0).permutation(len(made))
    return names.of_sets(inception_score, extractor.name, extractor.probabilities(made[order]))


def _categories(features, real, vectors, labels, conditional):
    """Returns {class: {"real": n, "made": n, full name: Estimate}}; with KID only for conditional models."""
    if labels is None:
        return {}

    def of_category(a, b):
        measures = names.of_sets(precision_recall, features, a, b)
        return names.of_sets(kid, features, a, b) | measures if conditional else measures

    found = by_category(
        of_category, real.vectors, real.labels, vectors, labels, names=real.classes, least=of_sets.LEAST
    )
    return {name: {"real": c.real, "made": c.fake, **(c.result or {})} for name, c in found.items()}


def _protocol(model, reference, request, count, conditional):
    return {
        "data": reference.real.spec,
        "real pictures": len(reference.real.pictures),
        "made pictures": count,
        "trained on": model.run.data,
        "held out": reference.held_out.spec if reference.held_out else None,
        "features": reference.extractor.name,
        "resolution": model.run.settings["resolution"],
        "made square by": model.run.fit,
        "first seed": None if reference.real.sources is not None else request.seed,
        "truncation": None if reference.real.sources is not None else request.truncation,
        "categories of made pictures": "those of the real pictures"
        if conditional
        else "that of the nearest real picture",
        "run by": "TensorFlow's C++ session, as TensorFlow Serving does",
    }


def _notes(metrics, baselines, categories, conditional):
    found = {measure_of(name): value for name, value in metrics.items()}
    held_out = {measure_of(name): value for name, value in baselines.get(HELD_OUT, {}).items()}
    note = f"KID is {format_estimate(found[KID])}"
    if KID in held_out:
        note += f"; real pictures that were held out score {format_estimate(held_out[KID])}"
    yield f"{note}. 0 means no difference, less is better."
    yield (
        f"{found[PRECISION].value:.0%} of the made pictures lie among real ones (precision), and"
        f" {found[RECALL].value:.0%} of the real pictures could have been made (recall)."
    )
    if MEMORISATION in found:
        value, error = found[MEMORISATION]
        near = f"A made picture is nearer to a training picture than a held-out one is in {value:.0%} ± {error:.0%} of the cases"
        if value - 3 * error > 0.5:
            yield (
                f"{near}; for new pictures it is 50 %. The model repeats training pictures, or makes few kinds of picture. See the closest"
                " pairs below."
            )
        else:
            yield f"{near}: no sign of copying."
    else:
        yield "Copying was not measured: that needs the training pictures and held-out pictures (--held-out)."
    yield from _attribute_notes(metrics, baselines.get(REAL_ATTRIBUTES, {}))
    yield from grid_notes(metrics, baselines.get(REAL, {}))
    ranked = _ranked(categories) if conditional else []
    if len(ranked) > 1:
        yield f"Best class: {ranked[0]}. Worst: {ranked[-1]}."


def _attribute_notes(metrics, real):
    for name, value in metrics.items():
        if measure_of(name) is ATTRIBUTE_ACCURACY:
            what = name.removeprefix("attribute_accuracy_").removesuffix(f"_{attributes.VERSION}")
            right = f"; the classifier is right about {real[name].value:.1%} of real ones" if name in real else ""
            yield f"{value.value:.1%} ± {value.error:.1%} of the made pictures show the {what} that was asked for{right}."


def grid_notes(metrics: dict[str, Estimate], real: dict[str, Estimate]):
    """Yields a sentence if the made pictures have a grid that the real ones do not have."""
    for name, value in metrics.items():
        if measure_of(name) is PERIODIC_ARTIFACTS and of_pictures.has_grid(value, real[name]):
            yield (
                f"There is a grid in the made pictures: {name} is {format_estimate(value)}, and {format_estimate(real[name])} for"
                " real ones."
            )


def _left_out(reference):
    read = (reference.real, reference.train, reference.held_out)
    return dict.fromkeys(f"{pictures.left_out}." for pictures in read if pictures and pictures.left_out)


def _ranked(categories):
    scores = {
        category: [value.value for name, value in found.items() if measure_of(name) is KID]
        for category, found in categories.items()
        if not any(measure_of(name) is ATTRIBUTE_ACCURACY for name in found)
    }
    return sorted((category for category, score in scores.items() if score), key=scores.get)


def _extremes(real, made, vectors, labels):
    scores = realism(real.vectors, vectors)
    rows = []
    for category, _, places in _groups(real, made, labels):
        ordered = places[np.argsort(-scores[places], kind="stable")]
        for what, chosen in (("best", ordered[:_EXTREMES]), ("worst", ordered[::-1][:_EXTREMES])):
            rows.append(Row(f"{category} {what}".strip(), made[chosen], [f"{scores[i]:.2f}" for i in chosen]))
    text = (
        "By realism (Kynkäänniemi et al. 2019): how deep a picture lies among real ones; 1 is the border. The best may just be"
        " ordinary, or copies."
    )
    return Gallery("Best and worst", text, rows)


def _groups(real, made, labels) -> Sequence[tuple[str, np.ndarray, np.ndarray]]:
    """Returns (class, indices of real pictures, indices of made ones) for each class; one without a name if there are no labels."""
    if labels is None:
        return [("", np.arange(len(real.pictures)), np.arange(len(made)))]
    groups = [
        (name, np.flatnonzero(real.labels == i), np.flatnonzero(labels == i)) for i, name in enumerate(real.classes)
    ]
    return [(name, a, b) for name, a, b in groups if len(b)]


def _nearest_training(train, made, closest, places, distances):
    rows = [
        Row(f"distance {distances[i]:.3g}", (made[i], train.pictures[places[i]]), ("made", "training picture"))
        for i in closest
    ]
    text = "The made pictures nearest to a training picture, each next to it. Copies would show here."
    return Gallery("Nearest training pictures", text, rows)
