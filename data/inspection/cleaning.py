"""Choice of the pictures to keep: one of each group of copies, none that cannot be read, and none of an unwanted kind."""

import os
from collections.abc import Collection, Sequence

from data import files
from data.inspection.findings import Finding
from data.inspection.kinds import COPIES, USELESS, VARIANTS
from data.inspection.survey import Record
from data.sources.listed import write_list


def kept(records: Sequence[Record], found: Sequence[Finding], *, drop: Collection[str] = ()) -> list[Record]:
    """The records worth keeping, in order; `drop` names further kinds of findings (of `kinds.DROPPABLE`).

    Of copies the largest stays, but one that is measured with (test, then validation) before one that is trained on. Colour
    variants all stay, unless they are dropped: then the first of each group does.
    """
    gone = set()
    for finding in found:
        if finding.kind in COPIES or finding.kind in VARIANTS and finding.kind in drop:
            gone.update(finding.pictures[1:])
        elif finding.kind in USELESS or finding.kind in drop:
            gone.update(finding.pictures)
    return [record for record in records if record.entry.name not in gone]


def cleaned_list(spec: str, records: Sequence[Record], total: int) -> tuple[bytes, int]:
    """A list for `list:FILE` of the files of `records`, and how many names it could not take (with line breaks)."""
    paths = [record.entry.path for record in records if not {"\n", "\r"} & set(record.entry.path)]
    absolute = [path if files.is_remote(path) else os.path.abspath(path) for path in paths]
    heading = [f"{len(paths)} of {total} pictures of {' '.join(spec.split())}, chosen by packshot inspect"]
    return write_list(absolute, heading), len(records) - len(paths)
