"""`idx:PATH`: a folder with the IDX files of MNIST and its kin, gzipped or not; `idx:PATH#test` for the other split.

The small grey pictures stand on black. Enlarged, they keep a black margin of an eighth of the size: 28 pixels become 32
by bordering alone, without blur, and 64 by doubling first.
"""

import gzip
import os
import zlib

import numpy as np
from PIL import Image

from data import files
from data.quarantine import Quarantine
from data.sources.parallel import ordered_map
from data.sources.protocol import SourceError, digest, join, split_option

FASHION = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_SPLITS = {"": "train", "train": "train", "test": "t10k", "t10k": "t10k"}


class Idx:
    """Labelled grey pictures. Raises SourceError when the files are missing, damaged or do not fit each other."""

    keys = frozenset({"image", "label"})
    left_out = Quarantine()

    def __init__(self, path: str):
        self.spec = f"idx:{path}"
        self.root, split = split_option(path)
        if split not in _SPLITS:
            raise SourceError(f"there is no split {split} in {self.spec}; have: train, test")
        self._pictures = _read(_find(self.root, f"{_SPLITS[split]}-images", "idx3"), rank=3)
        self._labels = _read(_find(self.root, f"{_SPLITS[split]}-labels", "idx1"), rank=1)
        self.count = len(self._pictures)
        if self.count != len(self._labels):
            raise SourceError(f"{self.root} has {self.count} pictures, but {len(self._labels)} labels")
        if not self.count:
            raise SourceError(f"the IDX files in {self.root} hold no picture")
        fashion = "fashion" in os.path.basename(os.path.abspath(self.root)).lower()
        highest = int(self._labels.max())
        self.classes = FASHION if fashion and highest < 10 else tuple(str(n) for n in range(max(10, highest + 1)))

    def fingerprint(self) -> str:
        """Digest of all pixels and labels (by CRC-32)."""
        return digest("idx", self.classes, self._pictures.shape, zlib.crc32(self._pictures), zlib.crc32(self._labels))

    def examples(self, size, fit, quarantine):
        """Yield {"image": uint8 [size, size, 3], "label": int}; `fit` changes nothing, nor can any picture be bad."""
        pictures = ordered_map(lambda grey: _on_black(grey, size), self._pictures)
        for picture, label in zip(pictures, self._labels, strict=True):
            yield {"image": picture, "label": int(label)}


def _on_black(grey, size):
    """Place grey [height, width] in the middle of a black uint8 [size, size, 3]; its own size when `size` is None."""
    if size is None:
        return np.repeat(grey[:, :, None], 3, axis=2)
    inner = max(size * 7 // 8, min(size, max(grey.shape)))
    shape = tuple(max(1, round(side * inner / max(grey.shape))) for side in grey.shape)
    if shape != grey.shape:
        grey = np.asarray(Image.fromarray(grey).resize(shape[::-1], Image.Resampling.BICUBIC))
    canvas = np.zeros((size, size, 3), np.uint8)
    top, left = (size - shape[0]) // 2, (size - shape[1]) // 2
    canvas[top : top + shape[0], left : left + shape[1]] = grey[:, :, None]
    return canvas


def _find(root, stem, kind):
    if not files.is_folder(root):
        raise SourceError(f"there is no folder {root}")
    candidates = {f"{stem}{joint}{kind}-ubyte{end}" for joint in "-." for end in ("", ".gz")}
    for name in files.names(root):
        if name in candidates:
            return join(root, name)
    raise SourceError(f"there is no {stem}-{kind}-ubyte or {stem}-{kind}-ubyte.gz in {root}")


def _read(path, rank):
    """uint8 array of an IDX file: two zeros, the type (8 is uint8), the rank, the sizes in 32 bits, the values."""
    try:
        content = files.read(path)
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    if content[:4] != bytes((0, 0, 8, rank)) or len(content) < 4 + 4 * rank:
        raise SourceError(f"{path} is no IDX file of rank {rank} with 8-bit values")
    shape = tuple(np.frombuffer(content, ">i4", rank, 4).tolist())
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if len(values) != np.prod(shape, dtype=np.int64):
        raise SourceError(f"{path} should hold {' x '.join(map(str, shape))} values, but holds {len(values)}")
    return values.reshape(shape)
