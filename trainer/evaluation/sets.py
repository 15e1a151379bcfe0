"""Generation: made pictures against real ones, by their features."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data import views
from data.cache import load_rows
from data.catalogue import open_source
from data.errors import UserError
from data.quarantine import Quarantine
from data.sources.protocol import SourceError
from serving.export import offline
from trainer.evaluation.evaluated_model import Subject
from trainer.evaluation.report import Evaluation, Example, Gallery, Row, measure_of, shown
from trainer.evaluation.request import Request
from trainer.metrics import names
from trainer.metrics.categories import by_category
from trainer.metrics.distribution import fid, kid
from trainer.metrics.estimate import Estimate
from trainer.metrics.memorisation import memorisation, nearest
from trainer.metrics.neighbours import density_coverage, precision_recall, realism
from trainer.runs.config import RunConfig

LEAST = 20  # vectors in each set: fewer and the balls of `precision_recall` have no neighbours to reach
MOST = 10_000  # made pictures, unless more are asked for
HELD_OUT = "real, held out"
_SHOWN, _EXTREMES = 8, 4  # pictures of a category, best and worst of it
_COPIES = 12  # pairs of made and training picture


def measure(
    features: str,
    real: np.ndarray,
    fake: np.ndarray,
    *,
    train: np.ndarray | None = None,
    held_out: np.ndarray | None = None,
) -> dict[str, Estimate]:
    """KID, FID, precision, recall, density and coverage of fakes, by their full names, the headline first.

    Args:
        features: the extractor's name. real, fake: its vectors, float [n, d], [m, d].
        train, held_out: vectors of what was trained on and of real pictures that were not; with both, memorisation is measured too.

    Raises UserError for sets of fewer than `LEAST` rows, differing d, or values that are not finite.
    """
    for what, rows in (("real", real), ("made", fake)):
        if len(rows) < LEAST:
            raise UserError(f"{len(rows)} {what} pictures are too few to measure with: at least {LEAST} are needed")
    found = {}
    for of in (kid, fid, precision_recall, density_coverage):
        found |= names.of_sets(of, features, real, fake)
    if train is not None and held_out is not None:
        copying = names.of_sets(memorisation, features, train, held_out, fake)
        found |= {name: result.nearer for name, result in copying.items()}
    return found


@dataclass(frozen=True)
class Pictures:
    """Real pictures uint8 [n, side, side, 3], their vectors [n, d], and labels int [n] when they have any."""

    spec: str
    pictures: np.ndarray
    vectors: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    left_out: str | None


@dataclass(frozen=True)
class Reference:
    """What made pictures are held against. `held_out` is None when there are none, `train` when they are not on this machine."""

    extractor: object
    real: Pictures
    train: Pictures | None
    held_out: Pictures | None


def gather(run: RunConfig, request: Request, extractor, track) -> Reference:
    """Read the pictures and extract their features.

    Args:
        run: of the model; says how pictures were squared, and what was trained on.
        extractor: see `trainer.features.catalogue`. track: function (iterator, total, what) -> iterator.

    Raises UserError, one sentence, when a source that is asked for cannot be read; when `data` is given, what was trained on may be
    elsewhere.
    """
    side = run.settings["resolution"]

    @functools.cache
    def read(spec):
        source = open_source(spec, run.seed)
        quarantine = Quarantine()
        rows = load_rows(
            source,
            views.generation(side),
            fit=run.fit,
            quarantine=quarantine,
            progress=lambda it, n: track(it, n, "reading"),
        )
        chosen = rows.take(np.linspace(0, rows.count - 1, min(rows.count, request.count or MOST)).astype(int))
        labels = chosen.get("label")
        vectors = extractor.vectors(chosen["image"])
        classes = rows.classes if labels is not None else ()
        left_out = f"{spec}: {quarantine.sentence()}" if quarantine else None
        return Pictures(spec, chosen["image"], vectors, labels, classes, left_out)

    held_out = request.held_out_of(run)
    real = read(request.data or run.data)
    try:
        train = read(run.data)
    except (SourceError, OSError):
        train = None
    return Reference(extractor, real, train, read(held_out) if held_out else None)


def evaluate(subject: Subject, reference: Reference, request: Request, track) -> Evaluation:
    """Make pictures with the subject's mix of categories, and measure them. Raises UserError when model and data do not fit."""
    real, extractor = reference.real, reference.extractor
    _check(subject, reference)
    count = request.count or len(real.pictures)
    labels = None if real.labels is None else np.resize(real.labels, count)
    made = _make(subject, request, count, labels, track)
    vectors = extractor.vectors(made)
    held_out = reference.held_out.vectors if reference.held_out else None
    train = reference.train
    seen = None if train is None else train.vectors
    metrics = measure(extractor.name, real.vectors, vectors, train=seen, held_out=held_out)
    if extractor.classes:
        metrics |= _inception_score(extractor, made)
    baselines = {}
    if held_out is not None and len(held_out) >= LEAST:
        baselines[HELD_OUT] = measure(extractor.name, real.vectors, held_out)
    told = bool(subject.classes)
    if labels is not None and not told:
        labels = real.labels[nearest(vectors, real.vectors)[0]]
    categories = _categories(extractor.name, real, vectors, labels, told)
    galleries, copies = [_extremes(real, made, vectors, labels)], []
    if train is not None:
        places, distances = nearest(vectors, train.vectors)
        closest = np.argsort(distances, kind="stable")[:_COPIES]
        galleries.append(_nearest_training(train, made, closest, places, distances))
        copies = [
            {"seed": int(request.seed + i), "training_picture": int(places[i]), "distance": float(distances[i])}
            for i in closest
        ]
    return Evaluation(
        subject=subject,
        protocol=_protocol(subject, reference, request, count, told),
        metrics=metrics,
        baselines=baselines,
        categories=categories,
        notes=[*_notes(metrics, baselines, categories, told), *_left_out(reference)],
        examples=[
            Example(category, [("real", real.pictures[i]) for i in a[:_SHOWN]], made[b[:_SHOWN]])
            for category, a, b in _groups(real, made, labels)
        ],
        galleries=galleries,
        copies=copies,
    )


def _check(subject, reference):
    if subject.classes and reference.real.classes != subject.classes:
        have = ", ".join(reference.real.classes) or "no categories"
        raise UserError(
            f"{subject.name} was trained on the categories {', '.join(subject.classes)}; {reference.real.spec} has {have}"
        )


def _make(subject, request, count, labels, track):
    conditions = {"label": labels} if subject.classes else {}
    numbers = {} if request.truncation == 1 else {"truncation": request.truncation}
    parts = offline.samples(subject.path, count, request.seed, conditions, numbers)
    return np.concatenate(list(track(parts, -(-count // offline.BATCH), "making")))


def _inception_score(extractor, made):
    from trainer.metrics.distribution import inception_score

    order = np.random.default_rng(0).permutation(len(made))
    return names.of_sets(inception_score, extractor.name, extractor.probabilities(made[order]))


def _categories(features, real, vectors, labels, told):
    """{category: {"real": n, "made": n, name: Estimate}}; KID only where the model was told what to make."""
    if labels is None:
        return {}

    def of_category(a, b):
        found = names.of_sets(precision_recall, features, a, b)
        return names.of_sets(kid, features, a, b) | found if told else found

    found = by_category(of_category, real.vectors, real.labels, vectors, labels, names=real.classes, least=LEAST)
    return {name: {"real": c.real, "made": c.fake, **(c.result or {})} for name, c in found.items()}


def _protocol(subject, reference, request, count, told):
    return {
        "data": reference.real.spec,
        "real pictures": len(reference.real.pictures),
        "made pictures": count,
        "trained on": subject.run.data,
        "held out": reference.held_out.spec if reference.held_out else None,
        "features": reference.extractor.name,
        "resolution": subject.run.settings["resolution"],
        "made square by": subject.run.fit,
        "first seed": request.seed,
        "truncation": request.truncation,
        "categories of made pictures": "those of the real pictures" if told else "that of the nearest real picture",
        "run by": "TensorFlow's C++ session, as TensorFlow Serving does",
    }


def _notes(metrics, baselines, categories, told):
    headline = next(iter(metrics))
    note = f"KID is {shown(metrics[headline])}"
    if HELD_OUT in baselines:
        note += f"; real pictures that were held out score {shown(next(iter(baselines[HELD_OUT].values())))}"
    yield f"{note}. 0 is no difference, less is better."
    found = {measure_of(name): value for name, value in metrics.items()}
    yield (
        f"{found['precision'].value:.0%} of the made pictures lie among real ones (precision), and"
        f" {found['recall'].value:.0%} of the real pictures could have been made (recall)."
    )
    if "memorisation" in found:
        value, error = found["memorisation"]
        near = f"A made picture is nearer to a training picture than a held-out one is in {value:.0%} ± {error:.0%} of the cases"
        if value - 3 * error > 0.5:
            yield (
                f"{near}, where 50 % is new: it repeats training pictures, or makes few kinds of picture. Look at the closest pairs"
                " below."
            )
        else:
            yield f"{near}: no sign of copying."
    else:
        yield "Whether it copies was not measured: that takes what it was trained on, and held-out pictures (--held-out)."
    ranked = _ranked(categories) if told else []
    if len(ranked) > 1:
        yield f"Best category: {ranked[0]}. Worst: {ranked[-1]}."


def _left_out(reference):
    read = (reference.real, reference.train, reference.held_out)
    return dict.fromkeys(f"{pictures.left_out}." for pictures in read if pictures and pictures.left_out)


def _ranked(categories):
    scores = {
        category: next((e.value for name, e in found.items() if name.startswith("kid_")), None)
        for category, found in categories.items()
    }
    return sorted((name for name, score in scores.items() if score is not None), key=scores.get)


def _extremes(real, made, vectors, labels):
    scores = realism(real.vectors, vectors)
    rows = []
    for category, _, places in _groups(real, made, labels):
        ordered = places[np.argsort(-scores[places], kind="stable")]
        for what, chosen in (("best", ordered[:_EXTREMES]), ("worst", ordered[::-1][:_EXTREMES])):
            rows.append(Row(f"{category} {what}".strip(), made[chosen], [f"{scores[i]:.2f}" for i in chosen]))
    text = (
        "By realism (Kynkäänniemi et al. 2019): how deep a picture lies among real ones; 1 is the border. The best may be the most"
        " ordinary, or copies."
    )
    return Gallery("Best and worst", text, rows)


def _groups(real, made, labels) -> Sequence[tuple[str, np.ndarray, np.ndarray]]:
    """(category, places among the real, places among the made); one without a name when there are no labels."""
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
    text = "The made pictures that lie nearest to a training picture, each beside it: where a copy would be seen."
    return Gallery("Nearest training pictures", text, rows)
