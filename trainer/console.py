"""Output of every command on standard error: sentences and progress."""

import sys
import time
from collections.abc import Iterable, Iterator

import click

CONTEXT = {"show_default": True, "max_content_width": 110}
SECONDS = 20  # between two plain lines


def say(sentence: str) -> None:
    """Prints a line for the user on standard error."""
    click.echo(sentence, err=True)


def progress(items: Iterable, total: int | None, what: str) -> Iterator:
    """The items, while standard error shows how many there were: a bar on a terminal, elsewhere a line every `SECONDS`.

    The one implementation of `data.progress.Progress`. `total` is None where nobody knows; `what` names the work, such as "reading".
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        return iter(tqdm(items, what, total, unit="", dynamic_ncols=True, leave=False))
    return _lines(items, total, what)


def _lines(items, total, what):
    said = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if time.monotonic() - said >= SECONDS:
            said = time.monotonic()
            say(f"{what}: {count:,}" + (f" of {total:,}" if total else ""))
