"""`packshot canary`: bring a new version to a running TensorFlow Serving beside the old one, and back."""

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
    """Load a new version beside the old one and move the labels stable and canary.

    Labels must point at AVAILABLE versions, so a version is loaded first and labelled then. Clients that name neither a
    version nor a label are served the newest version that is loaded: with `start`, the canary. Let them ask for the label
    stable before (`prepare` sets it).

    A reload replaces the server's whole list of models: FILE must be the one it was started with or last reloaded from. The
    other models' entries are kept, comments are not. From then on versions are listed in it: new ones in the model's folder
    no longer load by themselves, and those that only the policy latest or all kept are unloaded. FILE is written after the
    server has accepted a change.

    Needs gRPC, and the ModelService, which lets anybody who reaches it load any path: keep it to operators.
    """


@main.command(context_settings=CONTEXT)
@_options
def prepare(**options):
    """Label the version that is served now as stable and canary. Clients can then ask for labels."""
    with _canary(**options) as canary:
        stable = canary.prepare()
    say(f"stable and canary: version {stable}")


# fmt: off
@main.command(context_settings=CONTEXT)
@_options
@click.option("--version", help="Version to load", metavar="N", type=VERSION, required=True)
@click.option("--wait",    help="How long it may take to load", metavar="SECONDS", type=click.FloatRange(0, min_open=True), default=600.0)
# fmt: on
def start(version, wait, **options):
    """Load a version beside the stable one and label it canary.

    If it does not become available, server and FILE get their old config back.
    """
    with _canary(**options) as canary:
        stable = canary.start(version, wait)
    say(f"stable: version {stable}; canary: version {version}")


@main.command(context_settings=CONTEXT)
@_options
@click.option("--version", help="The canary's, to be sure", metavar="N", type=VERSION)
def promote(version, **options):
    """Move the label stable to the canary. The old version stays loaded, labelled previous, until the next start."""
    with _canary(**options) as canary:
        old, new = canary.promote(version)
    say(f"stable and canary: version {new}; version {old} stays loaded")


@main.command(context_settings=CONTEXT)
@_options
def rollback(**options):
    """Move the labels back to the version before the canary, then unload the canary. Works after promote, too."""
    with _canary(**options) as canary:
        dropped, back = canary.rollback()
    say(f"stable and canary: version {back}; version {dropped} is being unloaded")


@main.command(context_settings=CONTEXT)
@_options
def status(**options):
    """The versions the server knows of, with the labels FILE gives them."""
    with _canary(**options) as canary:
        served = canary.status()
    for version, labels in served:
        trouble = "" if version.code == "OK" else f"{version.code}: {connection.sentence(version.message)}"
        click.echo("  ".join(filter(None, [f"version {version.version}", version.state, ", ".join(labels), trouble])))
