"""`python -m benchmarks.plant PHOTOS`: measure how many defects planted in a catalogue `packshot inspect` finds.

The catalogue is copied, defects are planted in pictures drawn by chance, each in others, and the copy is inspected. A folder
without splits or classes gets no copies across them. The catalogue has defects of its own, which count as false flags here
unless somebody checks them: the figures of untouched pictures are upper bounds.
"""

import os
import platform
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from benchmarks.defects import DEFECTS, Defect
from data.images import BadPicture, decode
from data.inspection import inventory
from data.inspection.findings import find_defects
from data.inspection.kinds import KINDS
from data.inspection.survey import survey
from trainer.console import progress

HEAD = "| planted | finding | planted | found | recall |\n|---|---|---|---|---|"
UNTOUCHED = "| finding | untouched pictures flagged | of them | precision, at the least |\n|---|---|---|---|"


@dataclass(frozen=True)
class Planted:
    """A planted defect: the name of its file, and of the picture of which it is a copy, or ""."""

    defect: Defect
    name: str
    original: str = ""


def plant(source: inventory.Inventory, folder: Path, each: int, seed: int) -> list[Planted]:
    """Fill `folder` with the files of `source`, of which some get defects, and say which."""
    entries = [entry for entry, _ in source.pictures()]
    for entry in entries:
        (folder / entry.name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(os.path.abspath(entry.path), folder / entry.name)
    random = np.random.default_rng(seed)
    chance = iter(random.permutation(len(entries)))
    planted = []
    for defect in DEFECTS:
        if _folder(entries[0], entries, defect) is None:
            continue
        count = round(defect.share * len(entries)) or each
        while count:
            entry = entries[next(chance)]
            content = Path(entry.path).read_bytes()
            try:
                picture = Image.fromarray(decode(content))
            except BadPicture:
                continue
            content = content if defect.make is None else defect.make(picture, random)
            if defect.where == "instead":
                place = str(Path(entry.name).with_suffix(defect.extension))
                (folder / entry.name).unlink()
            else:
                place = str(_folder(entry, entries, defect) / f"planted-{len(planted)}{defect.extension}")
            (folder / place).write_bytes(content)
            planted.append(Planted(defect, place, "" if defect.where == "instead" else entry.name))
            count -= 1
    return planted


def _folder(entry, entries, defect):
    """The folder for the defect of this picture, or None where there is none of the kind."""
    fits = {
        "instead": lambda other: other is entry,
        "beside": lambda other: (other.split, other.label) == (entry.split, entry.label),
        "other split": lambda other: other.split != entry.split and other.label == entry.label,
        "other class": lambda other: other.split == entry.split and other.label != entry.label,
    }[defect.where]
    return next((Path(other.name).parent for other in entries if fits(other)), None)


def found(planted: Planted, findings) -> bool:
    """Returns whether a finding of the right kind names it, and, of a copy, the original too."""
    names = {planted.name, planted.original} - {""}
    return any(finding.kind == planted.defect.kind and names <= set(finding.pictures) for finding in findings)


def tables(planted, findings, total) -> list[str]:
    """Lines of two tables: recall of every defect, and how many untouched pictures every kind of finding names."""
    touched = {name for one in planted for name in (one.name, one.original)}
    hits = Counter(one.defect for one in planted if found(one, findings))
    lines = [HEAD]
    for defect, count in Counter(one.defect for one in planted).items():
        lines.append(f"| {defect.title} | `{defect.kind}` | {count} | {hits[defect]} | {hits[defect] / count:.2f} |")
    lines += ["", UNTOUCHED]
    of_kind = Counter()
    for defect, count in hits.items():
        of_kind[defect.kind] += count
    for kind in [
        kind
        for kind in KINDS
        if kind in {defect.kind for defect in DEFECTS} | {"background", "colour_variant", "lettering"}
    ]:
        named = {name for finding in findings if finding.kind == kind for name in finding.pictures}
        extra = len(named - touched)
        share = f"{of_kind[kind] / max(1, of_kind[kind] + extra):.2f}" if of_kind[kind] else ""
        lines.append(f"| `{kind}` | {extra} | {extra / (total - len(touched)):.2%} | {share} |")
    worse = {name for finding in findings if finding.severity != "note" for name in finding.pictures} - touched
    return [*lines, f"| any but notes | {len(worse)} | {len(worse) / (total - len(touched)):.2%} | |"]


@click.command()
@click.argument("photos")
@click.option("--each", help="Pictures that get each defect", default=20, show_default=True)
@click.option("--seed", help="Another number, other pictures", default=0, show_default=True)
@click.option("--missed", help="Name what was planted and not found", is_flag=True)
def main(photos, each, seed, missed):
    """Plant defects in a copy of a folder, inspect it, and print what was found."""
    with tempfile.TemporaryDirectory() as folder:
        planted = plant(inventory.take(f"folder:{photos}"), Path(folder), each, seed)
        begun = time.perf_counter()
        records = survey(copied := inventory.take(f"folder:{folder}"), progress)
        findings = find_defects(copied, records, progress=progress)
        seconds = time.perf_counter() - begun
    print(f"{len(records):,} pictures in {seconds:.0f} s, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("\n".join(tables(planted, findings, len(records))))
    for one in planted:
        if missed and not found(one, findings):
            others = [f.kind for f in findings if one.name in f.pictures]
            print(f"{one.defect.title}: {one.name} {one.original} {others}")


if __name__ == "__main__":
    main()
