"""Verdict on a catalogue, in sentences that a person can act on."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from data.inspection import findings as judged
from data.inspection import thresholds as limit
from data.inspection.findings import Finding
from data.inspection.survey import Record

_SIZES = (32, 64, 128, 256)
_REACH = 10  # percentile of the shorter sides that a size for training should not exceed
_PLURALS = {
    "tiny": "tiny",
    "blurry": "blurry",
    "dark": "dark",
    "overexposed": "overexposed",
    "low_contrast": "of low contrast",
    "odd_shape": "long and narrow",
    "overlay": "with text or a mark laid over",
}


def sentences(records: Sequence[Record], found: Sequence[Finding], kept: int) -> list[str]:
    """The verdict on `records` with their findings, of which `kept` pictures would remain in a cleaned list."""
    good = [record for record in records if record.readable]
    if not good:
        return ["None of the pictures can be read."]
    return [
        _counts(good, judged.class_counts(records)),
        *_errors(found, len(records), kept),
        _size(good),
        *_classes(judged.trained_on(judged.class_counts(records)), found),
        _background(judged.background_shares(records), found),
        *_variants(found),
        *_lettering(found, len(good)),
        *_suspects(found, len(good)),
    ]


def _counts(good, counts):
    splits = {split: sum(classes.values()) for split, classes in counts.items()}
    parts = ", ".join(f"{number:,} in {split}" for split, number in splits.items() if split)
    line = plural(len(good), "picture") + (f" ({parts})" if parts else "")
    training = {label: number for label, number in judged.trained_on(counts).items() if label}
    if training:
        least, most = (choose(training, key=training.get) for choose in (min, max))
        line += (
            f" of {plural(len(training), 'class', many='classes')}; the smallest class is {least} with {training[least]:,}, "
            f"the largest {most} with {training[most]:,}"
        )
    return line + "."


def _errors(found, total, kept):
    kinds = Counter(finding.kind for finding in found)
    named = {kind: {name for finding in found if finding.kind == kind for name in finding.pictures} for kind in kinds}
    if kinds["leakage"]:
        yield (
            f"{plural(len(named['leakage']), 'picture')} in {plural(kinds['leakage'], 'group')} of copies lie in more than "
            "one split: what is measured there is too good."
        )
    if kinds["label_conflict"]:
        yield f"{plural(kinds['label_conflict'], 'picture')} can be found in more than one class: at least one is wrong."
    copies = sum(len(f.pictures) - 1 for f in found if f.kind in ("exact_duplicate", "near_duplicate"))
    if copies:
        yield f"{plural(copies, 'picture repeats', many='pictures repeat')} another of the same split."
    if kinds["unreadable"]:
        yield f"{plural(kinds['unreadable'], 'file')} cannot be read."
    if kept < total:
        yield f"A cleaned list keeps {kept:,} of {total:,} (`--fix`)."


def _size(good):
    trained = [record for record in good if record.entry.split in ("", "train")] or good
    count = len(trained)
    reach = np.percentile([min(record.width, record.height) for record in trained], _REACH)
    most = 64 if count < limit.FOR_128 else 128 if count < limit.FOR_256 else 256
    fitting = [size for size in _SIZES if 64 <= size <= min(most, reach)] or [32]
    line = f"Train at {' or '.join(map(str, fitting[-2:]))} px"
    if count < limit.NEEDS_ADA:
        line += " with `--augment ada`"
    if fitting[-1] < most:
        return f"{line}: one picture in ten has a shorter side below {reach:.0f} px."
    few = plural(count, "picture to train on is", many="pictures to train on are")
    return f"{line}: {few} too few for more." if most < 256 else f"{line}."


def _classes(training, found):
    labels = {label: count for label, count in training.items() if label}
    if len(labels) < 2:
        return
    rare = [label for label, count in labels.items() if count < limit.RARE_CLASS]
    if rare:
        yield f"Too rare to be learnt as a class (below {limit.RARE_CLASS:.0f}): {_some(rare)}."
    if any(finding.kind == "imbalance" for finding in found):
        yield "The classes are uneven: train with `--conditional`, or the rare ones will hardly be seen."


def _background(shares, found):
    line = "Backgrounds: " + ", ".join(f"{share:.0%} {kind}" for kind, share in shares.items())
    others = sum(finding.kind == "background" for finding in found)
    if others:
        return f"{line}; {plural(others, 'picture differs', many='pictures differ')} from the rest."
    if max(shares["white"], shares["white"] + shares["plain"]) < limit.MOSTLY and shares["busy"] < limit.MOSTLY:
        return f"{line}: mixed, which a model will mix too."
    if shares["busy"] >= limit.MOSTLY:
        return f"{line}: a model must learn the rooms as well as the products."
    return f"{line}."


def _variants(found):
    shown = [len(finding.pictures) for finding in found if finding.kind == "colour_variant"]
    if shown:
        pairs = sum(number * (number - 1) // 2 for number in shown)
        yield (
            f"{plural(sum(shown), 'picture')} show {plural(len(shown), 'product')} in several colours: "
            f"{plural(pairs, 'pair')} to train recolouring with (`--json` lists the groups). `--fix` keeps them."
        )


def _lettering(found, total):
    lettered = {finding.pictures[0] for finding in found if finding.kind == "lettering"}
    if len(lettered) >= limit.LETTERED * total:
        yield f"Lettering on {plural(len(lettered), 'picture')}: train with `--no-mirror`, or it is learnt in mirror writing."


def _suspects(found, total):
    named = {kind: {f.pictures[0] for f in found if f.kind == kind} for kind in _PLURALS}
    parts = [f"{len(names):,} {_PLURALS[kind]}" for kind, names in named.items() if names]
    if parts:
        number = len(set().union(*named.values()))
        yield f"Worth a look: {plural(number, 'picture')} ({number / total:.1%}): {', '.join(parts)}."
    else:
        yield "Nothing else stands out."


def plural(number: int, one: str, *, many: str = "") -> str:
    """ "1 picture", "3,068 pictures"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _some(names, most=5):
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
