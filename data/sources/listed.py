"""`list:FILE`: the pictures that a text file names, one path a line; `list:FILE#validation` for another split.

The file is UTF-8, or UTF-16 or UTF-32 with a byte order mark. A path is absolute, begins with ~/, or starts from the folder of the list;
empty lines, and lines that begin with "#", are ignored. The pictures are read as `folder:` reads the deepest folder that holds them all,
as if it held nothing else: classes and splits come from the names of folders. `packshot inspect --fix` writes such lists.
"""

import codecs
import os
import re

from data import files
from data.sources.folder import Folder
from data.sources.listing import Listing
from data.sources.protocol import SourceError, join, split_option

_SHOWN = 3
_MARKS = (  # the longer first: that of UTF-16 is the beginning of that of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


class Listed(Folder):
    """A folder of which only the listed pictures are read.

    Raises SourceError when there is no such list, or when it is empty or names a file that is not there.
    """

    def __init__(self, path: str):
        file, split = split_option(path)
        root, names = read_list(file)
        _check_there(file)
        self._lay_out(f"list:{path}", root, Listing(names), split)


def read_list(file: str) -> tuple[str, list[str]]:
    """The deepest folder that holds all pictures of the list, and their sorted names in it, each once.

    Raises SourceError when the list cannot be read, or is empty.
    """
    paths = set(_paths(file).values())
    if not paths:
        raise SourceError(f"the list {file} names no picture")
    root = "/".join(os.path.commonprefix([path.split("/")[:-1] for path in paths]))
    if any(map(files.is_remote, paths)) and not files.is_remote(root):
        raise SourceError(f"the list {file} names files of several places, which have no folder in common")
    return root or "/", sorted(path[len(root) + 1 :] for path in paths)


def _check_there(file):
    paths = _paths(file)
    missing = [line for line, path in paths.items() if not files.exists(path)]
    if missing:  # shown as they were typed, with their blanks and quotes
        more = " ..." if len(missing) > _SHOWN else ""
        raise SourceError(
            f"{file} names files that are not there, {len(missing)} of {len(paths)}: {', '.join(map(_quoted, missing[:_SHOWN]))}{more}; the"
            f" first was looked for at {_quoted(paths[missing[0]])}. A list has a path a line, and nothing else in it"
        )


def _quoted(text):
    return repr(text.encode(errors="backslashreplace").decode())


def _paths(file):
    """{line as it was typed: path}."""
    lines = [line for line in re.split(r"\r\n|\r|\n", _text(file)) if line and not line.startswith("#")]
    return {line: _located(line, file) for line in lines}


def _text(file):
    try:
        content = files.read(file)
    except OSError as error:
        raise SourceError(f"the list {file} cannot be read: {error.strerror or error}") from error
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content:
        raise SourceError(f"the list {file} is no text in UTF-8: it holds bytes of 0, as UTF-16 does; save it as UTF-8")
    try:
        return content.decode(encoding, errors="surrogateescape")
    except UnicodeDecodeError as error:
        raise SourceError(f"the list {file} begins as {encoding.upper()}, but is damaged: {error.reason}") from error


def _located(line, file):
    path = files.resolve(line)
    if files.is_remote(path):
        return path
    if files.is_remote(file):
        return join(file.rpartition("/")[0], path)
    return os.path.abspath(os.path.join(os.path.dirname(file), path))


def write_list(paths: list[str], heading: list[str]) -> bytes:
    """The bytes of a list of absolute paths, with lines of `heading` as remarks. No path may hold a line break."""
    remarks = [f"# {line}" for line in heading]
    return "".join(line + "\n" for line in [*remarks, *paths]).encode(errors="surrogateescape")
