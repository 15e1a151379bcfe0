"""`packshot doctor`: what this machine has, what is missing, and how fast it is."""

import importlib.metadata
import platform
import re
import statistics

import click

from trainer.console import CONTEXT, say
from trainer.errors import refusing

ROUNDS, STEPS = 5, 4  # of a step in each precision; the default family's penalties come every fourth step
ALIKE = 0.05  # of a difference in speed that is none


def report() -> tuple[list[str], bool]:
    """(lines for the user, whether everything needed is there)."""
    lines = [f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"]
    wanted = needed()
    if not wanted:
        return [*lines, "  missing  packshot -> pip install -e . in its folder, which brings what it needs"], False
    healthy = True
    for name, limits in wanted.items():
        found = version(name)
        if found is None or not fits(found, limits):
            healthy = False
            lines.append(f"  missing  {name} {found or ''} -> pip install '{name}{limits}'")
        else:
            lines.append(f"  ok       {name} {found}")
    if version("tensorflow"):
        lines += _devices()
    if healthy:
        lines.append(f"  bfloat16 {_bfloat16()}")
    return lines, healthy


def needed() -> dict[str, str]:
    """Distribution -> the versions that packshot takes (">=2.20,<2.22"), as its own metadata say; {} when it is not installed."""
    try:
        requirements = importlib.metadata.requires("packshot") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = (re.match(r"([\w.-]+)\s*([^;]*)(;.*extra)?", line) for line in requirements)
    return {match[1]: match[2].strip(" ()") for match in found if not match[3]}


def fits(version: str, limits: str) -> bool:
    """Whether a version is within limits of the kinds ">=2.20" and "<2.22", separated by commas."""
    numbers = _numbers(version)
    return all(
        numbers >= _numbers(limit) if limit.startswith(">=") else numbers < _numbers(limit)
        for limit in limits.replace(" ", "").split(",")
        if limit.startswith((">=", "<")) and not limit.startswith("<=")
    )


def version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """ "2.21.0rc1" -> (2, 21, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _devices():
    import tensorflow as tf

    return [f"  device   {device.device_type} {device.name}" for device in tf.config.list_physical_devices()]


def _bfloat16():
    """How fast steps of the default run are in bfloat16, measured in turns with steps in float32."""
    from trainer.commands import train
    from trainer.training import precision

    options = train.main.make_context("train", [], resilient_parsing=True).params
    runs = [train.resolve(options | {"precision": name}) for name in ("float32", "mixed_bfloat16")]
    say("measuring steps in float32 and bfloat16")
    try:
        plain, half = precision.step_seconds(runs, rounds=ROUNDS, steps=STEPS)
    except precision.Unable as error:
        return str(error)
    return verdict(f"{runs[0].model} {runs[0].preset}", plain, half)


def verdict(what: str, plain: list[float], half: list[float]) -> str:
    """What the rounds' seconds of a step in float32 and in bfloat16 say of this CPU."""
    ratio = statistics.median(a / b for a, b in zip(plain, half, strict=True))
    if ratio > 1 + ALIKE:
        speed, advice = f"{ratio:.2f} times as fast", "use --precision mixed_bfloat16"
    else:
        speed = f"{ratio:.2f} times as fast" if ratio < 1 - ALIKE else "as fast"
        advice = "stay with --precision float32"
    return f"a step of {what} is {speed} as in float32 on this machine: {advice}"


@click.command(context_settings=CONTEXT)
def main():
    """What this machine has, and what is missing. Exit code 1 if something needed is."""
    with refusing():
        lines, healthy = report()
    click.echo("\n".join(lines))
    if not healthy:
        raise SystemExit(1)
