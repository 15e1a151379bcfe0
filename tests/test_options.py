"""Every command and option there is, frozen in options.txt: one that is renamed, gone or has another default is a decision.

python tests/test_options.py    # writes options.txt anew; its difference is for the changelog
"""

import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent.parent))

from trainer.cli import main  # noqa: E402

FROZEN = Path(__file__).parent / "options.txt"


def lines(command, path="packshot"):
    """A line for each parameter of a command and of those below it: command, names, what it takes, default."""
    for parameter in command.params:
        names = "/".join((*parameter.opts, *parameter.secondary_opts))
        yield " ".join(filter(None, (path, names, kind(parameter), default(parameter))))
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from lines(inner, f"{path} {name}")


def kind(parameter):
    taken = parameter.type
    if getattr(parameter, "is_flag", False):
        return "flag"
    if isinstance(taken, click.Choice):
        words = "|".join(taken.choices)
    elif isinstance(taken, click.IntRange | click.FloatRange):
        least, most = ("" if bound is None else f"{bound}" for bound in (taken.min, taken.max))
        words = f"{taken.name.removesuffix(' range')}[{least}..{most}]"
    else:
        words = taken.name
    return words + (" repeatable" if getattr(parameter, "multiple", False) or parameter.nargs == -1 else "")


def default(parameter):
    if parameter.required:
        return "required"
    value = parameter.to_info_dict()["default"]
    return f"default {value}" if isinstance(value, str | int | float | list) and value is not False else ""


def written():
    return "".join(f"{line}\n" for line in lines(main))


def test_options_are_those_that_are_frozen():
    there, known = set(written().splitlines()), set(FROZEN.read_text().splitlines())
    assert (sorted(known - there), sorted(there - known)) == ([], []), "see the docstring of this file"


def test_none_is_passed_over():
    names = {word for line in written().splitlines() for word in line.split()}
    assert {"--images", "--export-to", "--server", "--no-mirror"} <= {
        part for name in names for part in name.split("/")
    }


if __name__ == "__main__":
    FROZEN.write_text(written())
