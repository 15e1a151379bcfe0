"""Detector of lettering over a picture: captions, prices, dates and names of shops, whatever they say.

A small network of plain convolutions, made by `benchmarks.make_lettering`, gives for each square of 8 x 8 px the confidence that it
is part of a line of writing laid over the photo. Print on a product bends and blurs with it, and is left alone as often as not.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy import ndimage

from data.inspection.thresholds import LINE, LINE_LONG, LINE_SURE, MARGIN, WRITTEN

_USUAL = 384  # px, to which the longer side of smaller pictures is brought: in them whole products are as large as letters elsewhere
CELL = 8  # px, side of the squares
LAYERS = (  # channels, side of the kernel, stride, spread of the kernel
    (16, 5, 2, 1),
    (32, 3, 2, 1),
    (32, 3, 1, 1),
    (48, 3, 2, 1),
    (48, 3, 1, 2),
    (48, 3, 1, 4),
)
FILE = Path(__file__).parent / "lettering.npz"


@dataclass(frozen=True)
class Line:
    """A line of writing: how `sure` it is, the mean over its squares, in [0, 1]; `box` is (left, top, right, bottom) in fractions,
    `slender` how many times as long as high.
    """

    sure: float
    box: tuple[float, float, float, float]
    slender: float

    @property
    def laid_over(self) -> bool:
        """True if all of it is near one border, and slender as a line of letters is; shoes and signs are not."""
        left, top, right, bottom = self.box
        return self.slender >= LINE_LONG and (
            bottom < MARGIN or top > 1 - MARGIN or right < MARGIN or left > 1 - MARGIN
        )


def lines(picture: np.ndarray) -> list[Line]:
    """The lines written over uint8 [height, width, 3], those that are surest first."""
    factor = _USUAL / max(picture.shape[:2])
    if factor > 1:
        size = [max(1, round(edge * factor)) for edge in picture.shape[1::-1]]
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    sure = chart(picture)
    labels, _ = ndimage.label(sure > WRITTEN, np.ones((3, 3)))
    height, width = (edge / CELL for edge in picture.shape[:2])
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        cells = sure[rows, columns][labels[rows, columns] == number]
        if cells.sum() >= LINE and cells.mean() >= LINE_SURE:
            edges = columns.start / width, rows.start / height, columns.stop / width, rows.stop / height
            short, long = sorted((rows.stop - rows.start, columns.stop - columns.start))
            found.append(Line(float(cells.mean()), tuple(min(1.0, edge) for edge in edges), long / short))
    return sorted(found, key=lambda line: -line.sure)


def chart(picture: np.ndarray, weights: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Confidence that each square is written on: float32 [ceil(height / 8), ceil(width / 8)] in [0, 1], for uint8 [height, width, 3]."""
    weights = weights or _shipped()
    features = picture.astype(np.float32) / 127.5 - 1.0
    for number, (_, _, stride, spread) in enumerate(LAYERS):
        features = np.maximum(
            _convolved(features, weights[f"kernel{number}"], stride, spread) + weights[f"bias{number}"], 0.0
        )
    logits = features @ weights[f"kernel{len(LAYERS)}"][0, 0] + weights[f"bias{len(LAYERS)}"]
    return 1.0 / (1.0 + np.exp(-logits[..., 0]))


@cache
def _shipped():
    with np.load(FILE) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def _convolved(here, kernel, stride, spread):
    """TensorFlow's convolution with `SAME` padding: float32 [height, width, in] and [side, side, in, out]."""
    reach = (kernel.shape[0] - 1) * spread
    pads = [(total // 2, total - total // 2) for edge in here.shape[:2] for total in [_padding(edge, reach, stride)]]
    padded = np.pad(here, [*pads, (0, 0)])
    windows = sliding_window_view(padded, (reach + 1, reach + 1), (0, 1))[::stride, ::stride, :, ::spread, ::spread]
    rows, columns = windows.shape[:2]
    flat = windows.transpose(0, 1, 3, 4, 2).reshape(rows * columns, -1)
    return (flat @ kernel.reshape(-1, kernel.shape[3])).reshape(rows, columns, -1)


def _padding(edge, reach, stride):
    return max(0, (-(-edge // stride) - 1) * stride + reach + 1 - edge)
