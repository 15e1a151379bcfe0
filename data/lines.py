"""Line drawings from pictures: thin dark lines on white, as a person would trace them."""

import numpy as np
from scipy import ndimage

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def edges(picture: np.ndarray) -> np.ndarray:
    """Canny's edges of a picture, drawn dark on white: Canny 1986, with thresholds set by the picture itself.

    Smoothing grows with the picture, so that a drawing at 256 px shows what one at 64 px does. The strong threshold lets about a tenth
    of all pixels start a line.

    Args:
        picture: uint8 [height, width, 3].

    Returns:
        uint8 [height, width, 3], 0 on lines and 255 elsewhere.
    """
    return _draw(_canny(picture.astype(np.float32) @ LUMA, sigma=max(picture.shape[:2]) / 96))


def outline(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The border of a product's mask and the strong edges inside it.

    Args:
        picture: uint8 [height, width, 3]. mask: uint8 [height, width, 1], 255 where the product is.

    Returns:
        uint8 [height, width, 3], 0 on lines and 255 elsewhere.
    """
    product = mask[..., 0] > 127
    border = product & ~ndimage.binary_erosion(product)
    inner = _canny(picture.astype(np.float32) @ LUMA, sigma=max(picture.shape[:2]) / 64)
    return _draw(border | (inner & ndimage.binary_erosion(product, iterations=2)))


def _draw(lines):
    return np.repeat(np.where(lines, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _canny(luma, sigma):
    """Boolean [height, width]: ridges of the smoothed gradient that are strong, or weak and joined to a strong one."""
    smooth = ndimage.gaussian_filter(luma, sigma)
    down, right = ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)
    strength = np.hypot(down, right)
    ridge = strength >= _across(strength, down, right)
    # A step of 10 grey levels, below which lies noise; smoothing spreads a step over more pixels.
    strong = max(np.quantile(strength, 0.9), 24.0 / max(sigma, 1.0))
    weak = ridge & (strength > 0.4 * strong)
    pieces, count = ndimage.label(weak, np.ones((3, 3)))
    drawn = np.zeros(count + 1, bool)
    drawn[np.unique(pieces[ridge & (strength > strong)])] = True
    drawn[0] = False
    return drawn[pieces]


def _across(strength, down, right):
    """The larger of the two neighbours along the gradient's direction, rounded to one of four."""
    padded = np.pad(strength, 1)
    height, width = strength.shape
    turn = np.rint(np.arctan2(down, right) / (np.pi / 4)).astype(int) % 4
    steps = np.array([(0, 1), (1, 1), (1, 0), (1, -1)])[turn]
    y, x = np.mgrid[1 : height + 1, 1 : width + 1]
    ahead = padded[y + steps[..., 0], x + steps[..., 1]]
    behind = padded[y - steps[..., 0], x - steps[..., 1]]
    return np.maximum(ahead, behind)
