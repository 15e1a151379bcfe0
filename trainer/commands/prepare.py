"""`packshot prepare`: writes a source as TFRecord shards."""

import click

from data.catalogue import KINDS
from trainer.commands.options import PATH
from trainer.console import CONTEXT, progress, say
from trainer.errors import refusing


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Example:
  packshot prepare folder:photos/train --out shards --size 128
  python -m trainer.task --data 'tfrecord:shards/*.tfrecord'
""")
@click.argument("source", metavar="SOURCE")
@click.option("--out",    help="Folder for the shards", metavar="DIR", type=PATH, required=True)
@click.option("--size",   help="Side of the square pictures", metavar="PX", type=click.IntRange(8, 4096), required=True)
@click.option("--fit",    help="Way to make pictures square", type=click.Choice(["crop", "pad", "stretch"]), default="crop")
@click.option("--shards", help="Number of files", metavar="N", type=click.IntRange(1, 1024), default=4)
# fmt: on
def main(source, out, size, fit, shards):
    """Decode a source once and write it as TFRecord shards, which read fast from anywhere."""
    from data import catalogue, outputs
    from data.quarantine import Quarantine
    from data.sources import tfrecord
    from data.sources.protocol import join

    with refusing():
        outputs.check_folder(out)
        opened, quarantine = catalogue.open_source(source), Quarantine()
        summary = tfrecord.write(opened, out, size, fit, shards, progress=progress, quarantine=quarantine)
        quarantine.tell(say, path=join(out, "left_out.json"))
    say(f"{summary['count']} examples in {shards} shards: {out}")


main.help += f" SOURCE is one of {', '.join(KINDS)}."
