"""Files beside the pictures of a folder: captions and named attributes.

`captions.csv` has the columns file and caption; `attributes.csv` has the column file and one for each attribute, such as colour. Both may
be JSON lines instead, `captions.jsonl` and `attributes.jsonl`, an object a line with the same names. They lie in the folder that holds the
pictures, or in that above its splits, and name pictures from there. Without a file of captions, a text file beside a picture, of its name
with .txt, is its caption. An empty value, like a missing line, is unknown.
"""

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from data import batch as contract
from data import files
from data.sources.protocol import SourceError, join

FILE, CAPTION = "file", "caption"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
TAKEN = frozenset(
    {
        *contract.KEYS,
        FILE,
        "seed",
        "text",
        "z",
        "w",
        "images",
        "truncation",
        "steps",
        "guidance",
        "temperature",
        "strength",
    }
    | {f"direction_{place}" for place in range(1, 7)}
)  # as inputs of models
_SHOWN = 3


@dataclass(frozen=True)
class Beside:
    """captions: of pictures by name. attributes: names of the values of each, sorted. values: {attribute: {picture: name of its value}}.
    used: names of the files that were read."""

    captions: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    used: frozenset[str] = frozenset()

    def of(self, name: str) -> dict[str, str | int]:
        """Values in an example of this picture: "caption" if any has one, and of each attribute the number of its value, -1 if unknown."""
        caption = {CAPTION: self.captions.get(name, "")} if self.captions else {}
        numbers = {
            attribute: known.index(value) if (value := self.values[attribute].get(name)) else -1
            for attribute, known in self.attributes.items()
        }
        return caption | numbers


def read_beside(root: str, pictures: Sequence[str], others: Sequence[str], *, folders: Sequence[str] = ("",)) -> Beside:
    """Read what lies beside pictures.

    Args:
        root: the folder. pictures, others: names (relative, with "/") of its pictures and of its other files.
        folders: names of the folders, relative to `root`, in which files of captions and attributes are looked for.

    Raises SourceError, one sentence, for a file that cannot be read, is not as above, names a picture that is not there or twice, or an
    attribute that no model could take.
    """
    known, used = set(pictures), set()
    captions, tables = {}, {}
    for folder in folders:
        for kind, found in (("captions", captions), ("attributes", tables)):
            there = [
                name for end in ("csv", "jsonl") if files.exists(join(root, name := join(folder, f"{kind}.{end}")))
            ]
            if len(there) > 1:
                raise SourceError(f"{root} has {' and '.join(there)}: one of them must go")
            for name in there:
                used.add(name)
                _add(found, _rows(join(root, name), kind), folder, known, where=join(root, name))
    captions = {name: row[CAPTION] for name, row in captions.items() if row[CAPTION]}
    if not any("captions." in name for name in used):
        texts = {os.path.splitext(name)[0]: name for name in others if name.lower().endswith(".txt")}
        texts = {name: texts[os.path.splitext(name)[0]] for name in pictures if os.path.splitext(name)[0] in texts}
        captions = {name: " ".join(_text(join(root, text)).split()) for name, text in texts.items()}
        used |= set(texts.values())
    names = list(dict.fromkeys(attribute for row in tables.values() for attribute in row))
    values = {name: {picture: row[name] for picture, row in tables.items() if row.get(name)} for name in names}
    values = {name: found for name, found in values.items() if found}
    attributes = {name: tuple(sorted(set(found.values()))) for name, found in values.items()}
    return Beside(captions, attributes, values, frozenset(used))


def _add(found, rows, folder, known, *, where):
    missing = [row[FILE] for row in rows if join(folder, row[FILE]) not in known]
    if missing:
        more = " ..." if len(missing) > _SHOWN else ""
        raise SourceError(
            f"{where} names pictures that are not there, {len(missing):,} of {len(rows):,}: {', '.join(missing[:_SHOWN])}{more};"
            " names start from its folder, such as mugs/1.jpg"
        )
    for row in rows:
        name = join(folder, row.pop(FILE))
        if name in found:
            raise SourceError(f"{where} names the picture {name} that was named before: give each one line")
        found[name] = row


def _rows(path, kind):
    """The lines of a file as dicts of texts without blanks around them, each with `FILE` and, of captions, `CAPTION` alone."""
    text = _text(path)
    try:
        rows = _json_lines(text) if path.endswith(".jsonl") else list(csv.DictReader(io.StringIO(text), strict=True))
    except (csv.Error, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    if not rows:
        raise SourceError(f"{path} names no picture")
    for place, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise SourceError(
                f"{path}: entry {place} has {'more' if None in row else 'fewer'} values than there are columns"
            )
        if FILE not in row or kind == "captions" and CAPTION not in row:
            raise SourceError(
                f"{path}: entry {place} has no {FILE if FILE not in row else CAPTION}; it has: {', '.join(map(str, row))}. Columns are"
                f" {FILE} and {CAPTION if kind == 'captions' else 'one for each attribute'}"
            )
        if kind == "attributes" and (bad := [n for n in row if n != FILE and (not _NAME.fullmatch(n) or n in TAKEN)]):
            raise SourceError(
                f"{path}: {bad[0]!r} cannot be an attribute: names are of small letters, digits and _, and none of"
                f" {', '.join(sorted(TAKEN))}"
            )
    wanted = (lambda name: name in (FILE, CAPTION)) if kind == "captions" else (lambda name: True)
    return [{name: str(value).strip() for name, value in row.items() if wanted(name)} for row in rows]


def _json_lines(text):
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not all(isinstance(value, str | int | float) for value in row.values()):
            raise ValueError(f"line {place} is no object of texts and numbers")
    return rows


def _text(path):
    try:
        return files.read(path).decode("utf-8-sig")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start:,}") from error
