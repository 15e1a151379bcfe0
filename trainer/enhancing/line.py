"""A line of photos on which reading, the model and writing work at the same time."""

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from data import files, images, outputs, photo_files
from data.images import BadPicture
from trainer import photos
from trainer.enhancing import steps
from trainer.enhancing.steps import Plan

BY = "packshot enhance"
ROOM = images.MAX_PIXELS  # pixels of results under way at once; a photo with more of them is alone


class Item(NamedTuple):
    """A photo, the file to make of it, and the mask of what to keep, or None: paths."""

    photo: str
    target: str
    mask: str | None = None


def up_to_date(item: Item, by: str) -> bool:
    """Returns whether the target was made by `by`, which names the settings, after photo and mask were last changed."""
    sources = [path for path in (item.photo, item.mask) if path]
    try:
        made = files.stamp(item.target)[0]
        return made >= max(files.stamp(path)[0] for path in sources) and outputs.made_by(item.target, by)
    except OSError:
        return False


def enhanced(items: Sequence[Item], plan: Plan, by: str) -> Iterator[tuple[Item, Exception | None]]:
    """Enhance photos and write them as made by `by`; yields each in order when it is done, with what was wrong with it or None.

    Raises OSError for a full disk. The pixels under way are bounded by `ROOM`, whatever the photos' sizes.
    """
    workers = min(4, os.cpu_count() or 1)
    room = _Room(ROOM)
    readers, writers = ThreadPoolExecutor(workers), ThreadPoolExecutor(workers)
    reading, writing = deque(), deque()
    waiting = enumerate(items)
    try:
        while True:
            while len(reading) <= workers and (following := next(waiting, None)):
                turn, item = following
                reading.append((item, readers.submit(_read, item, turn, plan, room)))
            if reading:
                item, future = reading.popleft()
                work, pixels, error = future.result()
                if error is None:
                    work, error = _attempt(steps.enhance, work, plan)
                writing.append((item, writers.submit(_write, item, work, error, plan, by)))
                writing[-1][1].add_done_callback(lambda _, pixels=pixels: room.leave(pixels))
                del work
            while writing and (len(writing) > workers or not reading or writing[0][1].done()):
                item, future = writing.popleft()
                yield item, future.result()
            if not reading and not writing:
                return
    finally:
        room.close()
        for pool in (readers, writers):
            pool.shutdown(cancel_futures=True)


def _read(item, turn, plan, room):
    """(work or None, pixels in the room, error or None)."""
    content, error = _attempt(files.read, item.photo)
    pixels = 0
    if error is None:
        pixels, error = _attempt(steps.weight, content, plan)
    pixels = room.enter(turn, pixels or 0)
    if error is None:
        work, error = _attempt(_prepared, content, plan, item.mask)
    return (None if error else work), pixels, error


def _prepared(content, plan, mask):
    return steps.prepare(content, plan, mask=files.read(mask) if mask else None)


def _write(item, work, error, plan, by):
    if error is None:
        ending = os.path.splitext(item.target)[1].lower()
        content, error = _attempt(steps.finish, work, plan, photo_files.ENDINGS[ending])
    return error or photos.write(item.target, content, by=by)


def _attempt(function, *arguments):
    """(result, None), or (None, what was wrong with the photo)."""
    try:
        return function(*arguments), None
    except MemoryError:
        return None, BadPicture("memory does not suffice for it")
    except (BadPicture, OSError) as error:
        return None, error


class _Room:
    """Room for so many pixels. Photos enter in their turn, so that one which waits is never kept out by a later one."""

    def __init__(self, size):
        self._size = self._free = size
        self._turn = 0
        self._changed = threading.Condition()
        self._open = True

    def enter(self, turn, pixels):
        """Wait until there is room; returns what is taken, all of it at most."""
        pixels = min(pixels, self._size)
        with self._changed:
            self._changed.wait_for(lambda: not self._open or (self._turn == turn and self._free >= pixels))
            self._turn += 1
            self._free -= pixels
            self._changed.notify_all()
        return pixels

    def leave(self, pixels):
        with self._changed:
            self._free += pixels
            self._changed.notify_all()

    def close(self):
        """Let all pass who wait."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
