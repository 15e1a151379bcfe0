"""Leaves the pixels that a mask keeps as they are, bit for bit, in a picture that was made of theirs.

Importing this module does not import TensorFlow.
"""

import numpy as np
from PIL import Image

from data import images
from data.images import BadPicture


def read_mask(content: bytes, photo: np.ndarray) -> np.ndarray:
    """The mask in a picture file: bool [height, width], True where it is white (128 and more) and the photo is kept.

    Raises BadPicture for no picture, and for one of another size than `photo`, [height, width, channels].
    """
    mask = images.decode(content).mean(axis=2) >= 128
    if mask.shape != photo.shape[:2]:
        raise BadPicture(f"its mask is {_size(mask)} and the photo {_size(photo)}; they must have one size")
    return mask


def put_back(made: np.ndarray, photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`made` with the photo's pixels where the mask is True: uint8 [height, width, channels], as `made`.

    Where `made` is a whole number of times as large, they are those of the photo's bicubic enlargement. Raises BadPicture where it is not.
    """
    scale = max(1, made.shape[0] // photo.shape[0])
    if made.shape[:2] != (scale * photo.shape[0], scale * photo.shape[1]):
        raise BadPicture(
            f"the result is {_size(made)} and the photo {_size(photo)}: "
            "pixels are kept only where the result is 1, 2, 3 ... times as large"
        )
    mask = mask.repeat(scale, axis=0).repeat(scale, axis=1)
    return np.where(mask[:, :, np.newaxis], enlarged(photo, scale), made)


def enlarged(pixels: np.ndarray, scale: int) -> np.ndarray:
    """uint8 [height, width] or [height, width, channels] enlarged by bicubic, each channel for itself: alpha hides no colour."""
    if scale == 1:
        return pixels
    if pixels.ndim == 3:
        return np.dstack([enlarged(np.ascontiguousarray(channel), scale) for channel in np.moveaxis(pixels, 2, 0)])
    image = Image.fromarray(pixels)
    return np.array(image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC))


def _size(array):
    return f"{array.shape[1]}x{array.shape[0]}"
