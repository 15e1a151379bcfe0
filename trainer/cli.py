"""The `packshot` command: everything a person does, by verb. Each command imports what it needs when it runs."""

import json

import click

from data.catalogue import KINDS
from trainer import bundle, canary, evaluate, inspect_data, rate, request, task
from trainer.errors import Printing, Refused, refusing
from trainer.options import MODEL_NAME, PATH, VERSION


class Packshot(Printing, click.Group):
    """The group itself."""


@click.group(cls=Packshot, context_settings=task.CONTEXT)
@click.version_option(package_name="packshot")
def main():
    """Train image models of products, and ship them to TensorFlow Serving."""


main.add_command(task.main, "train")
main.add_command(inspect_data.main)
main.add_command(evaluate.evaluate, "evaluate")
main.add_command(evaluate.compare, "compare")
main.add_command(request.main, "request")
main.add_command(bundle.main, "bundle")
main.add_command(canary.main, "canary")
main.add_command(rate.main, "rate")


# fmt: off
@main.command(context_settings=task.CONTEXT, epilog="""
\b
Examples:
  packshot sample runs/r3gan-cpu-64-studio --n 64 --seed 7 --out grid.png
  packshot sample runs/photos --best --out best.png
  packshot sample models/r3gan/1 --label shoes --n 16 --out shoes.png
""")
@click.argument("export_or_run", type=PATH)
@click.option("--n",          help="Number of pictures", metavar="N", type=click.IntRange(1, 4096), default=64)
@click.option("--seed",       help="Seed of the first picture; the others follow", metavar="N", type=click.IntRange(0), default=0)
@click.option("--label",      help="Category by name, or by number from 0 where none has that name [default: all in turn]", metavar="NAME")
@click.option("--truncation", help="Below 1: more typical, less varied pictures", metavar="X", type=click.FloatRange(0, 2), default=1.0)
@click.option("--best",       help="Of a run: its best checkpoint, not its newest", is_flag=True)
@click.option("--out",        help="Picture to write, .png or .jpg", metavar="FILE", type=PATH, default="samples.png")
# fmt: on
def sample(export_or_run, n, seed, label, truncation, best, out):
    """Make pictures with an exported model, or with the newest export of a run, as one grid."""
    from data import outputs
    from data.images import grid
    from serving import pictures

    by = "packshot sample"
    with refusing():
        encode = outputs.encoder(out)
        outputs.check([out], by)
        made = pictures.sample(_exported(export_or_run, best), n=n, seed=seed, label=label, truncation=truncation)
        outputs.write(out, encode(grid(made)), by)
    task.say(f"{n} pictures: {out}")


# fmt: off
@main.command(context_settings=task.CONTEXT, epilog="""
\b
Example:
  packshot apply runs/espcn-x4-train photos/ --out larger/
""")
@click.argument("export_or_run", type=PATH)
@click.argument("photos", type=PATH)
@click.option("--best", help="Of a run: its best checkpoint, not its newest", is_flag=True)
@click.option("--out", help="Folder for the PNG files", metavar="DIR", type=PATH, required=True)
# fmt: on
def apply(export_or_run, photos, best, out):
    """Send a photo, or a folder of photos, through an exported translation or enhancement model.

    A photo that cannot be used is named and left out; the others go on. No photo is ever written over.
    """
    from tqdm import tqdm

    from serving import pictures
    from trainer.photos import pairs, told, write

    with refusing():
        work = pairs(photos, out, task.say)
        results = pictures.apply(_exported(export_or_run, best), (photo for photo, _ in work))
        failed = 0
        for (photo, target), result in zip(
            work, tqdm(results, total=len(work), unit="photo", disable=None), strict=True
        ):
            error = result if isinstance(result, Exception) else write(target, result)
            if error:
                failed += 1
                task.say(told(photo, error))
    task.say(f"{len(work) - failed} of {len(work)} pictures: {out}")
    if failed == len(work):
        raise Refused("none of the files could be used")


# fmt: off
@main.command(context_settings=task.CONTEXT, epilog="""
\b
Examples:
  packshot export runs/r3gan-cpu-64-studio --to models
  packshot export runs/photos --best --to models
""")
@click.argument("run_folder", metavar="RUN", type=PATH)
@click.option("--to",      help="Folder of models, as TensorFlow Serving's base paths lie in it", metavar="DIR", type=PATH, required=True)
@click.option("--name",    help="Name of the model [default: the family's]", metavar="NAME", type=MODEL_NAME)
@click.option("--version", help="Version [default: the last plus one]", metavar="N", type=click.IntRange(1, VERSION.max))
@click.option("--best",    help="The best checkpoint, as the evaluations of the run found, not the newest", is_flag=True)
# fmt: on
def export(run_folder, to, name, version, best):
    """Export the newest checkpoint of a run, or its best, verified in TensorFlow Serving's own runtime."""
    from trainer import exporting

    with refusing():
        exporting.export_checkpoint(run_folder, to, name, version, task.say, best)


# fmt: off
@main.command(context_settings=task.CONTEXT, epilog="""
\b
Example:
  packshot prepare folder:photos/train --out shards --size 128
  python -m trainer.task --data 'tfrecord:shards/*.tfrecord'
""")
@click.argument("source", metavar="SOURCE")
@click.option("--out",    help="Folder for the shards", metavar="DIR", type=PATH, required=True)
@click.option("--size",   help="Side of the square pictures", metavar="PX", type=click.IntRange(8, 4096), required=True)
@click.option("--fit",    help="How a picture becomes square", type=click.Choice(["crop", "pad", "stretch"]), default="crop")
@click.option("--shards", help="Number of files", metavar="N", type=click.IntRange(1, 1024), default=4)
# fmt: on
def prepare(source, out, size, fit, shards):
    """Decode a source once and write it as TFRecord shards, which read fast from anywhere."""
    from tqdm import tqdm

    from data import catalogue, outputs
    from data.quarantine import Quarantine
    from data.sources import tfrecord
    from data.sources.protocol import join

    with refusing():
        outputs.check_folder(out)
        opened, quarantine = catalogue.open_source(source), Quarantine()
        with tqdm(total=opened.count, unit="img", disable=None) as bar:
            summary = tfrecord.write(
                opened, out, size, fit, shards, progress=lambda count: bar.update(count - bar.n), quarantine=quarantine
            )
        quarantine.tell(task.say, path=join(out, "left_out.json"))
    task.say(f"{summary['count']} examples in {shards} shards: {out}")


prepare.help += f" SOURCE is one of {', '.join(KINDS)}."


@main.command(context_settings=task.CONTEXT)
@click.option("--json", "as_json", help="For machines", is_flag=True)
def families(as_json):
    """The model families: name, task, presets, parameters of the default preset, paper."""
    from trainer.families import table

    with refusing():
        rows = table()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']}  ({row['task']})\n  {row['summary']}\n  {row['paper']}")
        click.echo(f"  presets: {', '.join(row['presets'])}; {row['preset']}: {row['parameters'] / 1e6:.2f} M parameters served\n")


@main.command(context_settings=task.CONTEXT)
def doctor():
    """What this machine has, and what is missing. Exit code 1 if something needed is."""
    from trainer.doctor import report

    with refusing():
        lines, healthy = report()
    click.echo("\n".join(lines))
    if not healthy:
        raise SystemExit(1)


def _exported(export_or_run: str, best: bool) -> str:
    """The folder of a SavedModel version: of an export, a model's folder, or a run (its newest export, made now if it is behind)."""
    from trainer import exporting

    return exporting.find_export(export_or_run, task.say, best)


if __name__ == "__main__":
    main()
