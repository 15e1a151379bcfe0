"""NIQE: distance of a picture's local statistics from those of sharp photos, without a target (Mittal, Soundararajan & Bovik 2013).

The published statistics are not part of packshot. So scores compare only with scores of the same model, whose `digest` is in the name of
the measure. White backdrops have no statistics and cut-out edges are not natural: compare only pictures of one kind.
"""

import functools
import hashlib
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.special import gamma

from data import files
from data.errors import UserError

PATCH = 96  # pixels per side, as in the paper
SHARP = 0.75  # least sharpness of a model's patches, as a share of the sharpest of their picture
FEATURES = 36
_REACH, _SIGMA = 3, 7 / 6  # of the Gaussian window, 7x7
_WINDOW = np.exp(-(np.arange(-_REACH, _REACH + 1) ** 2) / (2 * _SIGMA**2))
_WINDOW /= _WINDOW.sum()
_SHAPES = np.linspace(0.2, 10, 9801)
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class Naturalness:
    """Gaussian of the features of sharp photos: mean float64 [36], covariance float64 [36, 36].

    `patch` is the side of the patches in pixels.
    """

    mean: np.ndarray
    covariance: np.ndarray
    patch: int = PATCH

    @property
    def digest(self) -> str:
        """Eight hex digits that identify the model."""
        numbers = np.concatenate([self.mean, self.covariance.ravel(), [self.patch]]).astype("<f8")
        return hashlib.sha256(numbers.tobytes()).hexdigest()[:8]

    def save(self, path: str) -> None:
        """Writes the model as an .npz of some 10 kB. Raises OSError."""
        buffer = io.BytesIO()
        np.savez(buffer, mean=self.mean, covariance=self.covariance, patch=self.patch)
        files.write(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str) -> "Naturalness":
        """Reads a file of `save`. Raises OSError, and UserError for a file that holds no such model."""
        try:
            with np.load(io.BytesIO(files.read(path))) as file:
                model = cls(file["mean"], file["covariance"], int(file["patch"]))
        except (ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} holds no model of naturalness") from error
        if model.mean.shape != (FEATURES,) or model.covariance.shape != (FEATURES, FEATURES):
            raise UserError(f"{path}: the mean must be [{FEATURES}] and the covariance [{FEATURES}, {FEATURES}]")
        return model


@functools.cache
def default_model() -> Naturalness:
    """Returns the model shipped with packshot, made by `trainer/metrics/fit_naturalness.py`."""
    return Naturalness.load(Path(__file__).parent / "naturalness.npz")


def fit(pictures: Iterable[np.ndarray], patch: int = PATCH) -> Naturalness:
    """Fits a model to sharp photos uint8 [height, width, 3] of any size; photos smaller than a patch are skipped.

    Only patches with at least 0.75 of the sharpness (the mean local deviation) of their picture's sharpest one are used. Raises ValueError
    for an odd or tiny `patch`, and UserError if the pictures hold fewer than 37 such patches.
    """
    sharp = [np.empty((0, FEATURES))]
    for picture in pictures:
        if min(picture.shape[:2]) >= patch:
            features, sharpness = patch_features(picture, patch)
            if len(features):
                sharp.append(features[sharpness >= SHARP * sharpness.max()])
    rows = np.concatenate(sharp)
    if len(rows) <= FEATURES:
        raise UserError(
            f"a model of naturalness needs more than {FEATURES} patches of {patch} px; there are {len(rows)}"
        )
    return Naturalness(rows.mean(axis=0), np.cov(rows, rowvar=False), patch)


def niqe(pictures: np.ndarray, model: Naturalness) -> np.ndarray:
    """Distance of each picture's statistics from the model's: float64 [n], >= 0, less is more natural.

    The paper's eq. 10. Pictures are uint8 [n, height, width, 3], cut to whole patches of the model's size at the right and bottom.
    Patches of one colour are left out, and a picture without others has the score nan. Raises ValueError for other arrays, and UserError
    for pictures of fewer than two patches, which have no covariance.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise ValueError(f"pictures must be uint8 [n, height, width, 3], not {pictures.dtype} {list(pictures.shape)}")
    height, width = pictures.shape[1:3]
    if (height // model.patch) * (width // model.patch) < 2:
        raise UserError(
            f"pictures of {height}x{width} hold fewer than two patches of {model.patch}x{model.patch} pixels"
        )
    return np.array([_distance(patch_features(picture, model.patch)[0], model) for picture in pictures])


def _distance(rows, model):
    if not len(rows):
        return np.nan
    covariance = np.cov(rows, rowvar=False) if len(rows) > 1 else np.zeros_like(model.covariance)
    shift = rows.mean(axis=0) - model.mean
    return np.sqrt(max(shift @ np.linalg.pinv((model.covariance + covariance) / 2) @ shift, 0))


def patch_features(picture: np.ndarray, patch: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (features float64 [patches, 36], sharpness float64 [patches]) of a picture uint8 [height, width, 3]; patches do not overlap.

    18 features at full size, then 18 at half size: shape and scale of the normalised pixels, then shape, mean, left and right scale of the
    products of neighbours to the right, below and on both diagonals. Patches without any contrast are left out. Raises ValueError for
    another shape or dtype, and UserError for an odd or tiny `patch`.
    """
    if patch < 16 or patch % 2:
        raise UserError(f"a patch must be an even number of pixels, at least 16, not {patch}")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a picture must be uint8 [height, width, 3], not {picture.dtype} {list(picture.shape)}")
    height, width = (side - side % patch for side in picture.shape[:2])
    grey = picture[:height, :width] @ np.array([0.299, 0.587, 0.114])
    half = Image.fromarray(grey.astype(np.float32)).resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    features = []
    for plane, side in ((grey, patch), (np.asarray(half, np.float64), patch // 2)):
        normalised, deviation = _normalised(plane)
        patches = _cut(normalised, side)
        columns = list(_generalised_gaussian(patches))
        columns[1:] = [(columns[1] + columns[2]) / 2]
        for shift in _NEIGHBOURS:  # wraps around at the patch's border, as in the authors' program
            columns += _with_mean(*_generalised_gaussian(patches * np.roll(patches, shift, axis=(1, 2))))
        features.append(np.stack(columns, axis=1))
        if side == patch:
            sharpness = _cut(deviation, side).mean(axis=(1, 2))
    rows = np.concatenate(features, axis=1)
    usable = np.isfinite(rows).all(axis=1)
    return rows[usable], sharpness[usable]


def _normalised(plane):
    """Returns (pixels minus local mean) / (local deviation + 1), eq. 1 to 3 of the paper, and the local deviation."""
    mean, square = plane, plane**2
    for axis in (0, 1):
        mean = ndimage.correlate1d(mean, _WINDOW, axis=axis, mode="nearest")
        square = ndimage.correlate1d(square, _WINDOW, axis=axis, mode="nearest")
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    normalised = (plane - mean) / (deviation + 1)
    # Rounding errors on a flat backdrop count as zero.
    return np.where(np.abs(normalised) < 1e-4, 0, normalised), deviation


def _cut(plane, side):
    """Cuts [height, width] into [patches, side, side], row by row."""
    height, width = plane.shape
    return plane.reshape(height // side, side, width // side, side).swapaxes(1, 2).reshape(-1, side, side)


def _generalised_gaussian(patches):
    """Returns shape, left scale and right scale [patches] of the asymmetric generalised Gaussian with the moments of each patch.

    Lasmar et al. 2009: the shape, in [0.2, 10], follows from the ratio of the mean square to the squared mean of absolute values. nan for a
    patch without values on one side of zero.
    """
    flat = patches.reshape(len(patches), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = (
            np.sqrt(np.sum(flat**2, axis=1, where=side) / np.sum(side, axis=1)) for side in (flat < 0, flat > 0)
        )
        lean = left / right
        ratio = np.mean(np.abs(flat), axis=1) ** 2 / np.mean(flat**2, axis=1)
        ratio = ratio * (lean**3 + 1) * (lean + 1) / (lean**2 + 1) ** 2
    shape = np.interp(ratio, _RATIOS, _SHAPES)
    stretch = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * stretch, right * stretch


def _with_mean(shape, left, right):
    return shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right
