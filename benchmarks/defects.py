"""Defects of pictures, made on purpose: each is a function of a sound picture.

Pictures are Pillow's RGB, and a defect gives the bytes of a file. Strengths are physical where they can be: stops of
exposure, px of blur.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageFont
from scipy import ndimage

from data.inspection.thresholds import SIDE

QUALITY = 92
ADOBE = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)  # D50, Adobe RGB (1998)
_WORDS = (
    "NEW SEASON",
    "Sale -50 %",
    "only 19.90 EUR",
    "ORIGINAL",
    "Size M / L",
    "www.example.com",
    "call 0151 2345678",
)

Picture = Image.Image
Make = Callable[[Picture, np.random.Generator], bytes]


@dataclass(frozen=True)
class Defect:
    """`kind` is that of the finding by which it must be reported; `make` is None for the bytes as they are.

    `where` is the place of the result: "instead" of the picture, or, for copies, "beside" it, in the "other split" or in
    an "other class". `share` of all pictures get the defect, or, if 0, as many as of any other.
    """

    title: str
    kind: str
    make: Make | None
    where: str = "instead"
    extension: str = ".jpg"
    share: float = 0


def saved(picture: Picture, kind: str = "JPEG", **options) -> bytes:
    """The bytes of a file; a JPEG of good quality unless the options say otherwise."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": QUALITY} if kind == "JPEG" else {}) | options)
    return buffer.getvalue()


def changed(picture: Picture, function: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """A JPEG of `function` of the pixels, float in [0, 1]."""
    values = function(np.asarray(picture, np.float64) / 255)
    return saved(Image.fromarray(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)))


def exposed(stops: float) -> Make:
    """More or less light than is right: at 0 stops the lightest hundredth of a picture just reaches white.

    Linear light is multiplied, by the curves of sRGB (IEC 61966-2-1).
    """

    def light(values):
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        linear *= 2.0**stops / np.percentile(linear.max(axis=2), 99)
        return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

    return lambda picture, random: changed(picture, light)


def blurred(sigma: float) -> Make:
    """Out of focus, by a Gaussian of `sigma` px where no side is longer than 512 px; of more px in a larger picture."""

    def make(picture, random):
        spread = sigma * max(1, max(picture.size) / SIDE)
        return changed(picture, lambda values: ndimage.gaussian_filter(values, (spread, spread, 0)))

    return make


def shaken(length: int) -> Make:
    """A camera that moved along a straight line of `length` px while the shutter was open; of more px in a larger picture, as above."""

    def make(picture, random):
        far = round(length * max(1, max(picture.size) / SIDE))
        angle, steps = random.uniform(0, np.pi), np.linspace(-0.5, 0.5, 4 * far) * far
        path = np.zeros((far + 4,) * 2)
        for down, right in zip(steps * np.sin(angle), steps * np.cos(angle), strict=True):
            path[round(down) + far // 2 + 2, round(right) + far // 2 + 2] += 1 / len(steps)
        return changed(picture, lambda values: ndimage.convolve(values, path[..., None], mode="nearest"))

    return make


def resized(factor: float) -> Callable[[Picture], Picture]:
    return lambda picture: picture.resize(
        [max(1, round(side * factor)) for side in picture.size], Image.Resampling.LANCZOS
    )


def cropped(picture, random):
    """A twentieth of the width and of the height is lost, more on one side than on the other."""
    width, height = picture.size
    left, top = random.uniform(0, 0.05, 2)
    box = (round(left * width), round(top * height), round((left + 0.95) * width), round((top + 0.95) * height))
    return saved(picture.crop(box))


def narrow(picture, random):
    """A strip 2.5 times as long as wide."""
    width, height = picture.size
    side = round(max(picture.size) / 2.5)
    return saved(
        picture.crop((0, 0, min(width, side), height) if height >= width else (0, 0, width, min(height, side)))
    )


def caption(picture, random):
    """A line of text near the upper or lower border, black or white, whichever is seen better there."""
    size = max(14, round(random.uniform(0.04, 0.07) * picture.height))
    return saved(_written(picture, str(random.choice(_WORDS)), size, random.choice(("top", "bottom")), None))


def date_stamp(picture, random):
    """A camera's date in orange, in the lower right corner."""
    date = f"{random.integers(2003, 2026)} {random.integers(1, 13):02d} {random.integers(1, 29):02d}"
    return saved(_written(picture, date, max(14, round(0.045 * picture.height)), "corner", (255, 140, 30)))


def _written(picture, text, size, place, colour):
    picture, font = picture.copy(), ImageFont.load_default(size)
    draw = ImageDraw.Draw(picture)
    wide, tall = draw.textbbox((0, 0), text, font)[2:]
    left = picture.width - wide - 12 if place == "corner" else (picture.width - wide) / 2
    top = 10 if place == "top" else picture.height - tall - 10
    if colour is None:
        under = picture.crop((round(left), round(top), round(left + wide), round(top + tall))).convert("L")
        colour = "black" if np.mean(under) > 127 else "white"
    draw.text((left, top), text, colour, font)
    return picture


def watermark(picture, random):
    """The name and sign of a shop across the middle, white, of which 35 % covers: the same in every picture."""
    width, height = picture.size
    layer = Image.new("L", picture.size, 0)
    draw = ImageDraw.Draw(layer)
    draw.text((width / 2, height / 2), "studio north", 90, ImageFont.load_default(width // 9), anchor="mm")
    centre, radius = (width / 2, height / 2 - width / 5), width / 12
    draw.circle(centre, radius, None, 90, max(3, width // 80))
    draw.line((centre[0], centre[1] - radius, centre[0], centre[1] + radius), 90, max(3, width // 80))
    return saved(Image.composite(Image.new("RGB", picture.size, "white"), picture, layer))


def truncated(picture, random):
    content = saved(picture)
    return content[: int(len(content) * random.uniform(0.2, 0.8))]


def web_page(picture, random):
    return b"<!DOCTYPE html><html><body>404 Not Found</body></html>"


def scrambled(picture, random):
    """The first kilobyte overwritten, as a failing disk does."""
    return random.bytes(1024) + saved(picture)[1024:]


def deep(picture, random):
    """A PNG with 16 bits a channel, which Pillow cannot write: three chunks (W3C PNG specification)."""
    values = np.asarray(picture).astype(">u2") * 257
    lines = np.pad(values.reshape(len(values), -1).view(np.uint8), ((0, 0), (1, 0)))  # each after its filter, none
    header = struct.pack(">IIBBBBB", *picture.size, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 1)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def palette(picture, random):
    return saved(picture.convert("P", palette=Image.Palette.ADAPTIVE), "PNG")


def transparent(picture, random):
    picture = picture.copy()
    picture.putalpha(Image.radial_gradient("L").resize(picture.size).point(lambda value: 255 - value))
    return saved(picture, "PNG")


def turned(picture, random):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right brings it upright
    return saved(picture.transpose(Image.Transpose.ROTATE_90), exif=exif.tobytes())


def wide_gamut(picture, random):
    """With a profile of the colours of Adobe RGB: that of sRGB with other corners and another name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(struct.unpack_from(">I", profile, 128)[0]):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if name in (b"rXYZ", b"gXYZ", b"bXYZ"):
            corner = ADOBE[(b"rXYZ", b"gXYZ", b"bXYZ").index(name)]
            struct.pack_into(">3i", profile, offset + 8, *(round(value * 65536) for value in corner))
    renamed = bytes(profile).replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))
    return saved(picture, icc_profile=renamed)


def animated(picture, random):
    return saved(picture, "GIF", save_all=True, append_images=[picture.rotate(180)])


def _jpeg(function, **options) -> Make:
    return lambda picture, random: saved(function(picture), **options)


def _same(picture):
    return picture


DEFECTS = (
    Defect("cut off", "unreadable", truncated),
    Defect("a web page named .jpg", "unreadable", web_page),
    Defect("first kilobyte overwritten", "unreadable", scrambled),
    Defect("empty", "unreadable", lambda picture, random: b""),
    Defect("exact copy", "exact_duplicate", None, "beside"),
    Defect("exact copy in another split", "leakage", None, "other split"),
    Defect("exact copy in another class", "label_conflict", None, "other class"),
    Defect("copy at 70 %", "near_duplicate", _jpeg(resized(0.7)), "beside"),
    Defect("copy in JPEG quality 40", "near_duplicate", _jpeg(_same, quality=40), "beside"),
    Defect("copy cut by 5 %", "near_duplicate", cropped, "beside"),
    Defect("copy lighter by 15 %", "near_duplicate", lambda p, random: changed(p, lambda v: 1.15 * v), "beside"),
    Defect("copy at 70 %, quality 40, in another split", "leakage", _jpeg(resized(0.7), quality=40), "other split"),
    Defect("short side 60 to 75 px", "tiny", _jpeg(lambda picture: picture.resize((60, 75)))),
    Defect("blurred by Gauss, 1.5 px", "blurry", blurred(1.5)),
    Defect("blurred by Gauss, 2 px", "blurry", blurred(2)),
    Defect("blurred by Gauss, 3 px", "blurry", blurred(3)),
    Defect("blurred by Gauss, 5 px", "blurry", blurred(5)),
    Defect("blurred by Gauss, 8 px", "blurry", blurred(8)),
    Defect("enlarged four times", "blurry", _jpeg(lambda picture: resized(4)(resized(0.25)(picture)))),
    Defect("shaken over 9 px", "blurry", shaken(9)),
    Defect("shaken over 15 px", "blurry", shaken(15)),
    Defect("shaken over 25 px", "blurry", shaken(25)),
    Defect("3 stops too dark", "dark", exposed(-3)),
    Defect("4 stops too dark", "dark", exposed(-4)),
    Defect("2 stops too light", "overexposed", exposed(2)),
    Defect("3 stops too light", "overexposed", exposed(3)),
    Defect("contrast a fifth", "low_contrast", lambda p, random: changed(p, lambda v: 0.55 + 0.2 * (v - 0.5))),
    Defect("strip 1 : 2.5", "odd_shape", narrow),
    Defect("caption near the border", "overlay", caption),
    Defect("date stamp", "overlay", date_stamp),
    Defect("watermark in a tenth of all pictures", "overlay", watermark, share=0.1),
    Defect("turned by EXIF", "turned", turned),
    Defect("CMYK", "cmyk", lambda picture, random: saved(picture.convert("CMYK"))),
    Defect("16 bits a channel", "deep", deep, extension=".png"),
    Defect("palette", "palette", palette, extension=".png"),
    Defect("transparent", "transparent", transparent, extension=".png"),
    Defect("wide-gamut profile", "profile", wide_gamut),
    Defect("grey", "colourless", _jpeg(lambda picture: picture.convert("L"))),
    Defect("animated", "animated", animated, extension=".gif"),
)
