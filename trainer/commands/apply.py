"""`packshot apply`: sends photos through an exported model."""

import click

from trainer.commands.options import PATH, conditions, named, numbers
from trainer.console import CONTEXT, progress, say
from trainer.errors import Refused, refusing


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot apply runs/espcn-x4-train photos/ --out larger/
  packshot apply models/vae/1 photos/shoes --signature reconstruct --label shoes --out seen/
  packshot apply models/inpaint/1 photos/ --input mask=masks/ --out whole/
""")
@click.argument("export_or_run", type=PATH)
@click.argument("photos", type=PATH)
@click.option("--best", help="Of a run: the best checkpoint instead of the newest", is_flag=True)
@click.option("--signature", help="Signature to call", metavar="NAME", default="apply")
@click.option("--input", "others", help="Another input picture, such as a mask: a file, or a folder with one for each photo; repeatable",
              metavar="NAME=PATH", multiple=True)
@click.option("--label", help="Class of the photos, by name or number", metavar="NAME")
@click.option("--condition", help="As --label, of anything else it is told; repeatable", metavar="NAME=VALUE", multiple=True)
@click.option("--set", help="Any number that the model takes, repeatable", metavar="NAME=X", multiple=True)
@click.option("--out", help="Folder for the PNG files", metavar="DIR", type=PATH, required=True)
# fmt: on
def main(export_or_run, photos, best, signature, others, label, condition, out, **options):
    """Send a photo, or a folder of photos, through an exported model that makes pictures of pictures.

    A photo that cannot be used is named and skipped. No photo is ever overwritten.
    """
    from serving.export import offline
    from trainer.photos import pairs, partners, told, write
    from trainer.runs.exporting import find_export

    with refusing():
        work = pairs(photos, out, say)
        sources = [photo for photo, _ in work]
        inputs = {name: partners(photos, sources, path) for name, path in named(others, "--input").items()}
        export = find_export(export_or_run, say, at_best=best)
        told_all = {"conditions": conditions(label, condition), "numbers": numbers(options["set"])}
        results = offline.apply(export, sources, signature=signature, others=inputs, **told_all)
        failed = 0
        for (photo, target), result in zip(work, progress(results, len(work), "changing"), strict=True):
            error = result if isinstance(result, Exception) else write(target, result)
            if error:
                failed += 1
                say(told(photo, error))
    say(f"{len(work) - failed} of {len(work)} pictures: {out}")
    if failed == len(work):
        raise Refused("none of the files could be used")
