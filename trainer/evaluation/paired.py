"""Translation and enhancement: pictures against their targets, one value a pair."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from data import views
from data.batch import ENHANCEMENT
from data.cache import load_rows
from data.catalogue import open_source
from data.degrade import downscale, modcrop
from data.quarantine import Quarantine
from data.sources.protocol import SourceError
from serving import pictures as served
from trainer.config import RunConfig
from trainer.evaluation import generation
from trainer.evaluation.report import Evaluation, Example, Gallery, better, means, measure_of, shown, side_by_side
from trainer.evaluation.request import Request
from trainer.evaluation.subject import Subject
from trainer.metrics import names, naturalness
from trainer.metrics.fidelity import delta_e_2000, ms_ssim, psnr, ssim

MOST = 1_000  # pairs, unless more are asked for
BICUBIC, TARGETS = "bicubic (Pillow)", "targets"
_SSIM_WINDOW, _MS_SSIM_SIDE = 11, 161  # px that must be left after shaving
_SHOWN, _EXTREMES = 12, 4  # pairs in the first gallery; best and worst of a category
_PARTS = 16  # of a large picture whose distance in features is measured
_WINDOW = 160  # px shown of a large picture


def measure(pictures: np.ndarray, targets: np.ndarray, *, shave: int, extractor=None) -> dict[str, np.ndarray]:
    """PSNR and SSIM on luma and on RGB, MS-SSIM where it fits, Delta-E, and the distance in the extractor's layers.

    Args:
        pictures, targets: uint8 [n, height, width, 3], alike in shape.
        shave: px cut from each border first; by custom the scale of an enlargement, else 0.
        extractor: see `trainer.features.catalogue`; None leaves the last out, and so does one whose layers are not known.

    Returns {full name: float64 [n]}, the headline first. Raises ValueError for arrays that are not such pictures.
    """
    left = min(pictures.shape[1:3]) - 2 * shave
    found = {}
    for space in ("y", "rgb"):
        found |= names.of_pairs(psnr, pictures, targets, space=space, shave=shave)
        if left >= _SSIM_WINDOW:
            found |= names.of_pairs(ssim, pictures, targets, space=space, shave=shave)
    if left >= _MS_SSIM_SIDE:
        found |= names.of_pairs(ms_ssim, pictures, targets, space="y", shave=shave)
    found |= names.of_pairs(delta_e_2000, pictures, targets, shave=shave)
    return found | (_distances(pictures, targets, extractor) if extractor is not None else {})


def _distances(pictures, targets, extractor):
    """The distance in the extractor's layers, {full name: float64 [n]}, of pictures of any sizes; {} when its layers are not known.

    A picture larger than the extractor sees is looked at in its own size, in parts: the mean over `_PARTS` of them, evenly spread.
    """
    if extractor.to_maps is None:
        return {}
    parts = [part for pair in zip(pictures, targets, strict=True) for part in _parts(*pair, extractor.size)]
    chunks = [parts[start : start + extractor.batch] for start in range(0, len(parts), extractor.batch)]
    found = [
        names.of_maps(extractor.name, *(extractor.maps(side) for side in zip(*chunk, strict=True))) for chunk in chunks
    ]
    owners = np.repeat(np.arange(len(pictures)), [len(_corners(target, extractor.size)) for target in targets])
    return {
        name: np.bincount(owners, np.concatenate([one[name] for one in found])) / np.bincount(owners)
        for name in found[0]
    }


def _parts(picture, target, side):
    """Pairs of the same part, `side` px a side, of a picture and its target; the whole of small ones."""
    return [
        tuple(x[top : top + side, left : left + side] for x in (picture, target))
        for top, left in _corners(target, side)
    ]


def _corners(picture, side):
    corners = [
        (top, left)
        for top in range(0, max(1, picture.shape[0] - side + 1), side)
        for left in range(0, max(1, picture.shape[1] - side + 1), side)
    ]
    return [corners[i] for i in np.linspace(0, len(corners) - 1, min(len(corners), _PARTS)).astype(int)]


class Pair(NamedTuple):
    """uint8 [height, width, 3] each; of an enhancement the source is smaller. label: int or None."""

    source: np.ndarray
    target: np.ndarray
    label: int | None


class Pairs(NamedTuple):
    """What changed pictures are held against.

    seen: whether the model was trained on these very pictures. others: of a translation, real pictures uint8 [n, side, side, 3] that are
    none of the targets, for measures of sets: those call for independent sets, and a made picture is not independent of its target.
    """

    spec: str
    seen: bool
    pairs: list[Pair]
    classes: tuple[str, ...]
    left_out: str | None
    others: np.ndarray | None


def gather(subject: Subject, request: Request, track) -> Pairs:
    """Read the pairs: as the run made them of its pictures, whole pictures for enhancement.

    Raises ValueError, one sentence, when the source cannot be read or gives nothing usable.
    """
    run = subject.run
    held_out = request.held_out_of(run)
    spec = request.data or held_out or run.data
    source = open_source(spec, run.seed)
    quarantine = Quarantine()
    if subject.task == ENHANCEMENT:
        most = request.count or MOST
        examples = track(_whole(source, run, quarantine), source.count and min(source.count, most), "reading")
        pairs = [pair for _, pair in zip(range(most), examples, strict=False)]
    else:
        view = views.translation(run.settings["resolution"], run.view)
        rows = load_rows(
            source, view, fit=run.fit, quarantine=quarantine, progress=lambda it, n: track(it, n, "reading")
        )
        chosen = rows.take(np.linspace(0, rows.count - 1, min(rows.count, request.count or MOST)).astype(int))
        labels = chosen.get("label", [None] * len(chosen["source"]))
        pairs = [Pair(*pair) for pair in zip(chosen["source"], chosen["target"], labels, strict=True)]
    if not pairs:
        raise ValueError(f"nothing usable was found in {spec}. {quarantine.sentence()}")
    left_out = f"{spec}: {quarantine.sentence()}" if quarantine else None
    seen = source.fingerprint() == subject.fingerprint
    others = None if subject.task == ENHANCEMENT or seen else _trained_on(run, track)
    return Pairs(spec, seen, pairs, source.classes, left_out, others)


def _trained_on(run, track):
    """The pictures a translation was trained to make, uint8 [n, side, side, 3], `generation.MOST` at most; None when they are elsewhere."""
    try:
        source = open_source(run.data, run.seed)
    except (SourceError, OSError):
        return None
    alone = "image" in source.keys
    view = (
        views.generation(run.settings["resolution"])
        if alone
        else views.translation(run.settings["resolution"], run.view)
    )
    rows = load_rows(source, view, fit=run.fit, progress=lambda it, n: track(it, n, "reading"))
    chosen = rows.take(np.linspace(0, rows.count - 1, min(rows.count, generation.MOST)).astype(int))
    return chosen["image" if alone else "target"]


def _whole(source, run: RunConfig, quarantine) -> Iterator[Pair]:
    """Pictures in their own size, with their smaller versions: given ones (`pairs:`), or made as for training."""
    scale = run.settings["scale"]
    quarantine.extend(source.left_out)
    for number, example in enumerate(source.examples(None, run.fit, quarantine)):
        try:
            if "source" in example:
                low, high = example["source"], example["target"]
                if high.shape[0] != scale * low.shape[0]:
                    raise ValueError(f"the target is not {scale} times as large as the source")
            else:
                high = modcrop(example["image"], scale)
                low = downscale(high, scale)
        except ValueError as error:
            quarantine.add(f"example {number}", str(error))
            continue
        yield Pair(low, high, example.get("label"))


def evaluate(subject: Subject, reference: Pairs, request: Request, extractor, track, lpips=None) -> Evaluation:
    """Send the sources through the subject's model, and measure what it makes of them, also by `trainer.features.lpips` if given."""
    pairs = reference.pairs
    enlarging = subject.task == ENHANCEMENT
    shave = subject.run.settings["scale"] if enlarging else 0
    sources = track((pair.source for pair in pairs), len(pairs), "changing")
    made = list(served.changed(subject.path, sources))
    targets = [pair.target for pair in pairs]
    each = _measured(made, targets, shave, extractor, track, lpips)
    metrics = means(each)
    if not enlarging:  # a model may make up what a drawing does not tell: judged first by how it looks
        distance = next((name for name in metrics if measure_of(name) == "feature_distance"), None)
        metrics = ({distance: metrics[distance]} if distance else {}) | metrics
    beside = {}
    if enlarging:
        enlarged = [_enlarged(pair) for pair in pairs]
        beside[BICUBIC] = means(_measured(enlarged, targets, shave, extractor, track, lpips))
        for what, pictures in ((BICUBIC, enlarged), (TARGETS, targets), (None, made)):
            into = metrics if what is None else beside.setdefault(what, {})
            into |= _naturalness(pictures)
    if reference.others is not None and min(len(pairs), len(reference.others)) >= generation.LEAST:
        others, vectors, wanted = (extractor.vectors(x) for x in (reference.others, np.stack(made), np.stack(targets)))
        metrics |= generation.measure(extractor.name, others, vectors)
        beside[TARGETS] = generation.measure(extractor.name, others, wanted)
    headline = next(iter(metrics))
    return Evaluation(
        subject=subject,
        protocol=_protocol(subject, reference, extractor, shave),
        metrics=metrics,
        beside=beside,
        categories=_categories(reference, each),
        notes=list(_notes(metrics, beside, reference, headline)),
        examples=[
            _example(reference, made, i, enlarging, headline, each)
            for i in np.linspace(0, len(made) - 1, min(len(made), _SHOWN)).astype(int)
        ],
        galleries=_extremes(reference, made, enlarging, headline, each),
        each=each,
    )


def _measured(made, targets, shave, extractor, track, lpips):
    """`measure` of pictures of any sizes, one at a time, and LPIPS."""
    found = [
        measure(a[np.newaxis], b[np.newaxis], shave=shave)
        for a, b in track(zip(made, targets, strict=True), len(made), "measuring")
    ]
    everywhere = [name for name in found[0] if all(name in one for one in found)]
    each = {name: np.concatenate([one[name] for one in found]) for name in everywhere}
    each |= _distances(made, targets, extractor)
    if lpips is not None:
        each[lpips.name] = lpips.distances(track(zip(made, targets, strict=True), len(made), "LPIPS"))
    return each


def _enlarged(pair):
    height, width = pair.target.shape[:2]
    return np.array(Image.fromarray(pair.source).resize((width, height), Image.Resampling.BICUBIC))


def _naturalness(pictures):
    """NIQE of those pictures that hold several of its patches; {} when hardly any does."""
    model = naturalness.default_model()
    large = [picture for picture in pictures if min(picture.shape[:2]) >= 2 * model.patch]
    if len(large) < max(2, len(pictures) / 2):
        return {}
    found = [names.of_naturalness(picture[np.newaxis], model) for picture in large]
    return means({name: np.concatenate([one[name] for one in found]) for name in found[0]})


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


def _protocol(subject, reference, extractor, shave):
    made_by = "its scale" if subject.task == ENHANCEMENT else f"the view {subject.run.view}"
    return {
        "data": reference.spec,
        "pictures": len(reference.pairs),
        "trained on": subject.run.data,
        "sources": f"made of the pictures by {made_by}" if not reference.spec.startswith("pairs:") else "given",
        "pixels shaved": shave,
        "features": extractor.name,
        "real pictures for measures of sets": None
        if reference.others is None
        else f"{len(reference.others)}, trained on",
        "left out": reference.left_out,
        "run by": "TensorFlow's C++ session, as TensorFlow Serving does",
    }


def _notes(metrics, beside, reference, headline):
    way = "more" if better(headline) > 0 else "less"
    note = f"{headline} is {shown(metrics[headline])}, {way} is better"
    if BICUBIC in beside and headline in beside[BICUBIC]:
        note += f"; bicubic enlargement has {shown(beside[BICUBIC][headline])}"
    yield f"{note}."
    if reference.seen:
        yield (
            "These are the pictures it was trained on, so the numbers are too good. Give others with --data, such as a"
            " validation folder."
        )
    if reference.left_out:
        yield f"{reference.left_out}."


def _example(reference, made, place, enlarging, headline, each):
    """A pair, of a large enlargement the part where there was most to do; its name ends with its value of the headline."""
    pair = reference.pairs[place]
    category = reference.classes[pair.label] if pair.label is not None and reference.classes else ""
    name = f"{category} {each[headline][place]:.4g}".strip()
    if not enlarging:
        return Example(name, [("source", pair.source), ("target", pair.target)], [made[place]])
    times = len(pair.target) // len(pair.source)
    enlarged = _enlarged(pair)
    part = _hardest(enlarged, pair.target)
    blocks = pair.source.repeat(times, axis=0).repeat(times, axis=1)
    beside = [("source", blocks[part]), ("bicubic", enlarged[part]), ("target", pair.target[part])]
    return Example(name, beside, [made[place][part]])


def _extremes(reference, made, enlarging, headline, each):
    ordered = np.argsort(-better(headline) * each[headline], kind="stable")
    galleries = []
    for title, places in (("Best", ordered), ("Worst", ordered[::-1])):
        counts, chosen = Counter(), []
        for place in places:
            label = reference.pairs[place].label
            counts[label] += 1
            if counts[label] <= (_EXTREMES if label is None else 1):
                chosen.append(_example(reference, made, place, enlarging, headline, each))
        text = f"By {headline}" + (", one of each category." if len(counts) > 1 else ".")
        galleries.append(Gallery(title, text, [row for example in chosen for row in side_by_side(["made"], [example])]))
    return galleries


def _hardest(enlarged, target):
    """The part of a picture, at most `_WINDOW` px a side, that bicubic enlargement is furthest from."""
    lost = np.abs(enlarged.astype(int) - target).sum(axis=2)
    height, width = lost.shape
    tops, lefts = (range(0, max(1, side - _WINDOW + 1), 16) for side in (height, width))
    parts = [np.s_[top : top + _WINDOW, left : left + _WINDOW] for top in tops for left in lefts]
    return max(parts, key=lambda part: lost[part].sum())
