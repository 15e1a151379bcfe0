"""`packshot project`: finds the styles with which a generator comes closest to a photo."""

import posixpath

import click

from trainer.commands.options import PATH, Whole, conditions
from trainer.console import CONTEXT, progress, say
from trainer.errors import refusing

BY = "packshot project"


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot project runs/styles shirt.jpg --out shirt/
  packshot project runs/styles shirt.jpg --label shirt --one --steps 300 --out shirt/
""")
@click.argument("run", type=PATH)
@click.argument("photo", type=PATH)
@click.option("--steps",     help="Steps of the search", metavar="N", type=Whole(1, 100_000), default=500)
@click.option("--one",       help="One style for all layers: nearer to what the model makes, further from the photo", is_flag=True)
@click.option("--label",     help="Class of the photo, by name or number: where the search begins", metavar="NAME")
@click.option("--condition", help="As --label, of anything else it is told; repeatable", metavar="NAME=VALUE", multiple=True)
@click.option("--out",       help="Folder for projected.png, residual.png and styles.json", metavar="DIR", type=PATH, required=True)
# fmt: on
def main(run, photo, steps, one, label, condition, out):
    """Find the styles with which the generator of a run comes closest to a photo, cut to the middle square.

    residual.png is grey where the picture is right, lighter where the photo is lighter; styles.json is for packshot directions.
    """
    import numpy as np

    from data import files, outputs
    from data.images import decode, encode_png, to_float, to_uint8
    from models import styles
    from trainer.metrics.fidelity import psnr
    from trainer.runs.restored import columns, restored

    with refusing():
        targets = {name: posixpath.join(out, name) for name in ("projected.png", "residual.png", "styles.json")}
        outputs.check(targets.values(), BY, inputs=[photo])
        content = files.read(photo)
        model = restored(run, say, gives=styles.INTERFACE)
        wanted = decode(content, model.config.resolution)
        found = styles.project(model, to_float(wanted), columns(model, conditions(label, condition), 1), steps=steps, one=one)
        best = min(progress(found, steps, "projecting"), key=lambda each: each.loss)
        made = to_uint8(best.picture)
        residual = np.uint8(np.clip(np.round(128 + (wanted.astype(float) - made) / 2), 0, 255))
        outputs.write(targets["projected.png"], encode_png(made), BY)
        outputs.write(targets["residual.png"], encode_png(residual), BY)
        decibels = psnr(made[np.newaxis], wanted[np.newaxis], space="rgb", shave=0)[0]
        numbers = {"photo": photo, "psnr": decibels, "styles": best.styles.tolist()}
        outputs.write_json(targets["styles.json"], numbers, BY)
    say(f"{decibels:.2f} dB: {out}")
