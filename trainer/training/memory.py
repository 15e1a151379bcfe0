"""Checks that a step fits in the memory of this machine, before the system kills the process without a message."""

import contextlib
import math
import os

import tensorflow as tf

from data.errors import UserError

SHARE = 1.4  # memory of a step by the outputs of all layers; measured on a CPU: 1.4 (mlp_gan) to 4.5 (espcn)
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def check(model, rows: int) -> None:
    """Raises UserError if one step on `rows` rows cannot fit in this machine's memory. Accelerators report this themselves."""
    if any(device.device_type != "CPU" for device in tf.config.list_logical_devices()):
        return
    needed, available = step_bytes(model, rows), total()
    if needed > available:
        raise UserError(
            f"a batch of {rows:,} takes at least {needed / 1e9:,.0f} GB, and this machine has {available / 1e9:,.0f} GB of memory; use a"
            " smaller --batch-size or a smaller network"
        )


def total() -> int:
    """Returns the bytes of memory available to this process: of the machine, or of its container."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _LIMITS:
        with contextlib.suppress(OSError, UserError), open(path) as file:
            limits.append(int(file.read()))
    return min(limits)


def step_bytes(model, rows: int) -> int:
    """Returns a lower bound of the memory of one step in bytes: the outputs of all layers for `rows` rows, kept for the backward pass.

    They are counted in the compute dtype of the first network.
    """
    side = model.config.resolution // getattr(model.config, "scale", 1)
    networks = [network for player in model.players().values() for network in player.networks]
    values = 0
    for network in networks:
        for layer in network.layers:
            for output in tf.nest.flatten(layer.output):
                values += math.prod(side if length is None else length for length in output.shape[1:])
    return int(SHARE * tf.as_dtype(model.network.compute_dtype).size * values * rows)
