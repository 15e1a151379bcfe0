"""A hot folder: photos that arrive are found when they have been written to their end."""

import time
from collections.abc import Callable, Iterator

from data import files
from trainer.enhancing.line import Item

SECONDS = 1.0  # between two looks; a file that has not changed between them is complete


def arriving(find: Callable[[], list[Item]]) -> Iterator[list[Item]]:
    """Yield for ever what `find` returns that is new or has changed, once it is complete. Never yields nothing."""
    before, taken = {}, {}
    while True:
        now = {item: seen for item in find() if (seen := _seen(item))}
        ready = [item for item, seen in now.items() if seen == before.get(item) and seen != taken.get(item)]
        if ready:
            yield ready
        taken |= {item: now[item] for item in ready}
        before = now
        time.sleep(SECONDS)


def _seen(item):
    """The stamps of a photo and its mask; None where one is gone again or not there yet."""
    try:
        return tuple(files.stamp(path) for path in (item.photo, item.mask) if path)
    except OSError:
        return None
