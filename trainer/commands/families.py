"""`packshot families`: the table of model families, read from their modules."""

import json
import re

import click

from data.catalogue import open_source
from data.facts import Facts
from data.words import learn
from models import catalogue
from trainer.console import CONTEXT
from trainer.errors import refusing


def table() -> list[dict]:
    """Returns a dict for each family: name, task, summary and paper (from its docstring), presets, default preset, and the number of
    weights that it serves."""
    rows = []
    for name, task in catalogue.names().items():
        family = catalogue.load(name)
        summary, paper = headline(family.__doc__)
        preset = catalogue.default_preset(family, None)
        model = _default(family)
        rows.append(
            {
                "name": name,
                "task": task,
                "summary": summary,
                "paper": paper,
                "presets": list(family.PRESETS),
                "preset": preset,
                "parameters": model.ema.count_params(),
            }
        )
    return rows


def _default(family):
    """The model of a family's default preset, with that of the first family that gives what it wants, or with the words of `studio`."""
    config, wants = family.PRESETS[catalogue.default_preset(family, None)], family.Model.WANTS
    if family.Model.WORDS == "needed":
        return family.Model(config, facts=Facts(words=learn(open_source("studio:256", 0).captions())))
    if not wants:
        return family.Model(config)
    others = map(catalogue.load, catalogue.names())
    parent = next(other for other in others if wants in other.Model.GIVES and not other.Model.WANTS)
    return family.Model(config, parent=_default(parent))


def headline(docstring: str) -> tuple[str, str]:
    """Returns (first line, paper title with its arXiv number) of a family's docstring."""
    title = re.search(r'"([^"]{10,}?)",', docstring)
    number = re.search(r"arXiv (\d{4}\.\d{4,5})", docstring)
    paper = " ".join(title.group(1).split()) if title else ""
    return docstring.splitlines()[0], f"{paper} (arXiv {number.group(1)})" if number else paper


@click.command(context_settings=CONTEXT)
@click.option("--json", "as_json", help="Print JSON", is_flag=True)
def main(as_json):
    """List the model families: name, task, presets, parameters of the default preset, paper."""
    with refusing():
        rows = table()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']}  ({row['task']})\n  {row['summary']}\n  {row['paper']}")
        click.echo(
            f"  presets: {', '.join(row['presets'])}; {row['preset']}: {row['parameters'] / 1e6:.2f} M parameters served\n"
        )
