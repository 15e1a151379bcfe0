"""Full names of measures, which hold their protocol: built from the arguments of the call.

`psnr_y_shave4`, `ssim_rgb`, `kid_clothes-v1_n3068`, `precision_clothes-v1_k3_n3068x5000`, `periodic_artifacts_p4`, `niqe_30f662ac`: numbers
compare only if their full names are equal, so there is no plain `fid`. `trainer.metrics.table` finds a measure by the beginning of such a
name.
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
_ONLY_THE_ERROR = {"groups"}  # arguments that do not change the value
_SHORT = {"space": "", "period": "p"}  # short forms of arguments in a name


def of_pairs(measure: Callable, *arrays: np.ndarray, **protocol) -> dict[str, np.ndarray]:
    """Takes a measure of `trainer/metrics/fidelity.py`, by full name: {"psnr_y_shave4": float64 [n]}.

    Raises the exceptions of the measure, and TypeError for an unknown or incomplete protocol.
    """
    values = measure(*arrays, **protocol)
    return {"_".join([measure.__name__, *_protocol(measure, protocol)]): values}


def of_sets(measure: Callable, features: str, *sets: np.ndarray, **protocol) -> dict[str, Any]:
    """Takes a measure of sets of feature vectors, such as `kid` or `precision_recall`, by full name: {"kid_clothes-v1_n3068": Estimate}.

    `features` names the extractor and its version, in letters, digits, dots and hyphens. The counts are read from the sets: n3068 for equal
    ones, else n3068x5000 in the given order. Several results (precision and recall) get several names. Raises ValueError for other
    characters in `features`, and as `of_pairs`.
    """
    result = measure(*sets, **protocol)
    counts = [str(len(rows)) for rows in sets]
    rows = counts[0] if len(set(counts)) == 1 else "x".join(counts)
    words = [_checked(features), *_protocol(measure, protocol), f"n{rows}"]
    several = hasattr(result, "_asdict") and not isinstance(result, Estimate)
    named = result._asdict() if several else {measure.__name__: result}
    return {"_".join([name, *words]): value for name, value in named.items()}


def of_pictures(measure: Callable, pictures: np.ndarray, **protocol) -> dict[str, Estimate]:
    """Takes a measure of one set of pictures, by full name: {"periodic_artifacts_p4": Estimate}. Raises the exceptions of the measure."""
    estimate = measure(pictures, **protocol)
    return {"_".join([measure.__name__, *_protocol(measure, protocol)]): estimate}


def of_maps(
    features: str,
    maps: Sequence[np.ndarray],
    target_maps: Sequence[np.ndarray],
    *,
    weights: Sequence[np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Takes `feature_distance`, by full name: {"feature_distance_clothes-v1": float64 [n]}, with the suffix `_weighted` for given weights.

    Raises ValueError as `feature_distance`, and for `features` as `of_sets`.
    """
    name = f"feature_distance_{_checked(features)}" + ("" if weights is None else "_weighted")
    return {name: feature_distance(maps, target_maps, weights=weights)}


def of_naturalness(pictures: np.ndarray, model: Naturalness) -> dict[str, np.ndarray]:
    """Takes NIQE, by full name with the model's digest: {"niqe_30f662ac": float64 [n]}. Raises as `niqe`."""
    return {f"niqe_{model.digest}": niqe(pictures, model)}


def _checked(features):
    if not _WORD.fullmatch(features):
        raise ValueError(f"a name of features is made of letters, digits, dots and hyphens, not {features!r}")
    return features


def _protocol(measure, given):
    """Returns the keyword arguments of a measure, with defaults, as words."""
    parameters = inspect.signature(measure).parameters.values()
    settings = {p.name: given.get(p.name, p.default) for p in parameters if p.kind is p.KEYWORD_ONLY or p.name in given}
    return [
        f"{_SHORT.get(name, name)}{value}"
        for name, value in settings.items()
        if name not in _ONLY_THE_ERROR and (name, value) != ("shave", 0)
    ]
