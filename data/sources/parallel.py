"""Read and decode in several threads, in order, and never far ahead of the consumer."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from data import files
from data.images import BadPicture, is_sheet
from data.quarantine import Quarantine
from data.sources.protocol import SourceError, join

SHEET = "a sheet of samples that packshot made"
_CHUNK = 8  # items a task: one at a time, handing over costs a tenth of decoding a small picture


def ordered_map(function: Callable, items: Iterable, *, workers: int | None = None) -> Iterator:
    """Yield `function(item)` for every item, in order, computed by `workers` threads (default: one a core).

    At most a few chunks an idle consumer are computed ahead, so memory stays bounded. What `function` raises is raised
    when its chunk is reached; closing the iterator stops the threads.
    """
    workers = workers or os.cpu_count() or 1
    items = iter(items)
    pending = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="packshot-read")
    try:
        while True:
            while len(pending) < 2 * workers + 1 and (chunk := list(islice(items, _CHUNK))):
                pending.append(pool.submit(lambda chunk: [function(item) for item in chunk], chunk))
            if not pending:
                return
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_picture(path: str) -> bytes:
    """The bytes of a picture file. Raises OSError, and BadPicture for a sheet of samples that packshot made."""
    content = files.read(path)
    if is_sheet(content):
        raise BadPicture(SHEET)
    return content


def file_sizes(root: str, names: Sequence[str]) -> list[int]:
    """Lengths in bytes of files under `root`; -1 for one that cannot be read."""

    def size(name):
        try:
            return files.size(join(root, name))
        except OSError:
            return -1

    return list(ordered_map(size, names, workers=32 if files.is_remote(root) else None))


def read_good(load: Callable, items: Iterable, quarantine: Quarantine, where: str) -> Iterator:
    """Yield `load(item)` for every (name, item), in order. Items that raise BadPicture or OSError are quarantined by name.

    Raises SourceError at the end when nothing at all could be read under `where`.
    """

    def attempt(named):
        name, item = named
        try:
            return name, load(item), None
        except BadPicture as error:
            return name, None, str(error)
        except OSError as error:
            return name, None, f"cannot be read: {error.strerror or error}"

    good = bad = 0
    for name, example, reason in ordered_map(attempt, items, workers=32 if files.is_remote(where) else None):
        if reason is None:
            good += 1
            yield example
        else:
            bad += 1
            quarantine.add(name, reason)
    if bad and not good:
        raise SourceError(f"nothing usable was found under {where}: {quarantine.sentence()}")
