"""Whether a step can fit in the memory of this machine: found out before the system kills the process, which leaves no word."""

import contextlib
import math
import os

import tensorflow as tf

from data.errors import UserError

SHARE = 1.4  # of the outputs of all layers; measured on a CPU: 1.4 (mlp_gan) to 4.5 (espcn) times as much
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def check(model, rows: int) -> None:
    """Raise UserError if one step on `rows` rows cannot fit in this machine's memory. Accelerators say themselves what does not fit."""
    if any(device.device_type != "CPU" for device in tf.config.list_logical_devices()):
        return
    needed, there = step_bytes(model, rows), total()
    if needed > there:
        raise UserError(
            f"a batch of {rows:,} takes {needed / 1e9:,.0f} GB at least, and this machine has {there / 1e9:,.0f} GB of memory; take a"
            " smaller --batch-size or a smaller network"
        )


def total() -> int:
    """The bytes of memory that this process may take: those of the machine, or of its container."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _LIMITS:
        with contextlib.suppress(OSError, UserError), open(path) as file:
            found.append(int(file.read()))
    return min(found)


def step_bytes(model, rows: int) -> int:
    """A lower bound of what one step takes, in bytes: the outputs of all layers for `rows` rows, kept for the backward pass.

    They are of the type that the first network's layers compute in.
    """
    side = model.config.resolution // getattr(model.config, "scale", 1)
    networks = [model.network, *([model.critic] if hasattr(model, "critic") else [])]
    values = 0
    for network in networks:
        for layer in network.layers:
            for output in tf.nest.flatten(layer.output):
                values += math.prod(side if length is None else length for length in output.shape[1:])
    return int(SHARE * tf.as_dtype(model.network.compute_dtype).size * values * rows)
