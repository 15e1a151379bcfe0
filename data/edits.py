"""Classic edits of a photo, and chains of them in one line: `white_balance,contrast:1.1,square:1600`.

An edit is a pure function of sRGB pixels, uint8 [height, width, 3 or 4] with alpha as the fourth channel, to pixels with as many channels.
Only `crop` and `square` change the size and the alpha. Importing this module does not import TensorFlow.
"""

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps
from scipy import ndimage

from data.colour import from_linear, to_linear
from data.errors import UserError

TILES, LEAST_TILE = 8, 16  # tiles of CLAHE along a side, and the fewest px of one
_ROWS = 32  # rows that `bilateral` works on at once: its memory
GAP = 5  # px: no backdrop passes through what is narrower
BLUR, STEP = 2, 3  # of `whiten`: px of the box that removes noise, levels over 3 px that are no backdrop


@dataclass(frozen=True)
class Number:
    """A number that an edit takes, and the range of what is accepted."""

    name: str
    low: float
    high: float
    whole: bool = False

    def read(self, text):
        value = (int if self.whole else float)(text)
        if not self.low <= value <= self.high:
            raise ValueError(text)
        return value

    def __str__(self):
        return f"{self.name} ({'a whole number' if self.whole else 'a number'} from {self.low} to {self.high})"


@dataclass(frozen=True)
class Word:
    """A word that an edit takes, one of `words`."""

    name: str
    words: tuple[str, ...]

    def read(self, text):
        if text not in self.words:
            raise ValueError(text)
        return text

    def __str__(self):
        return f"{self.name} ({' or '.join(self.words)})"


def _of_colour(edit):
    """An edit of colours as one that leaves alpha alone."""

    @functools.wraps(edit)
    def leaving_alpha(pixels, *values, **named):
        if pixels.shape[2] == 3:
            return edit(pixels, *values, **named)
        return np.dstack([edit(np.ascontiguousarray(pixels[:, :, :3]), *values, **named), pixels[:, :, 3]])

    return leaving_alpha


def white_balance(pixels: np.ndarray, by: str = "grey") -> np.ndarray:
    """Scale the channels in linear light (von Kries) so that the photo has no cast.

    `grey`: all channels get the same mean, the mean of their means (Buchsbaum 1980, "A spatial processor model for object colour
    perception").
    `white`: all get the 99th percentile of the highest (Land & McCann 1971, "Lightness and retinex theory", whose white is the maximum).
    Transparent pixels do not count.
    """
    counts, light = _histograms(pixels), to_linear(np.arange(256) / 255)
    if by == "grey":
        levels = counts @ light / np.maximum(counts.sum(axis=1), 1)
        wanted = levels.mean()
    else:
        levels = light[np.argmax(counts.cumsum(axis=1) >= 0.99 * counts.sum(axis=1, keepdims=True), axis=1)]
        wanted = levels.max()
    return _brighter(pixels, np.where(levels > 0, wanted / np.where(levels > 0, levels, 1), 1))


def exposure(pixels: np.ndarray, stops: float = 0.0) -> np.ndarray:
    """Multiply linear light by 2^stops."""
    return _brighter(pixels, np.full(3, 2.0**stops))


@_of_colour
def contrast(pixels: np.ndarray, limit: float = 2.0) -> np.ndarray:
    """Raise local contrast up to `limit` times by contrast-limited adaptive histogram equalisation of the luma; 1 changes nothing.

    Zuiderveld 1994, "Contrast limited adaptive histogram equalization" (Graphics Gems IV), on 8 x 8 tiles. Black and white stay as they
    are, and colour differences do.
    """
    luma = np.asarray(Image.fromarray(pixels).convert("L"))
    added = _equalised(luma, limit).astype(np.int16) - luma
    raised = np.empty_like(pixels)
    for channel in range(3):
        raised[:, :, channel] = np.clip(pixels[:, :, channel] + added, 0, 255)
    return raised


@_of_colour
def saturation(pixels: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """Mix with the grey photo: 0 is grey, 1 changes nothing (Haeberli & Voorhies 1994, "Image processing by interpolation and
    extrapolation").
    """
    return np.array(ImageEnhance.Color(Image.fromarray(pixels)).enhance(factor))


@_of_colour
def sharpen(pixels: np.ndarray, amount: float = 0.6, *, radius: float = 1.5) -> np.ndarray:
    """Unsharp mask: add `amount` times the difference to a Gaussian blur of `radius` px."""
    return np.array(Image.fromarray(pixels).filter(ImageFilter.UnsharpMask(radius, round(100 * amount), 0)))


@_of_colour
def median(pixels: np.ndarray, radius: int = 1) -> np.ndarray:
    """Denoise: the median of each channel in a square of 2 radius + 1 px (Tukey 1977)."""
    return np.array(Image.fromarray(pixels).filter(ImageFilter.MedianFilter(2 * radius + 1)))


@_of_colour
def bilateral(pixels: np.ndarray, sigma: float = 20.0, *, radius: int = 3) -> np.ndarray:
    """Denoise: the mean of a square of 2 radius + 1 px, in which near and similar pixels count more (Tomasi & Manduchi 1998, eq. 3).

    `sigma` is the standard deviation of the Gaussian of the colours' Euclidean distance, in grey levels; that of the distance in space is
    radius / 2.
    """
    height, width, _ = pixels.shape
    padded = np.pad(pixels, ((radius, radius), (radius, radius), (0, 0)), "edge")
    smooth = np.empty_like(pixels)
    for top in range(0, height, _ROWS):
        strip = np.ascontiguousarray(np.moveaxis(padded[top : top + _ROWS + 2 * radius], 2, 0), np.float32)
        centre = strip[:, radius:-radius, radius:-radius]
        total, weights = np.zeros_like(centre), np.zeros_like(centre[0])
        for down, right in np.ndindex(2 * radius + 1, 2 * radius + 1):
            near = strip[:, down : down + len(weights), right : right + width]
            space = 2 * ((down - radius) ** 2 + (right - radius) ** 2) / radius**2
            weight = np.exp(np.square(near - centre).sum(axis=0) * np.float32(-0.5 / sigma**2) - np.float32(space))
            total += weight * near
            weights += weight
        smooth[top : top + _ROWS] = np.moveaxis(np.rint(total / weights), 0, 2)
    return smooth


def whiten(pixels: np.ndarray, tolerance: int = 24) -> np.ndarray:
    """Make a near-white backdrop exactly white, and leave the product's own white alone.

    Backdrop is what is connected to the border by ways of at least 5 px width on which levels change gently: the product begins where they
    step by 8. Where it lies within `tolerance` levels of white in all channels it becomes white; from there to twice the tolerance it
    is lifted less and less, so that shadows fade. The pixel beside it, mixed of product and backdrop, gets its share of the lift. All
    others come out bit for bit, as does a photo with transparency, which has no backdrop.
    """
    if _transparent(pixels):
        return pixels
    level, darkest = pixels[:, :, :3].min(axis=2), 255 - 2 * tolerance
    calm = np.asarray(Image.fromarray(level).filter(ImageFilter.BoxBlur(BLUR)))  # without the noise
    step = ndimage.maximum_filter(calm, 3) - ndimage.minimum_filter(calm, 3)
    backdrop = _from_border((calm > darkest) & (step <= STEP))
    # Up to the product, from which blur and step have kept away.
    backdrop = ndimage.maximum_filter(backdrop, 2 * BLUR + 3, mode="nearest") & (level > darkest)
    shares = np.clip((np.arange(256) - darkest) / tolerance, 0, 1) * 255
    share = Image.fromarray(np.maximum(calm, level) * backdrop).point(np.rint(shares).astype(int).tolist())
    white = pixels.copy()
    for channel in range(3):
        missing = 255 - pixels[:, :, channel]
        lift = ImageChops.multiply(Image.fromarray(missing), share)
        beside = np.minimum(lift.filter(ImageFilter.BoxBlur(1)), missing)
        white[:, :, channel] += np.where(backdrop, lift, beside)
    return white


def crop(pixels: np.ndarray, margin: float = 0.05, *, tolerance: int = 24) -> np.ndarray:
    """Crop to the product with a margin, a share of the product's longer side, as far as the photo reaches.

    The product is what is not transparent, or else what differs by more than `tolerance` levels in a channel from the border's median
    colour or is not connected to the border (as in `whiten`). Where there is no product, the photo is left as it is.
    """
    if _transparent(pixels):
        product = pixels[:, :, 3] > 0
    else:
        distance = np.abs(pixels[:, :, :3].astype(np.int16) - _border_colour(pixels)).max(axis=2)
        product = ndimage.binary_opening(~_from_border(distance <= tolerance), np.ones((3, 3)))  # without specks
    box = [np.flatnonzero(product.any(axis=1)), np.flatnonzero(product.any(axis=0))]
    if not len(box[0]):
        return pixels
    added = round(margin * max(np.ptp(side) + 1 for side in box))
    rows, columns = (slice(max(0, side[0] - added), side[-1] + 1 + added) for side in box)
    return np.ascontiguousarray(pixels[rows, columns])


def square(pixels: np.ndarray, side: int = 0, *, colour: str = "white") -> np.ndarray:
    """Pad to a square of `side` px, 0 being the photo's longer side; a larger photo is shrunk to fit, a smaller one is not enlarged.

    The padding is white, the median colour of the photo's border (`backdrop`), or transparent where the photo has transparency.
    """
    side = side or max(pixels.shape[:2])
    if max(pixels.shape[:2]) > side:  # each channel for itself, or colours that alpha hides would become black
        channels = map(Image.fromarray, np.moveaxis(pixels, 2, 0))
        pixels = np.dstack([ImageOps.contain(channel, (side, side), Image.Resampling.LANCZOS) for channel in channels])
    image = Image.fromarray(pixels)
    fill = (255, 255, 255) if colour == "white" else tuple(map(int, _border_colour(pixels)))
    if pixels.shape[2] == 4:
        fill += (0 if _transparent(pixels) else 255,)
    canvas = Image.new(image.mode, (side, side), fill)
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.array(canvas)


EDITS = {
    "white_balance": (white_balance, Word("by", ("grey", "white"))),
    "exposure": (exposure, Number("stops", -5, 5)),
    "contrast": (contrast, Number("limit", 1, 40)),
    "saturation": (saturation, Number("factor", 0, 10)),
    "sharpen": (sharpen, Number("amount", 0, 5), Number("radius", 0.1, 50)),
    "median": (median, Number("radius", 1, 10, whole=True)),
    "bilateral": (bilateral, Number("sigma", 0.1, 255), Number("radius", 1, 15, whole=True)),
    "whiten": (whiten, Number("tolerance", 1, 100, whole=True)),
    "crop": (crop, Number("margin", 0, 10), Number("tolerance", 0, 100, whole=True)),
    "square": (square, Number("side", 1, 20_000, whole=True), Word("colour", ("white", "backdrop"))),
}
_MOVING = {"crop", "square"}


@dataclass(frozen=True)
class Chain:
    """Edits one after the other, as (name, values); called with pixels, it returns them edited. `str` gives the line that `parse` reads."""

    edits: tuple[tuple[str, tuple[float | str, ...]], ...] = ()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        for name, values in self.named():
            pixels = EDITS[name][0](pixels, **values)
        return pixels

    def named(self) -> list[tuple[str, dict[str, float | str]]]:
        """The edits in order, as (name, values by name)."""
        return [
            (name, dict(zip((taken.name for taken in EDITS[name][1:]), values, strict=False)))
            for name, values in self.edits
        ]

    def __add__(self, then: "Chain") -> "Chain":
        return Chain(self.edits + then.edits)

    def __str__(self):
        return ",".join(":".join([name, *map(_text, values)]) for name, values in self.edits)

    @property
    def moving(self) -> list[str]:
        """Names of the edits in it after which pixels lie elsewhere."""
        return [name for name, _ in self.edits if name in _MOVING]


def parse(line: str) -> Chain:
    """Read `name` and `name:value:value` joined by commas. Raises UserError for unknown names and values."""
    return Chain(tuple(_parsed(part.strip()) for part in line.split(",") if line.strip()))


def _parsed(part):
    name, *texts = part.split(":")
    if name not in EDITS:
        raise UserError(f"there is no edit {name!r}; there are: {', '.join(EDITS)}")
    _, *takes = EDITS[name]
    if len(texts) > len(takes):
        raise UserError(f"{name} takes no more than {' and '.join(map(str, takes))}, not {part!r}")
    values = []
    for taken, text in zip(takes, texts, strict=False):
        try:
            values.append(taken.read(text.strip()))
        except ValueError:
            raise UserError(f"{name} takes {taken}, not {text!r}") from None
    return name, tuple(values)


def _text(value):
    return value if isinstance(value, str) else f"{value:g}"


def _transparent(pixels):
    return pixels.shape[2] == 4 and pixels[:, :, 3].min(initial=255) < 255


def _histograms(pixels):
    """Counts of each level in each channel of the visible pixels: int [3, 256]."""
    mask = Image.fromarray(np.where(pixels[:, :, 3] > 0, 255, 0).astype(np.uint8)) if pixels.shape[2] == 4 else None
    return np.reshape(Image.fromarray(np.ascontiguousarray(pixels[:, :, :3])).histogram(mask), (3, 256))


def _brighter(pixels, gains):
    """The pixels with the linear light of each channel multiplied."""
    levels = np.arange(256)
    tables = [255 * from_linear(np.minimum(gain * to_linear(levels / 255), 1)) for gain in gains]
    tables += [levels] * (pixels.shape[2] - 3)
    return np.array(Image.fromarray(pixels).point(np.rint(np.concatenate(tables)).astype(int).tolist()))


def _equalised(grey, limit):
    """CLAHE of uint8 [height, width]: each pixel through the tables of the four nearest tiles, mixed bilinearly."""
    ends = [np.linspace(0, side, max(1, min(TILES, side // LEAST_TILE)) + 1).astype(int) for side in grey.shape]
    tables = np.array(
        [
            [
                _table(np.bincount(grey[top:bottom, left:right].ravel(), minlength=256), limit)
                for left, right in zip(ends[1], ends[1][1:], strict=False)
            ]
            for top, bottom in zip(ends[0], ends[0][1:], strict=False)
        ],
        np.float32,
    )
    (row, below), (column, beyond) = (_between(end, side) for end, side in zip(ends, grey.shape, strict=True))
    equal = np.empty_like(grey)
    for y, line in enumerate(grey):
        down, right = below[y], beyond
        upper, lower = tables[row[y]], tables[min(row[y] + 1, len(tables) - 1)]
        mixed = (1 - down) * upper + down * lower
        next_column = np.minimum(column + 1, mixed.shape[0] - 1)
        equal[y] = np.rint((1 - right) * mixed[column, line] + right * mixed[next_column, line])
    return equal


def _between(ends, side):
    """For each of `side` pixels the tile whose middle lies before it, and how far it is to the next one, in [0, 1]."""
    middles = (ends[:-1] + ends[1:] - 1) / 2
    place = np.interp(np.arange(side), middles, np.arange(len(middles)))
    tile = np.minimum(place.astype(int), len(middles) - 1)
    return tile, (place - tile).astype(np.float32)


def _table(counts, limit):
    """The equalising table of a histogram [256], nowhere steeper than `limit`: what is cut off is spread over all levels."""
    highest = limit * counts.sum() / 256
    low, high = 0.0, highest
    for _ in range(40):  # spreading raises all levels, so the cut lies lower than the limit
        cut = (low + high) / 2
        above = cut + np.maximum(counts - cut, 0).sum() / 256 > highest
        low, high = (low, cut) if above else (cut, high)
    spread = np.minimum(counts, low) + np.maximum(counts - low, 0).sum() / 256
    rising = np.cumsum(spread) - spread[0]
    return 255 * rising / rising[-1]


def _from_border(passable):
    """Returns the part of bool [height, width] that is connected to the border by ways of at least `GAP` px."""
    wide = ndimage.minimum_filter(passable, GAP, mode="nearest")
    labels, count = ndimage.label(wide)
    outer = np.zeros(count + 1, bool)
    outer[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    outer[0] = False
    return ndimage.maximum_filter(outer[labels], GAP, mode="nearest") & passable


def _border_colour(pixels):
    """The median colour of the outermost pixels: int16 [3]."""
    colours = pixels[:, :, :3]
    border = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    return np.median(border, axis=0).astype(np.int16)
