"""The protocol by which long work shows how far it is: `for item in progress(items, total, "reading")`.

A function that takes long has an argument `progress`, `silent` by default; commands hand down `trainer.console.progress`.
"""

from collections.abc import Callable, Iterable

Progress = Callable[
    [Iterable, int | None, str], Iterable
]  # (items, how many if known, what is done to them) -> the items


def silent(items: Iterable, total: int | None, what: str) -> Iterable:
    """Shows nothing: the items themselves."""
    return items
