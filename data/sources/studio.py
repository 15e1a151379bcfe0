"""The studio: product photos drawn by packshot itself, so that everything runs with no files and no network.

Example `i` depends on nothing but the seed, `i` and the size; at another size it is the same product. The kinds are
listed in studio_products.py, drawn in studio_clothes.py and studio_goods.py, and painted by studio_paint.py.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from data.quarantine import Quarantine
from data.sources.studio_paint import Canvas, Look, Pattern, blur
from data.sources.studio_products import ANY, KINDS, Kind

VERSION = 2
NATIVE = 128
# Ways to say the same; {words} are such as "red striped mug".
CAPTIONS = (
    "{article} {words} on a {backdrop} background",
    "{article} {words} on a {backdrop} background",
    "{article} {words}",
    "{words}, {backdrop} background",
)

COLOURS = {
    "red": (0.80, 0.16, 0.18),
    "coral": (0.95, 0.47, 0.40),
    "orange": (0.93, 0.52, 0.17),
    "mustard": (0.87, 0.67, 0.18),
    "olive": (0.47, 0.50, 0.24),
    "green": (0.17, 0.49, 0.33),
    "mint": (0.56, 0.80, 0.69),
    "teal": (0.10, 0.49, 0.53),
    "sky blue": (0.47, 0.70, 0.88),
    "blue": (0.17, 0.36, 0.74),
    "navy": (0.13, 0.18, 0.36),
    "purple": (0.45, 0.28, 0.60),
    "pink": (0.94, 0.62, 0.70),
    "brown": (0.48, 0.30, 0.20),
    "tan": (0.80, 0.62, 0.43),
    "charcoal": (0.24, 0.25, 0.28),
    "white": (0.94, 0.935, 0.92),
}
SECONDS = ("white", "white", "white", "navy", "charcoal", "mustard", "tan", "sky blue", "pink", "coral")
BACKGROUNDS = {
    "white": (0.965, 0.965, 0.965),
    "pale grey": (0.875, 0.88, 0.89),
    "pale beige": (0.93, 0.895, 0.845),
    "pale blue": (0.85, 0.905, 0.945),
    "pale pink": (0.95, 0.88, 0.88),
    "pale green": (0.87, 0.92, 0.875),
}


def _pick(rng, names):
    return names[rng.integers(len(names))]


def _apart(one, other) -> float:
    return float(np.abs(np.subtract(one, other)).sum())


def _background(size: int, colour, horizon: float | None):
    """A lit wall, with a floor below `horizon` (a height in the frame), float32 [size, size, 3]."""
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    right, down = place[None] - 0.5, place[:, None] - 0.45
    light = 1.025 - 0.16 * (right**2 + down**2)
    if horizon is not None:
        light = light - 0.045 / (1.0 + np.exp((place[:, None] - horizon) / 0.012)) + 0.02
    return np.minimum(np.float32(colour) * light[..., None], 1.0)


def _shadow(alpha, stands: bool, strength: float):
    """Share of light that the product takes from what it lies on or stands on: float32 [size, size] in [0, 1]."""
    size = alpha.shape[0]
    if not stands:
        moved = np.zeros_like(alpha)
        right, down = round(0.012 * size), round(0.03 * size)
        moved[down:, right:] = alpha[: size - down, : size - right]
        return strength * (0.55 * blur(moved, 0.03, size) + 0.25 * blur(alpha, 0.012, size))
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    floor = place[np.flatnonzero(alpha.max(axis=1) > 0.5)[-1]]
    near = alpha * np.exp(-(((place[:, None] - floor) / 0.06) ** 2))
    columns = near.max(axis=0)
    soft = columns[None] * np.exp(-(((place[:, None] - floor - 0.005) / 0.025) ** 2))
    return strength * np.minimum(0.75 * blur(soft, 0.012, size) + 0.7 * blur(soft, 0.045, size), 1.0)


def _placed(rng, kind, parts):
    """Matrix [2, 2] and origin [2] from product to frame coordinates: the product whole, large and a little askew."""
    tilt = rng.uniform(-1, 1) * (0.025 if kind.stands else 0.12)
    mirror = np.array([-1.0 if kind.flips and rng.random() < 0.5 else 1.0, 1.0])
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]) * mirror
    points = np.concatenate([part.outline for part in parts]) @ turn.T
    low, high = points.min(axis=0), points.max(axis=0)
    scale = rng.uniform(0.74, 0.86) / (high - low).max()
    room = np.maximum(0.47 - scale * (high - low) / 2, 0.0)
    shift = rng.uniform(-1, 1, 2) * np.minimum(room, 0.04)
    return turn * scale, 0.5 + shift - scale * (low + high) / 2


class _Chosen(NamedTuple):
    rng: np.random.Generator
    label: int
    kind: Kind
    colour: str
    second: str
    backdrop: str
    print_name: str


class Studio:
    """`count` drawn product photos, balanced over ten kinds of product. `seed` chooses which."""

    spec = "studio"
    classes = tuple(KINDS)
    attributes = {"colour": tuple(COLOURS), "print": ("plain", *ANY), "backdrop": tuple(BACKGROUNDS)}
    keys = frozenset({"image", "label", "caption", "mask", *attributes})
    left_out = Quarantine()

    def __init__(self, count: int = 4096, seed: int = 0):
        self.count = count
        self.seed = seed

    def fingerprint(self) -> str:
        """Hex digest of what `examples` would yield."""
        return hashlib.sha256(f"studio {VERSION} {self.count} {self.seed}".encode()).hexdigest()

    def captions(self):
        """Yield the caption of each example, in order, without drawing it."""
        for index in range(self.count):
            yield self._caption(index, self._choose(index))

    def _choose(self, index):
        """Facts of example `index`, and the generator that draws the rest."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, index])))
        label = index % len(self.classes)
        kind = KINDS[self.classes[label]]
        colour = _pick(rng, tuple(COLOURS))
        main = COLOURS[colour]
        second = _pick(rng, [other for other in SECONDS if _apart(COLOURS[other], main) > 0.7])
        backdrop = _pick(rng, [key for key, shade in BACKGROUNDS.items() if _apart(shade, main) > 0.15])
        print_name = _pick(rng, kind.prints) if rng.random() < 0.5 else ""
        return _Chosen(rng, label, kind, colour, second, backdrop, print_name)

    def _caption(self, index, chosen):
        """One of `CAPTIONS`, by a generator of its own: the pictures do not depend on how they are described."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, index, 1])))
        words = chosen.kind.noun.format(f"{chosen.colour} {chosen.print_name}".strip())
        article = "an" if words[0] in "aeiou" else "a"
        return _pick(rng, CAPTIONS).format(article=article, words=words, backdrop=chosen.backdrop)

    def examples(self, size: int | None = None, fit: str = "crop", quarantine=None):
        """Yield the examples in order, as `example` gives them. All are square and sound: `fit` changes nothing."""
        for index in range(self.count):
            yield self.example(index, size)

    def example(self, index: int, size: int | None = None) -> dict:
        """Example `index`: `image` uint8 [size, size, 3], `label` and the attributes int, `caption` str, `mask` uint8 [size, size, 1].

        `colour` is that of most of the product. In the mask 255 is product and 0 is background or shadow. `size` None is 128.
        """
        size = size or NATIVE
        chosen = self._choose(index)
        rng, kind, backdrop = chosen.rng, chosen.kind, chosen.backdrop
        main, pattern = COLOURS[chosen.colour], None
        if chosen.print_name:
            angle = _pick(rng, (0.0, 0.0, 0.0, np.pi / 2, np.pi / 4)) if chosen.print_name == "striped" else 0.0
            pattern = Pattern(chosen.print_name, rng.uniform(0.12, 0.19), angle, rng.uniform())
        parts = kind.draw(rng, Look(main, COLOURS[chosen.second], pattern))
        horizon = rng.uniform(0.62, 0.72) if kind.stands and rng.random() < 0.6 else None
        wall = _background(size, BACKGROUNDS[backdrop], horizon)
        canvas = Canvas(wall, *_placed(rng, kind, parts), rng.uniform(0, 2 * np.pi, 3))

        covers = [canvas.cover(part) for part in parts]
        whole = np.zeros((size, size), np.float32)
        for window, cover in covers:
            np.maximum(whole[window], cover, out=whole[window])
        canvas.image *= 1.0 - _shadow(whole, kind.stands, np.float32(rng.uniform(0.4, 0.6)))[..., None]
        for part, (window, cover) in zip(parts, covers, strict=True):
            canvas.paint(part, window, cover)

        return {
            "image": (np.clip(canvas.image, 0.0, 1.0) * 255 + 0.5).astype(np.uint8),
            "label": chosen.label,
            "colour": self.attributes["colour"].index(chosen.colour),
            "print": self.attributes["print"].index(chosen.print_name or "plain"),
            "backdrop": self.attributes["backdrop"].index(chosen.backdrop),
            "caption": self._caption(index, chosen),
            "mask": (np.clip(canvas.alpha, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)[..., None],
        }
