"""The one door for paths and files: plain ones through the operating system, gs:// and the like through tf.io.gfile (imported only
then).

A path that a user typed goes through `resolve` first. Everything here raises OSError, whatever the file system is; code that leaves
files to TensorFlow (checkpoints, SavedModels) stands inside `os_errors`, which gives its errors the same form.
"""

import contextlib
import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator

ABANDONED = 24 * 3600  # seconds after which nobody is taken to be working in a temporary folder
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_remote(path: str) -> bool:
    """Whether `path` has a scheme such as gs://."""
    return bool(_SCHEME.match(os.fspath(path)))


class UnknownScheme(ValueError):
    """A path whose scheme (s3://) this TensorFlow does not know; the text is one sentence for the user."""


def resolve(path: str) -> str:
    """A path as a user typed it, ready for use: ~ expanded, a scheme checked.

    Raises UnknownScheme for schemes that TensorFlow cannot read, such as s3://.
    """
    path = os.fspath(path)
    if not is_remote(path):
        return os.path.expanduser(path)
    scheme = path.partition("://")[0]
    known = sorted({name for name in _gfile().get_registered_schemes() if name} - {"ram"})
    if scheme not in (*known, "ram"):
        accepted = ", ".join(f"{name}://" for name in known)
        raise UnknownScheme(f"{path}: {scheme}:// is not known to this TensorFlow; local paths and {accepted} are")
    return path


@contextlib.contextmanager
def os_errors(path: str):
    """Turn TensorFlow's errors of the code inside into the OSError that the operating system would raise for `path`."""
    from tensorflow import errors

    try:
        yield
    except errors.OpError as error:
        for number, kinds, words in _MEANINGS:
            if isinstance(error, tuple(getattr(errors, kind) for kind in kinds)) or words in error.message:
                raise OSError(number, os.strerror(number), path) from error
        raise OSError(errno.EIO, error.message.splitlines()[0], path) from error


_MEANINGS = (  # errno, TensorFlow's errors, and what its message holds where the error says less
    (errno.ENOSPC, ("ResourceExhaustedError",), "No space left on device"),
    (errno.ENOENT, ("NotFoundError",), "No such file or directory"),
    (errno.EACCES, ("PermissionDeniedError", "UnauthenticatedError"), "Permission denied"),
    (errno.EEXIST, ("AlreadyExistsError",), "File exists"),
    (errno.EROFS, (), "Read-only file system"),
    (errno.ENAMETOOLONG, (), "File name too long"),
    (errno.ENOTDIR, (), "Not a directory"),
)


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


def write(path: str, content: bytes) -> None:
    """Write a file in one go: a reader sees the old one, none, or the whole new one. Makes the folder. Raises OSError."""
    make_folder(os.path.dirname(path))
    if is_remote(path):
        with os_errors(path), _gfile().GFile(path, "wb") as file:
            file.write(content)  # an object store shows an object only once it is complete
        return
    # Not made of the file's own name, which may be as long as names can be.
    temporary = os.path.join(os.path.dirname(path), f".writing-{uuid.uuid4().hex[:12]}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:  # of the file that was asked for; nobody knows the temporary one
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


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
    """Names of what lies in a folder, sorted, folders without a "/" at their end. Raises OSError."""
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
        found = [entry for entry in entries if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False)]
        for entry in found:
            if time.time() - entry.stat().st_mtime > ABANDONED:
                shutil.rmtree(entry.path, ignore_errors=True)


def is_folder(path: str) -> bool:
    """Whether `path` is an existing folder."""
    return _gfile().isdir(path) if is_remote(path) else os.path.isdir(path)


def exists(path: str) -> bool:
    """Whether there is a file or folder `path`. Raises OSError when nobody can tell, as without a network."""
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


def walk(root: str) -> Iterator[str]:
    """Paths of the files under `root`, relative to it and with "/", in sorted order; what begins with a dot is left
    out.
    """
    walker = _gfile().walk(root) if is_remote(root) else os.walk(root, followlinks=True)
    found = []
    for folder, folders, names in walker:
        inside = os.path.relpath(folder, root).replace(os.sep, "/") if not is_remote(root) else _inside(folder, root)
        if any(part.startswith(".") for part in inside.split("/") if part != "."):
            folders.clear()
            continue
        prefix = "" if inside == "." else inside + "/"
        found += [prefix + name for name in names if not name.startswith(".")]
    return iter(sorted(found))


def _inside(folder, root):
    return folder.rstrip("/")[len(root.rstrip("/")) + 1 :] or "."
