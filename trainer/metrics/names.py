"""Names that carry their protocol, made from the very arguments that the measure was called with.

`psnr_y_shave4`, `ssim_rgb`, `kid_clothes-v1_n3068`, `precision_clothes-v1_k3_n3068x5000`, `periodic_artifacts_p4`,
`niqe_30f662ac`: there is no bare `fid`, since numbers compare only when everything in their names is equal. `trainer.metrics.table` knows
each measure by the beginning of such a name.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainer.metrics.estimate import Estimate
from trainer.metrics.naturalness import Naturalness, niqe
from trainer.metrics.perceptual import feature_distance

_WORD = re.compile(r"[A-Za-z0-9.-]+")
_ONLY_THE_ERROR = {"groups"}  # arguments that the value does not depend on
_SHORT = {"space": "", "period": "p"}  # words that stand for an argument in a name, where that is not its own


def of_pairs(measure: Callable, pictures: np.ndarray, targets: np.ndarray, **protocol) -> dict[str, np.ndarray]:
    """A measure of `trainer/metrics/fidelity.py` under its name: {"psnr_y_shave4": float64 [n]}.

    Raises what the measure raises, and TypeError for a protocol that it does not know or that is not complete.
    """
    found = measure(pictures, targets, **protocol)
    return {"_".join([measure.__name__, *_protocol(measure, protocol)]): found}


def of_sets(measure: Callable, features: str, *sets: np.ndarray, **protocol) -> dict[str, Any]:
    """A measure of sets of feature vectors, such as `kid` or `precision_recall`, under its names: {"kid_clothes-v1_n3068": Estimate}.

    `features` says which extractor, in which version, made the vectors: letters, digits, dots and hyphens. The numbers of rows are read
    from the sets: n3068 when all are alike, n3068x5000 in the order given otherwise. What a measure finds several of (precision and
    recall) gets several names. Raises ValueError for other characters in `features`, and as `of_pairs` does.
    """
    found = measure(*sets, **protocol)
    counts = [str(len(rows)) for rows in sets]
    rows = counts[0] if len(set(counts)) == 1 else "x".join(counts)
    words = [_checked(features), *_protocol(measure, protocol), f"n{rows}"]
    several = hasattr(found, "_asdict") and not isinstance(found, Estimate)
    named = found._asdict() if several else {measure.__name__: found}
    return {"_".join([name, *words]): value for name, value in named.items()}


def of_pictures(measure: Callable, pictures: np.ndarray, **protocol) -> dict[str, Estimate]:
    """A measure of a set of pictures alone under its name: {"periodic_artifacts_p4": Estimate}. Raises what the measure raises."""
    found = measure(pictures, **protocol)
    return {"_".join([measure.__name__, *_protocol(measure, protocol)]): found}


def of_maps(
    features: str,
    maps: Sequence[np.ndarray],
    target_maps: Sequence[np.ndarray],
    weights: Sequence[np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """`feature_distance` under its name: {"feature_distance_clothes-v1": float64 [n]}, with `_weighted` behind it if it is.

    Raises ValueError as `feature_distance` does, and for a name of features as `of_sets` does.
    """
    name = f"feature_distance_{_checked(features)}" + ("" if weights is None else "_weighted")
    return {name: feature_distance(maps, target_maps, weights)}


def of_naturalness(pictures: np.ndarray, model: Naturalness) -> dict[str, np.ndarray]:
    """NIQE under a name that tells the model: {"niqe_30f662ac": float64 [n]}. Raises ValueError as `niqe` does."""
    return {f"niqe_{model.digest}": niqe(pictures, model)}


def _checked(features):
    if not _WORD.fullmatch(features):
        raise ValueError(f"a name of features is made of letters, digits, dots and hyphens, not {features!r}")
    return features


def _protocol(measure, given):
    """The keyword arguments of a measure, its defaults included, as words."""
    known = inspect.signature(measure).parameters.values()
    settings = {p.name: given.get(p.name, p.default) for p in known if p.kind is p.KEYWORD_ONLY or p.name in given}
    return [
        f"{_SHORT.get(name, name)}{value}"
        for name, value in settings.items()
        if name not in _ONLY_THE_ERROR and (name, value) != ("shave", 0)
    ]
