"""Tries a call that may abort the process in another process first.

TensorFlow Serving passes shapes that contradict a signature to the kernels. So does this server. But a call that may abort
is first tried in another process, and refused if that process dies. The process loads the model when it is first needed,
and stays for later calls.
"""

import contextlib
import math
import os
import pickle
import select
import subprocess
import sys
import threading
import time

from serving.export.session import Call, Session, SessionError

_DONE = b"."


class Trial:
    """Finds out if calls of the version at `path` can be run. Safe to use from many threads."""

    def __init__(self, path: str):
        self._path = path
        self._lock = threading.Lock()
        self._process = None
        self._asked = None  # the form of the call in progress in the other process
        self._known = {}

    def survives(self, call: Call, timeout: float | None = None) -> bool:
        """True if a process survives `call`. Raises TimeoutError after `timeout` seconds.

        Each form of call is tried once: kernels abort on the number of axes, and on sizes of 0.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        axes = tuple(tuple(size > 0 for size in array.shape) for array in call.inputs.values())
        form = call.signature, call.outputs, axes
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError
        try:
            if self._asked:  # a call that timed out is still in progress
                self._await(end)
            if form not in self._known:
                self._ask(form, call, timeout)
                self._await(end)
            return self._known[form]
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the other process."""
        with self._lock:
            self._end()

    def _ask(self, form, call, timeout):
        if not self._process or self._process.poll() is not None:
            self._end()
            self._process = _start(self._path)
        self._asked = form
        with contextlib.suppress(BrokenPipeError):
            pickle.dump((call, timeout), self._process.stdin)
            self._process.stdin.flush()

    def _await(self, end):
        answers = self._process.stdout
        if not select.select([answers], [], [], None if end == math.inf else max(0.0, end - time.monotonic()))[0]:
            raise TimeoutError
        self._known[self._asked] = lives = answers.read(1) == _DONE
        self._asked = None
        if not lives:
            self._end()
            self._process = _start(self._path)  # ready for the next call

    def _end(self):
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = self._asked = None


def _start(path):
    # The modules of this process, not those in the current folder.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {__name__} import main; main()", path],
        bufsize=-1,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def main() -> None:
    """Main function of the other process: runs each incoming call and reports that it survived."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    with Session(sys.argv[1]) as session:
        while True:
            try:
                call, timeout = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            with contextlib.suppress(SessionError):
                session.execute(call, timeout=timeout)
            answers.write(_DONE)
            answers.flush()
