"""Training data of the packshot encoder: drawn products on drawn backdrops, and backdrops alone, intact and damaged. No photos.

Products are the studio's, cut out by their masks, turned, lit and folded. Backdrops are dead leaves (shapes that hide each other; encoders
trained on them carry over to photos: Baradad et al. 2021), clouds, boards and plain walls. Scene `i` is a function of the seed and `i`.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from data.progress import Progress, silent
from data.sources.studio import Studio
from trainer.features.damage import blurred, compressed, faded, noisy

CANVAS = 160  # side of a scene in px, of which views are cut
SOURCES, CHANCES = (64, 96, 128), (0.5, 0.2, 0.3)  # side of a view in px, and its probability
PRINTS = ("striped", "checked", "dotted", "chevron")
MASK = 8
NOTHING = -1  # label of scenes without a product
_Resampling = Image.Resampling


@dataclass(frozen=True)
class Scene:
    """A scene: `picture` and `mask` (255 is product), uint8 [CANVAS, CANVAS, ..]; `label`, `print_number`: ints; `colours` [6].

    The colours are of the product and of the rest, in [-1, 1].
    """

    picture: np.ndarray
    mask: np.ndarray
    label: int
    print_number: int
    colours: np.ndarray


@dataclass(frozen=True)
class View:
    """A view: `picture` uint8 [source, source, 3]; `mask` float32 [MASK, MASK]; `damage` float32 [5], 0 for none to about 1."""

    picture: np.ndarray
    mask: np.ndarray
    damage: np.ndarray


class Scenes:
    """Scenes, composed from a stock of products, backdrops and cloth."""

    def __init__(self, seed: int, products: int, backdrops: int, *, progress: Progress = silent):
        self.seed = seed
        studio = Studio(products, seed)
        drawn = progress(range(products), products, "drawing products")
        self.products = [studio.example(index, CANVAS) for index in drawn]
        random = np.random.default_rng([seed, 1])
        self.clouds = [_clouds(random, random.uniform(0.6, 1.6)) for _ in range(64)]
        drawn = progress(range(backdrops), backdrops, "drawing backdrops")
        self.backdrops = [_backdrop(random, self.clouds) for _ in drawn]

    def pair(self, index: int) -> list[tuple[Scene, View]]:
        """Returns two views of scene `index`, cut differently and damaged alike. In half of the pairs the second has a moved product."""
        random = np.random.default_rng([self.seed, 2, index])
        product = None if random.random() < 0.15 else self.products[random.integers(len(self.products))]
        first = second = self._scene(random, product)
        if product and random.random() < 0.5:
            second = self._scene(random, product)
        damage = _choose_damage(random)
        return [(scene, _view(random, scene, damage)) for scene in (first, second)]

    def _scene(self, random, example) -> Scene:
        backdrop = self.backdrops[random.integers(len(self.backdrops))]
        backdrop = np.rot90(backdrop, random.integers(4)) if random.random() < 0.5 else backdrop
        if example is None:
            nothing = np.zeros((CANVAS, CANVAS), np.uint8)
            return Scene(backdrop, nothing, NOTHING, NOTHING, np.zeros(6, np.float32))
        words = example["caption"].split(" on a ")[0]
        number = 1 + next((place for place, word in enumerate(PRINTS) if word in words), -1)
        if random.random() < 0.25:
            picture, mask = example["image"].astype(np.float32), example["mask"][:, :, 0]
        else:
            picture, mask = self._laid(random, example, backdrop.astype(np.float32))
        picture = picture * random.uniform(0.75, 1.15) * random.uniform(0.92, 1.08, 3)
        picture = np.clip(picture, 0, 255).astype(np.uint8)
        cover = mask[:, :, None] / np.float32(255)
        inside, outside = ((picture * part).sum((0, 1)) / (part.sum() + 1) for part in (cover, 1 - cover))
        colours = np.concatenate([inside, outside]).astype(np.float32) / 127.5 - 1
        return Scene(picture, mask, example["label"], number, colours)

    def _laid(self, random, example, backdrop):
        """Returns picture float32 and mask of the product, cut out, turned and folded, on a backdrop."""
        cut = np.concatenate([example["image"], example["mask"]], axis=2)
        angle = np.radians(random.normal(0, 12))
        zoom, stretch = random.uniform(0.65, 1.05), random.uniform(0.85, 1.18)
        cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
        middle, shift = CANVAS / 2, random.uniform(-0.1, 0.1, 2) * CANVAS
        x, y = -middle - shift
        across, down = cos * stretch, sin * stretch
        matrix = (across, sin, across * x + sin * y + middle, -down, cos, -down * x + cos * y + middle)
        turned = Image.fromarray(cut).transform((CANVAS, CANVAS), Image.Transform.AFFINE, matrix, _Resampling.BILINEAR)
        turned = np.asarray(turned)
        product, mask = turned[:, :, :3].astype(np.float32), turned[:, :, 3]
        cover = mask / np.float32(255)
        folds = self.clouds[random.integers(len(self.clouds))]
        product = product * (1 + random.uniform(0, 0.35) * folds[:, :, None])
        grain = self.clouds[random.integers(len(self.clouds))]
        product = product + random.uniform(0, 14) * (grain - np.roll(grain, 1, axis=1))[:, :, None] * 3
        shadow = np.roll(cover, (4, 3), axis=(0, 1)) * random.uniform(0.0, 0.5)
        backdrop = backdrop * (1 - shadow)[:, :, None]
        return backdrop + cover[:, :, None] * (product - backdrop), mask


def _clouds(random, slope):
    """Draws noise with amplitude frequency ** -slope: float32 [CANVAS, CANVAS], mean 0, deviation 1."""
    spectrum = np.fft.rfft2(random.standard_normal((CANVAS, CANVAS)))
    frequency = np.hypot(np.fft.fftfreq(CANVAS)[:, None], np.fft.rfftfreq(CANVAS)[None])
    frequency[0, 0] = np.inf
    clouds = np.fft.irfft2(spectrum * frequency**-slope, (CANVAS, CANVAS))
    return ((clouds - clouds.mean()) / clouds.std()).astype(np.float32)


def _colour(random):
    """Draws RGB levels, mostly pale or greyish, as in rooms."""
    grey = random.uniform(20, 245)
    return np.clip(grey + random.normal(0, random.choice([6, 25, 60]), 3), 0, 255)


def _backdrop(random, clouds):
    cloud = clouds[random.integers(len(clouds))]
    y, x = np.mgrid[:CANVAS, :CANVAS] / CANVAS - 0.5
    light = 1 + random.uniform(-0.3, 0.3) * x + random.uniform(-0.3, 0.3) * y
    ground = _colour(random) + random.choice([2, 8, 30]) * cloud[:, :, None] * random.uniform(0.5, 1.2, 3)
    kind = random.choice(["plain", "boards", "leaves"], p=[0.3, 0.15, 0.55])
    if kind == "boards":
        angle, count = random.uniform(0, np.pi), random.integers(3, 24)
        place = (x * np.cos(angle) + y * np.sin(angle)) * count
        shades = random.normal(0, random.uniform(3, 30), 80)
        ground = ground + shades[np.floor(place).astype(int) + 40][:, :, None]
        ground = ground - random.uniform(0, 60) * (place - np.floor(place) < 0.08)[:, :, None]
    picture = np.clip(ground * light[:, :, None], 0, 255).astype(np.uint8)
    return _leaves(random, picture, clouds) if kind == "leaves" else picture


def _leaves(random, picture, clouds):
    canvas = Image.fromarray(picture)
    smallest = random.uniform(2, 12)
    for _ in range(random.integers(15, 160)):
        radius = min(smallest / np.sqrt(random.uniform(0.003, 1)), 60)
        cloud = clouds[random.integers(len(clouds))]
        leaf = _colour(random) + random.choice([1, 6, 20]) * cloud[:, :, None]
        corners = random.integers(3, 12)
        turns = np.sort(random.uniform(0, 2 * np.pi, corners))
        reach = radius * random.uniform(0.5, 1.0, corners)
        place = random.uniform(-10, CANVAS + 10, 2)
        points = place + np.stack([np.cos(turns), random.uniform(0.4, 1) * np.sin(turns)], axis=1) * reach[:, None]
        shape = Image.new("L", canvas.size)
        if random.random() < 0.5:
            left, top = place - radius * random.uniform(0.5, 1, 2)
            ImageDraw.Draw(shape).ellipse((left, top, 2 * place[0] - left, 2 * place[1] - top), fill=255)
        else:
            ImageDraw.Draw(shape).polygon(points.ravel().tolist(), fill=255)
        canvas.paste(Image.fromarray(np.clip(leaf, 0, 255).astype(np.uint8)), mask=shape)
    return np.array(canvas)


def _choose_damage(random):
    """Draws side in px, blur in px, deviation of noise, quality of JPEG and contrast; each damages about every fifth scene."""
    side = int(random.choice(SOURCES, p=CHANCES))
    sound = random.random() < 0.4

    def often(value, otherwise):
        return otherwise if sound or random.random() < 0.65 else value

    return (
        side,
        often(random.uniform(0.3, 2.5), 0.0),
        often(2 ** random.uniform(1, 5.3), 0.0),
        int(often(random.integers(5, 85), 100)),
        often(random.uniform(0.3, 0.95), 1.0),
    )


def _view(random, scene, damage):
    side, blur, noise, quality, contrast = damage
    share, aspect = np.sqrt(random.uniform(0.5, 1.0)), np.sqrt(random.uniform(0.85, 1.18))
    width, height = min(share * aspect, 1) * CANVAS, min(share / aspect, 1) * CANVAS
    left, top = random.uniform(0, CANVAS - width), random.uniform(0, CANVAS - height)
    box = (left, top, left + width, top + height)
    picture = np.asarray(Image.fromarray(scene.picture).resize((side, side), _Resampling.BICUBIC, box))
    mask = np.asarray(Image.fromarray(scene.mask).resize((MASK, MASK), _Resampling.BOX, box), np.float32) / 255
    if random.random() < 0.5:
        picture, mask = picture[:, ::-1], mask[:, ::-1]
    picture = faded(picture, contrast) if contrast < 1 else picture
    picture = blurred(picture, blur) if blur else picture
    picture = noisy(picture, noise, random) if noise else picture
    picture = compressed(np.ascontiguousarray(picture), quality) if quality < 100 else picture
    amounts = (blur / 2.5, np.log2(1 + noise) / 5.3, max(95 - quality, 0) / 90, 1 - contrast, (128 - side) / 64)
    return View(picture, mask, np.array(amounts, np.float32))
