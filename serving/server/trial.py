"""Runs a call in a process apart first, where it may end the process.

TensorFlow Serving hands shapes that contradict a signature to the kernels, and computes what they compute. So does this server; but
what may abort is tried apart before it runs here, and refused when the other process did not live through it. That process loads the
model when it is first needed, and stays for the next.
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
    """Tells which calls of the version at `path` can be run. Safe to use from many threads."""

    def __init__(self, path: str):
        self._path = path
        self._lock = threading.Lock()
        self._process = None
        self._asked = None  # the form of the call that the other process has not answered yet
        self._known = {}

    def survives(self, call: Call, timeout: float | None = None) -> bool:
        """Whether a process lives through `call`; tried once for all calls of its form. Raises TimeoutError after `timeout` seconds.

        What kernels abort on is the number of axes, and sizes of 0.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        axes = tuple(tuple(size > 0 for size in array.shape) for array in call.inputs.values())
        form = call.signature, call.outputs, axes
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError
        try:
            if self._asked:  # by one who did not wait for the answer
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
            self._process = _start(self._path)  # ready when the next one comes

    def _end(self):
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = self._asked = None


def _start(path):
    # The modules of this process, whatever lies in the folder it was started in.
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
    """The other process: runs each call that comes in, and says so when it is still there."""
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
