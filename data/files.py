"""Files by path: plain ones through the operating system, gs:// and the like through tf.io.gfile (imported only
then).
"""

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
    from tensorflow.errors import OpError

    try:
        with _gfile().GFile(path, "rb") as file:
            return file.read(count)
    except OpError as error:
        raise OSError(error.message) from error


def write(path: str, content: bytes) -> None:
    """Write a file in one go: a reader sees the old one, none, or the whole new one. Makes the folder. Raises
    OSError.
    """
    if is_remote(path):
        _gfile().makedirs(os.path.dirname(path))
        with _gfile().GFile(path, "wb") as file:  # an object store shows an object only once it is complete
            file.write(content)
        return
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
    except (
        FileExistsError
    ) as error:  # which says of a file in the way that it is there, and not what is wrong with that
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from error
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:  # of the file that was asked for; nobody knows the temporary one
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


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
    """Whether there is a file or folder `path`."""
    return _gfile().exists(path) if is_remote(path) else os.path.exists(path)


def size(path: str) -> int:
    """The length of a file in bytes. Raises OSError."""
    return _gfile().stat(path).length if is_remote(path) else os.path.getsize(path)


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
