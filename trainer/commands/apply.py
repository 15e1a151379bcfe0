"""`packshot apply`: sends photos through an exported model."""

import click

from trainer.commands.options import PATH
from trainer.console import CONTEXT, say
from trainer.errors import Refused, refusing


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Example:
  packshot apply runs/espcn-x4-train photos/ --out larger/
""")
@click.argument("export_or_run", type=PATH)
@click.argument("photos", type=PATH)
@click.option("--best", help="Of a run: its best checkpoint, not its newest", is_flag=True)
@click.option("--out", help="Folder for the PNG files", metavar="DIR", type=PATH, required=True)
# fmt: on
def main(export_or_run, photos, best, out):
    """Send a photo, or a folder of photos, through an exported translation or enhancement model.

    A photo that cannot be used is named and left out; the others go on. No photo is ever written over.
    """
    from tqdm import tqdm

    from serving.export import offline
    from trainer.photos import pairs, told, write
    from trainer.runs.exporting import find_export

    with refusing():
        work = pairs(photos, out, say)
        results = offline.apply(find_export(export_or_run, say, best), (photo for photo, _ in work))
        failed = 0
        for (photo, target), result in zip(
            work, tqdm(results, total=len(work), unit="photo", disable=None), strict=True
        ):
            error = result if isinstance(result, Exception) else write(target, result)
            if error:
                failed += 1
                say(told(photo, error))
    say(f"{len(work) - failed} of {len(work)} pictures: {out}")
    if failed == len(work):
        raise Refused("none of the files could be used")
