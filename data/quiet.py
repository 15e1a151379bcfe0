"""TensorFlow without its greetings: the lines it writes on every healthy machine are dropped, and errors stay.

TensorFlow writes to standard error from C++, some of it before a log level can be set. So its lines go through a small process (this file),
which drops the known ones below and passes on the rest, also when TensorFlow aborts. What Python writes does not go through it. When the
user has set TF_CPP_MIN_LOG_LEVEL, nothing is filtered; 0 shows everything.
"""

import atexit
import glob
import logging
import os
import re
import sys
import tempfile
import warnings

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
FROM_PYTHON = r"(keras|tensorflow|google\.protobuf)\b"
GPUS = ("/dev/nvidia[0-9]*", "/dev/dxg", "/dev/kfd")


def _logged(levels, words):
    """A pattern of lines of those levels: "E0000 00:00:12.3 7 file.cc:1] words", or "2026-01-01 00:00:12.3: E file.cc:1] words"."""
    return rb"([%s]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [%s] )%s" % (levels, levels, words)


GREETINGS = [
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR",
    _logged(b"E", rb".*Unable to register cu\w+ factory"),
    # The graph is then computed as it was written.
    _logged(b"E", rb".*remapper failed: INVALID_ARGUMENT: Mutation::Apply error"),
    # Another kernel is then used.
    _logged(b"E", rb".*oneDNN supports DT_\w+ only on platforms with"),
    rb"To enable the following instructions: .* rebuild TensorFlow with the appropriate compiler flags",
]
ON_CPU = [_logged(b"IW", b""), _logged(b"E", b".*failed call to cuInit")]
ON_GPU = [_logged(b"I", rb"(?!.*(cuda|CUDA|GPU))")]  # with a GPU, lines about it stay

_undo = []  # what `stop` does


def start() -> None:
    """Leaves TensorFlow's greetings out from its first import on. Does nothing if it is imported already or the user set a level."""
    # Without a home folder, TensorFlow would make one named "~" in the current folder.
    if os.path.expanduser("~") == "~":
        os.environ.setdefault("KERAS_HOME", os.path.join(tempfile.gettempdir(), ".keras"))
    if LEVEL in os.environ or "tensorflow" in sys.modules or any(isinstance(f, _Watch) for f in sys.meta_path):
        return
    sys.meta_path.insert(0, _Watch())
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module=FROM_PYTHON)


def stop() -> None:
    """Lets TensorFlow write to standard error itself from now on."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Watch)]
    while _undo:
        _undo.pop()()


class _Watch:
    """Import hook that starts the filter when TensorFlow is imported; it finds no module itself."""

    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            sys.meta_path.remove(self)
            _begin()


def has_gpu() -> bool:
    """Returns whether the system shows a GPU, of whatever kind and however broken."""
    return any(glob.glob(pattern) for pattern in GPUS)


def _begin():
    import subprocess

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    command = [sys.executable, "-I", "-S", __file__, *(["gpu"] if has_gpu() else [])]
    try:
        straight = os.dup(2)
        # In a session of its own, so that Ctrl-C in a terminal does not end the filter before those who write to it.
        passing = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2, start_new_session=True)
    except OSError:  # no standard error, or no process can be started: nothing is filtered
        return
    python, ours = sys.stderr, None
    if python is sys.__stderr__ and python is not None:
        python.flush()
        ours = open(straight, "w", buffering=1, encoding=python.encoding, errors=python.errors, closefd=False)
        sys.stderr = ours
    os.dup2(passing.stdin.fileno(), 2)
    passing.stdin.close()

    def undo():
        os.dup2(straight, 2)
        if sys.stderr is ours:
            sys.stderr = python
        try:
            passing.wait(timeout=1)
        except subprocess.TimeoutExpired:  # a child process still writes
            pass

    _undo.append(undo)


def _pass_on(greetings):
    """Copies standard input to standard output without the greetings."""
    greeting = re.compile(b"|".join(greetings))
    rest = b""
    while chunk := os.read(0, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        os.write(1, b"".join(line + b"\n" for line in lines if not greeting.match(line)))
    os.write(1, rest)


if __name__ == "__main__":
    _pass_on(GREETINGS + (ON_GPU if sys.argv[1:] == ["gpu"] else ON_CPU))
else:
    atexit.register(stop)
