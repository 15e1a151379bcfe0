"""Measures of pictures against their targets, one value per pair."""

from collections.abc import Sequence

import numpy as np

from data.progress import Progress, silent
from trainer.metrics import names
from trainer.metrics.table import DELTA_E, DELTA_E_PRODUCT, MS_SSIM_Y, PSNR_RGB, PSNR_Y, SSIM_RGB, SSIM_Y, WHITE_LOST

_SSIM_WINDOW, _MS_SSIM_SIDE = 11, 161  # px that must be left after shaving
_PARTS = 16  # of a large picture, for the distance in features


def measure(
    pictures: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    *,
    shave: int,
    extractor=None,
    masks: Sequence[np.ndarray] | None = None,
    progress: Progress = silent,
) -> dict[str, np.ndarray]:
    """Measures PSNR and SSIM on luma and RGB, MS-SSIM if all pictures are large enough, Delta-E, lost white, and the distance in features.

    Args:
        pictures, targets: n of uint8 [height, width, 3] each; a picture and its target have one shape, pairs may differ in size.
        shave: px cut from each border first; by custom the scale of an enlargement, else 0.
        extractor: see `trainer.features.catalogue`; None leaves the last out, and so does one whose layers are not known.
        masks: uint8 [height, width, 1] of each target, 255 in the product; Delta-E of the product alone needs some of it in each picture.
        progress: is handed the pairs; see `data.progress`.

    Returns {full name: float64 [n]}. Raises UserError for arrays that are not such pictures.
    """
    pairs = progress(zip(pictures, targets, strict=True), len(targets), "measuring")
    each = [_fidelity(a[np.newaxis], b[np.newaxis], shave) for a, b in pairs]
    everywhere = [name for name in each[0] if all(name in one for one in each)]
    metrics = {name: np.concatenate([one[name] for one in each]) for name in everywhere}
    if masks is not None:
        metrics |= _of_products(pictures, targets, masks, shave)
    return metrics | (_distances(pictures, targets, extractor) if extractor is not None else {})


def _fidelity(pictures, targets, shave):
    left = min(pictures.shape[1:3]) - 2 * shave
    fitting = [
        PSNR_Y,
        *[SSIM_Y] * (left >= _SSIM_WINDOW),
        PSNR_RGB,
        *[SSIM_RGB] * (left >= _SSIM_WINDOW),
        *[MS_SSIM_Y] * (left >= _MS_SSIM_SIDE),
        DELTA_E,
        WHITE_LOST,
    ]
    metrics = {}
    for each in fitting:
        metrics |= names.of_pairs(each.function, pictures, targets, **each.protocol, shave=shave)
    return metrics


def _of_products(pictures, targets, masks, shave):
    measure = DELTA_E_PRODUCT.function
    each = [
        names.of_pairs(measure, a[np.newaxis], b[np.newaxis], mask[np.newaxis, :, :, 0], shave=shave)
        for a, b, mask in zip(pictures, targets, masks, strict=True)
    ]
    metrics = {name: np.concatenate([one[name] for one in each]) for name in each[0]}
    return {name: values for name, values in metrics.items() if np.isfinite(values).all()}


def _distances(pictures, targets, extractor):
    """Returns distances in features, {full name: float64 [n]}, for pictures of any sizes; {} if the layers are unknown.

    A picture larger than the extractor's input is measured at its own size: the mean over at most `_PARTS` parts, evenly spread.
    """
    if extractor.to_maps is None:
        return {}
    parts = [part for pair in zip(pictures, targets, strict=True) for part in _parts(*pair, extractor.size)]
    chunks = [parts[start : start + extractor.batch] for start in range(0, len(parts), extractor.batch)]
    distances = [
        names.of_maps(extractor.name, *(extractor.maps(side) for side in zip(*chunk, strict=True))) for chunk in chunks
    ]
    owners = np.repeat(np.arange(len(pictures)), [len(_corners(target, extractor.size)) for target in targets])
    return {
        name: np.bincount(owners, np.concatenate([one[name] for one in distances])) / np.bincount(owners)
        for name in distances[0]
    }


def _parts(picture, target, side):
    """Returns pairs of the same part, `side` px a side, of a picture and its target; the whole of small ones."""
    return [
        tuple(x[top : top + side, left : left + side] for x in (picture, target))
        for top, left in _corners(target, side)
    ]


def _corners(picture, side):
    corners = [
        (top, left)
        for top in range(0, max(1, picture.shape[0] - side + 1), side)
        for left in range(0, max(1, picture.shape[1] - side + 1), side)
    ]
    return [corners[i] for i in np.linspace(0, len(corners) - 1, min(len(corners), _PARTS)).astype(int)]
