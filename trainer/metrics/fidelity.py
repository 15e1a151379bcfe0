"""Fidelity of pictures to their targets: PSNR, SSIM, MS-SSIM, Delta-E 2000 and lost white, one value per pair.

Pictures and targets are uint8 sRGB [n, height, width, 3]; pass pictures of different sizes one by one. `space` is "rgb" (all three
channels) or "y" (luma of BT.601 in studio range, still out of 255), which differ by about 2 dB in PSNR. `shave` is the number of pixels
cut from each border first, by custom the scale of an enlargement. Neither has a default: numbers without them do not compare.
All raise ValueError for pictures that are not uint8 or differ in shape, and for an unknown space. They raise UserError for pictures that
are too small.
"""

import numpy as np
from scipy import ndimage

from data.errors import UserError
from trainer.metrics.colour import ciede2000, lab, luma

SPACES = ("rgb", "y")
_WINDOW = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))  # 11 pixels, sigma 1.5
_WINDOW /= _WINDOW.sum()
_LUMINANCE, _CONTRAST = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SCALE_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def psnr(pictures: np.ndarray, targets: np.ndarray, *, space: str, shave: int) -> np.ndarray:
    """10 log10(255^2 / mean squared error) in dB: float64 [n], more is better, infinite for equal pictures."""
    errors = [np.mean((a - b) ** 2) for a, b in _planes(pictures, targets, space, shave)]
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / np.array(errors))


def ssim(pictures: np.ndarray, targets: np.ndarray, *, space: str, shave: int) -> np.ndarray:
    """Structural similarity: float64 [n] in [-1, 1], 1 for equal pictures.

    Wang et al. 2004, eq. 13: Gaussian window of 11x11 pixels, sigma 1.5, only where it fits (so at least 11x11 pixels must be left),
    K1 = 0.01, K2 = 0.03, mean over places; for "rgb" each channel alone, then their mean.
    """
    pairs = _planes(pictures, targets, space, shave, least=11)
    return np.array([np.mean(luminance * contrast) for luminance, contrast in (_similarity(*pair) for pair in pairs)])


def ms_ssim(pictures: np.ndarray, targets: np.ndarray, *, space: str, shave: int, scales: int = 5) -> np.ndarray:
    """Multi-scale structural similarity: float64 [n] in [0, 1], 1 for equal pictures.

    Wang et al. 2003, eq. 7, with its five weights; between scales 2x2 pixels are averaged, an odd last row or column with itself. Negative
    factors count as 0. Five scales need sides of at least 161 px. For smaller pictures `scales` may be less; then the weights of the first
    `scales` are normalised to sum to 1, which is another measure under another name.
    """
    if not 1 <= scales <= len(_SCALE_WEIGHTS):
        raise ValueError(f"scales must be 1 to {len(_SCALE_WEIGHTS)}, not {scales}")
    weights = _SCALE_WEIGHTS[:scales, None] / _SCALE_WEIGHTS[:scales].sum()
    least = 10 * 2 ** (scales - 1) + 1
    values = []
    for a, b in _planes(pictures, targets, space, shave, least):
        factors = []
        for scale in range(scales):
            if scale:
                a, b = _halved(a), _halved(b)
            luminance, contrast = _similarity(a, b)
            factors.append((luminance * contrast if scale == scales - 1 else contrast).mean(axis=(0, 1)))
        values.append(np.mean(np.prod(np.maximum(factors, 0) ** weights, axis=0)))
    return np.array(values)


def delta_e_2000(pictures: np.ndarray, targets: np.ndarray, *, shave: int) -> np.ndarray:
    """Mean over pixels of the colour difference Delta-E 2000: float64 [n], >= 0, less is better; about 1 can just be seen."""
    _check(pictures, targets, shave, 1)
    pairs = zip(*_shaved(pictures, targets, shave=shave), strict=True)
    return np.array([ciede2000(lab(a), lab(b)).mean() for a, b in pairs])


def delta_e_2000_product(pictures: np.ndarray, targets: np.ndarray, masks: np.ndarray, *, shave: int) -> np.ndarray:
    """Mean of Delta-E 2000 over the product, masks uint8 [n, height, width] from 128 up: float64 [n], nan where there is none."""
    _check(pictures, targets, shave, 1)
    found = []
    for a, b, mask in zip(*_shaved(pictures, targets, masks, shave=shave), strict=True):
        product = mask >= 128
        found.append(ciede2000(lab(a[product]), lab(b[product])).mean() if product.any() else np.nan)
    return np.array(found)


def white_lost(pictures: np.ndarray, targets: np.ndarray, *, shave: int) -> np.ndarray:
    """Share of all pixels that are pure white (255 in all channels) in the target and not in the picture: float64 [n], less is better."""
    _check(pictures, targets, shave, 1)
    a, b = ((x == 255).all(axis=-1) for x in _shaved(pictures, targets, shave=shave))
    return (b & ~a).mean(axis=(1, 2))


def grey_cast(pictures: np.ndarray, cards: np.ndarray) -> np.ndarray:
    """Mean Delta-E 2000 of what a model makes of flat greys to these greys, in the middle half of each side: float64 [n], less is better.

    The border is left out, since a network that pads it with zeros makes mistakes there that are no cast.
    """
    return delta_e_2000(pictures, cards, shave=min(cards.shape[1:3]) // 4)


def _planes(pictures, targets, space, shave, least=1):
    """Yields pairs float64 [height, width, channels], checked and shaved, one at a time to save memory."""
    if space not in SPACES:
        raise ValueError(f"unknown space {space!r}; have: {', '.join(SPACES)}")
    _check(pictures, targets, shave, least)
    for pair in zip(*_shaved(pictures, targets, shave=shave), strict=True):
        yield tuple(luma(x)[..., None] if space == "y" else x.astype(np.float64) for x in pair)


def _check(pictures, targets, shave, least):
    for what, array in (("pictures", pictures), ("targets", targets)):
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
            raise ValueError(f"{what} must be uint8 [n, height, width, 3], not {array.dtype} {list(array.shape)}")
    if pictures.shape != targets.shape:
        raise ValueError(f"pictures {list(pictures.shape)} and targets {list(targets.shape)} differ in shape")
    if shave < 0 or min(pictures.shape[1:3]) - 2 * shave < least:
        height, width = pictures.shape[1:3]
        raise UserError(
            f"{height}x{width} pixels, {shave} shaved from each border: at least {least}x{least} must be left"
        )


def _shaved(*arrays, shave):
    height, width = arrays[0].shape[1:3]
    return (x[:, shave : height - shave, shave : width - shave] for x in arrays)


def _similarity(a, b):
    """Returns the two factors of SSIM at each place where the window fits, by channel: luminance, and contrast with structure."""
    mean_a, mean_b = _windowed(a), _windowed(b)
    variance_a, variance_b = _windowed(a * a) - mean_a**2, _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _LUMINANCE) / (mean_a**2 + mean_b**2 + _LUMINANCE)
    contrast = (2 * covariance + _CONTRAST) / (variance_a + variance_b + _CONTRAST)
    return luminance, contrast


def _windowed(plane):
    for axis in (0, 1):
        plane = ndimage.correlate1d(plane, _WINDOW, axis=axis)
    return plane[5:-5, 5:-5]


def _halved(plane):
    height, width, _ = plane.shape
    plane = np.pad(plane, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4
