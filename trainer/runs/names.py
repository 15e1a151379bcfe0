"""Shortest distinct names for model paths."""

import os
from collections.abc import Sequence

from data import files
from data.errors import UserError


def short_names(paths: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Returns the last parts of each path: as many as make all names distinct, different from `taken`, and more than a version number.

    Raises UserError for a path given twice.
    """
    parts = [(path if files.is_remote(path) else os.path.abspath(path)).rstrip("/").split("/") for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(words[-depth:]) for words in parts]
        if len(set(ends)) == len(ends) and not any(end.isdecimal() or end in taken for end in ends):
            return ends
    raise UserError(f"a model is compared with others, not with itself: {', '.join(paths)}")
