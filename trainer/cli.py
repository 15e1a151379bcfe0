"""The `packshot` command: the list of its subcommands. Each imports what it needs when it runs."""

import click

from trainer.commands import (
    apply,
    blend,
    bundle,
    canary,
    directions,
    doctor,
    enhance,
    evaluate,
    export,
    families,
    inspect,
    mix,
    prepare,
    project,
    rate,
    request,
    sample,
    train,
)
from trainer.console import CONTEXT
from trainer.errors import Printing


class Packshot(Printing, click.Group):
    """Group of the subcommands."""


@click.group(cls=Packshot, context_settings=CONTEXT)
@click.version_option(package_name="packshot")
def main():
    """Train image models of products and ship them to TensorFlow Serving."""


main.add_command(train.main, "train")
main.add_command(sample.main, "sample")
main.add_command(mix.main, "mix")
main.add_command(project.main, "project")
main.add_command(directions.main, "directions")
main.add_command(apply.main, "apply")
main.add_command(enhance.main, "enhance")
main.add_command(export.main, "export")
main.add_command(blend.main, "blend")
main.add_command(evaluate.evaluate, "evaluate")
main.add_command(evaluate.compare, "compare")
main.add_command(rate.main, "rate")
main.add_command(request.main, "request")
main.add_command(bundle.main, "bundle")
main.add_command(canary.main, "canary")
main.add_command(inspect.main, "inspect")
main.add_command(prepare.main, "prepare")
main.add_command(families.main, "families")
main.add_command(doctor.main, "doctor")


if __name__ == "__main__":
    main()
