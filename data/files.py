"""Access to paths and files: local ones through the operating system, gs:// and the like through tf.io.gfile (imported only then).

A path that a user typed goes through `resolve` first. Every function here raises OSError, whatever the file system. Code that
leaves files to TensorFlow (checkpoints, SavedModels) runs inside `os_errors`, which converts its errors.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError

ABANDONED = 24 * 3600  # seconds after which a temporary folder counts as left behind
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class UnknownHome(UserError):
    """A path below ~ where the system knows no such home; the text is one sentence for the user."""


def is_remote(path: str) -> bool:
    """Returns whether `path` has a scheme such as gs://."""
    return bool(_SCHEME.match(os.fspath(path)))


class UnknownScheme(UserError):
    """A path whose scheme (s3://) this TensorFlow does not know, or whose ~ stands for no home; the text is one sentence for the user."""


def resolve(path: str) -> str:
    """A path as a user typed it, ready for use: ~ expanded, file:// taken off, any other scheme checked.

    Raises UnknownScheme for schemes that TensorFlow cannot read, such as s3://, and for all where it is not installed;
    UnknownHome for ~ and ~user where the system knows no home of theirs.
    """
    path = os.fspath(path)
    if not is_remote(path):
        local = os.path.expanduser(path)
        if local.startswith("~") and not os.path.lexists(local.partition("/")[0]):
            raise UnknownHome(f"{path}: no home folder is known for {local.partition('/')[0]}; write the whole path")
        return local
    if path.lower().startswith("file://"):
        return path[len("file://") :]
    scheme = path.partition("://")[0]
    try:
        known = {name for name in _gfile().get_registered_schemes() if name}
    except ImportError:
        raise UnknownScheme(
            f"{path}: {scheme}:// is read by TensorFlow, which is not installed; local paths are read"
        ) from None
    if scheme not in known:
        accepted = ", ".join(f"{name}://" for name in sorted(known - {"file", "ram"}))
        raise UnknownScheme(f"{path}: {scheme}:// is not known to this TensorFlow; local paths and {accepted} are")
    return path


@contextlib.contextmanager
def os_errors(path: str):
    """Turn TensorFlow's errors of the code inside into the OSError that the operating system would raise for `path`."""
    from tensorflow import errors

    try:
        yield
    except errors.OpError as error:
        raise _os_error(error, path) from error


def cache_folder() -> Path:
    """Folder for what can be made or fetched again: ~/.cache/packshot, or below XDG_CACHE_HOME.

    Raises UserError when there is neither.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "packshot"
    except RuntimeError:  # no HOME, and a user without an entry
        raise UserError("there is no home to keep files in: let XDG_CACHE_HOME name a folder") from None


def _os_error(error, path):
    number, text = _said(error.message)
    number = number or _KINDS.get(type(error).__name__, errno.EIO)
    return OSError(number, text if number == errno.EIO else os.strerror(number), path)


def as_os_error(error: Exception) -> OSError | None:
    """The OSError that TensorFlow's error means when its words are about a file; None for any other error."""
    tensorflow = sys.modules.get("tensorflow")  # if it is not imported, the error cannot be its own
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    number, path = _said(error.message)
    if number:
        return OSError(number, os.strerror(number), path)
    remote = re.search(r"gs://[^\s')]+", error.message)
    return _os_error(error, remote.group()) if remote else None


def _said(message):
    """(errno or None, the rest) of "path; No such file or directory" and the other words in which TensorFlow speaks of files."""
    line = re.sub(r"^\{\{.*?\}\} ", "", (message.splitlines() or [""])[0])  # the name of the function that was running
    for words, number in _WORDS.items():
        if words in line:
            return number, line.partition("; ")[0]
    return None, line


_WORDS = {
    f"; {os.strerror(number)}": number for number in sorted(errno.errorcode, key=lambda n: -len(os.strerror(n)))
} | {
    "Could not find directory": errno.ENOENT,
    "Failed to find any matching files": errno.ENOENT,
    "is not a directory": errno.ENOTDIR,
}
_KINDS = {  # by class, for errors without such words
    "NotFoundError": errno.ENOENT,
    "PermissionDeniedError": errno.EACCES,
    "UnauthenticatedError": errno.EACCES,
    "AlreadyExistsError": errno.EEXIST,
}


def _gfile():
    from tensorflow.io import gfile

    return gfile


def read(path: str, count: int = -1) -> bytes:
    """The bytes of a file, or its first `count`. Raises OSError."""
    if is_remote(path):
        return _read_remote(path, count)
    with open(path, "rb") as file:
        return file.read(count)


def _read_remote(path, count):
    with os_errors(path), _gfile().GFile(path, "rb") as file:
        return file.read(count)


def read_end(path: str, count: int) -> bytes:
    """The last `count` bytes of a file, or all of a shorter one. Raises OSError."""
    if is_remote(path):
        with os_errors(path), _gfile().GFile(path, "rb") as file:
            file.seek(max(0, file.size() - count))
            return file.read(count)
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - count))
        return file.read(count)


def write(path: str, content: bytes) -> None:
    """Write a file in one go: a reader sees the old one, none, or the whole new one. Makes the folder. Raises OSError."""
    make_folder(os.path.dirname(path))
    if is_remote(path):
        with os_errors(path), _gfile().GFile(path, "wb") as file:
            file.write(content)  # an object store shows an object only once it is complete
        return
    # Not derived from the file's name, which may already be as long as names can be.
    temporary = os.path.join(os.path.dirname(path), f".writing-{uuid.uuid4().hex[:12]}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:  # names the file of the user, not the temporary one
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def write_json(path: str, values) -> None:
    """Write `values` as JSON in one go. Names that are no UTF-8 become \\udcff, which JSON reads back. Raises OSError."""
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    write(path, text.encode(errors="backslashreplace"))


def append(path: str, content: bytes) -> None:
    """Add to the end of a file, or make it. Raises OSError."""
    if is_remote(path):
        with os_errors(path), _gfile().GFile(path, "ab") as file:
            file.write(content)
        return
    with open(path, "ab") as file:
        file.write(content)


def make_folder(path: str) -> None:
    """Make a folder and those above it, if it is not there; "" is the current one. Raises OSError."""
    if is_remote(path):
        with os_errors(path):
            _gfile().makedirs(path)
        return
    try:
        os.makedirs(path or ".", exist_ok=True)
    except FileExistsError as error:  # the user needs to know that a file is in the way
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from error


def names(folder: str) -> list[str]:
    """Names of the entries of a folder, sorted; those of folders without a "/" at the end. Raises OSError."""
    if not is_remote(folder):
        return sorted(os.listdir(folder or "."))
    with os_errors(folder):
        return sorted(name.rstrip("/") for name in _gfile().listdir(folder))


def remove(path: str) -> None:
    """Remove a file, or a folder with all that is in it. Raises OSError."""
    if is_remote(path):
        with os_errors(path):
            (_gfile().rmtree if _gfile().isdir(path) else _gfile().remove)(path)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def check_writable(*paths: str) -> None:
    """Raise now the OSError that `write` would raise after long work. Makes folders, leaves no file; object stores are not asked."""
    for path in paths:
        if is_remote(path):
            continue
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not os.path.exists(path):
            write(path, b"")
            os.unlink(path)
        elif not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def sweep(folder: str, prefix: str) -> None:
    """Remove what killed processes left in a local folder: folders named `prefix`... that have not been touched for a day."""
    with os.scandir(folder) as entries:
        folders = [entry for entry in entries if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False)]
        for entry in folders:
            if time.time() - entry.stat().st_mtime > ABANDONED:
                shutil.rmtree(entry.path, ignore_errors=True)


def is_folder(path: str) -> bool:
    """Returns whether `path` is an existing folder."""
    return _gfile().isdir(path) if is_remote(path) else os.path.isdir(path)


def exists(path: str) -> bool:
    """Returns whether there is a file or folder `path`. Raises OSError when that cannot be known, as without a network."""
    if not is_remote(path):
        return os.path.exists(path)
    with os_errors(path):
        return _gfile().exists(path)


def size(path: str) -> int:
    """The length of a file in bytes. Raises OSError."""
    if not is_remote(path):
        return os.path.getsize(path)
    with os_errors(path):
        return _gfile().stat(path).length


def stamp(path: str) -> tuple[int, int]:
    """(time of the last change in ns, length in bytes) of a file: another one once it was written again. Raises OSError."""
    if not is_remote(path):
        found = os.stat(path)
        return found.st_mtime_ns, found.st_size
    with os_errors(path):
        found = _gfile().stat(path)
        return found.mtime_nsec, found.length


def walk(root: str) -> Iterator[str]:
    """Paths of the files under `root`, relative to it and with "/", in sorted order; names that begin with a dot are left
    out. Raises OSError for a folder that cannot be listed.
    """

    def failed(error):
        raise error if isinstance(error, OSError) else _os_error(error, root)

    walker = _gfile().walk(root, onerror=failed) if is_remote(root) else os.walk(root, onerror=failed, followlinks=True)
    paths = []
    for folder, folders, names in walker:
        inside = os.path.relpath(folder, root).replace(os.sep, "/") if not is_remote(root) else _inside(folder, root)
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = "" if inside == "." else inside + "/"
        paths += [prefix + name for name in names if not name.startswith(".")]
    return iter(sorted(paths))


def _inside(folder, root):
    return folder.rstrip("/")[len(root.rstrip("/")) + 1 :] or "."
