"""`packshot rate`: blind comparisons of models by people, on a page without a server, and their scores."""

import os

import click

from data import files
from data.catalogue import KINDS
from data.errors import UserError
from trainer.commands.options import PATH
from trainer.console import CONTEXT, progress, say
from trainer.errors import refusing


@click.group(
    context_settings=CONTEXT,
    epilog="""
\b
Examples:
  packshot rate page runs/r3gan runs/dcgan --data folder:photos/validation --out rate.html
  packshot rate score rate.key.json answers-*.json --out ratings.json
""",
)
def main():
    """Compare models blindly by people: which of two pictures is better?

    `page` writes an HTML file to send to raters; it works in any browser and saves the answers as a file. `score` computes scores from
    these files.
    """


# fmt: off
@main.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot rate page runs/r3gan runs/dcgan --out rate.html
  packshot rate page models/r3gan/1 models/r3gan/2 --data folder:photos/validation --n 100
  packshot rate page runs/espcn-a runs/espcn-b --photos photos/small --text "Which picture is sharper?"
""")
@click.argument("exports_or_runs", nargs=-1, required=True, type=PATH)
@click.option("--out",     help="HTML file to write, with NAME.key.json next to it", metavar="FILE", type=PATH, default="rate.html")
@click.option("--data",    help="Real pictures as one more system, and as inputs of models that take pictures", metavar="SOURCE")
@click.option("--photos",  help="Photo or folder of photos as inputs, for models that take pictures", metavar="PATH", type=PATH)
@click.option("--n",       help="Questions, without the repeated ones", metavar="N", type=click.IntRange(1, 2000), default=60)
@click.option("--repeats", help="Questions asked again with the sides swapped [default: a tenth of N]", metavar="N", type=click.IntRange(0))
@click.option("--text",    help="Question to ask", metavar="TEXT", default="Which is the better product photo?")
@click.option("--seed",    help="Seed of pictures, pairs and sides", metavar="N", type=click.IntRange(0, 2**31 - 1), default=0)
# fmt: on
def page(exports_or_runs, out, data, photos, n, repeats, text, seed):
    """Write a page on which people compare pictures of models, two at a time, without knowing which model made which.

    The page is one file: open it from a disk, mail it, or put it on any web server. Sides are shuffled, pairs come equally often, and
    conditional models are compared within one class. The key next to it, NAME.key.json, holds the models behind the pictures.
    """
    from data import catalogue, outputs
    from trainer.rating import systems
    from trainer.rating.page import build
    from trainer.runs import exporting
    from trainer.runs.names import short_names

    by = "packshot rate page"
    key_path = os.path.splitext(out)[0] + ".key.json"
    with refusing(), systems.loading():
        outputs.check([out, key_path], by)
        named = short_names(exports_or_runs, taken=[systems.REAL])
        source = catalogue.open_source(data, seed) if data else None
        if len(named) + bool(source) < 2:
            raise UserError("a comparison needs two models, or one model and real pictures (--data)")
        found = [exporting.find_export(path, say) for path in exports_or_runs]
        group = systems.together([systems.load(path) for path in found], named)
        repeats = n // 10 if repeats is None else repeats
        questions, gallery = group.show(source, photos, n, repeats=repeats, seed=seed, progress=progress, say=say)
        if source:
            named, found = [*named, systems.REAL], [*found, data]
        html, key = build(questions, gallery, named, found, text)
        _keep_other_keys(key_path, key)
        outputs.write_json(key_path, key, by)
        outputs.write(out, html, by)
    say(f"{len(questions)} questions, {len(html) / 1e6:.1f} MB: send {out} to raters; keep {key_path} to yourself")


page.help += f" SOURCE is one of {', '.join(KINDS)}."


def _keep_other_keys(path, key):
    """Refuses to overwrite the key of another page: without it the answers to that page are lost."""
    from trainer.rating.answers import read_key

    if not files.exists(path):
        return
    try:
        same = read_key(path)["page"] == key["page"]
    except UserError:
        same = False
    if not same:
        raise UserError(f"{path} exists and is not the key of this page; remove it, or give another --out")


# fmt: off
@main.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot rate score rate.key.json answers-ann.json answers-ben.json
  packshot rate score rate.key.json answers-*.json --out ratings.json
""")
@click.argument("key", type=PATH)
@click.argument("answers", nargs=-1, required=True, type=PATH)
@click.option("--out", help="JSON file for the scores (described in docs/rating.md)", metavar="FILE", type=PATH)
# fmt: on
def score(key, answers, out):
    """Compute the score of each model from the answers to a page.

    A score is the probability of being preferred to another system, with its 95 % interval. Of several files of one rater the newest
    counts.
    """
    from data import outputs
    from trainer.rating.answers import newest, ratings, read_answers, read_key

    by = "packshot rate score"
    with refusing():
        if out:
            outputs.check([out], by)
        opened = read_key(key)
        answer_files, older = newest([read_answers(path, opened) for path in answers])
        for answer_file in older:
            say(f"{answer_file.path}: left out, as {answer_file.rater or 'the same rater'} saved again later")
        summed = ratings(opened, answer_files)
        if out:
            outputs.write_json(out, summed, by)
    click.echo("\n".join(_told(summed)))


def _told(summed):
    """Lines for people: a table of the models, best first, and remarks on its reliability."""
    from trainer.metrics.preference import GROUPS

    width = max(map(len, summed["models"]))
    yield f"{'':{width}}  score  95 % interval   wins  ties  losses"
    for name, row in sorted(summed["models"].items(), key=lambda item: -item[1]["score"]):
        interval = f"{row['low']:5.1%} to {row['high']:5.1%}"
        yield f"{name:{width}}  {row['score']:5.1%}  {interval}  {row['wins']:4}  {row['ties']:4}  {row['losses']:6}"
    chosen = summed["left"] + summed["right"]
    sides = f"; the left picture was chosen in {summed['left'] / chosen:.0%} of {chosen} choices" if chosen else ""
    counts = "; ".join(f"{what}: {summed[what]}" for what in ("answers", "raters", "questions"))
    yield f"\n{counts}{sides}"
    for person in summed["people"]:
        again = f"of {person['repeated']} repeated questions {person['same']} alike, {person['opposite']} opposite"
        yield f"  {person['rater'] or 'nameless'}: {person['answers']} answers; {again}"
    for what in ("raters", "questions"):
        if summed[what] < GROUPS:
            yield f"fewer than {GROUPS} {what}: the intervals do not cover other {what}"
