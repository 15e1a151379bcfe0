"""`packshot evaluate` and `packshot compare`: measure models in named numbers with errors, and in pictures."""

import os

import click

from data import files
from data.catalogue import KINDS
from trainer.commands.options import PATH
from trainer.console import CONTEXT, progress, say
from trainer.errors import Refused, refusing

# fmt: off
OPTIONS = (
    click.option("--data",       help="Pictures to measure with [default: for generation the training source, else its sibling split]", metavar="SOURCE"),
    click.option("--held-out",   help="Real pictures not trained on, to detect copying [default: the sibling split of the training source]", metavar="SOURCE"),
    click.option("--features",   help="Feature network: packshot, inception[:PATH], keras:NAME, vgg16:PATH, alexnet:PATH or file:PATH", metavar="SPEC", default="packshot"),
    click.option("--lpips",      help="Also measure LPIPS of pairs: alexnet:PATH or vgg16:PATH", metavar="SPEC"),
    click.option("--n", "count", help="Pictures [default: as many as in the data; at most 10,000 made pictures or 1,000 pairs]", metavar="N", type=click.IntRange(1)),
    click.option("--seed",       help="Seed of the first made picture; the next ones count up", metavar="N", type=click.IntRange(0), default=0),
    click.option("--attributes", help="Also measure whether pictures show the class, the attributes and the words that were asked for, by a classifier trained on real ones", is_flag=True),
    click.option("--truncation", help="Below 1: more typical, less varied pictures", metavar="X", type=click.FloatRange(0, 2), default=1.0),
)
# fmt: on


def options(command):
    """Adds the options shared by `evaluate` and `compare` to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot evaluate runs/photos
  packshot evaluate runs/photos --held-out folder:photos/validation --n 3000
  packshot evaluate runs/words --attributes
  packshot evaluate models/espcn/3 --data pairs:Set5/x4 --out set5.html --json set5.json
  packshot evaluate runs/edges --lpips alexnet:alexnet.ckpt
""")
@click.argument("run_or_export", type=PATH)
@options
@click.option("--out",             help="Page to write [default: evaluation.html in the run's folder]", metavar="HTML", type=PATH)
@click.option("--json", "as_json", help="JSON file to write [default: next to the page]", metavar="FILE", type=PATH)
# fmt: on
def evaluate(run_or_export, out, as_json, features, lpips, **asked):
    """Measure a model and write a page with pictures and a JSON file."""
    from data import outputs
    from trainer.evaluation import report
    from trainer.evaluation.evaluated_model import open_model
    from trainer.evaluation.page import page
    from trainer.metrics.estimate import format_estimate

    by = "packshot evaluate"
    with refusing():
        out = out or _default(run_or_export)
        as_json = as_json or f"{os.path.splitext(out)[0]}.json"
        outputs.check([out, as_json], by)
        (evaluation,) = _measure([open_model(run_or_export, say)], features, lpips, asked)
        outputs.write_json(as_json, report.as_values(evaluation), by)
        outputs.write(out, page(evaluation), by)
    for note in evaluation.notes:
        click.echo(note)
    click.echo()
    for name, estimate in evaluation.metrics.items():
        click.echo(f"  {name:<44} {format_estimate(estimate)}")
    say(f"page: {out}\nfor machines: {as_json}")


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot compare runs/photos runs/photos-ada
  packshot compare runs/x4-small runs/x4-large --data folder:photos/validation --out x4.html
  packshot compare runs/a runs/b --ratings ratings.json
""")
@click.argument("runs_or_exports", nargs=-1, required=True, metavar="RUN_OR_EXPORT...", type=PATH)
@options
@click.option("--ratings",         help="Ratings by people, from `packshot rate score`", metavar="FILE", type=PATH)
@click.option("--out",             help="Page to write", metavar="HTML", type=PATH, default="comparison.html")
@click.option("--json", "as_json", help="JSON file to write [default: next to the page]", metavar="FILE", type=PATH)
# fmt: on
def compare(runs_or_exports, out, as_json, features, lpips, ratings, **asked):
    """Measure several models in the same way, rank them, and show them side by side."""
    from data import outputs
    from trainer.evaluation.comparison import compare as ranked
    from trainer.evaluation.evaluated_model import open_model
    from trainer.evaluation.page import comparison_page
    from trainer.rating.answers import read_ratings
    from trainer.runs.names import short_names

    if len(runs_or_exports) < 2:
        raise Refused("compare takes at least two runs or exports; for one, use packshot evaluate")
    by = "packshot compare"
    with refusing():
        names = short_names(runs_or_exports)
        as_json = as_json or f"{os.path.splitext(out)[0]}.json"
        outputs.check([out, as_json], by)
        rated = read_ratings(ratings) if ratings else None
        models = [open_model(path, say) for path in runs_or_exports]
        comparison = ranked(_measure(models, features, lpips, asked), names, ratings=rated)
        outputs.write_json(as_json, comparison.as_values(), by)
        outputs.write(out, comparison_page(comparison), by)
    click.echo(comparison.headline)
    for sentence in comparison.sentences():
        click.echo(f"  {sentence}")
    say(f"page: {out}\nfor machines: {as_json}")


for _command in (evaluate, compare):
    _command.help += f" SOURCE is one of {', '.join(KINDS)}."


def _measure(models, features, lpips, asked):
    """Evaluates each model by the same request."""
    from trainer.evaluation.request import Request
    from trainer.features.catalogue import open_features, open_lpips
    from trainer.tasks.exports import measure_all

    request = Request(**asked, lpips=lpips and open_lpips(lpips))
    return measure_all(models, request, open_features(features), progress)


def _default(run_or_export):
    from serving.export.layout import latest
    from trainer.runs.folder import RunDir
    from trainer.runs.names import short_names

    folder = RunDir(run_or_export)
    if files.exists(folder.config):
        return f"{folder.root}/evaluation.html"
    (name,) = short_names([latest(run_or_export)])
    return f"evaluation-{name.replace('/', '-')}.html"
