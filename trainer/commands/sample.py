"""`packshot sample`: makes a grid of pictures with an exported generator."""

import click
from click.core import ParameterSource

from data import files
from data.errors import UserError
from trainer.commands.options import PATH, conditions, numbers, passed_over
from trainer.console import CONTEXT, say
from trainer.errors import refusing


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot sample runs/r3gan-cpu-64-studio --n 64 --seed 7 --out grid.png
  packshot sample runs/photos --best --out best.png
  packshot sample models/r3gan/1 --label shoes --n 16 --out shoes.png
  packshot sample models/r3gan/1 --label shoes --attribute colour=red --out red-shoes.png
  packshot sample runs/words --text "a red striped mug" --n 16 --out mugs.png
  packshot sample runs/vae --between 3 9 --between one.jpg other.jpg --steps 10 --label shoes --out between.png
""")
@click.argument("export_or_run", type=PATH)
@click.option("--n",          help="Number of pictures", metavar="N", type=click.IntRange(1, 4096), default=64)
@click.option("--seed",       help="Seed of the first picture; the next ones count up", metavar="N", type=click.IntRange(0), default=0)
@click.option("--label",      help="Class by name, or by number from 0 if no class has that name [default: all in turn]", metavar="NAME")
@click.option("--condition", "--attribute", "condition",
              help="Value of another condition, by name or number; repeatable [default: drawn for each picture, unknown with --text]",
              metavar="NAME=VALUE", multiple=True)
@click.option("--text",       help="What the pictures show, in words, for a model of words [default: nothing is said]", metavar="WORDS")
@click.option("--truncation", help="Below 1: more typical, less varied pictures [default: 1]", metavar="X", type=click.FloatRange(0, 2))
@click.option("--set",        help="A number that the model takes; repeatable", metavar="NAME=X", multiple=True)
@click.option("--between",    help="Instead, a row from one seed or photo to another; repeatable", metavar="A B", nargs=2, multiple=True)
@click.option("--steps",      help="Pictures in a row of --between, both ends included", metavar="N", type=click.IntRange(2, 64), default=8)
@click.option("--best",       help="Of a run: the best checkpoint instead of the newest", is_flag=True)
@click.option("--out",        help="Picture to write, .png or .jpg", metavar="FILE", type=PATH, default="samples.png")
# fmt: on
@click.pass_context
def main(context, export_or_run, n, seed, label, condition, text, truncation, between, steps, best, out, **options):
    """Make a grid of pictures with an exported model or the newest export of a run."""
    from data import outputs
    from data.images import grid
    from serving.export import offline
    from trainer.runs.exporting import find_export

    by = "packshot sample"
    with refusing():
        encode = outputs.encoder(out)
        outputs.check([out], by)
        told, knobs = conditions(label, condition), numbers(options["set"], truncation=truncation)
        _agree(context, between)
        export = find_export(export_or_run, say, at_best=best)
        if between:
            pairs = [tuple(map(_end, pair)) for pair in between]
            made, columns = offline.between(export, pairs, steps, conditions=told), steps
        else:
            if text is not None and (unknown := offline.unknown_words(export, text)):
                say(passed_over(unknown))
            made, columns = offline.sample(export, n, seed, conditions=told, text=text, numbers=knobs), None
        outputs.write(out, encode(grid(made, columns)), by)
    say(f"{len(made)} pictures: {out}")


def _agree(context, between):
    """Raises UserError for options that go with --between only, or not with it."""
    given = [
        f"--{name}"
        for name in (("n", "seed", "text", "truncation", "set") if between else ("steps",))
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
    if given:
        raise UserError(f"{given[0]} does not go with --between" if between else f"{given[0]} is of rows: give --between too")


def _end(text):
    """A seed, or the path of a photo."""
    return int(text) if text.isdecimal() else files.resolve(text)
