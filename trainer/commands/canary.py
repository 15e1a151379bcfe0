"""`packshot canary`: rolls a new version out to a running TensorFlow Serving next to the old one, and back."""

import contextlib

import click

from trainer.commands import connection
from trainer.commands.options import PATH, VERSION
from trainer.console import CONTEXT, say

# fmt: off
_OPTIONS = [
    connection.options,
    click.option("--model",  help="Name of the model", metavar="NAME", required=True),
    click.option("--config", help="The models.config the server was started with", metavar="FILE", type=PATH, default="models.config"),
]
# fmt: on


def _options(command):
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contextlib.contextmanager
def _canary(model, config, **options):
    from serving.deploy.canary import Canary

    with connection.connect(**options) as client, connection.answered():
        yield Canary(client, config, model)


@click.group(
    context_settings=CONTEXT,
    epilog="""
\b
Examples, in order:
  packshot canary prepare  --model r3gan --config models/models.config
  packshot canary start    --model r3gan --config models/models.config --version 4
  packshot canary status   --model r3gan --config models/models.config
  packshot canary promote  --model r3gan --config models/models.config
  packshot canary rollback --model r3gan --config models/models.config
""",
)
def main():
    """Load a new version next to the old one and move the labels stable and canary.

    Labels must point at AVAILABLE versions, so a version is loaded before it is labelled. Clients that name neither a
    version nor a label get the newest loaded version: after `start`, the canary. Let them request the label stable first
    (`prepare` sets it).

    A reload replaces the server's whole list of models: FILE must be the one it was started with or last reloaded from. The
    other models' entries are kept, comments are not. From then on FILE lists the versions: new ones in the model's folder
    no longer load by themselves, and those kept only by the policy latest or all are unloaded. FILE is written after the
    server has accepted a change.

    Needs gRPC and the ModelService. The ModelService lets anybody who reaches it load any path: restrict it to operators.
    """


@main.command(context_settings=CONTEXT)
@_options
def prepare(**options):
    """Label the version served now as stable and canary. Clients can then request labels."""
    with _canary(**options) as canary:
        stable = canary.prepare()
    say(f"stable and canary: version {stable}")


# fmt: off
@main.command(context_settings=CONTEXT)
@_options
@click.option("--version", help="Version to load", metavar="N", type=VERSION, required=True)
@click.option("--wait",    help="Longest loading time", metavar="SECONDS", type=click.FloatRange(0, min_open=True), default=600.0)
# fmt: on
def start(version, wait, **options):
    """Load a version beside the stable one and label it canary.

    If it does not become available, the old config is restored on the server and in FILE.
    """
    with _canary(**options) as canary:
        stable = canary.start(version, wait)
    say(f"stable: version {stable}; canary: version {version}")


@main.command(context_settings=CONTEXT)
@_options
@click.option("--version", help="Expected version of the canary", metavar="N", type=VERSION)
def promote(version, **options):
    """Move the label stable to the canary. The old version stays loaded, labelled previous, until the next start."""
    with _canary(**options) as canary:
        old, new = canary.promote(version)
    say(f"stable and canary: version {new}; version {old} stays loaded")


@main.command(context_settings=CONTEXT)
@_options
def rollback(**options):
    """Move the labels back to the version before the canary, then unload the canary. Also works after promote."""
    with _canary(**options) as canary:
        dropped, back = canary.rollback()
    say(f"stable and canary: version {back}; version {dropped} is being unloaded")


@main.command(context_settings=CONTEXT)
@_options
def status(**options):
    """Show the versions on the server, with their labels in FILE."""
    with _canary(**options) as canary:
        served = canary.status()
    for version, labels in served:
        trouble = "" if version.code == "OK" else f"{version.code}: {connection.sentence(version.message)}"
        click.echo("  ".join(filter(None, [f"version {version.version}", version.state, ", ".join(labels), trouble])))
