"""Damages pictures in grades: uint8 [height, width, 3] to the same."""

import io

import numpy as np
from PIL import Image
from scipy import ndimage


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Applies a Gaussian blur of `sigma` px."""
    return _pixels(ndimage.gaussian_filter(picture.astype(np.float32), (sigma, sigma, 0), mode="nearest"))


def noisy(picture: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise of `deviation` levels, drawn for each pixel and channel."""
    return _pixels(picture + deviation * random.standard_normal(picture.shape, np.float32))


def compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    """Compresses to JPEG of `quality` (1 to 95), with colour at half resolution as usual, and decodes it."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def faded(picture: np.ndarray, contrast: float) -> np.ndarray:
    """Fades to the picture's mean colour: contrast 1 is unchanged, 0 is that colour alone."""
    mean = picture.mean(axis=(0, 1))
    return _pixels(mean + contrast * (picture - mean))


def _pixels(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
