"""Findings from records: defects of pictures, in words."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.inspection import duplicates, variants
from data.inspection import thresholds as limit
from data.inspection.inventory import Inventory
from data.inspection.kinds import KINDS
from data.inspection.survey import Record
from data.progress import Progress, silent

_ALIKE = 12  # grey levels of a channel by which a ground may differ from another of its colour
_BEST_KEPT = {"test": 0, "validation": 1, "train": 2, "": 3}  # splits, from that whose copy is kept


@dataclass(frozen=True)
class Finding:
    """One finding of a `kind`, with the names of its pictures (of copies the one to keep first), and why.

    `score` orders findings of a kind, the worst first; `box` (left, top, right, bottom, in fractions) says where.
    """

    kind: str
    pictures: tuple[str, ...]
    reason: str
    score: float = 0.0
    box: tuple[float, float, float, float] | None = None

    @property
    def severity(self) -> str:
        return KINDS[self.kind].severity


def find_defects(inventory: Inventory, records: Sequence[Record], *, progress: Progress = silent) -> list[Finding]:
    """Returns all findings, in the order of `KINDS` and within a kind the worst first."""
    good = [record for record in records if record.readable]
    findings = [Finding("unreadable", (r.entry.name,), r.reason) for r in records if not r.readable]
    findings += [Finding("unreadable", (name,), reason) for name, reason in inventory.unread.items]
    findings += [Finding("stray", (name,), "lies beside the class folders") for name in inventory.strays]
    findings += [Finding("not_a_picture", (name,), kind) for name, kind in inventory.others]
    findings += _copies(good, progress)
    usual = float(np.median([min(r.width, r.height) for r in good])) if good else 0.0
    white = background_shares(records)["white"]
    for record in good:
        findings += _size(record, usual)
        findings += _sharpness(record)
        findings += _light(record, white)
        findings += _lettering(record)
        findings += _format(record)
    findings += _backgrounds(good)
    findings += _colourless(good)
    findings += _classes(good)
    place = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda finding: (place[finding.kind], -finding.score, finding.pictures))


def _copies(records, progress):
    again = set()
    for group in duplicates.find([r.digest for r in records], [r.copy for r in records], progress=progress):
        copies = sorted((records[index] for index in group), key=_worth)
        again.update(id(record) for record in copies[1:])
        names = tuple(record.entry.name for record in copies)
        splits = sorted({record.entry.split for record in copies}, key=_BEST_KEPT.get)
        classes = sorted({record.entry.label for record in copies})
        exact = len({record.digest for record in copies}) == 1
        how = "the same bytes" if exact else "the same picture"
        if len(splits) > 1:
            yield Finding("leakage", names, f"{how} in {' and '.join(splits)}", len(names))
        if len(classes) > 1:
            yield Finding("label_conflict", names, f"{how} in {' and '.join(classes)}", len(names))
        if len(splits) == 1:
            yield Finding("exact_duplicate" if exact else "near_duplicate", names, how, len(names))
    single = [record for record in records if id(record) not in again]
    for group in variants.find([record.copy for record in single], progress):
        names = tuple(single[index].entry.name for index in group)
        yield Finding("colour_variant", names, f"one product in {len(names)} colours", len(names))


def _worth(record):
    """Sort key of copies: the one to keep comes first."""
    return _BEST_KEPT[record.entry.split], -record.width * record.height, -record.length, record.entry.name


def _size(record, usual):
    name, short, long = record.entry.name, min(record.width, record.height), max(record.width, record.height)
    extent = f"{record.width}x{record.height}"
    if short < min(limit.TINY_SIDE, limit.TINY_SHARE * usual):
        yield Finding("tiny", (name,), extent, -short)
    if long > limit.ODD_SHAPE * short:
        yield Finding("odd_shape", (name,), f"{extent}, {long / short:.1f} times as long as wide", long / short)


def _sharpness(record):
    if record.softness is not None and record.softness > limit.SOFT:
        reason = f"no fine detail (log odds {record.softness:.1f} that it is blurred or enlarged)"
        yield Finding("blurry", (record.entry.name,), reason, record.softness)


def _light(record, white):
    """`white` is the share of the catalogue on white."""
    name, light = record.entry.name, record.exposure
    if light.bright < limit.DARK:
        yield Finding("dark", (name,), f"19 pixels in 20 below {light.bright:.0%} of white", 1 - light.bright)
    if (
        light.background == "white"
        and white >= limit.WHITE_MEANT
        or light.background == "busy"
        and white >= limit.MOSTLY
    ):
        if light.lost > limit.LOST:
            yield Finding("overexposed", (name,), f"the colour is lost in {light.lost:.0%} of the product", light.lost)
    elif light.background == "plain":
        if light.cut > limit.CUT:
            yield Finding("overexposed", (name,), f"{light.cut:.0%} of it burnt", light.cut)
    elif light.burnt > limit.BURNT:
        yield Finding("overexposed", (name,), f"{light.burnt:.0%} of it burnt", light.burnt)
    if light.spread < limit.FLAT and limit.DARK <= light.bright < limit.WHITE:
        yield Finding("low_contrast", (name,), f"uses {light.spread:.0%} of the range", 1 - light.spread)


def _lettering(record):
    name = record.entry.name
    line = max(record.lines, key=lambda line: (line.laid_over, line.sure), default=None)
    if record.mark is not None:
        yield Finding("overlay", (name,), "the same mark as in other pictures", 1, record.mark)
    elif line is not None:
        kind, where = ("overlay", "near the border") if line.laid_over else ("lettering", "in the picture")
        yield Finding(kind, (name,), f"a line of writing {where}", line.sure, line.box)


def _format(record):
    header, name = record.header, (record.entry.name,)
    if header is None:
        return
    if header.turned:
        yield Finding("turned", name, "its EXIF orientation is not upright")
    if header.mode == "CMYK":
        yield Finding("cmyk", name, f"{header.format} in CMYK")
    if header.bits > 8:
        yield Finding("deep", name, f"{header.format} with {header.bits} bits", header.bits)
    if header.mode in ("P", "PA"):
        yield Finding("palette", name, f"{header.format} with a palette")
    if header.transparent:
        yield Finding("transparent", name, f"{header.format} with transparency")
    if header.profile:
        reason = f"{header.profile}{', a wide gamut' if header.wide_gamut else ''}"
        yield Finding("profile", name, reason, float(header.wide_gamut))
    if header.frames > 1:
        yield Finding("animated", name, f"{header.format} with {header.frames} frames", header.frames)


def background_shares(records: Sequence[Record]) -> dict[str, float]:
    """The share of each kind of background among the readable pictures: "white", "plain" and "busy"."""
    counts = Counter(record.exposure.background for record in records if record.readable)
    return {kind: counts[kind] / max(1, counts.total()) for kind in ("white", "plain", "busy")}


def _backgrounds(records):
    shares = background_shares(records)
    for usual, words in (({"white"}, "white"), ({"white", "plain"}, "a plain background")):
        share = sum(shares[kind] for kind in usual)
        if share >= limit.MOSTLY:
            grounds = _usual_grounds([record.exposure for record in records if record.exposure.background in usual])
            for record in records:
                light = record.exposure
                if light.background not in usual and not _is_close_up(record, grounds):
                    what = "a busy background" if light.background == "busy" else f"plain {light.colour}"
                    reason = f"{what}, where {share:.0%} of the catalogue have {words}"
                    yield Finding("background", (record.entry.name,), reason, float(light.background == "busy"))
            return


def _usual_grounds(lights):
    """float [n, 3], the colours of at least one ground in twenty."""
    colours = np.array([[int(light.colour[place : place + 2], 16) for place in (1, 3, 5)] for light in lights], float)
    _, which, counts = np.unique(colours // _ALIKE, axis=0, return_inverse=True, return_counts=True)
    often = np.flatnonzero(counts >= len(colours) / 20)
    return np.array([colours[which.ravel() == number].mean(axis=0) for number in often]).reshape(-1, 3)


def _is_close_up(record, grounds):
    """Returns whether the product reaches the border, and leaves some of a usual ground or hides all of it."""
    if record.copy is None:
        return False
    colours = record.copy.astype(float)
    ground = np.zeros(colours.shape[:2], bool)
    for usual in grounds:
        ground |= np.abs(colours - usual).max(axis=2) < _ALIKE
    inside = np.zeros_like(ground)
    inside[1:-1, 1:-1] = True
    if ground[~inside].mean() >= limit.GROUND_SEEN:
        return True
    third = len(colours) // 3
    middle = np.median(colours[third:-third, third:-third].reshape(-1, 3), axis=0)
    like_middle = np.abs(colours - middle).max(axis=2) < 2 * _ALIKE
    return like_middle[~ground].mean() >= limit.GROUND_HIDDEN


def _colourless(records):
    grey = [record for record in records if record.exposure.grey]
    if len(grey) < len(records) / 2:
        for record in grey:
            yield Finding("colourless", (record.entry.name,), "no colour at all")


def class_counts(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """{split: {class: readable pictures}}, both sorted; "" stands for no split, and for no class."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for record in records:
        counts[record.entry.split][record.entry.label] += record.readable
    return {split: dict(sorted(counts[split].items())) for split in sorted(counts, key=_BEST_KEPT.get, reverse=True)}


def _classes(records):
    counts = class_counts(records)
    everything = sorted({label for classes in counts.values() for label in classes if label})
    for split, classes in counts.items():
        for label in everything:
            if label not in classes:
                yield Finding("missing_class", (), f"{split} has no picture of {label}")
    training = {label: count for label, count in trained_on(counts).items() if label}
    for label, count in training.items():
        if count < limit.RARE_CLASS:
            yield Finding("rare_class", (), f"{label} has {count} {'picture' if count == 1 else 'pictures'}", -count)
    if len(training) > 1:
        (most, many), (least, few) = max(training.items(), key=_count), min(training.items(), key=_count)
        if many > limit.IMBALANCE * few:
            times = f", {many / few:.1f} times as many" if few else ""
            yield Finding("imbalance", (), f"{most} has {many} pictures{times}, where {least} has {few}")


def _count(item):
    return item[1]


def trained_on(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    """The classes of the split that is trained on: train, or else the only one; {} when there is no such split."""
    return counts.get("train") or (next(iter(counts.values())) if len(counts) == 1 else {})
