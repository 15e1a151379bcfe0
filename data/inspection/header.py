"""Header of a picture file, before it is decoded: format, colour model, depth, orientation, profile."""

import io
from dataclasses import dataclass

from PIL import ImageCms

from data.images import open_undecoded, orientation

_BITS_PER_SAMPLE = 258  # TIFF tag
# Corners (x, y) of sRGB as profiles hold them, adapted to D50 (IEC 61966-2-1; Bradford).
_SRGB = ((0.6485, 0.3309), (0.3212, 0.5979), (0.1559, 0.0660))
_WIDER = 1.1  # times the area of sRGB


@dataclass(frozen=True)
class Header:
    """`width` and `height` are those of the upright picture; `profile` names an embedded profile that is not sRGB."""

    format: str
    mode: str
    width: int
    height: int
    bits: int  # a channel
    turned: bool
    transparent: bool
    frames: int
    profile: str
    wide_gamut: bool


def read_header(content: bytes) -> Header | None:
    """The header of a picture file; None when it cannot be read."""
    try:
        image = open_undecoded(content)
        turn = orientation(image)
        width, height = image.size if turn < 5 else image.size[::-1]
        profile, wide = _profile(image.info.get("icc_profile"))
        return Header(
            image.format,
            image.mode,
            width,
            height,
            _bits(image, content),
            turn != 1,
            image.has_transparency_data,
            getattr(image, "n_frames", 1),
            profile,
            wide,
        )
    except Exception:  # damaged bytes raise nearly any type; decoding them says what is wrong
        return None


def _bits(image, content):
    if image.format == "PNG":
        return content[24]
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))
        return max(bits) if isinstance(bits, tuple) else bits
    return 16 if image.mode.startswith("I") else 32 if image.mode == "F" else 8


def _profile(content):
    """The name of a profile, "" for none and for sRGB, and whether it holds visibly more colours than sRGB."""
    if not content:
        return "", False
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content)).profile
    except OSError:
        return "unreadable profile", False
    name = (profile.profile_description or "unnamed profile").strip()
    corners = [profile.red_primary, profile.green_primary, profile.blue_primary]
    if "sRGB" in name:
        return "", False
    if profile.xcolor_space.strip() != "RGB" or None in corners:
        return name, False
    return name, _area([corner[1][:2] for corner in corners]) > _WIDER * _area(_SRGB)


def _area(corners):
    (ax, ay), (bx, by), (cx, cy) = corners
    return abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2
