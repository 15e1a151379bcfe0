"""Painting for the studio: a product is a list of parts, and a part is an outline with a colour, a pattern and a material.

Outlines are drawn by Pillow at four times the size (256 px at least) and reduced to coverage; everything after that is NumPy at
the final size on float32 arrays, so that a picture costs a few milliseconds. Colours are RGB in [0, 1]. Product coordinates are
those of the outlines, x to the right and y down, in any unit; frame coordinates run from 0 to 1 over the picture.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """How light falls on a part: `form` is "soft" (inflated), "round" (turned about an upright axis) or "flat"."""

    form: str
    depth: float
    gloss: float = 0.0
    drape: float = 0.0


FABRIC = Material("soft", depth=0.8, drape=0.09)
KNIT = Material("soft", depth=0.9)
LEATHER = Material("soft", depth=1.0, gloss=0.55)
RUBBER = Material("soft", depth=0.7, gloss=0.15)
WOOD = Material("soft", depth=0.8, gloss=0.2)
METAL = Material("round", depth=1.0, gloss=0.8)
CERAMIC = Material("round", depth=0.85, gloss=0.75)
GLASS = Material("round", depth=0.9, gloss=1.0)
SHADE = Material("round", depth=0.5)
FLAT = Material("flat", depth=0.0)


@dataclass(frozen=True)
class Pattern:
    """A two-colour print. `period` is in frames; `kind` is a key of PRINTS."""

    kind: str
    period: float
    angle: float
    phase: float

    def weight(self, x, y, pixel: float):
        """How much of the second colour shows at x, y (in frames, along the product): [0, 1], edges one `pixel` soft."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        across = (x * cos + y * sin) / self.period + self.phase
        along = (y * cos - x * sin) / self.period
        return PRINTS[self.kind](across, along, pixel / self.period)


def _wave(t):
    """A triangle wave of period 1: 0 at whole numbers, 0.5 half-way."""
    return np.abs(t - np.floor(t + 0.5))


def _below(value, edge: float, soft: float):
    return np.clip((edge - value) / max(soft, 1e-3) + 0.5, 0.0, 1.0)


def _stripes(across, along, soft):
    return _below(_wave(along), 0.22, soft)


def _checks(across, along, soft):
    return 0.5 * (_below(_wave(along), 0.25, soft) + _below(_wave(across), 0.25, soft))


def _dots(across, along, soft):
    row = np.floor(along)
    return _below(np.hypot(_wave(across + 0.5 * row), along - row - 0.5), 0.27, soft)


def _chevron(across, along, soft):
    return _below(_wave(along + 0.9 * _wave(0.8 * across)), 0.24, 1.4 * soft)


PRINTS = {"striped": _stripes, "checked": _checks, "dotted": _dots, "chevron": _chevron}


@dataclass(frozen=True)
class Part:
    """One piece of a product; parts are painted in order, each casting a little shade on those before it.

    `outline` and each of `holes` are float [n, 2] polygons. `pleats` is (count, apex x, apex y): folds fanning out from the apex.
    `bow` bends the print of a round part downwards in the middle, as a band on a cylinder seen from above.
    `glow` in [0, 1] lights the part from within.
    """

    outline: np.ndarray
    colour: RGB
    material: Material
    second: RGB = (1.0, 1.0, 1.0)
    pattern: Pattern | None = None
    holes: tuple[np.ndarray, ...] = ()
    pleats: tuple[float, float, float] | None = None
    bow: float = 0.0
    glow: float = 0.0
    lift: float = 0.3
    opacity: float = 1.0


@lru_cache(maxsize=64)
def _kernels(size: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Matrices [size, size] that blur along an axis with a Gaussian of `sigma` frames, and differentiate the blurred (per sigma)."""
    place = (np.arange(size) + 0.5) / size
    offset = (place[None] - place[:, None]) / sigma
    gauss = np.exp(-0.5 * offset**2)
    gauss /= np.exp(-0.5 * (np.arange(-size, size + 1) / size / sigma) ** 2).sum()
    return gauss.astype(np.float32), (gauss * offset).astype(np.float32)


def blur(field, sigma: float):
    """Gaussian blur of a float32 [size, size] field; outside the frame counts as 0. `sigma` in frames, so alike at any size."""
    gauss, _ = _kernels(field.shape[0], sigma)
    return gauss @ field @ gauss.T


def slope(field, sigma: float):
    """Rightward and downward slope of the blurred field, about [-0.4, 0.4] at a sharp edge."""
    gauss, ramp = _kernels(field.shape[0], sigma)
    return gauss @ field @ ramp.T, ramp @ field @ gauss.T


def tone(colour, light):
    """`colour` [..., 3] under `light` [size, size]: -1 is deep shade (cooler), 0 as it is, 1 a highlight (warmer)."""
    dark = colour * np.float32([0.30, 0.30, 0.36])
    bright = colour * 0.25 + np.float32([0.75, 0.745, 0.73])
    light = np.clip(light, -1.0, 1.0)[..., None]
    return colour + np.maximum(light, 0) * (bright - colour) + np.maximum(-light, 0) * (dark - colour)


@dataclass
class Canvas:
    """A square picture that products are painted on.

    `image` is float32 [size, size, 3] in [0, 1], begun with the background; `matrix` [2, 2] and `origin` [2] take product coordinates
    to the unit frame; `turns` are the phases that make drape differ between examples.
    """

    image: np.ndarray
    matrix: np.ndarray
    origin: np.ndarray
    turns: np.ndarray
    alpha: np.ndarray = field(init=False)

    def __post_init__(self):
        self.size = self.image.shape[0]
        self.factor = max(4, -(-256 // self.size))
        self.alpha = np.zeros((self.size, self.size), np.float32)
        self.scale = np.float32(np.sqrt(abs(np.linalg.det(self.matrix))))
        place = (np.arange(self.size, dtype=np.float32) + 0.5) / self.size
        self.columns = place
        inverse = np.linalg.inv(self.matrix).astype(np.float32)
        right, down = place[None] - np.float32(self.origin[0]), place[:, None] - np.float32(self.origin[1])
        self.x = inverse[0, 0] * right + inverse[0, 1] * down
        self.y = inverse[1, 0] * right + inverse[1, 1] * down

    def cover(self, part: Part):
        """How much of each pixel the part covers: float32 [size, size] in [0, 1]."""
        fine = self.size * self.factor
        picture = Image.new("L", (fine, fine))
        draw = ImageDraw.Draw(picture)
        for polygon, ink in ((part.outline, 255), *((hole, 0) for hole in part.holes)):
            draw.polygon(((polygon @ self.matrix.T + self.origin) * fine - 0.5).ravel().tolist(), fill=ink)
        return np.asarray(picture.reduce(self.factor), np.float32) * np.float32(part.opacity / 255)

    def _across(self, cover):
        """Where a pixel lies between the left (-1) and the right (1) edge of the part, row by row."""
        total = cover.sum(axis=1)
        centre = cover @ self.columns / np.maximum(total, 1e-3)
        half = np.maximum(total / (2 * self.size), 1.0 / self.size)
        return np.clip((self.columns[None] - centre[:, None]) / half[:, None], -1.0, 1.0)

    def _light(self, part: Part, cover, across):
        material = part.material
        if material.form == "round":
            facing = np.sqrt(1.0 - across**2)
            light = material.depth * (0.85 * facing - 0.45 * across - 0.78)
            streak = np.exp(-(((across + 0.5) / 0.13) ** 2)) + 0.35 * np.exp(-(((across - 0.74) / 0.09) ** 2))
            light += material.gloss * 0.75 * streak * blur(cover, 0.02) ** 2
        elif material.form == "soft":
            right, down = slope(cover, 0.035)
            light = material.depth * (0.55 * right + 1.0 * down) - 0.12 * material.depth * (1.0 - blur(cover, 0.05))
            if material.gloss:
                light += material.gloss * np.clip(3.2 * (0.5 * right + down) - 0.42, 0.0, 0.8)
        else:
            return np.float32(0.0) * cover
        if material.drape:
            a, b, c = self.turns
            warp = self.x + 0.35 * np.sin(2.1 * self.y + a)
            light = light + material.drape * np.sin(4.2 * warp + 1.9 * self.y + b) * np.sin(
                2.3 * self.y - 1.4 * self.x + c
            )
        if part.pleats:
            count, apex_x, apex_y = part.pleats
            fall = np.maximum(self.y - apex_y, 0.05)
            fan = (self.x - apex_x) / fall
            light = light + 0.24 * np.sin(count * fan + self.turns[0]) * np.clip(1.3 * (fall - 0.15), 0.0, 1.0)
        return light

    def paint(self, part: Part, cover) -> None:
        """Lay the part, with its coverage, over what is there."""
        across = self._across(cover) if part.material.form == "round" else None
        light = self._light(part, cover, across)
        colour = np.float32(part.colour)
        if part.pattern:
            x, y = self.x, self.y
            if across is not None:
                y = y - part.bow * np.sqrt(1.0 - across**2)
            second = part.pattern.weight(x * self.scale, y * self.scale, 1.0 / self.size)[..., None]
            colour = colour + second * (np.float32(part.second) - colour)
        if part.glow:
            light = light + part.glow * blur(cover, 0.1) ** 2
        if part.lift:
            shade = blur(cover, 0.018) * self.alpha * np.float32(part.lift)
            self.image *= 1.0 - shade[..., None]
        self.image += cover[..., None] * (tone(colour, light) - self.image)
        self.alpha += cover * (1.0 - self.alpha)
