"""One pass over all pictures that makes a small record of each, so that nothing later needs to decode them all."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from data import files
from data.images import BadPicture, decode_within, square
from data.inspection import duplicates, overlays
from data.inspection.exposure import Exposure, expose
from data.inspection.header import Header, read_header
from data.inspection.inventory import Entry, Inventory
from data.inspection.lettering import Line, lines
from data.inspection.softness import softness
from data.inspection.thresholds import REPEATED_PLACED, SIDE
from data.progress import Progress, silent
from data.sources.parallel import ordered_map

_SMALL = 128  # px, the longer side for exposure and background


@dataclass
class Record:
    """Facts of a picture.

    `reason` says why it cannot be read, and is "" for one that can. `width` and `height` are of the upright picture. A picture that is no
    file has neither `header` nor `length`.
    """

    entry: Entry
    reason: str = ""
    digest: str = ""
    length: int = 0  # bytes
    header: Header | None = None
    width: int = 0
    height: int = 0
    softness: float | None = None  # see softness.softness
    exposure: Exposure | None = None
    lines: list[Line] = field(default_factory=list)  # of writing, the surest first
    copy: np.ndarray | None = None  # see duplicates.small_copy
    frame: tuple[int, int] | None = None  # see overlays.frame_of
    mark: tuple[float, float, float, float] | None = None  # the box of a mark that other pictures carry too

    @property
    def readable(self) -> bool:
        return not self.reason


def survey(inventory: Inventory, progress: Progress = silent) -> list[Record]:
    """A record of every picture, in order.

    `progress` is handed the pictures (`data.progress`). Raises SourceError when a source cannot be read at all.
    """
    shared = overlays.Shared()
    workers = 32 if files.is_remote(inventory.root) else None
    examined = ordered_map(lambda item: _examine(*item, shared), inventory.pictures(), workers=workers)
    records = list(progress(examined, inventory.count, "reading"))
    _find_marks(inventory, records, shared.candidates(), progress)
    return records


def picture_of(content: bytes | np.ndarray, side: int) -> np.ndarray:
    """uint8 [height, width, 3], shrunk if a side exceeds `side`, of a file's bytes or of pixels. Raises BadPicture."""
    if isinstance(content, bytes):
        return decode_within(content, side)
    return _within(square(content, None), side)


def _within(picture, side):
    height, width = picture.shape[:2]
    if max(height, width) <= side:
        return picture
    size = tuple(max(1, round(edge * side / max(height, width))) for edge in (width, height))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX, reducing_gap=3.0))


def _examine(entry, load, shared):
    record = Record(entry)
    try:
        content = load()
        record.digest = hashlib.blake2b(content if isinstance(content, bytes) else _bytes(content)).hexdigest()
        if isinstance(content, bytes):
            record.length, record.header = len(content), read_header(content)
        picture = picture_of(content, SIDE)
    except BadPicture as error:
        record.reason = str(error)
        return record
    except OSError as error:
        record.reason = f"cannot be read: {error.strerror or error}"
        return record
    header = record.header
    record.width, record.height = (header.width, header.height) if header else _extent(content, picture)
    grey = np.asarray(Image.fromarray(picture).convert("L"), np.float32)
    record.softness = softness(grey)
    record.exposure = expose(_within(picture, _SMALL))
    record.lines = lines(picture)
    record.copy = duplicates.small_copy(picture)
    record.frame = shared.add(picture)
    return record


def _bytes(pixels):
    return repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()


def _extent(content, picture):
    height, width = (picture if isinstance(content, bytes) else content).shape[:2]
    return width, height


def _find_marks(inventory, records, candidates, progress):
    """Look again at the pictures of a shape that may share a mark, and note which carry it; then at all others."""
    frames = {mark.frame for mark in candidates}
    again = {record.entry.name: record for record in records if record.frame in frames and record.frame}
    likenesses = dict(
        _looked_at(inventory, again, lambda picture, frame: _likenesses(picture, frame, candidates), progress)
    )
    true = []
    for frame in frames:
        marks = [number for number, mark in enumerate(candidates) if mark.frame == frame]
        names = np.array([name for name in again if again[name].frame == frame], object)
        table = np.array([[likenesses[name][number] for number in marks] for name in names])
        carries, are_true = overlays.marked(table)
        marks = [candidates[number] for number in np.array(marks)[are_true]]
        true += marks
        for name, row in zip(names[carries], table[carries][:, are_true], strict=True):
            again[name].mark = marks[row.argmax()].box
    others = {record.entry.name: record for record in records if record.frame and not record.mark} if true else {}
    for name, (like, box) in _looked_at(inventory, others, lambda picture, _: _best_place(picture, true), progress):
        if like >= REPEATED_PLACED:
            others[name].mark = box


def _looked_at(inventory, records, look, progress) -> Iterator[tuple[str, object]]:
    """Yield the name of each of `records` and what `look` makes of its picture and frame."""

    def examine(item):
        entry, load = item
        return entry.name, look(picture_of(load(), SIDE), records[entry.name].frame)

    if records:
        pictures = inventory.pictures(records.keys())
        yield from progress(ordered_map(examine, pictures), len(records), "looking for a common mark")


def _likenesses(picture, frame, candidates):
    fine = overlays.detail(picture, frame)
    weight = overlays.clear(fine)
    return [mark.likeness(fine, weight) if mark.frame == frame else 0.0 for mark in candidates]


def _best_place(picture, marks):
    return max(mark.placed(picture) for mark in marks)
