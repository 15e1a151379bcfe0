"""Folders of models as TensorFlow Serving reads them, <name>/<version>/saved_model.pb: valid and existing names and numbers.

A version is identified by its number: `00000007` is version 7 to a server, and so it is here.

Source: FileSystemStoragePathSource and HttpRestApiHandler of tensorflow/serving.
"""

import os
import re

from data import files
from data.errors import UserError

LARGEST = 2**63 - 1  # of the numbers of versions
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_NUMBER = re.compile(r"0*([0-9]{1,19})")
_OURS = ("models.config", "batching.config", "monitoring.config")  # files next to the models


class BadName(UserError):
    """A name or a number that no server could serve; the message is one sentence for the user."""


def check_name(name: str) -> str:
    """Returns the name of a model. Raises BadName if it is not valid in a URL, a path and a config file."""
    if not _NAME.fullmatch(name):
        raise BadName(
            f"the name {name!r} cannot stand in a URL; letters, digits and . _ - can, "
            "a letter or a digit first, and 128 of them at most"
        )
    if name in _OURS:
        raise BadName(f"the name {name!r} is that of a file next to the models; give the model another")
    return name


def check_version(version: int) -> int:
    """Returns the number of a version. Raises BadName unless it is from 1 to 2^63 - 1."""
    if not 1 <= version <= LARGEST:
        raise BadName(f"a version is a whole number from 1 to {LARGEST}, not {version}")
    return version


def number(name: str) -> int | None:
    """The number of the version in a folder of this name; None if a server would ignore the folder."""
    digits = _NUMBER.fullmatch(name)
    return int(digits[1]) if digits and int(digits[1]) <= LARGEST else None


def taken(folder: str) -> list[int]:
    """The numbers that a server would find in the folder of a model, rising, also of folders without a model."""
    names = files.names(folder) if files.is_folder(folder) else []
    return sorted({found for name in names if (found := number(name)) is not None})


def versions(folder: str) -> dict[int, str]:
    """Number -> path of the versions in the folder of a model, rising: folders with a saved_model.pb."""
    names = files.names(folder) if files.is_folder(folder) else []
    found = {number(name): f"{folder}/{name}" for name in names if number(name) is not None}
    return {one: found[one] for one in sorted(found) if is_version(found[one])}


def is_version(folder: str) -> bool:
    """True if `folder` itself holds a SavedModel."""
    return files.exists(f"{folder}/saved_model.pb")


def models(folder: str) -> list[str]:
    """The names of the models in a folder, sorted: subfolders with a version."""
    names = files.names(folder) if files.is_folder(folder) else []
    return [name for name in names if not name.startswith(".") and versions(f"{folder}/{name}")]


def latest(path: str) -> str:
    """The newest version under `path`: a version itself, the folder of a model, or a folder of one model.

    Raises FileNotFoundError if there is no version, or more than one model.
    """
    path = os.fspath(path).rstrip("/")
    if is_version(path):
        return path
    if found := versions(path):
        return found[max(found)]
    names = models(path)
    if len(names) == 1:
        return latest(f"{path}/{names[0]}")
    if names:
        raise FileNotFoundError(f"{path} holds several models; name one of: {', '.join(names)}")
    raise FileNotFoundError(f"no exported model in {path}")
