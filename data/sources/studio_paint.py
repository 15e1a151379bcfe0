"""Painting for the studio: a product is a list of parts, each an outline with a colour, a pattern and a material.

Pillow draws an outline at four times the size (on 256 px at least) and reduces it to coverage; everything after that is
NumPy at the final size, within the part's own window, so that a picture costs a few milliseconds. Colours are RGB in
[0, 1]. Product coordinates are those of the outlines, in any unit; frame coordinates run from 0 to 1 over the picture.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[float, float, float]

STEEL, BRASS = (0.70, 0.71, 0.73), (0.80, 0.64, 0.36)
OAK, WALNUT, BLACK = (0.80, 0.61, 0.40), (0.46, 0.29, 0.19), (0.17, 0.17, 0.19)
WHITE = (0.95, 0.945, 0.93)

COARSE = 64


@dataclass(frozen=True)
class Material:
    """Material of a part: `form` is "soft" (inflated), "round" (turned about an upright axis) or "flat"."""

    form: str
    depth: float = 0.0
    gloss: float = 0.0
    drape: float = 0.0


CLOTH = Material("soft", depth=0.8, drape=0.17)
KNIT = Material("soft", depth=0.8)
LEATHER = Material("soft", depth=0.95, gloss=0.5)
RUBBER = Material("soft", depth=0.7, gloss=0.15)
WOOD = Material("soft", depth=0.8, gloss=0.2)
METAL = Material("round", depth=1.0, gloss=0.8)
CERAMIC = Material("round", depth=0.85, gloss=0.75)
GLASS = Material("round", depth=0.95, gloss=1.0)
SHADE = Material("round", depth=0.5)
FLAT = Material("flat")


@dataclass(frozen=True)
class Pattern:
    """A print in a second colour: `kind` of PRINTS, `period` in frames, `angle` in radians, `phase` in periods."""

    kind: str
    period: float
    angle: float
    phase: float

    def weight(self, x, y, pixel: float):
        """Share of the second colour at x, y (in frames): [0, 1], with edges one `pixel` soft."""
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        across = (x * cos + y * sin) / self.period + self.phase
        along = (y * cos - x * sin) / self.period
        return PRINTS[self.kind](across, along, pixel / self.period)


def _wave(t):
    """A triangle wave of period 1: 0 at whole numbers, 0.5 half-way."""
    return np.abs(t - np.floor(t + 0.5))


def _below(value, edge: float, soft: float):
    return np.clip((edge - value) / soft + 0.5, 0.0, 1.0)


def _striped(across, along, soft):
    return _below(_wave(along), 0.22, soft)


def _checked(across, along, soft):
    return 0.5 * (_below(_wave(along), 0.25, soft) + _below(_wave(across), 0.25, soft))


def _dotted(across, along, soft):
    row = np.floor(along)
    return _below(np.hypot(_wave(across + 0.5 * row), along - row - 0.5), 0.27, soft)


def _chevron(across, along, soft):
    return _below(_wave(along + 0.9 * _wave(0.8 * across)), 0.24, 1.4 * soft)


PRINTS = {"striped": _striped, "checked": _checked, "dotted": _dotted, "chevron": _chevron}


@dataclass(frozen=True)
class Part:
    """One piece of a product; parts are painted in order, each casting a little shade (`lift`) on those before it.

    `outline` and each of `holes` are float [n, 2] polygons. `pleats` is (count, y of the apex): folds that fan out from
    a point on the axis of the product. `bow` bends the print of a round part, as on a cylinder seen from above. `glow`
    lights the part from within.
    """

    outline: np.ndarray
    colour: RGB
    material: Material
    second: RGB = WHITE
    pattern: Pattern | None = None
    holes: tuple[np.ndarray, ...] = ()
    pleats: tuple[float, float] | None = None
    bow: float = 0.0
    glow: float = 0.0
    lift: float = 0.3
    opacity: float = 1.0


@dataclass(frozen=True)
class Look:
    """The colours of one product, and its print if it has one."""

    main: RGB
    second: RGB
    pattern: Pattern | None

    def body(self, outline, material: Material, **more) -> Part:
        """A part in the main colour with the print."""
        return Part(outline, self.main, material, self.second, self.pattern, **more)

    def plain(self, outline, material: Material, **more) -> Part:
        """A part in the main colour without the print."""
        return Part(outline, self.main, material, **more)

    def trim(self, outline, material: Material, **more) -> Part:
        """A part in the second colour."""
        return Part(outline, self.second, material, **more)

    @property
    def accent(self) -> RGB:
        """The darker of the two colours: what shows on white."""
        return min(self.main, self.second, key=sum)


def dim(colour: RGB, amount: float) -> RGB:
    """The colour darkened: 0 as it is, 1 black."""
    return tuple(channel * (1.0 - amount) for channel in colour)


@lru_cache(maxsize=64)
def _kernels(size: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Matrices [size, size] that blur along an axis with a Gaussian of `sigma` frames, and that take the slope of that.

    They depend on the distance between pixels only, so that their corner [n, n] serves a window of n pixels.
    """
    reach = (np.arange(size)[None] - np.arange(size)[:, None]) / (size * sigma)
    gauss = np.exp(-0.5 * reach**2) / (size * sigma * np.sqrt(2 * np.pi))
    return gauss.astype(np.float32), (gauss * reach).astype(np.float32)


def _filtered(picture, size: int, sigma: float, rows: int, columns: int):
    """`picture`, a window of a frame of `size` px, times kernel `rows` downwards and kernel `columns` rightwards.

    A blurred picture has no detail, so a large one is filtered at COARSE px to a frame. That also keeps the matrices
    too small for BLAS to wake its threads, which cost more than they bring, above all on a machine busy training.
    """
    height, width = picture.shape
    if size > COARSE:
        down, right = (-(-length * COARSE // size) for length in (height, width))
        picture = np.asarray(Image.fromarray(picture).resize((right, down), Image.Resampling.BOX))
    kernels = _kernels(min(size, COARSE), sigma)
    down, right = picture.shape
    result = kernels[rows][:down, :down] @ picture @ kernels[columns][:right, :right].T
    if size > COARSE:
        result = np.array(Image.fromarray(result).resize((width, height), Image.Resampling.BICUBIC))
    return result


def blur(picture, sigma: float, size: int):
    """Gaussian blur, `sigma` frames wide, of a float32 [height, width] window of a frame of `size` px."""
    return _filtered(picture, size, sigma, 0, 0)


def _slope(picture, sigma: float, size: int):
    """Rightward and downward slope of the blurred picture, 0.4 across a sharp edge."""
    return _filtered(picture, size, sigma, 0, 1), _filtered(picture, size, sigma, 1, 0)


def _tone(colour, light):
    """`colour` [..., 3] under `light` [...]: -1 is deep shade (cooler), 0 as it is, 1 a highlight (warmer)."""
    dark = colour * np.float32([0.30, 0.30, 0.36])
    bright = colour * np.float32(0.25) + np.float32([0.75, 0.745, 0.73])
    light = np.clip(light, -1.0, 1.0)[..., None]
    return colour + np.maximum(light, 0) * (bright - colour) + np.maximum(-light, 0) * (dark - colour)


class Canvas:
    """A square picture to paint parts on.

    `image` is float32 [size, size, 3] in [0, 1], at first the background; `alpha` float32 [size, size] is what the
    parts cover so far. `matrix` [2, 2] and `origin` [2] take product to frame coordinates; `turns` [3] are the phases
    of the folds.
    """

    def __init__(self, image, matrix, origin, turns):
        self.image, self.matrix, self.origin = image, matrix, origin
        self.turns = np.float32(turns)
        self.size = image.shape[0]
        self.alpha = np.zeros(image.shape[:2], np.float32)
        self.scale = np.float32(np.sqrt(abs(np.linalg.det(matrix))))
        self.factor = max(4, -(-256 // self.size))
        self.place = (np.arange(self.size, dtype=np.float32) + 0.5) / self.size
        inverse = np.float32(np.linalg.inv(matrix))
        right, down = self.place[None] - np.float32(origin[0]), self.place[:, None] - np.float32(origin[1])
        self.x = inverse[0, 0] * right + inverse[0, 1] * down
        self.y = inverse[1, 0] * right + inverse[1, 1] * down

    def cover(self, part: Part):
        """Returns the place of a part: its window, a pair of slices, and how much of each pixel there it covers, in [0, 1]."""
        polygons = [polygon @ self.matrix.T + self.origin for polygon in (part.outline, *part.holes)]
        margin = 0.05
        low = np.floor((polygons[0].min(axis=0) - margin) * self.size).astype(int).clip(0, self.size - 1)
        high = np.ceil((polygons[0].max(axis=0) + margin) * self.size).astype(int).clip(1, self.size)
        picture = Image.new("L", tuple(((high - low) * self.factor).tolist()))
        draw = ImageDraw.Draw(picture)
        for polygon, ink in zip(polygons, (255, *(0 for _ in part.holes)), strict=True):
            draw.polygon(((polygon * self.size - low) * self.factor - 0.5).ravel().tolist(), fill=ink)
        cover = np.asarray(picture.reduce(self.factor), np.float32) * np.float32(part.opacity / 255)
        return (slice(low[1], high[1]), slice(low[0], high[0])), cover

    def paint(self, part: Part, window, cover) -> None:
        """Lay a part over what is there, with its window and coverage as `cover` gives them."""
        x, y = self.x[window], self.y[window]
        across = self._across(cover) if part.material.form == "round" else None
        colour = np.float32(part.colour)
        if part.pattern:
            level = y if across is None else y - np.float32(part.bow) * np.sqrt(1.0 - across**2)
            second = part.pattern.weight(x * self.scale, level * self.scale, 1.0 / self.size)
            colour = colour + second[..., None].astype(np.float32) * (np.float32(part.second) - colour)
        painted = _tone(colour, self._light(part, cover, across, x, y))
        image, alpha = self.image[window], self.alpha[window]
        if part.lift:
            image *= 1.0 - (np.float32(part.lift) * alpha * blur(cover, 0.018, self.size))[..., None]
        image += cover[..., None] * (painted - image)
        alpha += cover * (1.0 - alpha)

    def _across(self, cover):
        """Position of a pixel between the left (-1) and the right (1) edge of the part, row by row."""
        place = self.place[: cover.shape[1]]
        total = cover.sum(axis=1)
        centre = cover @ place / np.maximum(total, 1e-3)
        half = np.maximum(total / (2 * self.size), 1.0 / self.size)
        return np.clip((place[None] - centre[:, None]) / half[:, None], -1.0, 1.0)

    def _light(self, part: Part, cover, across, x, y):
        """The light on a part as `_tone` takes it, float32 as `cover`; the lamp is above and to the left."""
        material = part.material
        if material.form == "flat":
            return np.zeros_like(cover)
        if material.form == "round":
            light = material.depth * np.maximum(0.85 * np.sqrt(1.0 - across**2) - 0.45 * across - 0.78, -0.65)
            if material.gloss:
                streak = np.exp(-(((across + 0.5) / 0.13) ** 2)) + 0.35 * np.exp(-(((across - 0.74) / 0.09) ** 2))
                light += 0.75 * material.gloss * streak * blur(cover, 0.02, self.size) ** 2
        else:
            right, down = _slope(cover, 0.035, self.size)
            facing = 0.55 * right + down
            light = material.depth * (facing - 0.12 * (1.0 - blur(cover, 0.05, self.size)))
            light -= 0.4 * np.maximum(light, 0.0)
            if material.gloss:
                light += material.gloss * np.clip(3.2 * (0.9 * right + down) - 0.42, 0.0, 0.8)
        if material.drape:
            a, b, c = self.turns
            fold = np.sin(5.5 * x + 2.0 * np.sin(2.1 * y + a) + 2.4 * y + b) * np.sin(2.6 * y - 1.8 * x + c)
            light += material.drape * fold
        if part.pleats:
            count, apex = part.pleats
            fall = np.maximum(y - apex, 0.1)
            light += 0.2 * np.sin(count * x / fall + self.turns[0]) * np.clip(1.6 * (fall - 0.9), 0.0, 1.0)
        if part.glow:
            light += part.glow * blur(cover, 0.1, self.size) ** 2
        return light
