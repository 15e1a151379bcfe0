"""`packshot mix`: sheets of pictures between styles, in layers or on the way."""

import click

from trainer.commands.options import PATH, Whole, conditions
from trainer.console import CONTEXT, say
from trainer.errors import Refused, refusing

BY = "packshot mix"


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot mix runs/styles --label dress --from-layer 4 --out mixed.png
  packshot mix runs/styles --way --rows 8 --columns 10 --seed 3 --out way.png
""")
@click.argument("run", type=PATH)
@click.option("--rows",       help="Rows of pictures", metavar="N", type=Whole(1, 64), default=5)
@click.option("--columns",    help="Pictures in a row", metavar="N", type=Whole(2, 64), default=7)
@click.option("--from-layer", help="Layers from which on a picture has the style of its column [default: half of them]", metavar="N",
              type=Whole(1))
@click.option("--way",        help="Instead: a row goes from one style to the next row's", is_flag=True)
@click.option("--seed",       help="Seed of the first picture; the next ones count up", metavar="N", type=click.IntRange(0), default=0)
@click.option("--truncation", help="Below 1: more typical pictures", metavar="X", type=click.FloatRange(0, 2), default=0.7)
@click.option("--label",      help="Class by name or number [default: the first]", metavar="NAME")
@click.option("--condition",  help="Value of another condition; repeatable", metavar="NAME=VALUE", multiple=True)
@click.option("--out",        help="Picture to write, .png or .jpg", metavar="FILE", type=PATH, default="mixed.png")
# fmt: on
def main(run, rows, columns, from_layer, way, seed, truncation, label, condition, out):
    """Mix styles: a picture has the coarse layers of its row's style and the fine ones of its column's.

    The first row and the first column of the sheet show the styles themselves.
    """
    from data import outputs
    from data.images import grid, to_uint8
    from models import styles
    from trainer.runs import restored

    with refusing():
        if way and from_layer is not None:
            raise Refused("--way goes between whole styles; --from-layer is for mixing them")
        encode = outputs.encoder(out)
        outputs.check([out], BY)
        model = restored.restored(run, say, gives=styles.INTERFACE)
        layers = styles.layer_count(model)
        cut = from_layer or layers // 2
        if cut >= layers:
            raise Refused(f"--from-layer must be less than {layers}, the number of layers, not {cut}")
        told = restored.with_first_class(model, conditions(label, condition))
        count = rows + 1 if way else rows + columns
        start = styles.drawn(model, range(seed, seed + count), restored.columns(model, told, count), truncation)
        if way:
            made = styles.pictures(model, styles.ways(start, columns))
        else:
            made = styles.pictures(model, styles.mixtures(start[:rows], start[rows:], cut))
            columns += 1
        outputs.write(out, encode(grid(to_uint8(made), columns)), BY)
    say(f"{'ways between' if way else 'mixtures of'} {count} styles: {out}")
