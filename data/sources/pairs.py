"""`pairs:PATH`: a source and a target picture an example, for translation.

Either side by side in one file (left the source, right the target), or in two folders whose files are matched by name without extension: A
and B, trainA and trainB, source and target, input and output, or LR and HR, in any case. The target is as large as the source, or a whole
number of times larger. Options after "#", joined by commas: a split (`pairs:PATH#test`) and `BtoA`, which exchanges source and target.
"""

import os
from collections import defaultdict
from itertools import combinations

from data.images import BadPicture, decode, square
from data.sources.layout import choose_split, split_folders
from data.sources.listing import list_folder
from data.sources.parallel import file_sizes, read_good, read_picture
from data.sources.protocol import SourceError, digest, join, split_option

_TWINS = (("A", "B"), ("source", "target"), ("input", "output"), ("LR", "HR"))
_ACCEPTED = (
    "two folders with files of the same names, called A and B, trainA and trainB, source and target, input and output, or LR and HR; or"
    " files that each hold both pictures side by side"
)


class Pairs:
    """Pairs in sorted order of their names.

    Raises SourceError when there are none, or when the folders may be two sides of pairs but have other names.
    """

    classes = ()
    keys = frozenset({"source", "target"})

    def __init__(self, path: str):
        self.spec = f"pairs:{path}"
        self.root, options = split_option(path)
        split, self._swap = _read_options(options)
        listing = list_folder(self.root)
        names = listing.pictures
        self._pairs: dict[str, tuple[str, ...]] = {}  # name -> one file, or two

        twins = _find_twins(names, split)
        if twins:
            self.left_out = listing.left_out()
            self._match(names, *twins)
        else:
            splits = split_folders(names, self.root, wanted=split)
            chosen = choose_split(splits, split, self.root)
            self.left_out = listing.left_out(chosen)
            inside = [name for name in names if not chosen or name.startswith(chosen + "/")]
            _check_side_by_side(inside, self.root)
            self._pairs = {name: (name,) for name in inside}
            for name in names if splits else ():
                if (top := name.split("/")[0]) not in splits.values():
                    self.left_out.add(top + "/" * ("/" in name), "lies beside the splits")
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
                        self.left_out.add(name, f"has the same name as {side[stem]}")
            sides.append(side)
        self._pairs = {stem: (sides[0][stem], sides[1][stem]) for stem in sorted(sides[0].keys() & sides[1].keys())}
        for side, other in zip(sides, (right, left), strict=True):
            for stem in sorted(side.keys() - self._pairs.keys()):
                self.left_out.add(side[stem], f"has no partner in {other}")
        for name in names:  # other folders may be other splits
            if "/" not in name:
                self.left_out.add(name, f"lies beside {left} and {right}")

    def fingerprint(self) -> str:
        """Digest of names, file sizes and direction; a picture exchanged for one of as many bytes goes unseen."""
        names = [name for pair in self._pairs.values() for name in pair]
        return digest("pairs", self._swap, names, file_sizes(self.root, names))

    def examples(self, size, fit, quarantine):
        """Yield {"source", "target"}: uint8 [size, size, 3] each, or of their native sizes; see `protocol.Source`."""

        def load(names):
            contents = [read_picture(join(self.root, name)) for name in names]
            if len(contents) == 1:
                halves = [square(half, size, fit=fit) for half in _halve(decode(contents[0]))]
            else:
                halves = [decode(content, size, fit=fit) for content in contents]
            source, target = reversed(halves) if self._swap else halves
            if not _fit_together(source, target):
                raise BadPicture(f"source is {_extent(source)}, but target is {_extent(target)}")
            return {"source": source, "target": target}

        try:
            yield from read_good(load, self._pairs.items(), quarantine, self.root)
        except SourceError as error:
            raise SourceError(f"{error}. pairs: takes {_ACCEPTED}") from None


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
    folders = {}  # in small letters -> as it is called
    for name in names:
        parts = name.split("/")[:-1]
        for depth in (1, 2):
            folder = "/".join(parts[:depth])
            folders.setdefault(folder.lower(), folder)
    part = split or "train"
    for left, right in _TWINS:
        layouts = [
            (part + left, part + right),
            (f"{left}/{part}", f"{right}/{part}"),
            (f"{part}/{left}", f"{part}/{right}"),
        ]
        for twins in layouts if split else [*layouts, (left, right)]:
            if all(twin.lower() in folders for twin in twins):
                return tuple(folders[twin.lower()] for twin in twins)
    return None


def _check_side_by_side(names, root):
    """Raise SourceError when two folders hold files of the same names: those are two sides of pairs, and no file holds both."""
    above = os.path.commonprefix([name.split("/")[:-1] for name in names])
    folders = defaultdict(set)
    for name in names:
        folder, *inside = name.split("/")[len(above) :]
        folder, inside = (folder, inside) if inside else ("", [folder])
        folders[folder].add(os.path.splitext("/".join(inside))[0])
    for (one, some), (other, others) in combinations(sorted(folders.items()), 2):
        if 2 * len(some & others) > min(len(some), len(others)):
            raise SourceError(
                f"{join(root, *above)} has files of the same names in {one or 'itself'} and {other}, but pairs: takes {_ACCEPTED}; rename"
                " the folders, or name one of them if each of its files holds both"
            )


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
