"""Which pictures are copies of each other: byte for byte, or resized, compressed, cropped a little, lit otherwise.

Three measures, each finer and dearer than the one before. Layouts of 8x8 colours are compared all with all. Pairs that
pass are compared by 16x16 colours and their tangents: how much of the one picture is explained by the other when it may
be shifted, stretched and lit otherwise a little (Simard, LeCun and Denker, "Efficient pattern recognition using a new
transformation distance", NIPS 1992). Those that still pass are aligned by Gauss and Newton's method (Lucas and Kanade,
IJCAI 1981), and must agree in their finest detail, 64x64, and in colour: so two white shirts on one floor remain two,
and so does a chair in red and in blue.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from data.health.thresholds import COLOUR_APART, DETAIL_ALIKE, LAYOUT_ALIKE, TANGENT_ALIKE

COLOURS, DETAIL = 32, 64  # px, sides of the two small copies that are kept of a picture: 7 KB
_LAYOUT, _TANGENTS = 8, 16  # px, to which colours are reduced for the first two measures
_WHITE = 245  # grey level from which on a colour may have been cut off
_ROWS = 1024  # pictures compared with all others at a time: bounds the memory
_BATCH = 512  # pairs compared by their tangents at a time
_STEPS = (16, 16, 16, 32, 32, 64)  # px, sides at which the alignment is improved, coarse first
_OVERLAP = 0.6  # of the picture that aligned copies must share
_NONE = -1.0  # the agreement of pictures that cannot be aligned
_WORTH_TURNING = 0.6  # agreement from which on aligning the second to the first may find more than the first to it


def small_copies(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """What `find` needs of uint8 [height, width, 3]: uint8 colours [32, 32, 3] and grey [64, 64].

    None for a picture below 64 px: too little detail to tell one product from another of its kind.
    """
    if min(picture.shape[:2]) < DETAIL:
        return None
    image = Image.fromarray(picture)
    colours = image.resize((COLOURS, COLOURS), Image.Resampling.BOX)
    detail = image.convert("L").resize((DETAIL, DETAIL), Image.Resampling.BOX)
    return np.asarray(colours), np.asarray(detail)


def find(
    digests: Sequence[str],
    copies: Sequence[tuple[np.ndarray, np.ndarray] | None],
    track: Callable[[Iterable, int, str], Iterable] = lambda items, total, what: items,
) -> list[list[int]]:
    """Groups of the indices of pictures that are copies of each other, each group and all groups in order.

    `digests` are of the files' bytes, `copies` what `small_copies` gave. `track` wraps the pairs that are aligned.
    """
    first: dict[str, int] = {}
    links = [(first.setdefault(digest, index), index) for index, digest in enumerate(digests)]
    compared = [index for index in first.values() if copies[index] is not None]
    if len(compared) > 1:
        colours, details = (np.stack([copies[index][part] for index in compared]) for part in (0, 1))
        pairs = _similar_pairs(colours)
        for pair in track(pairs, len(pairs), "comparing"):
            if are_copies(colours[pair], details[pair]):
                links.append((compared[pair[0]], compared[pair[1]]))
    ones, others = np.array(links, int).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(links), bool), (ones, others)), (len(digests),) * 2)
    _, group = connected_components(graph, directed=False)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    return sorted(member.tolist() for member in members if len(member) > 1)


def _similar_pairs(colours):
    """[i, j], i < j, of pictures whose layout and colours agree but for a small shift, stretch and exposure."""
    layouts = _unit(_shrunk(colours, _LAYOUT).reshape(len(colours), -1))
    colours = _shrunk(colours, _TANGENTS)
    found = []
    for start in range(0, len(layouts), _ROWS):
        near = layouts[start : start + _ROWS] @ layouts[start:].T >= LAYOUT_ALIKE
        found.append(np.argwhere(np.triu(near, 1)) + start)
    pairs = np.concatenate(found)
    alike = [_tangent_alike(colours, pairs[start : start + _BATCH]) for start in range(0, len(pairs), _BATCH)]
    return pairs[np.concatenate(alike) >= TANGENT_ALIKE].tolist() if alike else []


def _shrunk(colours, side):
    """Means over cells of uint8 [n, 32, 32, 3]: float32 [n, side, side, 3] in [0, 1]."""
    cell = COLOURS // side
    return colours.reshape(-1, side, cell, side, cell, 3).mean(axis=(2, 4), dtype=np.float32) / 255


def _unit(vectors):
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _tangent_alike(colours, pairs):
    """float [n] in [0, 1]: the share of one picture's variance that the other's tangents explain, the better way
    round.
    """
    return np.maximum(_explained(colours, pairs), _explained(colours, pairs[:, ::-1]))


def _explained(colours, pairs):
    left, targets = colours[pairs[:, 0]], _unit(colours[pairs[:, 1]].reshape(len(pairs), -1))
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


def are_copies(colours: np.ndarray, details: np.ndarray) -> bool:
    """Whether two pictures are the same once they are aligned: uint8 `colours` [2, 32, 32, 3], `details` [2, 64, 64]."""
    agreement = _agreement(colours, details)
    if agreement < _WORTH_TURNING and agreement != _NONE:
        return False
    return agreement >= DETAIL_ALIKE or _agreement(colours[::-1], details[::-1]) >= DETAIL_ALIKE


def _agreement(colours, details):
    """Correlation of fine detail after the best axis-aligned stretch, shift and exposure of the first picture, or
    `_NONE` when none makes the colours agree.
    """
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
    moved, inside = _moved(_reduced(details[0], DETAIL), stretch, shift)
    if inside.mean() < _OVERLAP:
        return _NONE
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    ours, theirs = _fine(moved[window]), _fine(details[1][window].astype(np.float32))
    agreement = float((ours * theirs).sum() / max(np.linalg.norm(ours) * np.linalg.norm(theirs), 1e-6))
    if agreement >= DETAIL_ALIKE and _colour_difference(colours, stretch, shift) > COLOUR_APART:
        return _NONE
    return agreement


def _reduced(grey, side):
    return Image.fromarray(grey.astype(np.float32)).resize((side, side), Image.Resampling.BOX)


def _fine(values):
    return values - ndimage.uniform_filter(values, 7)


def _colour_difference(colours, stretch, shift):
    """Grey levels by which 19 of 20 cells of 8x8 differ less, after the best common gain and offset; what is white in
    either picture does not count.
    """
    moved = [
        _moved(Image.fromarray(channel.astype(np.float32)), stretch, shift) for channel in colours[0].transpose(2, 0, 1)
    ]
    ours, theirs = np.stack([channel for channel, _ in moved], axis=2), colours[1].astype(np.float32)
    counts = ((ours.max(axis=2) < _WHITE) & (theirs.max(axis=2) < _WHITE) & moved[0][1])[..., None]
    total = _cells(counts)
    kept = total[..., 0] >= (COLOURS // _LAYOUT) ** 2 / 2
    if kept.sum() < _LAYOUT:
        return 0.0
    ours, theirs = (_cells(values * counts)[kept] / total[kept] for values in (ours, theirs))
    gain, offset = np.polyfit(ours.ravel(), theirs.ravel(), 1) if np.ptp(ours) > 1 else (1, np.mean(theirs - ours))
    return float(np.percentile(np.abs(gain * ours + offset - theirs).max(axis=1), 95))


def _cells(values):
    """Sums over 8x8 cells of [32, 32, n]."""
    return values.reshape(_LAYOUT, COLOURS // _LAYOUT, _LAYOUT, COLOURS // _LAYOUT, -1).sum(axis=(1, 3))


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
