"""Lock of a run folder: one training at a time holds a lock on a file in it, which the system releases when the process ends.

So a killed process leaves nothing to clean up. Object stores (gs://) have no such locks: there the user must take care.
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
    """Lock of a local folder, held from `take` to the end of the `with` block."""

    def __init__(self, folder: str):
        self._path = os.path.join(folder, NAME)
        self._file = None

    def __enter__(self):
        return self

    def take(self) -> None:
        """Takes the lock unless this object holds it; the folder must exist.

        Raises:
            UserError: another process holds it, named in the text. OSError: nothing can be written there.
        """
        if self._file is not None or files.is_remote(self._path):
            return
        while True:
            try:
                file = open(self._path, "a+")
            except OSError as error:  # name the folder, which the user knows
                raise OSError(error.errno, error.strerror, os.path.dirname(self._path)) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with file:
                    raise UserError(_taken(file, os.path.dirname(self._path))) from None
            except OSError:
                pass  # a file system without locks
            if _is_the_same(file, self._path):  # not a file that its last owner has removed meanwhile
                break
            file.close()
        with contextlib.suppress(OSError):  # the owner may be missing on a full disk
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
        owner = f"process {who['process']} on {who['host']} since {who['since']}"
    except (ValueError, KeyError, TypeError):
        owner = "another process"
    return f"{folder} is in use by {owner}; wait for its end, stop it, or use another --job-dir"


def _now():
    return time.strftime("%Y-%m-%d %H:%M:%S %z")
