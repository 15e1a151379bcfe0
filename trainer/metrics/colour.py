"""Colour measures: luma, CIE Lab, and the colour difference Delta-E 2000."""

import numpy as np

from data.colour import to_linear

# IEC 61966-2-1; the white is the product of the matrix and (1, 1, 1), D65, so that greys have no chroma.
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


def luma(pictures: np.ndarray) -> np.ndarray:
    """Luma of BT.601 in studio range, float64 [..., height, width], 16 for black to 235 for white, not rounded.

    16 + (65.481 R + 128.553 G + 24.966 B) / 255 of uint8 [..., height, width, 3], as MATLAB's rgb2ycbcr, which the super-resolution
    literature uses.
    """
    return 16 + pictures @ (np.array([65.481, 128.553, 24.966]) / 255)


def lab(pictures: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of uint8 sRGB [..., 3] under D65, 2 degrees: float64 [..., 3]; L* in [0, 100], a* and b* within about 128 of 0."""
    linear = to_linear(np.arange(256) / 255)[pictures]
    relative = linear @ _TO_XYZ.T / _WHITE
    cubic = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(cubic, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Colour difference Delta-E 2000 of two arrays of L*a*b* [..., 3]: float64 [...], >= 0; about 1 can just be seen.

    Sharma, Wu & Dalal 2005, eq. 2 to 22, with weights kL = kC = kH = 1.
    """
    (light_a, a_a, b_a), (light_b, a_b, b_b) = (np.moveaxis(np.asarray(x, np.float64), -1, 0) for x in (first, second))
    stretch = 1.5 - 0.5 * _saturation((np.hypot(a_a, b_a) + np.hypot(a_b, b_b)) / 2)
    chroma_a, chroma_b = np.hypot(stretch * a_a, b_a), np.hypot(stretch * a_b, b_b)
    hue_a, hue_b = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a_a, b_a), (a_b, b_b)))
    grey = chroma_a * chroma_b == 0  # hue is undefined

    turn = hue_b - hue_a
    far = np.abs(turn) > 180
    turn = np.where(grey, 0, turn - np.where(far, 360 * np.sign(turn), 0))
    hue = (hue_a + hue_b) / 2
    hue = np.where(grey, hue_a + hue_b, np.where(far, hue + np.where(hue < 180, 180, -180), hue))
    light, chroma = (light_a + light_b) / 2, (chroma_a + chroma_b) / 2

    def cosine(degrees):
        return np.cos(np.radians(degrees))

    hue_scale = (
        1 - 0.17 * cosine(hue - 30) + 0.24 * cosine(2 * hue) + 0.32 * cosine(3 * hue + 6) - 0.20 * cosine(4 * hue - 63)
    )
    of_light = (light_b - light_a) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    of_chroma = (chroma_b - chroma_a) / (1 + 0.045 * chroma)
    of_hue = 2 * np.sqrt(chroma_a * chroma_b) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * hue_scale)
    blue = np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))
    cross = -2 * np.sin(blue) * _saturation(chroma) * of_chroma * of_hue
    return np.sqrt(np.maximum(of_light**2 + of_chroma**2 + of_hue**2 + cross, 0))


def _saturation(chroma):
    """Returns sqrt(C^7 / (C^7 + 25^7)), which rises from 0 to 1 around C = 25."""
    return np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
