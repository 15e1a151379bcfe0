"""Every example decoded and prepared once, and kept as one array a key: in memory when it fits, else in memory-mapped files.

A set on disk lies in a folder named by what it was made from, and by which code; its `rows.json` is written last, so a folder without one
is half done and is made again.
"""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data import files
from data.quarantine import Quarantine

MEMORY_SHARE = 0.25  # of what the machine has free
CAPTION = 256  # bytes kept of a caption
REPORT = "rows.json"


@dataclass(frozen=True)
class Rows:
    """What a run trains on.

    arrays: key -> array with one entry a row: uint8 [count, side, side, channels], or int32 [count] (label), or bytes
    of at most 256 [count] (caption).
    """

    arrays: dict[str, np.ndarray]
    classes: tuple[str, ...]
    in_memory: bool
    count: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "count", len(next(iter(self.arrays.values()))))

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())

    def take(self, indices) -> dict[str, np.ndarray]:
        """Some rows, in the order asked for."""
        return {key: np.asarray(array[np.asarray(indices)]) for key, array in self.arrays.items()}


def load_rows(source, view, *, fit="crop", cache_dir=None, memory=None, quarantine=None, progress=None) -> Rows:
    """All rows that `view` makes of the examples of `source`.

    Args:
        cache_dir: where sets too large for memory go; default ~/.cache/packshot.
        memory: bytes that may be kept in memory; default a quarter of what is free.
        quarantine: takes what cannot be read or used.
        progress: function (examples, total or None) -> wrapped iterator, as tqdm is.

    Raises:
        ValueError: the source lacks what the view needs, or no row came of it.
    """
    view.check(source.keys)
    folder = Path(cache_dir or default_folder()) / _key(source, view, fit)
    quarantine = quarantine if quarantine is not None else Quarantine()
    if (folder / REPORT).exists():
        return _open(folder, source.classes, quarantine)
    memory = _free_memory() * MEMORY_SHARE if memory is None else memory
    store = _Store(folder, memory)
    try:
        examples = source.examples(view.size, fit, quarantine)
        for number, example in enumerate(progress(examples, source.count) if progress else examples):
            try:
                rows = view.rows(example)
            except ValueError as error:
                quarantine.add(f"example {number}", str(error))
                continue
            for row in rows:
                store.add(row)
        if not store.count:
            raise ValueError(f"nothing usable was found in {source.spec}. {quarantine.sentence()}")
        return store.finish(source.classes, quarantine)
    finally:
        store.close()


class _Store:
    """Rows as they come: in lists, until those are too large, from then on in files."""

    def __init__(self, folder, memory):
        self._folder, self._memory = folder, memory
        self._lists, self._files, self._kinds = {}, None, {}
        self._held, self.count = 0, 0
        self._temporary = None

    def add(self, row):
        values = {key: _as_array(key, value) for key, value in row.items()}
        kinds = {key: (value.dtype, value.shape) for key, value in values.items()}
        if not self.count:
            self._kinds = kinds
            self._lists = {key: [] for key in values}
        if kinds != self._kinds:
            raise ValueError(f"examples differ in what they have: {_listed(kinds)}; and {_listed(self._kinds)}")
        for key, value in values.items():
            if self._files is None:
                self._lists[key].append(value)
                self._held += value.nbytes
            else:
                self._files[key].write(value.tobytes())
        self.count += 1
        if self._files is None and self._held > self._memory:
            self._spill()

    def _spill(self):
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        files.sweep(self._folder.parent, ".writing-")
        self._temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=self._folder.parent))
        self._files = {key: open(self._temporary / f"{key}.raw", "wb") for key in self._kinds}
        for key, values in self._lists.items():
            for value in values:
                self._files[key].write(value.tobytes())
        self._lists = {}

    def finish(self, classes, quarantine):
        if self._files is None:
            arrays = {key: np.stack(self._lists.pop(key)) for key in list(self._lists)}
            return Rows(arrays, classes, in_memory=True)
        self._close_files()
        kinds = {key: [dtype.str, list(shape)] for key, (dtype, shape) in self._kinds.items()}
        report = {"count": self.count, "kinds": kinds, "left out": quarantine.items}
        (self._temporary / REPORT).write_text(json.dumps(report))
        if self._folder.exists():
            shutil.rmtree(self._folder)
        os.rename(self._temporary, self._folder)
        return _open(self._folder, classes, quarantine)

    def _close_files(self):
        for file in (self._files or {}).values():
            file.close()

    def close(self):
        self._close_files()
        if self._temporary is not None and self._temporary.exists():
            shutil.rmtree(self._temporary)


def _listed(kinds):
    return ", ".join(f"{key} {dtype}{list(shape)}" for key, (dtype, shape) in sorted(kinds.items()))


def _as_array(key, value):
    if key == "label":
        return np.int32(value)
    if key == "caption":
        whole_letters = value.encode()[:CAPTION].decode(errors="ignore")
        return np.array(whole_letters.encode(), f"S{CAPTION}")
    return np.ascontiguousarray(value)


def _open(folder, classes, quarantine):
    facts = json.loads((folder / REPORT).read_text())
    for name, reason in facts["left out"]:
        quarantine.add(name, reason)
    arrays = {
        key: np.memmap(folder / f"{key}.raw", dtype, "r", shape=(facts["count"], *shape))
        for key, (dtype, shape) in facts["kinds"].items()
    }
    return Rows(arrays, classes, in_memory=False)


def _key(source, view, fit):
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py")))
    made_from = [source.fingerprint(), view.describe(), fit, hashlib.sha256(code).hexdigest()]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:24]


def default_folder() -> Path:
    """Where packshot keeps what can be made or fetched again: ~/.cache/packshot, or where XDG_CACHE_HOME says."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "packshot"


def _free_memory():
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
