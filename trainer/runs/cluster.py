"""Waits for the other workers of a training, named in TF_CONFIG.

TensorFlow itself waits without a message, without a limit, and without handling signals, so it starts only when all workers are there.
"""

import contextlib
import json
import os
import socket
import time

from data.errors import UserError
from trainer.errors import Stopped

VARIABLE = "PACKSHOT_WAIT_MINUTES"
MINUTES = 10.0
_JOBS = ("chief", "worker")


def workers() -> int:
    """Returns the number of workers in TF_CONFIG, with the chief; 0 without a cluster. Raises UserError if it is malformed."""
    return len(_read()[0])


def _read():
    """Returns ({(job, index): "host:port"}, the task of this process, or None if it is the only one)."""
    text = os.environ.get("TF_CONFIG", "").strip()
    try:
        config = json.loads(text or "{}")
    except ValueError as error:
        raise UserError(f"TF_CONFIG is not JSON: {error}") from error
    cluster = config.get("cluster", {}) if isinstance(config, dict) else None
    if not isinstance(cluster, dict) or not all(_is_addresses(cluster.get(job, [])) for job in _JOBS):
        raise UserError(
            'TF_CONFIG is not a cluster; it looks like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        )
    addresses = {(job, index): address for job in _JOBS for index, address in enumerate(cluster.get(job, []))}
    if len(addresses) < 2:
        return addresses, None
    task = config.get("task")
    if not isinstance(task, dict) or not {"type", "index"} <= task.keys():
        raise UserError('TF_CONFIG does not say which worker this is: it lacks "task": {"type": ..., "index": ...}')
    own = task["type"], int(task["index"]) if str(task["index"]).isdigit() else task["index"]
    if own not in addresses:
        names = ", ".join(f"{job} {index}" for job, index in addresses)
        raise UserError(f"TF_CONFIG says that this is {own[0]} {own[1]}, and its cluster has {names}")
    return addresses, own


def _is_addresses(value):
    return isinstance(value, list) and all(
        isinstance(item, str) and item.rpartition(":")[2].isdigit() for item in value
    )


def wait_for_others(say) -> None:
    """Waits until every worker in TF_CONFIG answers, and listens on this worker's port meanwhile.

    Raises:
        Stopped: they did not start within `PACKSHOT_WAIT_MINUTES`. UserError: this worker's port is taken.
    """
    addresses, own = _read()
    if own is None:
        return
    missing = {task: address for task, address in addresses.items() if task != own}
    minutes = _minutes()
    end = time.monotonic() + 60 * minutes
    with _listening(addresses[own]):
        reported = False
        while missing := {task: address for task, address in missing.items() if not _answers(address)}:
            who = ", ".join(f"{job} {index} at {address}" for (job, index), address in missing.items())
            if not reported:
                say(f"{own[0]} {own[1]} waits for {who}; {minutes:g} minutes at most ({VARIABLE})")
                reported = True
            if time.monotonic() > end:
                raise Stopped(
                    f"{who} did not come within {minutes:g} minutes ({VARIABLE}); start all workers with the same TF_CONFIG"
                )
            time.sleep(0.5)


def _minutes():
    text = os.environ.get(VARIABLE) or str(MINUTES)
    try:
        minutes = float(text)
        if 0 <= minutes < 1e6:
            return minutes
    except ValueError:
        pass
    raise UserError(f"{VARIABLE} takes a number of minutes, not {text!r}")


@contextlib.contextmanager
def _listening(address):
    port = int(address.rpartition(":")[2])
    try:
        server = socket.create_server(("", port), backlog=128)
    except OSError as error:
        raise UserError(f"this worker's port {port}, from TF_CONFIG, cannot be opened: {error.strerror}") from error
    with server:
        yield


def _answers(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True
