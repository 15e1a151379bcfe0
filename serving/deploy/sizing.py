"""How large the batches of a server may be, and how much memory it needs, from what its models were measured to take.

A model is measured in a process of its own, on as many CPUs as the server will have, through `serving.export.session`, which
is the code the server runs. What is chosen from the figures are pure functions.
"""

import multiprocessing
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from data import quiet
from data.errors import UserError
from data.progress import Progress, silent

SIZES = (1, 2, 4, 8, 16, 32)
ROUNDS = 9  # that count; one more goes before them, to warm up
GAIN = 1.05  # a larger batch has to give 5 % more rows a second to be worth having: less is noise
SIGNATURE = "serving_default"

SERVER_BYTES = 512 << 20  # for the server itself, its threads and the requests on their way
UNMEASURED_BYTES = 256 << 20  # for what a run takes, where nobody has looked
THREADS_A_CPU = 4  # the server's own default
ROUND_TO = 128 << 20
SPARE = 1.2


class CannotMeasure(UserError):
    """A model cannot be loaded or run; the sentence says which and why."""


@dataclass(frozen=True)
class Measurement:
    """What one version of a model took.

    `request` tells what was sent, one row of it, as "dtype [shape]" by alias; `seconds` is the median time of a batch
    by its size, and `run_bytes` how far the peak memory of the process had risen when that size had been run (both {}
    when the model was only loaded); `load_bytes` is how far it rose by loading. `signatures` has the inputs of each, as
    "dtype [shape]" by alias, and `any_size` names those whose inputs may differ in more than the number of rows.
    """

    request: dict[str, str]
    seconds: dict[int, float]
    run_bytes: dict[int, int]
    load_bytes: int
    signatures: dict[str, dict[str, str]]
    any_size: tuple[str, ...]


def under_limit(seconds: Mapping[int, float], limit: float) -> int:
    """The largest batch size that takes at most `limit` seconds, as all smaller ones do; 1 when even one row takes longer."""
    largest = 1
    for size in sorted(seconds):
        if seconds[size] > limit:
            break
        largest = size
    return largest


def useful(seconds: Mapping[int, float]) -> tuple[int, ...]:
    """The batch sizes that pay: 1, and each that gives GAIN times the rows a second of the last one that did."""
    kept = [1]
    for size in sorted(seconds):
        if size / seconds[size] >= GAIN * kept[-1] / seconds[kept[-1]]:
            kept.append(size)
    return tuple(kept)


def batch_sizes(tables: Iterable[Mapping[int, float]], limit: float) -> tuple[int, ...]:
    """The sizes one server may batch to when it has a model for each table of seconds by size.

    A server has one set of sizes for all its models. So the largest is the largest that keeps every model under
    `limit` seconds, and a size is there when it pays for one of them. (1,) means that batching is of no use.
    """
    tables = list(tables)
    largest = min(under_limit(table, limit) for table in tables)
    return tuple(sorted({size for table in tables for size in useful(table) if size <= largest}))


def threads(sizes: tuple[int, ...], cpus: int) -> int:
    """Requests a server has to work on at once: a request holds its thread while its batch gathers and runs, so there
    must be enough to fill the batches that run, one a CPU, and the next one.
    """
    return max(THREADS_A_CPU * cpus, (cpus + 1) * sizes[-1])


def memory(models: Iterable[tuple[int, int, int | None]], runs: int) -> int:
    """Bytes a server needs for models of (versions at a time, bytes to load one, bytes a run takes or None).

    While a new version replaces an old one both are there, so a model counts one version more than it serves, each
    with a fifth to spare. `runs` may be under way at once, of the model that takes most. Rounded up to 128 MiB.
    """
    models = list(models)
    loaded = sum((versions + 1) * SPARE * load for versions, load, _ in models)
    running = runs * max(UNMEASURED_BYTES if run is None else run for _, _, run in models)
    return -int(-(SERVER_BYTES + loaded + running) // ROUND_TO) * ROUND_TO


def measure(version: str, *, cpus: int, pixels: int, timed: bool = True, progress: Progress = silent) -> Measurement:
    """Load the version of a model in the folder `version`, and time batches of SIZES rows of its main signature.

    The rows are those of the warm-up file; where a picture may have any size it is `pixels` square. Sizes take turns
    for ROUNDS rounds, so that a busy moment of the machine meets all of them. `progress` is handed the runs, and the
    answer after them. Raises CannotMeasure.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.NamedTemporaryFile("r", errors="replace") as log:
        process = context.Process(
            target=_measure_and_send,
            args=(theirs, log.name, version),
            kwargs={"cpus": cpus, "pixels": pixels, "timed": timed},
        )
        process.start()
        theirs.close()
        try:
            replies = len(SIZES) * (ROUNDS + 1) + 1 if timed else 1
            *_, reply = progress(_replies(ours), replies, f"measuring {version}")
        except EOFError:
            process.join()
            raise CannotMeasure(f"{version}: {_last_words(process.exitcode, log.read())}") from None
        finally:
            process.terminate()
            process.join()
    if isinstance(reply, str):
        raise CannotMeasure(f"{version}: {reply}")
    return reply


def _replies(connection):
    """What `_measure_and_send` sends, up to the answer. Raises EOFError when its process ends before."""
    while isinstance(reply := connection.recv(), int):
        yield reply
    yield reply


def _last_words(exit_code, log):
    fatal = [line.partition("] ")[2] for line in log.splitlines() if re.match(r"F\d+ ", line)]
    return ": ".join([f"running it ended the process, with exit code {exit_code}", *fatal[:1]])


def _measure_and_send(connection, log, version, *, cpus, pixels, timed):
    """Send a number for each run, then a Measurement, or the sentence of what went wrong."""
    with open(log, "w") as file:  # the chatter of TensorFlow, that would tear the progress bar
        os.dup2(file.fileno(), sys.stderr.fileno())
    quiet.stop()
    if hasattr(os, "sched_setaffinity"):  # before TensorFlow counts its threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
    from serving.export.session import SessionError

    try:
        connection.send(_measure_here(version, pixels, timed, connection.send))
    except (OSError, SessionError, LookupError) as error:
        connection.send(str(error))


def _measure_here(version, pixels, timed, send):
    from serving.export.patterns import plain
    from serving.export.session import Session

    before = _peak_bytes()
    with plain(version) as path, Session(path) as session:
        loaded = _peak_bytes()
        row = _row(version, session.signatures, pixels) if timed else {}
        runs = {size: [] for size in SIZES} if timed else {}
        run_bytes = {}
        for turn in range(ROUNDS + 1):
            for size in runs:
                batch = {alias: np.repeat(value, size, axis=0) for alias, value in row.items()}
                start = time.perf_counter()
                session.run(SIGNATURE, batch)
                if turn:
                    runs[size].append(time.perf_counter() - start)
                else:
                    run_bytes[size] = _peak_bytes() - loaded
                send(size)
        return Measurement(
            request={alias: _described(value.dtype, value.shape) for alias, value in row.items()},
            seconds={size: statistics.median(taken) for size, taken in runs.items()},
            run_bytes=run_bytes,
            load_bytes=loaded - before,
            signatures={
                name: {alias: _described(tensor.dtype.name, tensor.shape) for alias, tensor in found.inputs.items()}
                for name, found in session.signatures.items()
            },
            any_size=tuple(sorted(name for name, found in session.signatures.items() if _takes_any_size(found))),
        )


def _described(dtype, shape):
    """ "uint8 [256, 256, 3]" for one row of a batch; "any" stands for a side that is free."""
    sides = "any" if shape is None else ", ".join("any" if side is None else str(side) for side in shape[1:])
    return f"{dtype} [{sides}]"


def _takes_any_size(signature):
    return any(tensor.shape is None or None in tensor.shape[1:] for tensor in signature.inputs.values())


def _row(version, signatures, pixels):
    """One row for the main signature, as it was asked at export."""
    from serving.export import warmup

    if SIGNATURE not in signatures:
        raise LookupError(f"it has no signature {SIGNATURE}")
    asked = next((exchange for exchange in warmup.read(version) if exchange.signature == SIGNATURE), None)
    if asked is None:
        raise LookupError(f"{warmup.FILE} has no request to {SIGNATURE} to measure with")
    row = {alias: value[:1] for alias, value in asked.request.items()}
    for alias, tensor in signatures[SIGNATURE].inputs.items():
        if None in tensor.shape[1:]:
            shape = [1, *(pixels if side is None else side for side in tensor.shape[1:])]
            row[alias] = np.random.default_rng(0).integers(256, size=shape).astype(row[alias].dtype)
    return row


def _peak_bytes():
    """The most memory this process has held. Not from getrusage on Linux, where a process starts with its parent's peak."""
    if sys.platform == "linux":
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
