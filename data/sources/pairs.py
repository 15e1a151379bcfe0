"""`pairs:PATH`: a source and a target picture an example, for translation.

Either side by side in one file (left the source, right the target), or in two folders whose files are matched by name without extension: A
and B, trainA and trainB, source and target, or LR and HR. The target is as large as the source, or a whole number of times larger. Options
after "#", joined by commas: a split (`pairs:PATH#test`) and `BtoA`, which exchanges source and target.
"""

import os

from data import files
from data.images import BadPicture, decode, square
from data.sources.layout import choose_split, join, list_pictures, split_folders
from data.sources.parallel import ordered_map, read_good
from data.sources.protocol import SourceError, digest, split_option

_TWINS = (("A", "B"), ("source", "target"), ("LR", "HR"))


class Pairs:
    """Pairs in sorted order of their names. Raises SourceError when there are none."""

    classes = ()
    keys = frozenset({"source", "target"})

    def __init__(self, path: str):
        self.spec = f"pairs:{path}"
        self.root, options = split_option(path)
        split, self._swap = _read_options(options)
        names, others = list_pictures(self.root)
        self.ignored = len(others)
        self._pairs: dict[str, tuple[str, ...]] = {}  # name -> one file, or two
        self._alone: list[tuple[str, str]] = []

        twins = _find_twins(names, split)
        if twins:
            self._match(names, *twins)
        else:
            chosen = choose_split(split_folders(names), split, self.root)
            self._pairs = {name: (name,) for name in names if not chosen or name.startswith(chosen + "/")}
        if not self._pairs:
            raise SourceError(f"no picture in {join(self.root, twins[0])} has a partner of its name in {twins[1]}")
        self.count = len(self._pairs)

    def _match(self, names, left, right):
        sides = []
        for folder in (left, right):
            side = {}
            for name in names:
                if name.startswith(folder + "/"):
                    stem = os.path.splitext(name[len(folder) + 1 :])[0]
                    if side.setdefault(stem, name) != name:
                        self._alone.append((name, f"has the same name as {side[stem]}"))
            sides.append(side)
        self._pairs = {stem: (sides[0][stem], sides[1][stem]) for stem in sorted(sides[0].keys() & sides[1].keys())}
        for side, other in zip(sides, (right, left), strict=True):
            lonely = sorted(side.keys() - self._pairs.keys())
            self._alone += [(side[stem], f"has no partner in {other}") for stem in lonely]

    def fingerprint(self) -> str:
        """Digest of names, file sizes and direction; a picture exchanged for one of as many bytes goes unseen."""
        names = [name for pair in self._pairs.values() for name in pair]
        sizes = list(ordered_map(lambda name: files.size(join(self.root, name)), names))
        return digest("pairs", self._swap, names, sizes)

    def examples(self, size, fit, quarantine):
        """Yield {"source", "target"}: uint8 [size, size, 3] each, or of their native sizes; see `protocol.Source`."""
        for name, reason in self._alone:
            quarantine.add(name, reason)

        def load(names):
            contents = [files.read(join(self.root, name)) for name in names]
            if len(contents) == 1:
                halves = [square(half, size, fit) for half in _halve(decode(contents[0]))]
            else:
                halves = [decode(content, size, fit) for content in contents]
            source, target = reversed(halves) if self._swap else halves
            if not _fit_together(source, target):
                raise BadPicture(f"source is {_extent(source)}, but target is {_extent(target)}")
            return {"source": source, "target": target}

        yield from read_good(load, self._pairs.items(), quarantine, self.root)


def _read_options(options):
    split, swap = "", False
    for option in filter(None, options.split(",")):
        if option.lower() in ("atob", "btoa"):
            swap = option.lower() == "btoa"
        elif split:
            raise SourceError(f"#{options} names two splits; it may hold one split and BtoA, such as #test,BtoA")
        else:
            split = option
    return split, swap


def _find_twins(names, split):
    """The two folders whose files belong together, such as ("trainA", "trainB"); None when there are none."""
    part = split or "train"
    for left, right in _TWINS:
        layouts = [
            (part + left, part + right),
            (f"{left}/{part}", f"{right}/{part}"),
            (f"{part}/{left}", f"{part}/{right}"),
        ]
        for twins in layouts if split else [*layouts, (left, right)]:
            if all(any(name.startswith(twin + "/") for name in names) for twin in twins):
                return twins
    return None


def _fit_together(source, target):
    times = target.shape[0] // source.shape[0]
    return times >= 1 and target.shape[:2] == (times * source.shape[0], times * source.shape[1])


def _halve(picture):
    height, width, _ = picture.shape
    if width <= height:
        raise BadPicture(f"is {_extent(picture)}, and two pictures side by side are wider than high")
    half = width // 2
    return picture[:, :half], picture[:, width - half :]


def _extent(picture):
    return f"{picture.shape[1]}x{picture.shape[0]}"
