"""How wide the edges of a picture are: narrow when it is in focus, whatever it shows.

An edge blurred by a Gaussian of spread s, and smoothed by one of spread a before its gradient is taken, has at its
middle a gradient in proportion to 1 / sqrt(s^2 + a^2). So the ratio of its gradients under two smoothings tells s:
Zhuo and Sim, "Defocus map estimation from a single image", Pattern Recognition 44 (2011).
"""

import numpy as np
from scipy import ndimage

_FINE, _COARSE = 1.0, 2.0  # px, the two smoothings
_DIFFERENCE = 1 / 3  # px^2 by which taking the gradient from pixels two apart smooths too: a box of width 2
_NEAR, _FAR = _FINE**2 + _DIFFERENCE, _COARSE**2 + _DIFFERENCE
_FAINTEST = 4 / 255  # a gradient that noise and compression hardly reach
_DIRECTIONS = 8
_EDGE = 400  # of so many pixels one, the strongest, counts as an edge of a direction
_FEWEST = 30  # pixels of a direction, below which it does not count
_FAINT = 0.3  # of the gradient that a 50th of the pixels exceed: directions with fainter edges do not count
_MOST = 2 / 3  # of the directions: a moved camera leaves the edges along its way as they were


def edge_width(grey: np.ndarray) -> float | None:
    """Spread in px of the edges of float32 grey [height, width] in [0, 1]; None for a picture without edges.

    Of each direction the sharpest quarter is measured, so that a soft background does not count; what two thirds of the
    directions do not exceed is returned.
    """
    fine = ndimage.gaussian_filter(grey, _FINE, truncate=3)
    down, right = _gradients(fine)
    strength = np.sqrt(down**2 + right**2)
    edges = np.flatnonzero(strength >= _FAINTEST)
    strength, angle = strength.flat[edges], np.arctan2(down.flat[edges], right.flat[edges])
    direction = np.round(angle / (np.pi / _DIRECTIONS)).astype(int) % _DIRECTIONS
    coarse = ndimage.gaussian_filter(fine, np.sqrt(_COARSE**2 - _FINE**2), truncate=3)
    down, right = _gradients(coarse)
    ratio = strength**2 / np.maximum(down.flat[edges] ** 2 + right.flat[edges] ** 2, 1e-12)
    ratio = np.clip(ratio, 1.0001, _FAR / _NEAR)
    spread = np.sqrt((_FAR - ratio * _NEAR) / (ratio - 1))
    most, usual = max(_FEWEST, grey.size // _EDGE), grey.size // 50
    faint = _FAINT * np.partition(strength, -usual)[-usual] if len(strength) > usual else 0
    widths = []
    for way in range(_DIRECTIONS):
        here = np.flatnonzero(direction == way)
        if len(here) >= _FEWEST:
            strongest = here if len(here) <= most else here[np.argpartition(strength[here], -most)[-most:]]
            if strength[strongest].min() >= faint:
                widths.append(np.percentile(spread[strongest], 25))
    return float(np.quantile(widths, _MOST)) if widths else None


def _gradients(values):
    """Half the difference of the two neighbours, down and to the right; 0 at the border."""
    down, right = np.zeros_like(values), np.zeros_like(values)
    down[1:-1] = (values[2:] - values[:-2]) / 2
    right[:, 1:-1] = (values[:, 2:] - values[:, :-2]) / 2
    return down, right
