"""Interface of sources, and the error by which they refuse."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from data import files
from data.errors import UserError
from data.quarantine import Quarantine


class SourceError(UserError):
    """A source that cannot be opened or read; the text is one sentence for the user."""


class Source(Protocol):
    """Pictures in a fixed order, whatever they are stored in."""

    spec: str  # what the user typed
    classes: tuple[str, ...]  # names in label order; () when unlabelled
    attributes: Mapping[str, tuple[str, ...]]  # further conditions: name -> names of its values; may be absent
    count: int | None  # examples, bad ones included, when known without reading them
    keys: frozenset[str]  # what an example holds: keys of `data.batch.KEYS`, and attributes
    left_out: Quarantine  # other entries of the place, as far as known without reading the pictures

    def fingerprint(self) -> str:
        """Hex digest of what `examples` would yield."""

    def captions(self) -> Iterator[str]:
        """Yield the captions, without reading pictures. Only sources with the key `caption` have this."""

    def examples(
        self, size: int | None, fit: str, quarantine: Quarantine
    ) -> Iterator[dict[str, np.ndarray | int | str]]:
        """Yield examples: uint8 [size, size, channels] pictures and maps, int labels (-1: not known), int32 [length] sequences, texts.

        Those that cannot be read go to `quarantine`.
        """


def digest(*parts) -> str:
    """Hex digest of anything JSON can hold."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def join(*parts: str) -> str:
    """Join path parts with "/", leaving empty ones out."""
    return "/".join(
        part.rstrip("/") if index == 0 and len(part) > 1 else part for index, part in enumerate(parts) if part
    )


def split_option(path: str) -> tuple[str, str]:
    """Part "PATH#option" into the path, resolved, and the option ("" when there is none).

    A folder or file whose own name holds a "#" is taken whole. Raises SourceError when neither is there, and files.UnknownScheme.
    """
    path = files.resolve(path)
    if "#" not in path or files.exists(path):
        return path, ""
    whole = path
    path, _, option = path.rpartition("#")
    if not files.exists(path):
        raise SourceError(f"there is no {whole}, and no {path} with a split {option}")
    return path, option
