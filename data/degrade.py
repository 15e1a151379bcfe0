"""Make the low-resolution half of an enhancement pair from the high-resolution one."""

import numpy as np

from data.errors import UserError
from data.images import bicubic


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    """Cut uint8 [..., height, width, channels] at the bottom and right to multiples of `scale`.

    Raises UserError when the picture is smaller than `scale`.
    """
    height, width = (side - side % scale for side in image.shape[-3:-1])
    if not height or not width:
        raise UserError(f"a picture of {image.shape[-3]}x{image.shape[-2]} is too small for scale {scale}")
    return image[..., :height, :width, :]


def downscale(image: np.ndarray, scale: int) -> np.ndarray:
    """Shrink uint8 [..., height, width, channels] `scale` times by antialiased bicubic, after `modcrop`; returns uint8."""
    image = modcrop(image, scale)
    return bicubic(image, (image.shape[-3] // scale, image.shape[-2] // scale))
