"""Trains the network by which `data.inspection.lettering` finds writing over pictures: twenty minutes of processor time, 150 KB.

The examples are photos without overlays, and drawings, with text written over them in any font, size and colour; the network learns
where the text is. It learns to leave alone print on products and patterns of fabrics, as far as the photos show them.

Example:
  python -m benchmarks.make_lettering --photos folder:photos --fonts /usr/share/fonts
"""

import io
import time
from functools import lru_cache
from itertools import islice
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from tqdm import tqdm

from data import files
from data.catalogue import open_source
from data.images import BadPicture
from data.inspection import inventory, lettering
from data.inspection.survey import picture_of
from data.inspection.thresholds import SIDE
from data.sources.parallel import ordered_map
from data.sources.studio import Studio
from trainer.console import progress
from trainer.errors import refusing
from trainer.features.make_encoder import folded

CROP, PATTERN = 256, 360  # px
BATCH = 24
PEAK_RATE = 2e-3
SHARE = 0.7  # of the crops, with writing
FAINTEST = 40  # grey levels between ink and ground in some channel, below which nothing is written
FAINT = 70  # grey levels, below which a line counts neither as written nor as not
SMALL = 12  # px, size of a font, below which it does not count either
FOUND, OPEN = 255, 102  # in the map of what is written on
STAMPS = ((255, 140, 30), (255, 90, 20), (255, 60, 40), (255, 200, 40), (240, 230, 80), (120, 255, 120))
LATIN = "abcdefghijklmnopqrstuvwxyz"


@click.command(help=__doc__.replace("Example:", "\b\nExample:"))
@click.option("--photos", required=True, help="a source, as for --data; every second picture by name is used")
@click.option("--fonts", required=True, type=click.Path(exists=True, file_okay=False), help="a folder of .ttf, .otf")
@click.option("--out", default=str(lettering.FILE), type=click.Path(dir_okay=False), help=".npz", show_default=True)
@click.option("--steps", default=3000, type=click.IntRange(min=1), show_default=True, help=f"of {BATCH} crops")
@click.option("--seed", default=0, show_default=True)
def main(photos, fonts, out, steps, seed):
    began = time.monotonic()
    paths = usable(sorted(path for path in Path(fonts).rglob("*") if path.suffix.lower() in (".ttf", ".otf")))
    if not paths:
        raise click.UsageError(f"{fonts} has no font with Latin letters")
    with refusing():
        files.check_writable(out)
        pictures = read(photos)
    weights, loss = train(pictures, paths, steps, seed)
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array.astype(np.float16) for name, array in weights.items()})
    files.write(out, buffer.getvalue())
    minutes = (time.monotonic() - began) / 60
    click.echo(f"{out}: {len(pictures):,} photos, {len(paths)} fonts, last loss {loss:.4f}, {minutes:.0f} minutes")


def read(photos) -> list[np.ndarray]:
    """Every second picture of the source as `inspect` sees it, but those below half the crop, and drawings: uint8 [height, width, 3]."""
    source = inventory.take(photos)
    names = sorted(entry.name for entry, _ in source.pictures())[::2]

    def opened(item):
        try:
            return picture_of(item[1](), SIDE)
        except BadPicture:
            return np.zeros((0, 0, 3), np.uint8)

    opened_pictures = progress(ordered_map(opened, source.pictures(names)), len(names), "reading")
    return [picture for picture in opened_pictures if min(picture.shape[:2]) >= CROP // 2] + drawings()


def drawings() -> list[np.ndarray]:
    """Products drawn small, middling and large, each of another kind: uint8 [side, side, 3]."""
    kinds = len(Studio.classes)
    return [row["image"] for side in (128, 240, 384) for row in open_source(f"studio:{8 * kinds}").examples(side)]


def usable(paths) -> list[Path]:
    """The fonts in which Latin letters and digits all differ, so no symbols and no boxes for what is missing."""

    def differs(path):
        try:
            font = ImageFont.truetype(str(path), 24)
            shapes = {(mask := font.getmask(sign)).size + (bytes(mask),) for sign in "acegnps0123456789"}
        except OSError:
            return False
        return len(shapes) == len("acegnps0123456789")

    return [path for path in paths if differs(path)]


def example(pictures, paths, seed, number) -> tuple[np.ndarray, np.ndarray]:
    """The crop of that number: uint8 [CROP, CROP, 3], and where it is written on: float32 [CROP / 8, CROP / 8], 0 or 1, or between where
    a line ends within a square or is too faint to count.
    """
    random = np.random.default_rng((seed, number))
    picture = pictures[random.integers(len(pictures))] if random.random() < 0.9 else pattern(random)
    crop = Image.fromarray(_crop(picture, random))
    where = Image.new("L", crop.size)
    if random.random() < SHARE:
        for _ in range(random.integers(1, 4)):
            crop = write(crop, where, paths, random)
    if random.random() < 0.9:
        buffer = io.BytesIO()
        crop.save(buffer, "JPEG", quality=int(random.integers(50, 96)))
        crop = Image.open(buffer)
    written = np.asarray(where.reduce(lettering.CELL), np.float32) / 255
    return np.asarray(crop.convert("RGB")), written


def _crop(picture, random):
    """A square of 0.7 to 1.4 times the side, brought to it, mirrored or not, as light as it is or not."""
    side = min(round(CROP * np.exp(random.uniform(np.log(0.7), np.log(1.4)))), *picture.shape[:2])
    top, left = (random.integers(length - side + 1) for length in picture.shape[:2])
    crop = picture[top : top + side, left : left + side]
    crop = crop[:, ::-1] if random.random() < 0.5 else crop
    crop = crop.transpose(1, 0, 2) if random.random() < 0.1 else crop
    crop = np.asarray(Image.fromarray(np.ascontiguousarray(crop)).resize((CROP, CROP), Image.Resampling.BICUBIC))
    return np.clip(crop * random.uniform(0.6, 1.3), 0, 255).astype(np.uint8) if random.random() < 0.4 else crop


def pattern(random) -> np.ndarray:
    """Stripes, bars, checks or dots, uint8 [PATTERN, PATTERN, 3]: rows of pieces as large as letters that are none."""
    down, right = np.mgrid[:PATTERN, :PATTERN]
    turn = random.choice([0, np.pi / 2, random.uniform(0, np.pi)])
    along, across = (down * np.sin(turn) + right * np.cos(turn), down * np.cos(turn) - right * np.sin(turn))
    step, other = random.uniform(4, 40), random.uniform(4, 60)
    a, b = (along % step < step * random.uniform(0.2, 0.8)), (across % other < other * random.uniform(0.2, 0.8))
    dots = np.hypot(along % step - step / 2, across % step - step / 2) < step * random.uniform(0.15, 0.45)
    shape = (a, a & b, a ^ b, dots)[random.integers(4)]
    inks = random.integers(0, 256, (2, 3))
    noise = random.normal(0, random.uniform(0, 12), (PATTERN, PATTERN, 1))
    return np.clip(np.where(shape[..., None], *inks) + noise, 0, 255).astype(np.uint8)


def words(random) -> str:
    """Draws what might be written over a product photo: words, a price, a date, an address or a number."""

    def word(low=2, high=9):
        letters = "".join(LATIN[i] for i in random.integers(0, len(LATIN), random.integers(low, high + 1)))
        return (letters, letters.upper(), letters.capitalize())[random.integers(3)]

    year, month, day, hour, minute = (
        int(random.integers(*span)) for span in ((1990, 2030), (1, 13), (1, 29), (0, 24), (0, 60))
    )
    digits = "".join(str(i) for i in random.integers(0, 10, random.integers(3, 12)))
    return (
        word(4, 12),
        " ".join(word() for _ in range(random.integers(2, 5))),
        " ".join(word(1, 4) for _ in range(random.integers(2, 4))) + f" / {word(1, 2)}",
        f"{word()} {random.integers(1, 999)}.{random.integers(100):02d} {'€$£'[random.integers(3)]}",
        f"-{random.integers(1, 10)}0 % {word()}",
        f"{year} {month:02d} {day:02d}",
        f"{day:02d}/{month:02d}/{year}  {hour:02d}:{minute:02d}",
        f"'{year % 100:02d} {month:>2} {day:>2}",
        f"{digits[:4]} {digits[4:]} {word(2, 5)}",
        f"www.{word()}.{word(2, 3)}".lower(),
        f"© {word()} {year}",
        digits,
    )[random.integers(12)]


def write(picture, where, paths, random) -> Image.Image:
    """The Pillow picture with a line over it, upright at times, in ink of any colour and cover; `where` is marked. Where it could not
    be seen, nothing is written.
    """
    size = round(np.exp(random.uniform(np.log(9), np.log(64))))
    font = _font(paths[random.integers(len(paths))], size)
    text = words(random)
    left, top, right, bottom = font.getbbox(text)
    margin = max(3, size // 6)
    line = Image.new("L", (right - left + 2 * margin, bottom - top + 2 * margin))
    ImageDraw.Draw(line).text((margin - left, margin - top), text, 255, font)
    tight = Image.new("L", line.size)
    if line.getbbox() is None:
        return picture
    tight.paste(255, line.getbbox())
    rim = line.filter(ImageFilter.MaxFilter(3)) if random.random() < 0.15 else None
    turn = random.choice([0, 90, 270, random.uniform(-6, 6)], p=[0.7, 0.1, 0.1, 0.1])
    line, tight, rim = (
        layer and layer.rotate(turn, Image.Resampling.BICUBIC, expand=True) for layer in (line, tight, rim)
    )
    place = tuple(_place(here, there, random) for here, there in zip(line.size, picture.size, strict=True))
    under = picture.crop((*place, place[0] + line.width, place[1] + line.height))
    ground = np.median(np.asarray(under).reshape(-1, 3), axis=0)
    cover = random.uniform(0.3, 1) if random.random() < 0.3 else 1.0
    ink = _ink(ground, random)
    if np.abs(ink - ground).max() * cover < FAINTEST:
        return picture
    picture = picture.copy()
    if rim is not None:
        picture.paste(tuple(255 - int(value) for value in ink), place, rim)
    picture.paste(tuple(map(int, ink)), place, line.point(lambda value: round(cover * value)))
    mark = FOUND if size >= SMALL and np.abs(ink - ground).max() * cover >= FAINT else OPEN
    where.paste(mark, place, tight)
    return picture


@lru_cache(4096)
def _font(path, size):
    return ImageFont.truetype(str(path), size)


def _place(length, side, random):
    """Draws a place along a side: near either border as often as anywhere else; what is too long begins outside."""
    spare = side - length
    if spare <= 0:
        return int(random.integers(min(spare, 0), 1))
    near = random.integers(0, min(spare, 16) + 1)
    return int(random.choice([near, spare - near, random.integers(spare + 1), random.integers(spare + 1)]))


def _ink(ground, random):
    kind = random.random()
    if kind < 0.45:
        return np.full(3, 0.0 if ground.mean() > 127 else 255.0)
    if kind < 0.55:
        return np.full(3, float(random.integers(256)))
    return np.array(STAMPS[random.integers(len(STAMPS))] if kind < 0.8 else random.integers(0, 256, 3), float)


def train(pictures, paths, steps, seed) -> tuple[dict[str, np.ndarray], float]:
    """Kernels and biases, float32 by name, as `lettering.chart` takes them, and the mean loss of the last steps."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    model = network(seed)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - steps // 20), 0.01, "rate", PEAK_RATE, max(1, steps // 20)
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01)

    @tf.function
    def step(crops, written):
        counted = tf.cast((written < 0.1) | (written > 0.7), tf.float32)
        with tf.GradientTape() as tape:
            logits = model(crops, training=True)[..., 0]
            loss = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(written > 0.5, tf.float32), logits)
            loss = tf.reduce_sum(loss * counted) / tf.reduce_sum(counted)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    examples = ordered_map(lambda number: example(pictures, paths, seed, number), range(steps * BATCH))
    losses = []
    with tqdm(total=steps, unit="step", disable=None) as bar:
        while batch := list(islice(examples, BATCH)):
            crops, written = map(np.stack, zip(*batch, strict=True))
            losses = [*losses[-199:], float(step(tf.cast(crops, tf.float32), tf.constant(written)))]
            bar.set_postfix(loss=f"{np.mean(losses):.4f}", refresh=False)
            bar.update()
    return frozen(model), float(np.mean(losses))


def network(seed, dtype="mixed_bfloat16"):
    """The Keras model of `lettering.chart` with normalisation between its layers: float32 [n, height, width, 3] in [0, 255] to logits."""
    import keras

    here = pictures = keras.Input((None, None, 3))
    here = keras.layers.Rescaling(1 / 127.5, -1)(here)
    for number, (channels, side, stride, spread) in enumerate(lettering.LAYERS):
        start = keras.initializers.HeNormal(seed + number)
        options = {"padding": "same", "use_bias": False, "kernel_initializer": start, "dtype": dtype}
        here = keras.layers.Conv2D(channels, side, stride, dilation_rate=spread, name=f"conv{number}", **options)(here)
        here = keras.layers.BatchNormalization(name=f"norm{number}", momentum=0.98, dtype=dtype)(here)
        here = keras.layers.ReLU(dtype=dtype)(here)
    here = keras.ops.cast(here, "float32")
    return keras.Model(
        pictures, keras.layers.Conv2D(1, 1, name="said", bias_initializer=keras.initializers.Constant(-3))(here)
    )


def frozen(model) -> dict[str, np.ndarray]:
    """Its weights as `lettering.chart` takes them: the convolutions with their normalisation in them, and the last one, float32."""
    last = len(lettering.LAYERS)
    kernel, bias = model.get_layer("said").get_weights()
    return folded(model, last) | {f"kernel{last}": kernel, f"bias{last}": bias}


if __name__ == "__main__":
    main()
