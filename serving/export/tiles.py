"""Sends a picture of any size through a model in tiles that overlap.

The outermost quarter of an overlap is dropped on either side, as a model sees too little there; across the half between, one tile passes
into the next linearly. So the result is that of the whole picture wherever an output pixel depends on nothing farther than a quarter of the
overlap; what depends on more differs slightly and without a seam.
"""

from collections.abc import Callable

import numpy as np

from data.errors import UserError

OVERLAP = 64  # px of the input
SIDE = 1024  # px of the output: a tile whose result has this side is sent at once
LEAST = 32  # px of the input: no tile is made smaller


class Tiled:
    """A model that takes pictures of any size: called with uint8 [height, width, 3], it returns uint8 [s height, s width, 3].

    Beside picture and result, memory holds one row of tiles' results, and what the model needs for one tile. When that does not suffice,
    `tile` is halved, down to `LEAST` px, and stays so for the pictures to come.

    Args:
        run: takes uint8 [1, h, w, 3] and returns uint8 [1, s h, s w, 3]; raises MemoryError when memory does not suffice.
        tile: side of a tile in px of the input; a picture with no more pixels than tile x tile is sent whole. None: `SIDE` / s.
        overlap: px of the input that neighbours share; half a tile at most.

    Raises UserError if `run` does not return pictures s times as large, for a whole number s.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], tile: int | None = None, *, overlap: int = OVERLAP):
        self._run = run
        self._overlap = overlap
        self.scale = _scale(run)
        self.tile = tile or max(LEAST, SIDE // self.scale)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The result of a whole picture. Raises MemoryError if memory does not suffice for the smallest tiles, and what `run` raises."""
        while True:
            try:
                return self._in_tiles(picture)
            except MemoryError:
                if self.tile <= LEAST:
                    raise
                # A picture that was sent whole may be smaller than a tile.
                self.tile = max(LEAST, min(self.tile, max(picture.shape[:2])) // 2)

    def _in_tiles(self, picture):
        height, width, _ = picture.shape
        if height * width <= self.tile**2:
            return self._run(picture[np.newaxis])[0]
        overlap = min(self._overlap, self.tile // 2)
        tall, tops = _spread(height, self.tile, overlap)
        wide, lefts = _spread(width, self.tile, overlap)
        whole = np.empty((height * self.scale, width * self.scale, 3), np.uint8)
        row = np.empty((tall * self.scale, width * self.scale, 3), np.uint8)
        reached = 0
        for top in tops:
            filled = 0
            for left in lefts:
                part = np.ascontiguousarray(picture[np.newaxis, top : top + tall, left : left + wide])
                filled = self._lay(row, self._run(part)[0], left, filled, axis=1)
            reached = self._lay(whole, row, top, reached, axis=0)
        return whole

    def _lay(self, canvas, piece, start, filled, axis):
        """Put a piece on a canvas that is filled up to `filled` along `axis`, passing over where both are; returns its new end."""
        start *= self.scale
        end, shared = start + piece.shape[axis], filled - start
        canvas, piece = np.moveaxis(canvas, axis, 0), np.moveaxis(piece, axis, 0)
        if shared > 0:
            canvas[start:filled] = _passing(canvas[start:filled], piece[:shared])
        canvas[max(start, filled) : end] = piece[max(shared, 0) :]
        return end


def _scale(run):
    """Returns how many times as large `run` makes a picture."""
    height, width = run(np.full((1, 2 * LEAST, 3 * LEAST, 3), 128, np.uint8)).shape[1:3]
    scale = height // (2 * LEAST)
    if not scale or (height, width) != (2 * LEAST * scale, 3 * LEAST * scale):
        raise UserError(
            f"the model makes {width}x{height} of a picture of {3 * LEAST}x{2 * LEAST}; one that enhances keeps the size, or"
            " makes it a whole number of times as large"
        )
    return scale


def _spread(length, tile, overlap):
    """(side, starts) of the fewest tiles of one size, up to `tile`, that cover `length` and share at least `overlap`."""
    if length <= tile:
        return length, [0]
    count = -(-(length - overlap) // (tile - overlap))
    side = -(-(length + (count - 1) * overlap) // count)
    return side, [index * (length - side) // (count - 1) for index in range(count)]


def _passing(before, after):
    """Passes from one uint8 [n, ...] to another along the first axis: the first and the last quarter are one of them alone."""
    places = (np.arange(len(before), dtype=np.float32) + 0.5) / len(before)
    share = np.clip(2 * places - 0.5, 0, 1).reshape(-1, *[1] * (before.ndim - 1))
    return np.rint(before + share * (after.astype(np.float32) - before)).astype(np.uint8)
