"""A photo as it comes from a shop, and back: pixels for a model, with all that a file holds beside them.

    photo = read(content)                        # any picture file that Pillow reads
    photo = dataclasses.replace(photo, pixels=...)
    content = encode(photo, written(photo.format), quality=95)

Pixels are converted to sRGB and turned upright; a file that had a colour profile is written with that of sRGB, and one that had an
orientation without it. EXIF (but for its thumbnail), XMP and resolution are kept. Of an animation the first frame is taken, 16 bits
become 8. Importing this module does not import TensorFlow.
"""

import contextlib
import functools
import io
import re
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, features
from scipy import ndimage

from data import images
from data.colour import plain, to_srgb
from data.errors import UserError
from data.images import BadPicture

# What can be written, with the largest side in px. The files of others that can be read hold less than these do: 256 colours, no alpha.
FORMATS = {"PNG": 2**31 - 1, "JPEG": 65_500, "WEBP": 16_383, "AVIF": 65_535}
LOSSLESS = "PNG"
ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".webp": "WEBP", ".avif": "AVIF"}  # fmt: skip
_MOST_IN_JPEG = 65_500  # bytes of EXIF or XMP in a JPEG's segment
_DESCRIBING = {  # tags that a TIFF keeps among those of its layout
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
    ExifTags.IFD.Exif,
    ExifTags.IFD.GPSInfo,
}
_TURNED = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8]")
_XMP_IN_PNG = "XML:com.adobe.xmp"


@dataclass(frozen=True)
class Photo:
    """A decoded photo and what else its file held.

    pixels: sRGB, uint8 [height, width, 3], or with alpha [height, width, 4] where anything is transparent; there the wholly transparent
    pixels have the colour of the nearest others, so that no filter and no network mixes hidden colours into edges.
    format: Pillow's name of it. exif, xmp: as they are written again, b"" for none. profile: whether it had one. dpi: pixels an inch.
    """

    pixels: np.ndarray
    format: str
    exif: bytes = b""
    xmp: bytes = b""
    profile: bool = False
    dpi: tuple[float, float] | None = None


def read(content: bytes) -> Photo:
    """Decode the bytes of a picture file. Raises BadPicture for no picture, a damaged one, or one too large."""
    with images.opened(content) as image:
        image = images.loaded(image, content)
        format, profile = image.format, image.info.get("icc_profile")
        turn, alpha = images.orientation(image), None
        described = _exif(image), _xmp(image), bool(profile), _resolution(image)
        if image.has_transparency_data and not image.mode.startswith("I"):
            image = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
            alpha = image.getchannel("A")
            image = image.convert(image.mode[:-1])
            image.info.pop("transparency", None)
        image = images.upright(to_srgb(plain(image), profile), turn)
        pixels = np.array(image)
        if alpha is not None and alpha.getextrema()[0] < 255:
            pixels = _with_alpha(pixels, np.array(images.upright(alpha, turn)))
    return Photo(pixels, format, *described)


def written(format: str) -> str:
    """The format in which a photo of `format` is written again: the same, or PNG where that would hold less."""
    return format if format in FORMATS else LOSSLESS


def check_format(format: str) -> None:
    """Raise UserError where this Pillow cannot write `format`, one of FORMATS."""
    if format in ("WEBP", "AVIF") and not features.check(format.lower()):
        raise UserError(f"the installed Pillow cannot write {format}; install a newer one, or write another format")


def encode(photo: Photo, format: str, *, quality: int = 95) -> bytes:
    """The bytes of a photo as a file of `format`, one of FORMATS. A JPEG has no alpha: what was transparent is laid over white.

    `quality`, 1 to 100, is that of JPEG, WebP and AVIF. Raises BadPicture for a photo that is too large for the format.
    """
    height, width = photo.pixels.shape[:2]
    if max(height, width) > FORMATS[format]:
        raise BadPicture(f"{width}x{height} is too large for {format}, which ends at {FORMATS[format]:,} px a side")
    image = Image.fromarray(photo.pixels)
    options = {"exif": _sized(photo.exif, width, height), "dpi": photo.dpi} | _OPTIONS[format](photo, quality)
    if photo.profile:
        options["icc_profile"] = _srgb_profile()
    if format == "JPEG":
        image = plain(image)
        options["exif"] = options["exif"] if len(options["exif"]) <= _MOST_IN_JPEG else b""
    buffer = io.BytesIO()
    image.save(buffer, format, **{name: value for name, value in options.items() if value})
    return buffer.getvalue()


def _png(photo, quality):
    notes = PngImagePlugin.PngInfo()
    if photo.xmp:
        notes.add_itxt(_XMP_IN_PNG, photo.xmp.decode(errors="replace"))
    return {"pnginfo": notes}


def _jpeg(photo, quality):
    return {"quality": quality, "subsampling": "4:4:4", "xmp": photo.xmp if len(photo.xmp) <= _MOST_IN_JPEG else b""}


def _webp(photo, quality):
    return {"quality": quality, "xmp": photo.xmp}


def _avif(photo, quality):
    return {"quality": quality, "subsampling": "4:4:4", "xmp": photo.xmp}


_OPTIONS = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp, "AVIF": _avif}


def _with_alpha(colours, alpha):
    hidden = alpha == 0
    if hidden.any() and not hidden.all():
        nearest = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
        colours = colours[tuple(nearest)]
    return np.dstack([colours, alpha])


def _exif(image):
    """EXIF without orientation and thumbnail; b"" for none, or where it is too damaged to be written again."""
    with contextlib.suppress(Exception):
        exif = image.getexif()
        for tag in set(exif) - _DESCRIBING if image.format == "TIFF" else [ExifTags.Base.Orientation]:
            exif.pop(tag, None)
        if len(exif):
            return exif.tobytes()
    return b""


def _sized(exif, width, height):
    """EXIF with the size of the picture, where it tells one."""
    if not exif:
        return b""
    held = Image.Exif()
    held.load(exif)
    told = held.get_ifd(ExifTags.IFD.Exif)
    for tag, side in ((ExifTags.Base.ExifImageWidth, width), (ExifTags.Base.ExifImageHeight, height)):
        if tag in told:
            told[tag] = side
    return held.tobytes()


def _xmp(image):
    """XMP that says it is upright."""
    found = image.info.get("xmp") or image.info.get(_XMP_IN_PNG) or b""
    return _TURNED.sub(rb"\g<1>1", found.encode() if isinstance(found, str) else bytes(found))


def _resolution(image):
    dpi = image.info.get("dpi")
    return dpi if dpi and all(1 <= value < 2**16 for value in dpi) else None


@functools.cache
def _srgb_profile():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes((7, 208, 0, 1, 0, 1)) + bytes(6) + profile[36:]  # dated 2000-01-01, not today
