"""Inventory of what to inspect: every file of every split of a folder or list, every example of any other source."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import numpy as np

from data import catalogue, files
from data.content import describe
from data.quarantine import Quarantine
from data.sources.layout import check_classes, choose_split, in_class_folders, split_folders
from data.sources.listed import read_list
from data.sources.listing import Listing, list_folder
from data.sources.parallel import read_picture
from data.sources.protocol import Source, SourceError, join, split_option

_START = 256  # bytes of a file from which its format is known


@dataclass(frozen=True)
class Entry:
    """One picture: its name for people, its split and its class. `path` is "" when it is no file of its own."""

    name: str
    split: str
    label: str
    path: str


@dataclass
class Inventory:
    """Pictures in a fixed order, and the other files beside them.

    `strays` are pictures outside the class folders, which training leaves out; `others` are (name, kind) of files whose extension is no
    picture's, and of folders that are passed over. `unread` are pictures that cannot be read; for a source other than a folder or a list
    it fills while the source is read.
    """

    spec: str
    root: str
    count: int | None
    strays: tuple[str, ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    unread: Quarantine = field(default_factory=Quarantine)
    _entries: tuple[Entry, ...] = ()
    _source: Source | None = None

    @property
    def of_files(self) -> bool:
        """True if each picture is a file, so that a list can name it."""
        return self._source is None

    def pictures(self, only: Collection[str] | None = None) -> Iterator[tuple[Entry, Callable]]:
        """Yield every entry (or those named in `only`) with a function that gives its bytes, or its uint8 pixels."""
        if self.of_files:
            for entry in self._entries:
                if only is None or entry.name in only:
                    yield entry, lambda path=entry.path: read_picture(path)
            return
        key = "image" if "image" in self._source.keys else "target"
        for number, example in enumerate(self._source.examples(None, "crop", self.unread)):
            name = f"example {number}"
            if only is None or name in only:
                label = self._source.classes[example["label"]] if self._source.classes else ""
                yield Entry(name, "", label, ""), lambda pixels=example[key]: np.asarray(pixels)


def take(spec: str) -> Inventory:
    """List what `spec` names (see `data.catalogue.KINDS`); a folder or list without #split is taken with all splits.

    Of pairs the target is inspected. Raises SourceError when there is nothing to read.
    """
    kind, _, rest = spec.partition(":")
    if kind == "list" and rest:
        file, split = split_option(rest)
        root, names = read_list(file)
        return _of_files(spec, root, Listing(names), split)
    folder = rest if kind == "folder" and rest else spec
    root, split = split_option(folder)
    if kind == "folder" and rest or files.is_folder(root):
        return _of_files(spec, root, list_folder(root), split)
    source = catalogue.open_source(spec)
    others, unread = _apart(source.left_out)
    others += [(f"*{extension}", f"{count} files") for extension, count in source.left_out.others.items()]
    return Inventory(spec, spec, source.count, (), tuple(others), unread, _source=source)


def _of_files(spec, root, listing, split):
    names = listing.pictures
    splits = split_folders(names, root, wanted=split)
    for part in splits.values() or [""]:  # raises as training would
        in_class_folders(
            [name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/" if part else "")],
            join(root, part),
        )
    folder = choose_split(splits, split, root) if split else ""
    split_of = {folder: split for split, folder in splits.items()}
    entries, loose = [], []
    for name in names:
        if folder and not name.startswith(folder + "/"):
            continue
        top, _, inside = name.partition("/") if splits else ("", "", name)
        label, slash, _ = inside.partition("/")
        entries.append(Entry(name, split_of.get(top, ""), label if slash else "", join(root, name)))
    if any(entry.label for entry in entries):
        loose = [entry.name for entry in entries if not entry.label]
    if not entries:
        raise SourceError(f"there is no picture under {join(root, folder)}")
    check_classes({entry.label for entry in entries}, root)
    folders, unread = _apart(listing.left_out(folder))
    others = [*((name, _kind(join(root, name))) for name in listing.others), *folders]
    return Inventory(spec, root, len(entries), tuple(loose), tuple(others), unread, tuple(entries))


def _apart(left_out):
    """(name, reason) of the folders that are passed over, and the account of single pictures."""
    folders, pictures = [], Quarantine()
    for name, reason in left_out.items:
        if name.endswith("/"):
            folders.append((name, reason))
        else:
            pictures.add(name, reason)
    return folders, pictures


def _kind(path):
    try:
        return describe(files.read(path, _START))
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
