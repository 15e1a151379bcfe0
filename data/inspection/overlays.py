"""Marks that stand at the same place in many pictures, such as the watermark of a shop, however faint.

The mean of the fine detail of many unrelated pictures is nearly nothing; what they share remains. So Dekel, Rubinstein,
Liu and Freeman find a watermark in "On the effectiveness of visible watermarks" (CVPR 2017). Products of one kind share
outlines too, but only roughly: the mark is believed when single pictures match it closely.
"""

import threading
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from data.inspection.thresholds import REPEATED_ENERGY, REPEATED_LIKE, REPEATED_SURE, REPEATED_TOGETHER

_LONG = 384  # px, the longer side of the frame to which pictures of one shape are brought
_SHORTEST = 192  # px, the longer side below which a picture would show nothing in the frame
_SHAPES = 8  # frames for each doubling of width over height
_CUT = 24  # grey levels: so no single picture can dominate the mean
_FEWEST = 50  # pictures of one shape, below which chance is too strong
_SMALLEST = 0.001  # of the frame, the strong part of a mark
_EDGE = 6  # px at the border of the frame, where detail is unreliable
_BLUR = 15  # px, over which the energy of the mean is smoothed
_FEWEST_MARKED = 5
_AROUND, _GRAIN = 9, 4.0  # px and grey levels: busier than this is where detail exceeds the grain of a photo
_JITTER = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]  # px by which a place may be missed

Box = tuple[float, float, float, float]  # left, top, right, bottom, in fractions of the picture


@dataclass(frozen=True)
class Mark:
    """A `pattern` float32 [n] of the n pixels of a `region` bool [height, width] at a place of the frame."""

    frame: tuple[int, int]
    window: tuple[slice, slice]
    region: np.ndarray
    pattern: np.ndarray

    @property
    def box(self) -> Box:
        """Place of the mark in pictures of its frame."""
        return _fractions(self.window, self.frame)

    def likeness(self, detail: np.ndarray, weight: np.ndarray, *, top: int = 0, left: int = 0) -> float:
        """Correlation in [-1, 1] of a picture's `detail` with the pattern, moved by `top` and `left` px, each pixel with its `weight`;
        0 where it does not fit in.
        """
        rows, columns = self.window
        top, left = rows.start + top, columns.start + left
        height, width = self.region.shape
        window = slice(max(0, top), top + height), slice(max(0, left), left + width)
        if detail[window].shape != self.region.shape:
            return 0.0
        values, weight = detail[window][self.region].astype(np.float32), weight[window][self.region]
        sizes = (weight @ values**2) * (weight @ self.pattern**2)
        return float((weight * values) @ self.pattern / max(np.sqrt(sizes), 1e-6))

    def placed(self, picture: np.ndarray) -> tuple[float, Box]:
        """The best likeness in uint8 [height, width, 3] of any shape, and the box there.

        The mark may go with the picture's width or its height, and keep its distance from the middle or either border.
        """
        best = (-1.0, self.box)
        for frame in _frames(picture.shape, self.frame):
            fine = detail(picture, frame)
            weight = clear(fine)
            spare = np.subtract(frame[::-1], self.frame[::-1])
            for share in (0, 0.5, 1) if spare.any() else (0,):
                down, right = np.round(share * spare).astype(int)
                for top, left in _JITTER:
                    like = self.likeness(fine, weight, top=down + top, left=right + left)
                    if like > best[0]:
                        best = like, _fractions(self.window, frame, down + top, right + left)
        return best


def frame_of(width: int, height: int) -> tuple[int, int] | None:
    """The (width, height) of the frame for pictures of about this shape; None for those that are too small."""
    if max(width, height) < _SHORTEST:
        return None
    ratio = 2 ** (round(_SHAPES * np.log2(width / height)) / _SHAPES)
    return round(_LONG * min(1, ratio)), round(_LONG * min(1, 1 / ratio))


def detail(picture: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Fine detail of uint8 [height, width, 3] in the frame: int8 [frame height, frame width], cut to +-24."""
    grey = Image.fromarray(picture).convert("L").resize(frame, Image.Resampling.BOX)
    smooth = grey.filter(ImageFilter.BoxBlur(4))
    return np.clip(np.asarray(grey, np.int16) - np.asarray(smooth, np.int16), -_CUT, _CUT).astype(np.int8)


def clear(fine: np.ndarray) -> np.ndarray:
    """Weight of each pixel of a `detail` in the search for a faint mark, float32: the busier the picture around it, the less."""
    return 1 / (ndimage.uniform_filter(np.square(fine, dtype=np.float32), _AROUND) + _GRAIN**2)


def _frames(shape, frame):
    """The (width, height) of a picture that is scaled to the width of the frame, and to its height."""
    (tall, wide), (width, height) = shape[:2], frame
    return {(width, round(width * tall / wide)), (round(height * wide / tall), height)}


def _fractions(window, frame, down=0, right=0):
    (rows, columns), (width, height) = window, frame
    left, top, right, bottom = columns.start + right, rows.start + down, columns.stop + right, rows.stop + down
    return left / width, top / height, right / width, bottom / height


class Shared:
    """Sums the detail of pictures of each shape; several threads may add."""

    def __init__(self):
        self._sums: dict[tuple[int, int], list] = {}
        self._lock = threading.Lock()

    def add(self, picture: np.ndarray) -> tuple[int, int] | None:
        """Add uint8 [height, width, 3]; returns its frame."""
        frame = frame_of(picture.shape[1], picture.shape[0])
        if frame is not None:
            fine = detail(picture, frame)
            square = np.square(fine, dtype=np.int32)
            with self._lock:
                count, total, squares = self._sums.setdefault(frame, [0, 0, 0])
                self._sums[frame] = [count + 1, total + fine.astype(np.int32), squares + square]
        return frame

    def candidates(self) -> list[Mark]:
        """Finds what the pictures of a shape have in common more than chance allows."""
        marks = []
        for frame, (count, total, squares) in self._sums.items():
            if count >= _FEWEST:
                mean = total / count
                spread = np.sqrt(np.maximum(squares / count - mean**2, 0))
                marks += _stand_out(frame, mean, mean / (spread / np.sqrt(count) + 1e-3))
        return marks


def _stand_out(frame, mean, certainty):
    inside = (slice(_EDGE, -_EDGE),) * 2
    energy = np.zeros_like(mean)
    energy[inside] = ndimage.uniform_filter(certainty[inside] ** 2, _BLUR)
    energy /= max(1.0, np.median(energy))  # 1 is chance; the grid of JPEG blocks lifts it everywhere
    around = ndimage.binary_dilation(energy > REPEATED_ENERGY / 2, iterations=3)
    regions, _ = ndimage.label(around)
    for number, window in enumerate(ndimage.find_objects(regions), 1):
        region = regions[window] == number
        if (region & (energy[window] > REPEATED_ENERGY)).sum() >= _SMALLEST * mean.size:
            pattern = np.where(np.abs(certainty[window]) > 3, mean[window], 0)[region]
            yield Mark(frame, window, region, pattern.astype(np.float32))


def marked(likenesses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the pictures of a frame that carry a mark, bool [n], and the candidates that are true ones, bool [k].

    Args:
        likenesses: float [n, k] of each picture to each candidate. A true one is matched closely by some; several may be parts of one
            mark, which a busy picture shows by all of them together: by their sum, whose chance spread is that of one times root k.
    """
    alike = likenesses >= REPEATED_LIKE
    true = np.array([_is_true(values[here]) for values, here in zip(likenesses.T, alike.T, strict=True)], bool)
    together = likenesses[:, true].sum(axis=1) / max(1, true.sum()) ** 0.5
    return alike[:, true].any(axis=1) | ((together >= REPEATED_TOGETHER) & (true.sum() > 1)), true


def _is_true(likenesses):
    return len(likenesses) >= _FEWEST_MARKED and np.percentile(likenesses, 90) >= REPEATED_SURE
