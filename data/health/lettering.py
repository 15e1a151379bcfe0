"""Rows of letters: what captions, prices, date stamps and names of shops look like, whatever they say.

Strokes are what stands out of their surroundings by a top-hat, light or dark, in the brightest or in the darkest
channel, so that a letter of any colour shows. Pieces of the size of letters form a row when their feet or heads stand
on one line, their heights and colours agree and their gaps are small. A fabric or a carpet has many such pieces, so
the row must stand out from what is around it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from data.health.thresholds import EVENLY, LETTERS, MARGIN, STANDS_OUT

_CONTRAST = 28  # grey levels by which a stroke stands out
_LOW, _HIGH = 6, 45  # px, height of a letter
_HIGH_UPRIGHT = 24  # px, of letters that stand upright: dates and names of cameras, which are small
_MOST = 1500  # pieces in a picture; beyond, it is all texture
_ALIKE = 40  # grey levels between the colours of neighbouring letters
_ON_LINE, _NEARLY_ON_LINE = 0.8, 0.5  # of the letters: by their feet or heads, and by the others
_UNEVEN = 0.2  # standard deviation over mean of the heights
_LONG = 12  # letters; more do not make a row more certain
_PATTERN = 5  # pieces, from which on evenness is no chance
_STRIP = 0.2  # of the side: where small lettering is looked for, a little more than the margin


@dataclass(frozen=True)
class Row:
    """A row of `letters`; `box` is (left, top, right, bottom) in fractions of the picture."""

    letters: int
    box: tuple[float, float, float, float]
    in_margin: bool


def rows(picture: np.ndarray) -> list[Row]:
    """Rows of letters in uint8 [height, width, 3]: small ones in the margins, where they may also stand upright, and
    larger level ones anywhere.
    """
    half = np.asarray(Image.fromarray(picture).reduce(2))
    found = [_row(count, box, half.shape) for count, box in _level_rows(half)]
    for upright in (False, True):
        frame = picture.transpose(1, 0, 2) if upright else picture
        strip = round(_STRIP * len(frame))
        for start in (0, len(frame) - strip):
            highest = _HIGH_UPRIGHT if upright else _HIGH
            for count, (top, bottom, left, right) in _level_rows(frame[start : start + strip], highest):
                row = _row(count, (top + start, bottom + start, left, right), frame.shape, upright)
                found += [row] if row.in_margin else []
    return found


def _row(count, box, shape, upright=False):
    top, bottom, left, right = (float(edge / shape[edge_of]) for edge, edge_of in zip(box, (0, 0, 1, 1), strict=True))
    place = (top, left, bottom, right) if upright else (left, top, right, bottom)
    return Row(count, place, bottom < MARGIN or top > 1 - MARGIN)


def _level_rows(picture, highest=_HIGH) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    """Yield (number of letters, (top, bottom, left, right) in px) of every row."""
    for strokes in _strokes(picture):
        boxes, colours = _pieces(strokes, picture)
        if not LETTERS <= len(boxes) <= _MOST:
            continue
        group = _neighbours(boxes, colours)
        for member in np.flatnonzero(np.bincount(group) >= LETTERS):
            row = boxes[group == member]
            box = (row[:, 0].min(), row[:, 1].max(), row[:, 2].min(), row[:, 3].max())
            written = _in_line(row) and not _even(row) and np.max(row[:, 1] - row[:, 0]) <= highest
            if written and min(len(row), _LONG) ** 2 * _standing_out(strokes, *box) > STANDS_OUT:
                yield len(row), box


def _strokes(picture):
    """Contrast of light and of dark strokes: two arrays uint8 [height, width]."""
    red, green, blue = np.moveaxis(picture, 2, 0)
    darkest = np.minimum(np.minimum(red, green), blue)
    brightest = np.maximum(np.maximum(red, green), blue)
    for one, other in ((darkest, brightest), (255 - darkest, 255 - brightest)):
        yield np.maximum(_top_hat(one), _top_hat(other))


def _top_hat(values):
    return values - _over_square(_over_square(values, np.minimum), np.maximum)


def _over_square(values, function):
    """Minimum or maximum over 9 x 9 px, by doubling: 1 + 1, + 2, + 4, + 1."""
    for _ in range(2):
        values = np.concatenate([values[:1].repeat(4, axis=0), values, values[-1:].repeat(4, axis=0)])
        for step in (1, 2, 4, 1):
            values = function(values[:-step], values[step:])
        values = np.ascontiguousarray(values.T)
    return values


def _pieces(strokes, picture):
    """Boxes int [n, 4] (top, bottom, left, right) of pieces of the size of letters, from left to right, and colours
    float [n, 3].
    """
    around = _over_square(strokes, np.maximum)
    inked = (strokes >= _CONTRAST) & (strokes > around // 2)
    labels, count = ndimage.label(inked)
    if count < LETTERS:
        return np.empty((0, 4), int), np.empty((0, 3))
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    found = ndimage.find_objects(labels)
    large = np.flatnonzero(area >= 8)
    boxes = np.array([(y.start, y.stop, x.start, x.stop) for y, x in (found[i] for i in large)]).reshape(-1, 4)
    height, width = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    letters = (height >= _LOW) & (height <= _HIGH) & (width >= 2) & (width <= 1.8 * height)
    letters &= area[large] >= 0.12 * height * width
    letters = np.flatnonzero(letters)
    letters = letters[np.argsort(boxes[letters, 2], kind="stable")]
    core = np.flatnonzero((inked & (strokes > around * 0.8)).ravel())
    owner = labels.ravel()[core]
    size = np.maximum(np.bincount(owner, minlength=count + 1), 1)
    pixels = picture.reshape(-1, 3)[core]
    colours = np.stack([np.bincount(owner, pixels[:, c], count + 1) / size for c in range(3)], axis=1)
    return boxes[letters], colours[large[letters] + 1]


def _neighbours(boxes, colours):
    """The row to which each piece belongs, int [n]; the pieces come from left to right."""
    top, bottom, left, right = boxes.T
    height = bottom - top
    tallest = np.maximum(height[:, None], height)
    gap = left - right[:, None]
    slack = np.maximum(1, 0.08 * tallest)
    level = (np.abs(bottom - bottom[:, None]) <= slack) | (np.abs(top - top[:, None]) <= slack)
    near = (gap > -0.2 * tallest) & (gap < tallest) & (np.minimum(height[:, None], height) > 0.5 * tallest)
    one, other = np.nonzero(np.triu(level & near, 1))
    alike = np.abs(colours[one] - colours[other]).max(axis=1, initial=0) < _ALIKE
    links = csr_matrix((np.ones(alike.sum(), bool), (one[alike], other[alike])), (len(boxes),) * 2)
    return connected_components(links, directed=False)[1]


def _in_line(row):
    height = row[:, 1] - row[:, 0]
    slack = max(1, 0.08 * height.max())
    shares = [np.mean(np.abs(edge - np.median(edge)) <= slack) for edge in (row[:, 0], row[:, 1])]
    even = height.std() < _UNEVEN * height.mean()
    return even and height.max() >= _LOW + 2 and max(shares) >= _ON_LINE and min(shares) >= _NEARLY_ON_LINE


def _even(row):
    """Whether pieces follow each other too evenly for letters."""
    steps = np.diff(row[:, 2])
    return len(row) >= _PATTERN and steps.std() < EVENLY * steps.mean()


def _standing_out(strokes, top, bottom, left, right):
    """How many times the stroke contrast of the quietest two sides around a box is that inside."""
    height, gap = bottom - top, 2
    sides = (
        strokes[max(0, top - gap - height) : max(0, top - gap), left:right],
        strokes[bottom + gap : bottom + gap + height, left:right],
        strokes[top:bottom, max(0, left - gap - 2 * height) : max(0, left - gap)],
        strokes[top:bottom, right + gap : right + gap + 2 * height],
    )
    quiet = sorted(side.mean() for side in sides if min(side.shape) >= 3)[:2]
    return strokes[top:bottom, left:right].mean() / (np.mean(quiet) + 1) if quiet else 0.0
