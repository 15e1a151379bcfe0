"""Decoding of picture files of any kind to uint8 RGB, and encoding of arrays to files and float32.

Pictures are uint8 [height, width, 3] at both ends and float32 in [-1, 1] between; `to_float` and `to_uint8` are the
only two conversions. Importing this module does not import TensorFlow.
"""

import contextlib
import functools
import io
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, JpegImagePlugin, PngImagePlugin

from . import files
from .colour import TWELVE_BITS, plain, to_srgb
from .content import describe
from .errors import UserError

FITS = ("crop", "pad", "stretch")
# Held in memory at once; a JPEG may have four times as many if it is decoded at a reduced size.
MAX_PIXELS = 100_000_000

# Pillow would only warn where this module refuses with a sentence.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
SHEET_START = 256  # bytes of a file that tell whether it is a sheet
_SHEET = ("Software", "packshot sheet")  # a text in the PNG files of sheets
_SHEETS = (  # the last two as `data.outputs` marks what `packshot sample` makes
    b"Software\0packshot sheet",
    b"Software\0packshot sample",
    b"Made by packshot sample",
)
_MAY_TELL_ORIENTATION = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")


class BadPicture(UserError):
    """A picture that cannot be used; the text says what is wrong with it."""


def decode(content: bytes, size: int | None = None, *, fit: str = "crop") -> np.ndarray:
    """Decode the bytes of a picture file to sRGB: uint8 [size, size, 3], or [height, width, 3] when `size` is None.

    Orientation is applied, transparency is laid over white, and of an animation the first frame is taken. What is not
    square is cut to its middle (`crop`), set on white (`pad`) or squeezed (`stretch`). Raises BadPicture when the bytes
    are no picture, a damaged one or one too large, and ValueError for an unknown `fit`.
    """
    _check_fit(fit)
    image = _decode(content, size, fit)
    return np.array(image if size is None else _on_white(image, size))


def decode_within(content: bytes, longest: int) -> np.ndarray:
    """Decode as `decode` does, but keep the shape: uint8 [height, width, 3], shrunk if a side exceeds `longest`."""
    return np.array(_decode(content, longest, "within"))


def _decode(content, size, fit):
    """An RGB image, fitted to `size` in all but the white border of `pad`."""
    with opened(content) as image:
        if fit == "within":
            size, fit = min(size, max(image.size)), "pad"
        if size is not None and image.format == "JPEG":
            image.draft(None, _scaled(image.size, size, fit))
        image = loaded(image, content)
        profile, turn = image.info.get("icc_profile"), orientation(image)  # a PNG tells them behind its pixels too
        image = plain(image)
        if size is not None:
            image = _resize(image, size, fit)
        return upright(to_srgb(image, profile), turn)


@contextlib.contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """Opens the picture in some bytes without decoding it. Raises BadPicture, also for what Pillow raises in the block."""
    if not content:
        raise BadPicture("the file is empty")
    kind = "picture"
    try:
        image = open_undecoded(content)
        kind = f"{image.format} picture"
        yield image
    except BadPicture:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadPicture(f"more than {MAX_PIXELS // 1_000_000} million pixels") from error
    except Exception as error:  # on damaged bytes Pillow's decoders raise nearly any type
        raise BadPicture(f"truncated or damaged {kind} ({error})") from error


def loaded(image: Image.Image, content: bytes) -> Image.Image:
    """Decodes what `opened` gives, with 12 bits in 16 as 8. Raises BadPicture for too many pixels, and what Pillow raises."""
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(image.size)
    raw = _raw_mode(image)
    image.load()
    if ";16" in raw and max(high for _, high in image.getextrema()[:3]) <= TWELVE_BITS // 256:
        return _from_twelve_bits(image, content, raw)
    return image


def upright(image: Image.Image, turn: int) -> Image.Image:
    """The picture turned as an EXIF orientation says."""
    return image.transpose(_TURN[turn]) if turn in _TURN else image


def _raw_mode(image):
    """Layout of the pixels of an RGB picture in its file, such as "RGB;16B"; "" where Pillow does not say."""
    args = image.tile[0].args if image.tile and image.mode in ("RGB", "RGBA") else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _from_twelve_bits(image, content, raw):
    """A picture of 12 bits in 16, of which Pillow keeps the upper 8: decoded again with the bytes exchanged, to have the lower ones."""
    exchanged = raw[:-1] + ("L" if raw[-1] == "B" else "B")
    again = open_undecoded(content)
    again.tile = [
        tile._replace(args=(exchanged, *tile.args[1:]) if isinstance(tile.args, tuple) else exchanged)
        for tile in again.tile
    ]
    again.load()
    upper, lower = np.array(image), np.asarray(again)
    values = upper[:, :, :3].astype(np.float64) * 256 + lower[:, :, :3]
    upper[:, :, :3] = np.rint(np.minimum(values / TWELVE_BITS, 1) * 255)
    picture = Image.fromarray(upper)
    picture.info, picture.format = image.info, image.format
    return picture


def square(array: np.ndarray, size: int | None, *, fit: str = "crop") -> np.ndarray:
    """Fit an already decoded uint8 [height, width, 1, 3 or 4] array as `decode` would: uint8 [size, size, 3].

    With `size` None the picture keeps its own size. Raises ValueError for an unknown `fit` or number of channels.
    """
    _check_fit(fit)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ValueError(f"a picture is [height, width, 1, 3 or 4], not {list(array.shape)}")
    image = plain(Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)).convert("RGB")
    return np.array(image if size is None else _on_white(_resize(image, size, fit), size))


def _check_fit(fit):
    if fit not in FITS:
        raise ValueError(f"unknown fit {fit!r}; have: {', '.join(FITS)}")


def open_undecoded(content: bytes) -> Image.Image:
    """The picture in some bytes, before it is decoded. Raises BadPicture, and what Pillow raises on damaged bytes."""
    if content.startswith(b"\xff\xd8\xff"):
        # Opened by its class: quicker than asking every plugin, and photos above Pillow's own limit may be drafted.
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
        if image.width * image.height > 4 * MAX_PIXELS:
            raise _too_large(image.size)
        return image
    try:
        return Image.open(io.BytesIO(content))
    except Image.UnidentifiedImageError:
        raise BadPicture(_unidentified(content)) from None


def _unidentified(content):
    kind = describe(content)
    readable = kind.endswith("picture") and not kind.startswith("HEI")
    return f"truncated or damaged {kind}" if readable else f"not a picture that can be read, but: {kind}"


def _too_large(size):
    return BadPicture(f"{size[0]}x{size[1]} is more than {MAX_PIXELS // 1_000_000} million pixels")


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; a TIFF needs none, as Pillow has turned it on loading."""
    if image.format == "TIFF" or not any(key in image.info for key in _MAY_TELL_ORIENTATION):
        return 1
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF is common, and no reason to lose the picture
        return 1


def _scaled(size, target, fit):
    """The (width, height) to which `fit` brings a picture of `size` on its way to target x target."""
    if fit != "pad":
        return target, target
    longest = max(size)
    return tuple(max(1, round(side * target / longest)) for side in size)


def _resize(image, size, fit):
    """Does all of `fit` but the white border, which comes last because it needs no colour conversion."""
    wanted = _scaled(image.size, size, fit)
    width, height = (min(image.size),) * 2 if fit == "crop" else image.size
    left, top = (image.width - width) / 2, (image.height - height) / 2
    # Hamming shrinks about as sharply as bicubic does, in two thirds of the time; it is not made for enlarging.
    shrinks = wanted[0] <= width and wanted[1] <= height
    method = Image.Resampling.HAMMING if shrinks else Image.Resampling.BICUBIC
    return image.resize(wanted, method, box=(left, top, left + width, top + height), reducing_gap=3.0)


def _on_white(image, size):
    if image.size == (size, size):
        return image
    canvas = Image.new("RGB", (size, size), "white")
    canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return canvas


def to_float(pixels):
    """uint8 pixels of any shape to float32 in [-1, 1]; a NumPy array gives a NumPy array, a TensorFlow tensor a tensor."""
    if isinstance(pixels, np.ndarray):
        return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
    import tensorflow as tf

    return tf.cast(pixels, tf.float32) / 127.5 - 1.0


def to_uint8(pixels):
    """Floats in [-1, 1] of any shape back to uint8: clipped, and rounded with halves to even. Undoes `to_float` exactly."""
    if isinstance(pixels, np.ndarray):
        return np.rint(np.clip((pixels.astype(np.float32) + 1) * np.float32(127.5), 0, 255)).astype(np.uint8)
    import tensorflow as tf

    return tf.cast(tf.round(tf.clip_by_value((tf.cast(pixels, tf.float32) + 1.0) * 127.5, 0.0, 255.0)), tf.uint8)


def encode_png(array: np.ndarray, sheet: bool = False) -> bytes:
    """PNG bytes of a uint8 [height, width, 1 or 3] (or [height, width]) array.

    `sheet` marks a sheet of several pictures, which no source then takes for a photo (see `is_sheet`).
    """
    buffer = io.BytesIO()
    grey = array.ndim == 3 and array.shape[2] == 1
    notes = PngImagePlugin.PngInfo()
    if sheet:
        notes.add_text(*_SHEET)
    Image.fromarray(array[:, :, 0] if grey else array).save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()


def is_sheet(content: bytes) -> bool:
    """Returns whether the bytes of a picture file begin as a sheet that packshot made."""
    return any(mark in content[:SHEET_START] for mark in _SHEETS)


def encode_jpeg(array: np.ndarray, quality: int = 95) -> bytes:
    """JPEG bytes of a uint8 [height, width, 3] array, with colour at full resolution."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def save_png(path: str, array: np.ndarray, *, sheet: bool = False) -> None:
    """Write `encode_png(array, sheet)` in one go; `path` may be gs:// and the like. Raises OSError."""
    files.write(path, encode_png(array, sheet))


def grid(
    images: np.ndarray, columns: int | None = None, *, gap: int = 2, row_names: Sequence[str] | None = None
) -> np.ndarray:
    """Lay uint8 [n, height, width, 3] pictures out row by row on white: uint8 [H, W, 3].

    Without `columns` the sheet is about square. `gap` is the white between pictures, in pixels; `row_names` are written
    to the left of the rows. Raises ValueError for no pictures at all.
    """
    count, height, width, _ = images.shape
    if count == 0:
        raise ValueError("a grid needs at least one picture")
    columns = min(columns or int(np.ceil(np.sqrt(count))), count)
    rows = -(-count // columns)
    font = ImageFont.load_default()
    margin = max((int(np.ceil(font.getlength(name))) + 4 for name in row_names or ()), default=0)
    sheet = np.full((rows * (height + gap) - gap, margin + columns * (width + gap) - gap, 3), 255, np.uint8)
    for index, picture in enumerate(images):
        top, left = index // columns * (height + gap), margin + index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    if not row_names:
        return sheet
    canvas = Image.fromarray(sheet)
    for row, name in enumerate(row_names[:rows]):
        ImageDraw.Draw(canvas).text((2, row * (height + gap) + height / 2), name, "black", font, anchor="lm")
    return np.array(canvas)


def bicubic(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a uint8 [..., height, width, channels] array to `size` (height, width) as MATLAB's imresize does; returns uint8.

    The kernel (a = -0.5) is widened when shrinking, so it antialiases. Beyond the border the nearest pixel is
    repeated. The pass that shrinks more comes first, and the picture is rounded to uint8 between the two: this reproduces
    the published pairs of Set5 bit for bit.
    """
    axes = sorted((-3, -2), key=lambda axis: size[axis + 3] / array.shape[axis])
    for axis in axes:
        lines = np.moveaxis(array, axis, 0).astype(np.float64)
        weights = _bicubic_weights(array.shape[axis], size[axis + 3])
        mixed = (weights @ lines.reshape(len(lines), -1)).reshape(-1, *lines.shape[1:])
        array = np.floor(np.clip(np.moveaxis(mixed, 0, axis), 0, 255) + 0.5).astype(np.uint8)
    return np.ascontiguousarray(array)


def bicubic_float(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a uint8 [height, width, channels] array to `size` (height, width) for a network; returns float32, not rounded.

    Pillow's bicubic, which antialiases, on each channel in floats, so that values may leave [0, 255] a little beside edges: the resizing
    of Parmar, Zhang & Zhu 2022, who found that other libraries' filters and rounding in between move FID. Equal sizes change nothing.
    """
    array = array.astype(np.float32)
    if array.shape[:2] == tuple(size):
        return array
    channels = [Image.fromarray(array[:, :, index]) for index in range(array.shape[2])]
    return np.stack([np.asarray(c.resize(size[::-1], Image.Resampling.BICUBIC)) for c in channels], axis=2)


@functools.lru_cache(maxsize=64)
def _bicubic_weights(old, new):
    """Sparse float64 [new, old]: how much of each old pixel goes into each new one."""
    from scipy.sparse import csr_array

    scale = new / old
    sharpness = min(scale, 1.0)
    centres = (np.arange(new) + 0.5) / scale - 0.5
    reach = int(np.ceil(4 / sharpness)) + 2
    taps = np.floor(centres - 2 / sharpness).astype(int)[:, None] + np.arange(reach)
    distance = np.abs(centres[:, None] - taps) * sharpness
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    values = np.where(distance <= 1, near, np.where(distance <= 2, far, 0))
    weights = np.zeros((new, old))
    np.add.at(weights, (np.arange(new)[:, None], np.clip(taps, 0, old - 1)), values)
    return csr_array(weights / weights.sum(axis=1, keepdims=True))
