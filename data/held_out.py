"""Finds the validation or test split that belongs to a training source."""

import posixpath

from data import files
from data.catalogue import open_source
from data.errors import UserError
from data.sources.protocol import SourceError, split_option

_WITH_SPLITS = ("folder", "list", "pairs", "idx")
_TRAIN = ("train", "training")
_HELD_OUT = ("validation", "val", "valid", "test", "testing")


def sibling_split(spec: str) -> str | None:
    """The source of the validation or test pictures that belong to the training source `spec`; None when there are none.

    `folder:PATH`, `folder:PATH#train` -> `folder:PATH#validation`; `folder:PATH/train` -> `folder:PATH/validation`; so too for the other
    kinds of source that have splits. A source that names another split has nothing held out from it.
    """
    kind, colon, rest = spec.partition(":")
    bare = not colon or kind not in _WITH_SPLITS
    kind, rest = ("folder", spec) if bare else (kind, rest)
    try:
        path, option = split_option(rest)
    except (UserError, OSError):  # the training pictures may be elsewhere
        return None
    if bare and not files.is_folder(path):
        return None
    words = option.split(",")
    others = [word for word in words if word.lower() in ("atob", "btoa")]
    split = "".join(word for word in words if word not in others)
    if split in ("", *_TRAIN):
        for name in _HELD_OUT:
            if _opens(candidate := f"{kind}:{path}#{','.join([name, *others])}"):
                return candidate
    parent, last = posixpath.split(path.rstrip("/"))
    if not split and last.lower() in _TRAIN:
        neighbours = {name.lower(): name for name in _names(parent)}
        for name in _HELD_OUT:
            if name in neighbours and files.is_folder(candidate := posixpath.join(parent, neighbours[name])):
                return f"{kind}:{candidate}"
    return None


def _opens(spec):
    try:
        open_source(spec)
    except (SourceError, OSError):
        return False
    return True


def _names(folder):
    try:
        return files.names(folder)
    except OSError:
        return []
