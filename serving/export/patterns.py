"""Paths that TensorFlow reads as patterns: it restores weights from matching files, and finds none in `models [v2]`."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

_SPECIAL = frozenset("[*?\\")


def is_pattern(path: str) -> bool:
    """True if TensorFlow reads `path` as a pattern, so that no server loads a model from it."""
    return bool(_SPECIAL & set(path)) and "://" not in path


@contextlib.contextmanager
def plain(folder: str) -> Iterator[str]:
    """A path of an existing `folder` that is not a pattern: itself, or a temporary link to it."""
    if not is_pattern(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as beside:
        link = os.path.join(beside, "folder")
        os.symlink(os.path.abspath(folder), link)
        yield link
