"""Chooses batch sizes and memory of a server from measurements of its models.

A model is measured in a separate process, on as many CPUs as the server will have, through `serving.export.session`, the
code that the server runs. The choices are pure functions of the measurements.
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
ROUNDS = 9  # measured; one more before them warms up
GAIN = 1.05  # a larger batch must give 5 % more rows a second: less is noise
SIGNATURE = "serving_default"

SERVER_BYTES = 512 << 20  # for the server itself, its threads and the requests in progress
UNMEASURED_BYTES = 256 << 20  # for a run that was not measured
THREADS_A_CPU = 4  # the server's own default
ROUND_TO = 128 << 20
SPARE = 1.2


class CannotMeasure(UserError):
    """A model cannot be loaded or run; the message names it and the reason."""


@dataclass(frozen=True)
class Measurement:
    """Time and memory of one version of a model.

    `request` describes one row of the requests, as "dtype [shape]" by alias. `seconds` is the median time of a batch by
    its size, `run_bytes` the rise of the process's peak memory after running that size (both {} if the model was only
    loaded), and `load_bytes` its rise by loading. `signatures` has the inputs of each signature, as "dtype [shape]" by
    alias; `any_size` names those whose inputs may differ in more than the number of rows.
    """

    request: dict[str, str]
    seconds: dict[int, float]
    run_bytes: dict[int, int]
    load_bytes: int
    signatures: dict[str, dict[str, str]]
    any_size: tuple[str, ...]


def under_limit(seconds: Mapping[int, float], limit: float) -> int:
    """The largest batch size up to which all take at most `limit` seconds; 1 if even one row takes longer."""
    largest = 1
    for size in sorted(seconds):
        if seconds[size] > limit:
            break
        largest = size
    return largest


def useful(seconds: Mapping[int, float]) -> tuple[int, ...]:
    """The useful batch sizes: 1, and each with GAIN times the rows a second of the last useful one."""
    kept = [1]
    for size in sorted(seconds):
        if size / seconds[size] >= GAIN * kept[-1] / seconds[kept[-1]]:
            kept.append(size)
    return tuple(kept)


def batch_sizes(tables: Iterable[Mapping[int, float]], limit: float) -> tuple[int, ...]:
    """The allowed batch sizes of a server with a model for each table of seconds by size.

    A server has one set of sizes for all its models. The largest keeps every model under `limit` seconds, and each size
    is useful for at least one of them. (1,) means that batching is of no use.
    """
    tables = list(tables)
    largest = min(under_limit(table, limit) for table in tables)
    return tuple(sorted({size for table in tables for size in useful(table) if size <= largest}))


def threads(sizes: tuple[int, ...], cpus: int) -> int:
    """The number of request threads of a server.

    A request holds its thread while it waits and runs, so the threads must fill one batch for each CPU, and the next one.
    """
    return max(THREADS_A_CPU * cpus, (cpus + 1) * sizes[-1])


def memory(models: Iterable[tuple[int, int, int | None]], runs: int) -> int:
    """Bytes of a server for models of (number of versions, bytes to load one, bytes of a run or None).

    A model counts one version more than it serves, because old and new overlap in a replacement, each with a fifth to
    spare. `runs` is the number of concurrent runs, of the model that takes most. Rounded up to 128 MiB.
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
    """Yields what `_measure_and_send` sends, up to the answer. Raises EOFError when its process ends before."""
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
    """One row for the main signature, from the warm-up file."""
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
    """Peak memory of this process in bytes. On Linux not from getrusage, which starts with the parent's peak."""
    if sys.platform == "linux":
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
