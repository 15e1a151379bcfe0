"""Every example decoded and prepared once, and kept as one array a key: in memory when it fits, else in memory-mapped files.

A set on disk lies in a folder named by what it was made from, and by which code. Its `rows.json` is written last; a set without one, or
whose files are not as long as it says, is made again. A process that uses a set holds a lock on its `rows.json`. Whenever a set is
written, those that nobody used for a month are removed, and of the others the oldest when all together are too large.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data import batch as contract
from data import files
from data.corruptions.recipes import Recipe
from data.errors import UserError
from data.progress import silent
from data.quarantine import Quarantine

MEMORY_SHARE = 0.25  # of what the machine has free
# Of examples that give several rows each: a million patches are then each patch four times, flipped and turned.
FEWEST_ROWS, MOST_ROWS = 2**12, 2**18
FEW_EXAMPLES = 1_000  # taken for the count where that is not known
KEPT_SECONDS, KEPT_BYTES = 30 * 24 * 3600, 50e9  # of sets that lie unused
REPORT = "rows.json"
_SET = re.compile(r"[0-9a-f]{24}")
# What decides the rows of an example: a change here makes all sets again. (Other modules of data do not.)
_MAKES_ROWS = ("batch.py", "cache.py", "colour.py", "degrade.py", "images.py", "lines.py", "views.py", "sources/*.py")


@dataclass(frozen=True)
class Rows:
    """Rows that a run trains on.

    arrays: key -> array [count, ...] with one entry a row, as `data.batch` says it is kept.
    classes, attributes: as the source has them.
    drawn: makes `low` of `high` at every draw; None where all keys are kept.

    Raises ValueError when an array is not kept so.
    """

    arrays: dict[str, np.ndarray]
    classes: tuple[str, ...]
    in_memory: bool
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drawn: Recipe | None = None
    count: int = field(init=False)

    def __post_init__(self):
        for key, array in self.arrays.items():
            kind = contract.kind(key)
            if (array.dtype, array.ndim) != (np.dtype(kind.kept), kind.rank):
                expected = f"{np.dtype(kind.kept)} of rank {kind.rank}"
                raise ValueError(
                    f"{key} is a {kind.name}, kept as {expected}, and not {array.dtype} of rank {array.ndim}"
                )
        object.__setattr__(self, "count", len(next(iter(self.arrays.values()))))

    def add(self, key: str, array: np.ndarray) -> None:
        """Add a column made of others, such as the numbers of a caption's words. Raises ValueError as the class does."""
        Rows({key: array}, (), True)
        self.arrays[key] = array

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def empty_classes(self) -> tuple[str, ...]:
        """Names of classes without a row."""
        labels = set(np.unique(self.arrays["label"]).tolist()) if "label" in self.arrays else range(len(self.classes))
        return tuple(name for label, name in enumerate(self.classes) if label not in labels)

    def take(self, indices) -> dict[str, np.ndarray]:
        """Some rows, in the order asked for. What is drawn is so by a row's number, with the seed 0, always alike."""
        rows = {key: np.asarray(array[np.asarray(indices)]) for key, array in self.arrays.items()}
        if self.drawn:
            rows["low"] = self.drawn(rows["high"], 0, np.asarray(indices, np.int64)).numpy()
        return rows


def load_rows(
    source, view, *, fit="crop", cache_dir=None, memory=None, most=MOST_ROWS, quarantine=None, progress=silent, say=None
) -> Rows:
    """The rows that `view` makes of the examples of `source`.

    Args:
        cache_dir: where sets too large for memory go; default ~/.cache/packshot.
        memory: bytes that may be kept in memory; default a quarter of what is free.
        most: rows made of examples that give several each: so many are drawn, from all examples alike, always the same.
        quarantine: takes what is left out.
        progress: is handed the examples; see `data.progress`.
        say: function (sentence) for the user; announces what is written to disk.

    Raises:
        UserError: the source lacks what the view needs, no row came of it, or it fits neither in memory nor on disk.
    """
    view.check(source.keys)
    say = say or (lambda sentence: None)
    quarantine = quarantine if quarantine is not None else Quarantine()
    quarantine.extend(source.left_out)
    place = _Place(cache_dir, _key(source, view, fit, most), getattr(view, "drawn", None))
    if found := place.open(source, quarantine, say):
        return found
    read = Quarantine()
    store = _Store(place, _free_memory() * MEMORY_SHARE if memory is None else memory, source.count, say)
    draw = _Draw(max(1, most // (source.count or FEW_EXAMPLES)))
    try:
        examples = source.examples(view.size, fit, read)
        for number, example in enumerate(progress(examples, source.count, "reading")):
            try:
                rows = view.rows(example, functools.partial(draw, number))
            except UserError as error:
                read.add(f"example {number}", str(error))
                continue
            store.add(rows)
        quarantine.extend(read)
        if not store.count:
            raise UserError(f"nothing usable was found in {source.spec}. {quarantine.sentence()}")
        if draw.possible > store.count:
            say(f"of {draw.possible:,} patches {store.count:,} are used, as many of each picture, always the same ones")
        return store.finish(source, read)
    finally:
        store.close()


def enough_rows(images: int) -> int:
    """Number of rows to draw for a run that shows so many: a power of two, so that a run made a little longer keeps its rows."""
    return min(max(FEWEST_ROWS, 1 << (images - 1).bit_length()), MOST_ROWS)


class _Draw:
    """Chooses at most `most` rows of each example, always the same; `possible` counts all."""

    def __init__(self, most):
        self._most, self.possible = most, 0

    def __call__(self, number, count):
        """Places of rows of example `number`, which could give `count`, in order."""
        self.possible += count
        if count <= self._most:
            return range(count)
        return np.sort(np.random.Generator(np.random.PCG64(number)).permutation(count)[: self._most]).tolist()


class _Place:
    """Place of a set on disk. Without a home folder there is none, which is noticed only when a set must be written."""

    def __init__(self, cache_dir, key, drawn):
        self._parent, self._key, self.drawn = cache_dir, key, drawn

    @property
    def folder(self) -> Path:
        """Raises UserError when there is no home."""
        return Path(self._parent or files.cache_folder()) / self._key

    def open(self, source, quarantine, say) -> Rows | None:
        """The set, or None when it is not there or damaged."""
        try:
            folder = self.folder
            lock = os.open(folder / REPORT, os.O_RDONLY)
        except (ValueError, OSError):
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # being removed; or a file system without locks
            pass
        try:
            facts = json.loads((folder / REPORT).read_bytes())
            arrays = {}
            for key, (kind, shape) in facts["kinds"].items():
                array = np.memmap(folder / f"{key}.raw", kind, "r")
                arrays[key] = array.reshape(facts["count"], *shape)
            for name, reason in facts["left out"]:
                quarantine.add(name, reason)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            os.close(lock)
            say(f"what was kept in {folder} is damaged, and is made again")
            return None
        with contextlib.suppress(OSError):
            os.utime(folder / REPORT)
        rows = _rows(source, arrays, in_memory=False, drawn=self.drawn)
        weakref.finalize(rows, os.close, lock)  # it is held as long as the rows are used
        return rows


def _sweep(parent, needed):
    """Remove sets that nobody uses: those of a month ago, and the oldest while all are too large or the disk lacks `needed` bytes."""
    files.sweep(parent, ".writing-")
    sets = []
    for folder in parent.iterdir():
        if _SET.fullmatch(folder.name) and folder.is_dir():
            used = max((path.stat().st_mtime for path in folder.glob(REPORT)), default=folder.stat().st_mtime)
            sets.append((used, sum(path.stat().st_size for path in folder.iterdir()), folder))
    total = sum(size for _, size, _ in sets)
    for used, size, folder in sorted(sets):
        old = time.time() - used > KEPT_SECONDS
        if not (old or total > KEPT_BYTES or shutil.disk_usage(parent).free < needed):
            break
        if _unused(folder):
            shutil.rmtree(folder, ignore_errors=True)
            total -= size


def _unused(folder):
    try:
        with open(folder / REPORT) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True  # half removed
    except OSError:
        return False
    return True


class _Store:
    """Rows as they come: in lists, until those are too large, from then on in files."""

    def __init__(self, place, memory, examples, say):
        self._place, self._memory, self._examples, self._say = place, memory, examples, say
        self._lists, self._files, self._kinds = {}, None, {}
        self._held, self._taken, self._coming, self.count = 0, 0, 0, 0
        self._temporary = None

    def add(self, rows):
        """Take the rows of one example."""
        self._taken += 1
        self._coming = self.count + len(rows)
        for row in rows:
            self._add(row)

    def _add(self, row):
        values = {key: _as_array(key, value) for key, value in row.items()}
        kinds = {key: (value.dtype, value.shape) for key, value in values.items()}
        if not self.count:
            self._kinds = kinds
            self._lists = {key: [] for key in values}
        if kinds != self._kinds:
            raise UserError(f"examples differ in what they have: {_listed(kinds)}; and {_listed(self._kinds)}")
        self._held += sum(value.nbytes for value in values.values())
        self.count += 1
        if self._files is None:
            for key, value in values.items():
                self._lists[key].append(value)
            if self._held > self._memory:
                with self._writing():
                    self._spill()
        else:
            with self._writing():
                for key, value in values.items():
                    self._files[key].write(value.tobytes())

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self._place.folder.parent} cannot be written: {error.strerror or error}; {_ELSEWHERE}"
            ) from error

    def _spill(self):
        parent = self._place.folder.parent
        parent.mkdir(parents=True, exist_ok=True)
        expected = self._held / self.count * self._coming / self._taken * max(self._examples or 0, self._taken)
        _sweep(parent, expected)
        free = shutil.disk_usage(parent).free
        about = f"about {expected / 1e6:,.0f} MB" if self._examples else "an unknown number of MB"
        if expected > free:
            raise UserError(f"the data take {about} on disk, and {parent} has {free / 1e6:,.0f} MB free; {_ELSEWHERE}")
        self._say(f"the data do not fit in memory: {about} are written to {parent}, and used again by later runs")
        self._temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=parent))
        self._files = {key: open(self._temporary / f"{key}.raw", "wb") for key in self._kinds}
        for key, values in self._lists.items():
            for value in values:
                self._files[key].write(value.tobytes())
        self._lists = {}

    def finish(self, source, quarantine):
        if self._files is None:
            arrays = {key: np.stack(self._lists.pop(key)) for key in list(self._lists)}
            return _rows(source, arrays, in_memory=True, drawn=self._place.drawn)
        with self._writing():
            self._close_files()
            kinds = {key: [dtype.str, list(shape)] for key, (dtype, shape) in self._kinds.items()}
            report = {"count": self.count, "kinds": kinds, "left out": quarantine.items}
            (self._temporary / REPORT).write_text(json.dumps(report))
            if self._place.folder.exists():
                shutil.rmtree(self._place.folder)
            os.rename(self._temporary, self._place.folder)
        return self._place.open(source, Quarantine(), self._say)

    def _close_files(self):
        for file in (self._files or {}).values():
            file.close()

    def close(self):
        with contextlib.suppress(OSError):
            self._close_files()
        if self._temporary is not None and self._temporary.exists():
            shutil.rmtree(self._temporary)


def _rows(source, arrays, **options):
    return Rows(arrays, source.classes, attributes=dict(getattr(source, "attributes", {})), **options)


def _listed(kinds):
    return ", ".join(f"{key} {dtype}{list(shape)}" for key, (dtype, shape) in sorted(kinds.items()))


def _as_array(key, value):
    kind = contract.kind(key)
    if kind is contract.TEXT:
        whole_letters = value.encode()[: np.dtype(kind.kept).itemsize].decode(errors="ignore")
        return np.array(whole_letters.encode(), kind.kept)
    return np.ascontiguousarray(value) if kind.spatial else np.asarray(value, kind.kept)


def _key(source, view, fit, most):
    here = Path(__file__).parent
    code = b"".join(path.read_bytes() for pattern in _MAKES_ROWS for path in sorted(here.glob(pattern)))
    made_from = [
        source.fingerprint(),
        sorted(source.keys),
        view.describe(),
        fit,
        most,
        hashlib.sha256(code).hexdigest(),
    ]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:24]


_ELSEWHERE = "XDG_CACHE_HOME may name another place"


def _free_memory():
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
