"""`packshot export`: exports a run as a version for TensorFlow Serving."""

import click

from trainer.commands.options import MODEL_NAME, PATH, VERSION
from trainer.console import CONTEXT, say
from trainer.errors import refusing


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot export runs/r3gan-cpu-64-studio --to models
  packshot export runs/photos --best --to models
  packshot export runs/restore --to models --edits white_balance:white --after whiten,crop,square:1600
""")
@click.argument("run_folder", metavar="RUN", type=PATH)
@click.option("--to",      help="Folder of models; DIR/NAME is a base path of TensorFlow Serving", metavar="DIR", type=PATH, required=True)
@click.option("--name",    help="Name of the model [default: the family's]", metavar="NAME", type=MODEL_NAME)
@click.option("--version", help="Version [default: the last plus one]", metavar="N", type=click.IntRange(1, VERSION.max))
@click.option("--best",    help="Export the best checkpoint by the run's evaluations instead of the newest", is_flag=True)
@click.option("--edits",   help="Of a model that enhances: edits before it that the export holds, as for packshot enhance", metavar="CHAIN")
@click.option("--after",   help="As --edits, behind the model", metavar="CHAIN")
# fmt: on
def main(run_folder, to, name, version, best, edits, after):
    """Export the newest or the best checkpoint of a run, verified in TensorFlow Serving's own runtime."""
    from data.edits import parse
    from trainer.runs import exporting

    with refusing():
        chains = (parse(edits or ""), parse(after or "")) if edits or after else None
        exporting.export_checkpoint(run_folder, to, name=name, version=version, say=say, at_best=best, edits=chains)
