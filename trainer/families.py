"""`packshot families`: the table of what can be trained, read from the families themselves."""

import re

import keras

from models import catalogue


def table() -> list[dict]:
    """One dict a family: name, task, summary and paper (from its docstring), presets (name -> weights of the served network)."""
    rows = []
    for name, task in catalogue.names().items():
        family = catalogue.load(name)
        summary, paper = headline(family.__doc__)
        rows.append({"name": name, "task": task, "summary": summary, "paper": paper, "presets": _sizes(family)})
    return rows


def headline(docstring: str) -> tuple[str, str]:
    """(first line, the paper's title with its arXiv number) of a family's docstring."""
    title = re.search(r'"([^"]{10,}?)",', docstring)
    number = re.search(r"arXiv (\d{4}\.\d{4,5})", docstring)
    paper = " ".join(title.group(1).split()) if title else ""
    return docstring.splitlines()[0], f"{paper} (arXiv {number.group(1)})" if number else paper


def _sizes(family):
    sizes = {}
    for preset, config in family.PRESETS.items():
        sizes[preset] = family.Model(config).average.count_params()
        keras.backend.clear_session()
    return sizes
