"""Search for copies: byte for byte, or resized, compressed, cropped a little, lit otherwise.

Three measures, each finer and more costly than the one before. Layouts of 8x8 colours are compared all with all. Pairs that
pass are compared by 16x16 colours and their tangents: how much of the one picture is explained by the other when it may
be shifted, stretched and lit otherwise a little (Simard, LeCun and Denker, "Efficient pattern recognition using a new
transformation distance", NIPS 1992). Those that still pass are aligned by Gauss and Newton's method (Lucas and Kanade,
IJCAI 1981), and must agree at 64x64 in their finest detail and in colour, everywhere: so two white shirts on one floor
remain two, and so do a chair in red and in blue, and shirts that differ by a print or by the colour of a seam.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from data.inspection.thresholds import COLOUR_APART, DETAIL_ALIKE, LAYOUT_ALIKE, PART_APART, TANGENT_ALIKE
from data.progress import Progress, silent

SIDE = 64  # px, of the small copy that is kept of a picture: 12 KB
_LAYOUT, _TANGENTS = 8, 16  # px, to which colours are reduced for the first two measures
_LIGHT, _DARK = 235, 3  # grey levels beyond which a colour may have been cut off
_MOST_GAIN = 1.6  # by which light may differ; any colours would agree when they are all brought to one
_PART = 8  # px of a small copy that may differ: the smallest part that counts
_ROWS = 1024  # pictures compared with all others at a time: bounds the memory
_BATCH = 512  # pairs compared by their tangents at a time
_STEPS = (16, 16, 16, 32, 32, 64)  # px, sides at which the alignment is improved, coarse first
_OVERLAP = 0.6  # of the picture that aligned copies must share
_NONE = -1.0  # the agreement of pictures that cannot be aligned
_WORTH_TURNING = 0.6  # agreement from which on aligning the second to the first may find more than the first to it


def small_copy(picture: np.ndarray) -> np.ndarray | None:
    """Shrinks uint8 [height, width, 3] to uint8 [64, 64, 3], which is what `find` compares.

    None for a picture below 64 px: too little detail to tell one product from another of its kind.
    """
    if min(picture.shape[:2]) < SIDE:
        return None
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX))


def find(
    digests: Sequence[str],
    copies: Sequence[np.ndarray | None],
    *,
    progress: Progress = silent,
) -> list[list[int]]:
    """Groups of the indices of pictures that are copies of each other, each group and all groups in order.

    `digests` are of the files' bytes, `copies` what `small_copy` gave. `progress` is handed the pairs that are aligned.
    """
    first: dict[str, int] = {}
    links = [(first.setdefault(digest, index), index) for index, digest in enumerate(digests)]
    compared = [index for index in first.values() if copies[index] is not None]
    if len(compared) > 1:
        pairs = _similar_pairs(np.stack([copies[index] for index in compared]))
        for one, other in progress(pairs, len(pairs), "comparing"):
            if are_copies(copies[compared[one]], copies[compared[other]]):
                links.append((compared[one], compared[other]))
    return groups(links, len(digests))


def groups(links: Sequence[tuple[int, int]], count: int) -> list[list[int]]:
    """Those of `count` indices that `links` join, directly or not: lists of two and more, each and all in order."""
    ones, others = np.array(links, int).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(links), bool), (ones, others)), (count,) * 2)
    _, group = connected_components(graph, directed=False)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    return sorted(member.tolist() for member in members if len(member) > 1)


def alike(vectors: np.ndarray, least: float) -> np.ndarray:
    """int [k, 2]: pairs i < j of the rows of float [n, m] whose product is at least so large."""
    pairs = [np.empty((0, 2), int)]
    for start in range(0, len(vectors), _ROWS):
        near = vectors[start : start + _ROWS] @ vectors[start:].T >= least
        pairs.append(np.argwhere(np.triu(near, 1)) + start)
    return np.concatenate(pairs)


def _similar_pairs(colours):
    """[i, j], i < j, of pictures whose layout and colours agree but for a small shift, stretch and exposure."""
    pairs = alike(unit(_shrunk(colours, _LAYOUT).reshape(len(colours), -1)), LAYOUT_ALIKE)
    colours = _shrunk(colours, _TANGENTS)
    parts = [_tangent_alike(colours, pairs[start : start + _BATCH]) for start in range(0, len(pairs), _BATCH)]
    return pairs[np.concatenate(parts) >= TANGENT_ALIKE].tolist() if parts else []


def _shrunk(colours, side):
    """Means over cells of uint8 [n, 64, 64, 3]: float32 [n, side, side, 3] in [0, 1]."""
    cell = SIDE // side
    return colours.reshape(-1, side, cell, side, cell, 3).mean(axis=(2, 4), dtype=np.float32) / 255


def unit(vectors: np.ndarray) -> np.ndarray:
    """float [n, m], each row without its mean and of length 1, so that products are correlations."""
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _tangent_alike(colours, pairs):
    """float [n] in [0, 1]: the share of one picture's variance that the other's tangents explain, the better way round."""
    return np.maximum(_explained(colours, pairs), _explained(colours, pairs[:, ::-1]))


def _explained(colours, pairs):
    left, targets = colours[pairs[:, 0]], unit(colours[pairs[:, 1]].reshape(len(pairs), -1))
    place = ((np.arange(_TANGENTS) + 0.5) / _TANGENTS - 0.5).astype(np.float32)
    down, right = np.gradient(left, axis=(1, 2))
    parts = [
        np.ones_like(left),
        left,
        right,
        down,
        right * place[None, None, :, None],
        down * place[None, :, None, None],
    ]
    tangents = np.stack(parts, axis=-1).reshape(len(pairs), -1, len(parts))
    basis, _ = np.linalg.qr(tangents)
    return (np.einsum("nij,ni->nj", basis, targets) ** 2).sum(axis=1)


def are_copies(one: np.ndarray, other: np.ndarray) -> bool:
    """Returns whether two pictures are the same once they are aligned: uint8 [64, 64, 3] of each."""
    agreement = _agreement(one, other)
    if agreement < _WORTH_TURNING and agreement != _NONE:
        return False
    return agreement >= DETAIL_ALIKE or _agreement(other, one) >= DETAIL_ALIKE


def _agreement(one, other):
    """Correlation of fine detail after the best axis-aligned stretch, shift and exposure of the first picture, or
    `_NONE` when none makes the colours agree.
    """
    details = [np.asarray(Image.fromarray(picture).convert("L")) for picture in (one, other)]
    stretch, shift = np.ones(2), np.zeros(2)  # down and right, in parts of the picture, from its middle
    for side in _STEPS:
        moving, fixed = (_reduced(grey, side) for grey in details)
        change = _improvement(moving, np.asarray(fixed), stretch, shift)
        if change is None:
            return _NONE
        shift = shift + stretch * change[0]
        stretch = stretch * (1 + change[1])
        if (np.abs(shift) > 0.3).any() or (np.abs(np.log(stretch)) > 0.5).any():
            return _NONE
    moved, inside = _moved(_reduced(details[0], SIDE), stretch, shift)
    if inside.mean() < _OVERLAP:
        return _NONE
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    ours, theirs = _fine(moved[window]), _fine(details[1][window].astype(np.float32))
    agreement = float((ours * theirs).sum() / max(np.linalg.norm(ours) * np.linalg.norm(theirs), 1e-6))
    if agreement >= DETAIL_ALIKE:
        channels = [
            _moved(Image.fromarray(channel.astype(np.float32)), stretch, shift)[0] for channel in np.moveaxis(one, 2, 0)
        ]
        whole, part = colour_differences(np.stack(channels, axis=2)[window], other[window].astype(np.float32))
        if whole > COLOUR_APART or part > PART_APART:
            return _NONE
    return agreement


def _reduced(grey, side):
    return Image.fromarray(grey.astype(np.float32)).resize((side, side), Image.Resampling.BOX)


def _fine(values):
    return values - ndimage.uniform_filter(values, 7)


def colour_differences(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Grey levels by which aligned float32 [height, width, 3] in [0, 255] differ after the best common gain and offset: by which
    98 % of the picture differ less, and by which its worst part differs, where a difference of lightness alone counts half.

    What is cut off in one picture may be lighter in the other.
    """
    counts = (np.maximum(ours, theirs) < _LIGHT) & (np.minimum(ours, theirs) > _DARK)
    gain, offset = 1.0, 0.0
    if counts.mean() > 0.02 and np.std(ours[counts]) > 4:
        gain = np.clip(np.polyfit(ours[counts], theirs[counts], 1)[0], 1 / _MOST_GAIN, _MOST_GAIN)
        offset = np.mean(theirs[counts]) - gain * np.mean(ours[counts])
    apart = gain * ours + offset - theirs
    apart[(ours >= _LIGHT) & (apart < 0) | (theirs >= _LIGHT) & (apart > 0)] = 0
    apart = ndimage.uniform_filter(apart, (3, 3, 0))
    most = np.abs(apart).max(axis=2)
    hue = np.abs(apart - np.median(apart, axis=2, keepdims=True)).max(axis=2)
    return float(np.percentile(most, 98)), float(np.sort(np.maximum(hue, most / 2), axis=None)[-_PART:].mean())


def _moved(image, stretch, shift):
    """`image` seen through the stretch and shift, float32, and which pixels of it come from inside the picture."""
    side = image.width
    (tall, wide), (down, right) = stretch, shift
    left, top = side * (right + 0.5 - wide * 0.5), side * (down + 0.5 - tall * 0.5)
    matrix = (wide, 0, left, 0, tall, top)
    moved = image.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    place = (np.arange(side) + 0.5) / side - 0.5
    inside_down, inside_right = np.abs(stretch[:, None] * place + shift[:, None]) < 0.5 - 1 / side
    return np.asarray(moved), inside_down[:, None] & inside_right[None]


def _improvement(image, fixed, stretch, shift):
    """One step of Gauss and Newton: (shift [2], stretch - 1 [2]) that bring `image` nearer to `fixed`, or None."""
    moved, inside = _moved(image, stretch, shift)
    if inside.mean() < _OVERLAP:
        return None
    side = image.width
    place = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    down, right = np.gradient(moved, 1 / side)
    parts = [moved, np.ones_like(moved), down, right, down * place[:, None], right * place[None]]
    parts = np.stack(parts)[:, inside]
    square = parts @ parts.T
    square[np.diag_indices(len(square))] += 1e-6 * np.trace(square)
    gain, _, *change = np.linalg.solve(square, parts @ fixed[inside])
    if gain < 0.2:  # one picture is nearly flat, or the negative of the other
        return None
    return np.clip(np.array(change).reshape(2, 2) / gain, -0.1, 0.1)
