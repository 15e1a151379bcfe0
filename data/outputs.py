"""Outputs of commands, and the files they must not overwrite. One rule for every command:

a file is written only where there is none, or over an earlier one of the same command; never over an input.

    outputs.check([page, numbers], by="packshot evaluate")                       # before the work; refuses
    outputs.check(targets, by="packshot apply", inputs=photos, folder=out)       # many files into one folder
    outputs.check_folder(out)                                                    # a folder that is to be filled as a whole
    ...
    outputs.write(page, content, by="packshot evaluate")                         # after it

Each file names, in its first or last bytes, the command that made it, so that the next call recognises it: as the text "Software" of a
PNG, a comment in JPEG and HTML, a last part that readers skip in WebP and AVIF, "made_by" in JSON, the heading of a list. File names do not
count, and no list of written files is kept.
"""

import contextlib
import errno
import os
import unicodedata
import uuid
import zlib
from collections.abc import Callable, Iterable

import numpy as np

from data import files
from data.errors import UserError
from data.images import encode_jpeg, encode_png

_ENCODERS = {".png": encode_png, ".jpg": encode_jpeg, ".jpeg": encode_jpeg}
_END = 8192  # bytes in which the mark stands, at either end; a list's heading holds a path before it
_IN_PNG, _IN_PICTURE, _IN_HTML, _IN_JSON = b"Software\0%s", b"Made by %s", b"<!-- %s -->", b'"made_by": "%s"'
_IN_LIST = b", chosen by %s\n"  # as `data.inspection.cleaning` writes it
# None of them stands in a script or in notes that name the command.
_MARKS = (_IN_PNG, _IN_PICTURE, _IN_HTML, _IN_JSON, _IN_LIST)


class OutputRefused(UserError):
    """A place that must not be written to; the text is one sentence for the user."""


def check(targets: Iterable[str], by: str, *, inputs: Iterable[str] = (), folder: str | None = None) -> None:
    """Refuse, before the work, targets that must not or cannot be written. Writes and makes nothing.

    Args:
        targets: the files that will be written. by: what makes them, such as "packshot sample"; an earlier one of it may be replaced.
        inputs: the files that are read. folder: where all targets lie, when they are many: then what is wrong with one place alone (its
            name is too long, a folder is in the way) is left to its writing, so that the others are made.

    Raises OutputRefused when a target is one of `inputs` (by whatever name or link), when it is there and not made by `by`, or when
    two of them would be one file; OSError when there can be no file.
    """
    read = {_identity(path): path for path in inputs}
    seen, told_apart = {}, {}
    for target in targets:
        where = folder if folder is not None else os.path.dirname(target)
        if where not in told_apart:
            _check_folders(where)
            told_apart[where] = _tells_case(where)
        if folder is None:
            _check_name(target)
        if (same := read.get(_identity(target))) is not None:
            called = target if target == same else f"{target} (the same file as {same})"
            raise OutputRefused(f"{called} is read here and would be written over; give the output another place")
        if _is_device(target):
            raise OutputRefused(f"{target} is no ordinary file; give the output another place")
        if files.exists(target) and not files.is_folder(target) and not made_by(target, by):
            raise OutputRefused(
                f"{target} is there and was not made by `{by}`; move it, or give the output another place"
            )
        name = target if files.is_remote(target) else os.path.realpath(target)
        name = name if told_apart[where] else unicodedata.normalize("NFC", name).casefold()
        if name in seen:
            what = "would be written twice" if target == seen[name] else f"and {target} would be one file"
            raise OutputRefused(f"{seen[name]} {what}; give the results different names")
        seen[name] = target


def _check_folders(folder):
    """Raises OutputRefused where a file stands in place of the folder, or of one above it."""
    above = folder
    while above and not files.is_remote(above):
        if os.path.isfile(above):
            raise OutputRefused(f"{above} is a file, and a folder is needed there; give the output another place")
        above = os.path.dirname(above) if os.path.dirname(above) != above else ""


def check_folder(folder: str) -> None:
    """Refuse a folder, to be filled by a command, that holds anything but hidden files, or cannot be made. Writes and makes nothing.

    Raises OutputRefused and OSError.
    """
    _tells_case(folder)
    if files.is_folder(folder) and any(not name.startswith(".") for name in files.names(folder)):
        raise OutputRefused(f"{folder} is not empty; give a new or an empty folder")


def made_by(path: str, by: str) -> bool:
    """Returns whether the file `path` carries the mark of `by`."""
    try:
        return _says(files.read(path, _END), by) or _says(files.read_end(path, _END), by)
    except OSError:
        return False


def encoder(path: str) -> Callable[[np.ndarray], bytes]:
    """Returns the encoder of uint8 [height, width, 3] pictures for the ending of `path`. Raises OutputRefused for an unknown ending."""
    end = os.path.splitext(path)[1].lower()
    if end not in _ENCODERS:
        raise OutputRefused(f"{path}: a picture is written as {', '.join(_ENCODERS)}; give it such an ending")
    return _ENCODERS[end]


def write(path: str, content: bytes | str, by: str) -> None:
    """`files.write` of a file's content, or of text, marked as made by `by`. Raises OSError."""
    files.write(path, marked(_bytes(content), by))


def write_json(path: str, values: dict, by: str) -> None:
    """Write `values` for machines, with "made_by" before them. Raises OSError."""
    files.write_json(path, {"made_by": by} | values)


def marked(content: bytes, by: str) -> bytes:
    """A PNG, JPEG, WebP, AVIF or HTML file that says who made it; other files as they are."""
    if _says(content, by):
        return content
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        text = b"tEXt" + _IN_PNG % by.encode()
        chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
        return content[:33] + chunk + content[33:]  # behind the header, which is first and always as long
    if content.startswith(b"\xff\xd8"):
        text = _IN_PICTURE % by.encode()
        has_jfif = content[2:4] == b"\xff\xe0"  # which stays first
        end = 4 + int.from_bytes(content[4:6], "big") if has_jfif else 2
        return content[:end] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + content[end:]
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        text = _IN_PICTURE % by.encode()
        content += b"NOTE" + len(text).to_bytes(4, "little") + text + bytes(len(text) % 2)  # an unknown chunk
        return content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:]
    if content[4:12] == b"ftypavif":
        text = b"free" + _IN_PICTURE % by.encode()  # a box of free space
        return content + (len(text) + 4).to_bytes(4, "big") + text
    return content.replace(b"<!doctype html>", b"<!doctype html>\n" + _IN_HTML % by.encode(), 1)


def _says(content, by):
    return any(mark % by.encode() in part for mark in _MARKS for part in (content[:_END], content[-_END:]))


def _bytes(content):
    # A name that is not valid Unicode becomes an escape, which JSON reads back.
    return content if isinstance(content, bytes) else content.encode(errors="backslashreplace")


def _is_device(path):
    """Returns whether `path` is a pipe, /dev/null or the like: a rename would put a file in its place."""
    return not files.is_remote(path) and os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def _identity(path):
    """A key that all names of an existing file share; the path itself when there is no such file."""
    if not files.is_remote(path):
        try:
            status = os.stat(path)
            return status.st_dev, status.st_ino
        except OSError:
            return os.path.abspath(path)
    return path


def _check_name(path):
    """Raise for a file name that is wrong, as far as that is known before the file is made."""
    if files.is_folder(path):
        raise OutputRefused(f"{path} is a folder; the name of a file is needed")
    if not os.path.basename(path):
        raise OutputRefused(f"{path!r} is no name of a file")
    if files.is_remote(path):
        return
    whole = os.path.abspath(path)
    parent = _nearest(os.path.dirname(whole))
    try:
        for part in os.path.relpath(whole, parent).split(os.sep):
            with contextlib.suppress(FileNotFoundError):
                os.lstat(os.path.join(parent, part))  # says when a name is too long
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _tells_case(folder):
    """Returns whether names in `folder`, which need not exist yet, differ by case. Raises OSError when nothing can be written in it."""
    if files.is_remote(folder):
        return True
    parent = _nearest(folder)
    if not os.path.isdir(parent):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    name = f".writing-{uuid.uuid4().hex[:12]}"
    try:
        with open(os.path.join(parent, name), "xb"):
            pass
        try:
            return not os.path.exists(os.path.join(parent, name.upper()))
        finally:
            os.unlink(os.path.join(parent, name))
    except OSError as error:
        raise OSError(error.errno, error.strerror, folder or parent) from error


def _nearest(path):
    """The deepest folder (or file) on the way to `path` that is there."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path
