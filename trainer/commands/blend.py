"""`packshot blend`: exports the model between two runs."""

import click

from trainer.commands.options import PATH, VERSION
from trainer.console import CONTEXT, say
from trainer.errors import refusing


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot blend runs/rrdb runs/esrgan --weight 0.8 --out models/esrgan-80
""")
@click.argument("first",  metavar="RUN", type=PATH)
@click.argument("second", metavar="RUN", type=PATH)
@click.option("--weight",  help="Share of the second run, 0 to 1", metavar="X", type=click.FloatRange(0, 1), required=True)
@click.option("--out",     help="Folder of the versions; its name is that of the model", metavar="DIR/NAME", type=PATH, required=True)
@click.option("--version", help="Version [default: the last plus one]", metavar="N", type=click.IntRange(1, VERSION.max))
# fmt: on
def main(first, second, weight, out, version):
    """Export the model whose weights lie between those of two runs with the same network, such as one trained for fidelity and one that
    began with it and went on in a game."""
    from trainer.runs import blending, exporting

    with refusing():
        blending.blend(
            first, second, weight=weight, export_to=exporting.split_model_dir(out), version=version, say=say
        )
