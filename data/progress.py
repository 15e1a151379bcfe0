"""The protocol by which long work shows how far it is: `for item in progress(items, total, "reading")`.

A function that takes long has an argument `progress`, `silent` by default; commands hand down `trainer.console.progress`.
"""

from collections.abc import Callable, Iterable

# (items, their number if known, a word for the work) -> the items
Progress = Callable[[Iterable, int | None, str], Iterable]


def silent(items: Iterable, total: int | None, what: str) -> Iterable:
    """Shows nothing: the items themselves."""
    return items
