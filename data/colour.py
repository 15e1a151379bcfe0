"""Every colour model a picture file may use, brought to 8-bit sRGB, and the light that sRGB stands for."""

import functools
import io

import numpy as np
from PIL import Image, ImageChops, ImageCms

# White of cameras and scanners; a picture in 16 bits that is darker than this everywhere would be black.
TWELVE_BITS = 4095.0
_SPACE_OF_MODE = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}


def plain(image: Image.Image) -> Image.Image:
    """The picture in mode L, RGB, CMYK or LAB: 8 bits, no palette, and what was transparent laid over white."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(eight_bits(np.asarray(image), wide=image.mode.startswith("I;16")))
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, "white")
        canvas.alpha_composite(image.convert("RGBA"))
        return canvas.convert("RGB")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow inverts every CMYK JPEG, as Adobe stores them; without Adobe's marker the values were not inverted.
        return ImageChops.invert(image)
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def eight_bits(values: np.ndarray, wide: bool = False) -> np.ndarray:
    """Scale grey values [height, width] of any number type to uint8.

    `wide` says that they come in 16 bits; when none exceeds 4095, they are the 12 bits of a camera or scanner.
    Otherwise white is the first of 1, 255 and 65535 that no value exceeds, else the largest value. Negative and
    non-finite values become black.
    """
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    largest = values.max()
    whites = (TWELVE_BITS, 65535.0) if wide else (1.0, 255.0, 65535.0)
    white = next((white for white in whites if largest <= white), largest)
    return np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8)


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert what `plain` gives to RGB, through the embedded colour `profile` unless that is sRGB, broken or of another model."""
    if image.mode == "LAB":
        return _lab_transform().apply(image)
    transform = _transform(profile, image.mode) if profile else None
    if transform is not None:
        return transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def to_linear(encoded: np.ndarray) -> np.ndarray:
    """Linear light of encoded sRGB, both in [0, 1]: IEC 61966-2-1."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def from_linear(linear: np.ndarray) -> np.ndarray:
    """Undo `to_linear`."""
    return np.where(linear <= 0.04045 / 12.92, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


@functools.lru_cache(maxsize=64)
def _transform(profile, mode):
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACE_OF_MODE[mode]:
            return None
        if "sRGB" in (source.profile.profile_description or ""):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None


@functools.cache
def _lab_transform():
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
