"""What is measured of pictures against their targets, one value a pair."""

import numpy as np

from trainer.metrics import names
from trainer.metrics.fidelity import delta_e_2000, ms_ssim, psnr, ssim

_SSIM_WINDOW, _MS_SSIM_SIDE = 11, 161  # px that must be left after shaving


def measure(pictures: np.ndarray, targets: np.ndarray, *, shave: int, extractor=None) -> dict[str, np.ndarray]:
    """PSNR and SSIM on luma and on RGB, MS-SSIM where it fits, Delta-E, and the distance in the extractor's layers.

    Args:
        pictures, targets: uint8 [n, height, width, 3], alike in shape.
        shave: px cut from each border first; by custom the scale of an enlargement, else 0.
        extractor: see `trainer.features.catalogue`; None, or one without layers, leaves the last out.

    Returns {full name: float64 [n]}, the headline first. Raises ValueError for arrays that are not such pictures.
    """
    left = min(pictures.shape[1:3]) - 2 * shave
    found = {}
    for space in ("y", "rgb"):
        found |= names.of_pairs(psnr, pictures, targets, space=space, shave=shave)
        if left >= _SSIM_WINDOW:
            found |= names.of_pairs(ssim, pictures, targets, space=space, shave=shave)
    if left >= _MS_SSIM_SIDE:
        found |= names.of_pairs(ms_ssim, pictures, targets, space="y", shave=shave)
    found |= names.of_pairs(delta_e_2000, pictures, targets, shave=shave)
    if extractor is not None and extractor.maps is not None:
        found |= names.of_maps(extractor.name, extractor.maps(pictures), extractor.maps(targets))
    return found
