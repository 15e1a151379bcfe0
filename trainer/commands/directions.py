"""`packshot directions`: the strongest editing directions of a generator, as a sheet."""

import click

from trainer.commands.options import PATH, Number, Whole, conditions
from trainer.console import CONTEXT, say
from trainer.errors import refusing

BY = "packshot directions"


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot directions runs/styles --n 6 --label shirt --out directions.png
  packshot directions runs/styles --layers 0-2 --strength 4 --seed 7 --out shapes.png
  packshot directions runs/styles --styles shirt/styles.json --out edits.png
""")
@click.argument("run", type=PATH)
@click.option("--n",         help="Directions, a row each, the strongest first", metavar="N", type=Whole(1, 64), default=6)
@click.option("--columns",   help="Pictures in a row, the one in the middle as it was", metavar="N", type=Whole(3, 31), default=7)
@click.option("--strength",  help="Of the outer pictures, in deviations of w", metavar="X", type=Number(0, 100), default=3)
@click.option("--layers",    help="Layers that change, from 0, the coarsest [default: all]", metavar="FIRST-LAST")
@click.option("--seed",      help="Seed of the picture that is changed", metavar="N", type=click.IntRange(0), default=0)
@click.option("--truncation", help="Of that picture", metavar="X", type=click.FloatRange(0, 2), default=0.7)
@click.option("--styles", "given", help="Change these styles of packshot project instead", metavar="FILE", type=PATH)
@click.option("--label",     help="Class by name or number [default: the first]", metavar="NAME")
@click.option("--condition", help="Value of another condition; repeatable", metavar="NAME=VALUE", multiple=True)
@click.option("--out",       help="Picture to write, .png or .jpg", metavar="FILE", type=PATH, default="directions.png")
# fmt: on
def main(run, n, columns, strength, layers, seed, truncation, given, label, condition, out):
    """Show what the strongest directions of w change in a picture: the eigenvectors of the generator's own weights.

    Nothing is trained for it. Directions that are found in coarse layers change shapes, those of fine ones colours.
    """
    import numpy as np

    from data import files, outputs
    from data.images import grid, to_uint8
    from models import styles
    from trainer.runs import restored

    with refusing():
        encode = outputs.encoder(out)
        outputs.check([out], BY, inputs=[given] if given else [])
        content = files.read(given) if given else None
        model = restored.restored(run, say, gives=styles.INTERFACE)
        changed = styles.layer_range(layers, model)
        told = restored.columns(model, restored.with_first_class(model, conditions(label, condition)), 1)
        vectors = styles.directions(model, changed)[:n]
        if content is None:
            start = styles.drawn(model, [seed], told, truncation)[0]
        else:
            start = styles.from_json(content, model, given)
        sizes = styles.deviations(model, vectors, told)
        edited = styles.edits(start, vectors * sizes[:, np.newaxis], np.linspace(-strength, strength, columns), changed)
        made = to_uint8(styles.pictures(model, edited.reshape(-1, *start.shape)))
        outputs.write(out, encode(grid(made, columns, row_names=[str(row) for row in range(len(vectors))])), BY)
    say(f"{len(vectors)} directions of layers {changed[0]} to {changed[-1]}: {out}")
