"""Distance of two pictures in the layers of a network: the formula of LPIPS, for any extractor."""

from collections.abc import Sequence

import numpy as np


def feature_distance(
    maps: Sequence[np.ndarray], target_maps: Sequence[np.ndarray], *, weights: Sequence[np.ndarray] | None = None
) -> np.ndarray:
    """Distance in feature maps, Zhang et al. 2018, eq. 1: float64 [n], >= 0, 0 for equal maps, less is nearer.

    Each pixel's channels are scaled to length 1. The squared differences are weighted, summed over channels, averaged over the pixels of a
    layer, and summed over layers. With the default weights, 1, a layer contributes 2 - 2 cos of the angle: at most 2 for maps without
    negative values, at most 4 otherwise. It is LPIPS only with the published networks and weights.

    Args:
        maps, target_maps: one array per layer, floats [n, height, width, channels], of one shape pair by pair.
        weights: one array per layer, >= 0, [channels]: the squares of the paper's w.

    Raises ValueError if the numbers of layers or the shapes differ, and for values that are not finite and negative weights.
    """
    if not maps or len(maps) != len(target_maps) or (weights is not None and len(weights) != len(maps)):
        given = "no weights" if weights is None else f"{len(weights)} weights"
        raise ValueError(f"layers must come in pairs, at least one: {len(maps)} and {len(target_maps)}, {given}")
    total = 0.0
    for layer, (a, b) in enumerate(zip(maps, target_maps, strict=True)):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if a.ndim != 4 or a.shape != b.shape or not a.size or len(a) != len(maps[0]):
            raise ValueError(
                f"layer {layer}: maps must be alike, [n, height, width, channels], not {a.shape} and {b.shape}"
            )
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise ValueError(f"layer {layer} holds a value that is not finite")
        weight = np.ones(a.shape[3]) if weights is None else np.asarray(weights[layer], np.float64)
        if weight.shape != a.shape[3:] or not (weight >= 0).all():
            raise ValueError(f"layer {layer}: weights must be >= 0, [{a.shape[3]}]")
        total = total + np.mean((_unit(a) - _unit(b)) ** 2 @ weight, axis=(1, 2))
    return total


def _unit(maps):
    """Scales to length 1 over channels; zeros stay zero."""
    return maps / np.maximum(np.linalg.norm(maps, axis=3, keepdims=True), 1e-10)
