"""`packshot doctor`: what this machine has, and what is missing."""

import importlib.metadata
import platform
import re

NEEDED = {
    "tensorflow": (2, 20),
    "keras": (3, 13),
    "tensorboard": (2, 20),
    "tensorflow-datasets": (4, 9),
    "numpy": (2, 0),
    "pillow": (11, 0),
    "click": (8, 1),
    "tqdm": (4, 60),
}


def report() -> tuple[list[str], bool]:
    """(lines for the user, whether everything needed is there)."""
    lines = [f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"]
    healthy = True
    for name, lowest in NEEDED.items():
        found = version(name)
        wanted = ".".join(map(str, lowest))
        if found is None or numbers(found) < lowest:
            healthy = False
            lines.append(f"  missing  {name} {found or ''} -> pip install '{name}>={wanted}'")
        else:
            lines.append(f"  ok       {name} {found}")
    if version("tensorflow"):
        lines += _devices()
    return lines, healthy


def version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def numbers(text: str) -> tuple[int, ...]:
    """ "2.21.0rc1" -> (2, 21, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _devices():
    import tensorflow as tf

    lines = [f"  device   {device.device_type} {device.name}" for device in tf.config.list_physical_devices()]
    flags = _cpu_flags()
    fast = flags & {"avx512_bf16", "amx_bf16"}
    lines.append(
        f"  bfloat16 {'fast on this CPU (' + ', '.join(sorted(fast)) + ')' if fast else 'slow on this CPU: stay with --precision float32'}"
    )
    return lines


def _cpu_flags():
    try:
        with open("/proc/cpuinfo") as file:
            return set(next((line for line in file if line.startswith("flags")), "").split())
    except OSError:
        return set()
