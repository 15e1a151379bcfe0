"""`python -m serving.server`: serves models until a signal, then finishes the requests in progress."""

import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from data import quiet
from data.errors import UserError
from serving.server.flags import BadFlags, parse, usage


def main(arguments: list[str]) -> int:
    """Run the server. Returns the exit code: 0 after SIGTERM or SIGINT, 2 for bad flags or files, 1 for bad models."""
    if {"--help", "-h", "--helpfull"} & set(arguments):
        print(usage())
        return 0
    if {"--version", "--version=true"} & set(arguments):
        quiet.start()
        import tensorflow as tf

        print(f"TensorFlow ModelServer: packshot's own, for development\nTensorFlow Library: {tf.__version__}")
        return 0
    try:
        flags = parse(arguments)
    except BadFlags as error:
        return _refuse(error)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    quiet.start()
    from serving.server.local import CannotStart, Server

    try:
        server = Server(flags, say)
    except (UserError, OSError) as error:
        return _refuse(error)
    starting = ThreadPoolExecutor(1)
    started = starting.submit(server.start)
    started.add_done_callback(lambda done: stop.set() if done.exception() else None)
    while not stop.wait(1.0):  # a signal may go to a thread of TensorFlow, which does not end a wait in this thread
        pass
    if started.done() and (error := started.exception()):
        server.stop(0)
        if isinstance(error, CannotStart):
            print(f"Failed to start server. Error: {error}", file=sys.stderr, flush=True)
            return 1
        if isinstance(error, OSError):
            return _refuse(error)
        raise error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    say("stopping: new requests are refused, those under way are finished; a second signal ends the server at once")
    server.stop(GRACE)
    return 0


GRACE = 30.0  # seconds for requests in progress


def say(words: str) -> None:
    """Print a notice."""
    print(words, file=sys.stderr, flush=True)


def _refuse(error):
    print(f"Failed to start server. Error: {error}", file=sys.stderr, flush=True)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
