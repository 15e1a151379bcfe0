"""What every source is, and the error with which one refuses."""

import hashlib
import json
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from data import files
from data.quarantine import Quarantine


class SourceError(ValueError):
    """A source that cannot be opened or read; the text is one sentence for the user."""


class Source(Protocol):
    """Pictures in a fixed order, whatever they are stored in."""

    spec: str  # what the user typed
    classes: tuple[str, ...]  # names in label order; () when unlabelled
    count: int | None  # examples, bad ones included, when known without reading them
    keys: frozenset[str]  # of "image", "label", "caption", "mask", or "source", "target", "label"

    def fingerprint(self) -> str:
        """Hex digest of what it would yield."""

    def examples(
        self, size: int | None, fit: str, quarantine: Quarantine
    ) -> Iterator[dict[str, np.ndarray | int | str]]:
        """Yield examples of uint8 [size, size, channels] pictures; those that cannot be read go to `quarantine`."""


def digest(*parts) -> str:
    """Hex digest of anything JSON can hold."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def resolve(path: str) -> str:
    """`files.resolve`, which raises SourceError here."""
    try:
        return files.resolve(path)
    except files.UnknownScheme as error:
        raise SourceError(str(error)) from error


def split_option(path: str) -> tuple[str, str]:
    """Part "PATH#option" into the path, resolved, and the option ("" when there is none).

    A folder whose own name holds a "#" is taken whole. Raises SourceError for a scheme that nothing here can read.
    """
    path = resolve(path)
    if "#" not in path or files.is_folder(path):
        return path, ""
    path, _, option = path.rpartition("#")
    return path, option
