"""Layouts of pictures in folders: which folders are splits, and which are classes.

What can be read in two ways is refused with both readings: a wrong one gives a model that looks right.
"""

import unicodedata
from collections import Counter, defaultdict

from data.sources.protocol import SourceError

_CANONICAL = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}
SPLITS = ("train", "validation", "test")
# Beside a folder "train", these show that it is a split and not a class.
_PARTS = frozenset(
    "unlabeled unlabelled unsupervised holdout hold_out hold-out heldout held_out held-out extra eval evaluation".split()
)
_SHOWN = 3
_MANY = 3  # names that two folders share: fewer may be chance


def canonical(name: str) -> str:
    """The split that a name means, such as "validation" for "Val"; other names in small letters."""
    return _CANONICAL.get(name.lower(), name.lower())


def split_folders(names: list[str], root: str, *, wanted: str = "") -> dict[str, str]:
    """{split: folder} when the top folders of `names` are splits (train, validation or val, test ...), else {}.

    When a split is `wanted` by name there may be other folders beside them. Raises SourceError when they may be either splits
    or classes, and when two folders are the same split.
    """
    tops = sorted({name.split("/")[0] for name in names if "/" in name})
    named = [top for top in tops if canonical(top) in SPLITS]
    others = [top for top in tops if top not in named]
    folders = {}
    for top in named:
        if (split := canonical(top)) in folders:
            raise SourceError(
                f"{root} has two folders of the split {split}: {folders[split]} and {top}; one of them must go"
            )
        folders[split] = top
    if not others or (folders and wanted):
        return folders
    with_folders = any(name.count("/") > 1 and name.split("/")[0] in named for name in names)
    if len(named) > 1 or named and (with_folders or any(top.lower() in _PARTS for top in others)):
        raise SourceError(
            f"{root} has {_words(named)}, which {'is a split' if len(named) == 1 else 'are splits'}, beside {_words(others)}, which"
            f" {'is' if len(others) == 1 else 'are'} none: name the split that is meant, such as {root}#{next(iter(folders))}, or move the"
            " other folders away (or rename them, if all are classes)"
        )
    return {}


def choose_split(splits: dict[str, str], wanted: str, root: str) -> str:
    """The folder of the split `wanted`, or of train when that is ""; "" when there are no splits and none is wanted.

    Raises SourceError when the split does not exist.
    """
    if not splits and not wanted:
        return ""
    folder = splits.get(canonical(wanted) or "train")
    if folder is None:
        have = f"it has {', '.join(splits)}" if splits else "it has no split folders (train, validation, test)"
        hint = "" if wanted or not splits else f"; choose one, such as {root}#{next(iter(splits))}"
        raise SourceError(f"there is no split {wanted or 'train'} under {root}: {have}{hint}")
    return folder


def in_class_folders(names: list[str], root: str) -> bool:
    """Returns whether the pictures of one split lie in class folders; False when they lie flat in `root`.

    A few may lie beside the class folders. Raises SourceError when either may be meant: as many lie beside the class folders as in an
    average one, or some beside a single one. Also when the class folders hold splits, or pictures of the same names twice.
    """
    folders = Counter(name.split("/")[0] for name in names if "/" in name)
    beside = len(names) - folders.total()
    if not folders:
        return False
    if beside and (len(folders) == 1 or beside * len(folders) >= folders.total()):
        one = next(iter(folders))
        raise SourceError(
            f"{root} holds {beside:,} {_plural(beside, 'picture')}, and {folders.total():,} in {_words(folders)}: those are either classes,"
            f" or not meant. Move one or the other away, or name what is meant, such as folder:{root}/{one} or a list (list:FILE)"
        )
    _check_versions(names, root)
    inner = defaultdict(set)
    for name in names:
        if name.count("/") > 1 and canonical(name.split("/")[1]) in SPLITS:
            inner[name.split("/")[0]].add(canonical(name.split("/")[1]))
    splits = set().union(*inner.values())
    if "train" in splits and (len(splits) > 1 or len(inner) == len(folders) > 1):
        one = next(iter(inner))
        raise SourceError(
            f"{root} has splits inside of class folders ({one}/{min(inner[one])}): packshot takes classes inside of splits, such as"
            f" {root}/train/{one}"
        )
    return True


def _check_versions(names, root):
    """Raise SourceError when a folder inside of a class folder repeats the names of the pictures above it."""
    stems = defaultdict(set)
    for name in names:
        folder, _, last = name.rpartition("/")
        stems[folder].add(last.partition(".")[0])
    for folder, found in stems.items():
        above = folder.rpartition("/")[0]
        same = found & stems.get(above, set()) if above else ()
        if len(same) >= _MANY and 2 * len(same) > len(found):
            raise SourceError(
                f"{root} has {len(same):,} pictures of the same names in {above} and in {folder}: those may be other versions of the same"
                " ones, or of their own. Move one of the folders away, rename its pictures, or name what is meant in a list (list:FILE)"
            )


def check_classes(classes, root: str) -> None:
    """Raise SourceError when two names of classes differ only in case, blanks, or how accents are coded."""
    seen = {}
    for name in sorted(classes):
        plain = unicodedata.normalize("NFC", name).casefold().strip()
        if plain in seen:
            raise SourceError(
                f"{root} has the class folders {seen[plain]!r} and {name!r}, which would be two classes: give them one name, in all splits"
            )
        seen[plain] = name


def _plural(count, word):
    return word if count == 1 else f"{word}s"


def _words(names):
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"the {_plural(len(names), 'folder')} {', '.join(names[:_SHOWN])}{more}"
