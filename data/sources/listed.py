"""`list:FILE`: the pictures that a text file names, one path a line; `list:FILE#validation` for another split.

A path is absolute or starts from the folder of the list; empty lines, and lines that begin with "#", say nothing.
The pictures are taken as `folder:` would take the deepest folder that holds them all, if nothing else lay in it: so
classes and splits come from the names of their folders. `packshot inspect --fix` writes such lists.
"""

import os

from data import files
from data.sources.folder import Folder
from data.sources.layout import join
from data.sources.protocol import SourceError, resolve, split_option

_SHOWN = 3


class Listed(Folder):
    """A folder of which only the listed pictures are read.

    Raises SourceError when there is no such list, or when it is empty or names a file that is not there.
    """

    def __init__(self, path: str):
        file, split = split_option(path)
        root, names = read_list(file)
        missing = [name for name in names if not files.exists(join(root, name))]
        if missing:
            shown = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
            raise SourceError(f"{file} names files that are not there, {len(missing)} of {len(names)}: {shown}")
        self._lay_out(f"list:{path}", root, names, split)
        self.ignored = 0


def read_list(file: str) -> tuple[str, list[str]]:
    """The deepest folder that holds all pictures of the list, and their sorted names in it, each once.

    Raises SourceError when the list cannot be read, or is empty.
    """
    try:
        text = files.read(file).decode(errors="surrogateescape")
    except OSError as error:
        raise SourceError(f"the list {file} cannot be read: {error.strerror or error}") from error
    lines = (line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n"))
    paths = {_located(line, file) for line in lines if line and not line.startswith("#")}
    if not paths:
        raise SourceError(f"the list {file} names no picture")
    root = "/".join(os.path.commonprefix([path.split("/")[:-1] for path in paths]))
    if any(map(files.is_remote, paths)) and not files.is_remote(root):
        raise SourceError(f"the list {file} names files of several places, which have no folder in common")
    return root or "/", sorted(path[len(root) + 1 :] for path in paths)


def _located(line, file):
    if files.is_remote(line):
        return resolve(line)
    if files.is_remote(file):
        return join(file.rpartition("/")[0], line)
    return os.path.abspath(os.path.join(os.path.dirname(file), line))


def write_list(paths: list[str], heading: list[str]) -> bytes:
    """The bytes of a list of absolute paths, with lines of `heading` as remarks. No path may hold a line break."""
    remarks = [f"# {line}" for line in heading]
    return "".join(line + "\n" for line in [*remarks, *paths]).encode(errors="surrogateescape")
