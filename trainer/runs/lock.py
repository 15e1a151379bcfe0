"""One training a folder: who works in a run folder holds a lock on a file in it, which the system takes back when the process ends.

So a killed process leaves nothing to be cleared. Object stores (gs://) have no such locks: there it is up to the user.
"""

import contextlib
import fcntl
import json
import os
import socket
import time

from data import files
from data.errors import UserError

NAME = ".lock"


class Lock:
    """The lock of a local folder, held from `take` to the end of the `with` block."""

    def __init__(self, folder: str):
        self._path = os.path.join(folder, NAME)
        self._file = None

    def __enter__(self):
        return self

    def take(self) -> None:
        """Take the lock unless it is held already by this object; the folder must be there.

        Raises:
            UserError: another process works in the folder; says which. OSError: nothing can be written there.
        """
        if self._file is not None or files.is_remote(self._path):
            return
        while True:
            try:
                file = open(self._path, "a+")
            except OSError as error:  # of the folder that the user named
                raise OSError(error.errno, error.strerror, os.path.dirname(self._path)) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with file:
                    raise UserError(_taken(file, os.path.dirname(self._path))) from None
            except OSError:
                pass  # a file system without locks
            if _is_the_same(file, self._path):  # and not one that its last owner has removed meanwhile
                break
            file.close()
        with contextlib.suppress(OSError):  # who it is can be left unsaid on a full disk
            file.truncate(0)
            json.dump({"host": socket.gethostname(), "process": os.getpid(), "since": _now()}, file)
            file.flush()
        self._file = file

    def __exit__(self, *error):
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _is_the_same(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _taken(file, folder):
    file.seek(0)
    try:
        who = json.loads(file.read())
        told = f"process {who['process']} on {who['host']} since {who['since']}"
    except (ValueError, KeyError, TypeError):
        told = "another process"
    return f"{folder} is in use by {told}; wait for its end, stop it, or use another --job-dir"


def _now():
    return time.strftime("%Y-%m-%d %H:%M:%S %z")
