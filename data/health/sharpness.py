"""How wide the edges of a picture are: narrow when it is in focus, whatever it shows.

An edge blurred by a Gaussian of spread s, and smoothed by one of spread a before its gradient is taken, has at its
middle a gradient in proportion to 1 / sqrt(s^2 + a^2). So the ratio of its gradients under two smoothings tells s:
Zhuo and Sim, "Defocus map estimation from a single image", Pattern Recognition 44 (2011).
"""

import numpy as np
from scipy import ndimage

_FINE, _COARSE = 1.0, 2.0  # px, the two smoothings
_DIFFERENCE = 1 / 3  # px^2 by which taking the gradient from pixels two apart smooths too: a box of width 2
_STRONG = 98  # percentile of the gradient from which on an edge counts
_FAINTEST = 4 / 255  # a gradient that noise and compression hardly reach
_FEWEST = 50  # edge pixels, below which nothing is said
_DIRECTIONS = 4
_FEWEST_ONE_WAY = 30


def edge_widths(grey: np.ndarray) -> tuple[float, float] | None:
    """Spread in px of the edges of float32 grey [height, width] in [0, 1]; None for a picture without edges.

    First the sharpest quarter's, so that a soft background does not count; then the median's of those of four
    directions that has the widest, in which a moved camera shows.
    """
    fine = ndimage.gaussian_filter(grey, _FINE, truncate=3)
    coarse = ndimage.gaussian_filter(fine, np.sqrt(_COARSE**2 - _FINE**2), truncate=3)
    down, right = np.gradient(fine)
    strength = np.hypot(down, right)
    strong = strength >= max(np.percentile(strength[::2, ::2], _STRONG), _FAINTEST)
    if strong.sum() < _FEWEST:
        return None
    near, far = _FINE**2 + _DIFFERENCE, _COARSE**2 + _DIFFERENCE
    ratio = (strength[strong] / np.maximum(np.hypot(*np.gradient(coarse))[strong], 1e-6)) ** 2
    ratio = np.clip(ratio, 1.0001, far / near)
    spread = np.sqrt((far - ratio * near) / (ratio - 1))
    angle = np.arctan2(down[strong], right[strong])
    direction = np.round(angle / (np.pi / _DIRECTIONS)).astype(int) % _DIRECTIONS
    ways = [spread[direction == way] for way in range(_DIRECTIONS)]
    medians = [float(np.median(way)) for way in ways if len(way) >= _FEWEST_ONE_WAY]
    return float(np.percentile(spread, 25)), max(medians, default=0.0)
