"""Paths that TensorFlow takes for patterns: it restores weights from the files that match, and none does in `models [v2]`."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

_SPECIAL = frozenset("[*?\\")


def is_pattern(path: str) -> bool:
    """Whether TensorFlow takes `path` for a pattern, so that no server loads what lies there."""
    return bool(_SPECIAL & set(path)) and "://" not in path


@contextlib.contextmanager
def plain(folder: str) -> Iterator[str]:
    """A path of an existing `folder` that means itself: as it is, or by way of a link that is gone afterwards."""
    if not is_pattern(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as beside:
        link = os.path.join(beside, "folder")
        os.symlink(os.path.abspath(folder), link)
        yield link
