"""`packshot doctor`: checks the software, devices and precision of this machine."""

import importlib.metadata
import platform
import re

import click

from trainer.console import CONTEXT, say
from trainer.errors import refusing


def report() -> tuple[list[str], bool]:
    """Returns (lines for the user, whether all requirements are met)."""
    lines = [f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"]
    requirements = needed()
    if not requirements:
        return [*lines, "  missing  packshot -> pip install -e . in its folder, which installs its requirements"], False
    healthy = True
    for name, limits in requirements.items():
        installed = version(name)
        if installed is None or not fits(installed, limits):
            healthy = False
            lines.append(f"  missing  {name} {installed or ''} -> pip install '{name}{limits}'")
        else:
            lines.append(f"  ok       {name} {installed}")
    if version("tensorflow"):
        lines += _devices()
    if healthy:
        lines.append(f"  bfloat16 {_bfloat16()}")
    return lines, healthy


def needed() -> dict[str, str]:
    """Returns {distribution: version limits (">=2.20,<2.22")} from packshot's metadata; {} when it is not installed."""
    try:
        requirements = importlib.metadata.requires("packshot") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    matches = (re.match(r"([\w.-]+)\s*([^;]*)(;.*extra)?", line) for line in requirements)
    return {match[1]: match[2].strip(" ()") for match in matches if not match[3]}


def fits(version: str, limits: str) -> bool:
    """Returns whether a version is within comma-separated limits such as ">=2.20,<2.22"."""
    numbers = _numbers(version)
    return all(
        numbers >= _numbers(limit) if limit.startswith(">=") else numbers < _numbers(limit)
        for limit in limits.replace(" ", "").split(",")
        if limit.startswith((">=", "<")) and not limit.startswith("<=")
    )


def version(name: str) -> str | None:
    """Returns the installed version of a distribution, or None."""
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
    """Returns the choice of `--precision auto` for the default run, with its reason."""
    import tensorflow as tf

    from data.facts import Facts
    from trainer.commands import train
    from trainer.training import precision

    run = train.resolve(train.main.make_context("train", [], resilient_parsing=True).params)
    choice = precision.choose(run, Facts(), strategy=tf.distribute.get_strategy(), say=say)
    return f"{run.model} {run.preset}: {choice.why} -> --precision {choice.chosen}"


@click.command(context_settings=CONTEXT)
def main():
    """Check this machine and list what is missing. Exit code 1 if a requirement is missing."""
    with refusing():
        lines, healthy = report()
    click.echo("\n".join(lines))
    if not healthy:
        raise SystemExit(1)
