"""Runs a call in a process apart first, where it may end the process.

TensorFlow Serving hands shapes that contradict a signature to the kernels, and computes what they compute. So does this server; but
what may abort is tried apart before it runs here, and refused when the other process did not live through it. That process loads the
model when it is first needed, and stays for the next.
"""

import os
import pickle
import select
import subprocess
import sys
import threading
import time

from serving.session import Call, Session, SessionError

_DONE = b"."


class Trial:
    """Tells which calls of the version at `path` can be run. Safe to use from many threads."""

    def __init__(self, path: str):
        self._path = path
        self._lock = threading.Lock()
        self._process = None
        self._known = {}

    def survives(self, call: Call, timeout: float | None = None) -> bool:
        """Whether a process lives through `call`; tried once for all calls with axes like these. Raises TimeoutError after `timeout` s.

        What kernels abort on is the number of axes, and sizes of 0.
        """
        end = None if timeout is None else time.monotonic() + timeout
        axes = tuple(tuple(size > 0 for size in array.shape) for array in call.inputs.values())
        key = (call.signature, call.outputs, axes)
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError
        try:
            if key not in self._known:
                self._known[key] = self._lives_through(call, end)
            return self._known[key]
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the other process."""
        with self._lock:
            self._end()

    def _lives_through(self, call, end):
        process = self._process = self._process or _start(self._path)
        try:
            pickle.dump(call, process.stdin)
            process.stdin.flush()
        except BrokenPipeError:
            self._end()
            return False
        if not select.select([process.stdout], [], [], None if end is None else max(0.0, end - time.monotonic()))[0]:
            self._end()
            raise TimeoutError
        if process.stdout.read(1) == _DONE:
            return True
        self._end()
        self._process = _start(self._path)  # ready when the next one comes
        return False

    def _end(self):
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None


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
                call = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            try:
                session.execute(call)
            except SessionError:
                pass
            answers.write(_DONE)
            answers.flush()
