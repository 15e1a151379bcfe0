"""Uses of the styles of a trained generator: a photo put into them, and the directions that change most.

For families that give `styles`: they have the methods `noise`, `styles`, `synthesize` and `style_matrices`.
"""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from data.errors import UserError
from data.random import RowRandom
from models.schedules import Cosine

INTERFACE = "styles"
RATE = 0.1  # of Adam in `project`, at the start; a hundredth of it at the end
LEVELS = 3  # sizes at which a photo and its projection are compared
TOGETHER = 32  # pictures in one call of a network
SPREAD = 1_000  # styles of which the deviation along a direction is taken


@dataclass(frozen=True)
class Projected:
    """A step of `project`. styles: float32 [layers, n]. picture: float32 [side, side, 3] near [-1, 1], made of them. loss: theirs."""

    styles: np.ndarray
    picture: np.ndarray
    loss: float


def fixed_noise(model, rows: int) -> tf.Tensor:
    """The noise of seed 0 for every row."""
    return tf.repeat(model.noise(RowRandom(tf.zeros([1], tf.int64)), 1), rows, axis=0)


def average_styles(model, conditions) -> tf.Tensor:
    """The average styles float32 [1, layers, n] of conditions [int32 [1]]."""
    return model.styles(tf.zeros([1, model.config.latent_size]), conditions, truncation=tf.zeros([1]))


def project(model, photo: np.ndarray, conditions, *, steps: int, one: bool = False) -> Iterator[Projected]:
    """Fit styles to a photo, from the average ones, and yield after each step.

    Minimises the mean squared difference over `LEVELS` sizes by Adam with a falling rate (Abdal, Qin and Wonka 2019, arXiv 1904.03189,
    algorithm 1, without a feature network; noise stays that of seed 0).

    Args:
        photo: float32 [side, side, 3] in [-1, 1], of the model's side. conditions: [int32 [1]], where the search begins.
        one: one w for all layers, which is nearer to what the model makes and further from the photo.
    """
    noise, target = fixed_noise(model, 1), tf.constant(photo[np.newaxis])
    start = average_styles(model, conditions)
    w = keras.Variable(start[:, :1] if one else start, name="w")
    optimizer = keras.optimizers.Adam(Cosine(RATE, RATE / 100, steps), 0.9, 0.99, name="projection")
    optimizer.build([w])

    def repeated():
        return tf.repeat(w.value, start.shape[1], axis=1) if one else tf.convert_to_tensor(w.value)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            styles = repeated()
            made = model.synthesize(styles, noise)
            loss = _difference(made, target)
        gradient = tape.gradient(loss, w.value)
        optimizer.apply([gradient], [w])
        return styles[0], made[0], loss

    for _ in range(steps):
        yield Projected(*(value.numpy() for value in step()))


def _difference(made, target):
    """Mean over sizes of the mean squared difference, the smaller ones made by averaging 2x2 pixels."""
    total = 0.0
    for level in range(LEVELS):
        if level:
            made, target = (tf.nn.avg_pool2d(pictures, 2, 2, "VALID") for pictures in (made, target))
        total += tf.reduce_mean(tf.square(made - target))
    return total / LEVELS


def directions(model, layers: range) -> np.ndarray:
    """Directions of w that change the styles of these layers most, the strongest first: float32 [n, n], rows of length 1.

    The eigenvectors of A^T A, where A maps w to the styles: Shen and Zhou 2021 (SeFa, arXiv 2007.06600), eq. 7.
    """
    matrices = model.style_matrices()
    stacked = np.concatenate([matrices[layer] for layer in layers], axis=1).astype(np.float64)
    _, vectors = np.linalg.eigh(stacked @ stacked.T)
    found = vectors[:, ::-1].T
    signs = np.sign(found[np.arange(len(found)), np.abs(found).argmax(axis=1)])  # an eigenvector has no sign of its own
    return (found * signs[:, np.newaxis]).astype(np.float32)


def deviations(model, vectors: np.ndarray, conditions) -> np.ndarray:
    """Standard deviation of w along each of the vectors float32 [k, n], over styles of random z: [k].

    Args:
        conditions: int32 [1] each, of all these styles, or int32 [SPREAD].
    """
    latent = np.random.default_rng(0).standard_normal((SPREAD, model.config.latent_size), np.float32)
    columns = [tf.broadcast_to(column, [SPREAD]) for column in conditions]
    w = model.styles(tf.constant(latent), columns)[:, 0].numpy()
    return (w @ vectors.T).std(axis=0)


def strongest_steps(model, count: int) -> np.ndarray:
    """The strongest directions of all layers, as long as the deviation of w along them when conditions take all values: [count, n]."""
    vectors = directions(model, range(layer_count(model)))[:count]
    columns = [tf.range(SPREAD) % condition.count for condition in model.facts]
    return vectors * deviations(model, vectors, columns)[:, np.newaxis]


def layer_count(model) -> int:
    """Layers that have a style of their own."""
    return average_styles(model, [tf.fill([1], -1) for _ in model.facts]).shape[1]


def layer_range(text: str | None, model) -> range:
    """The layers "FIRST-LAST", or all of them for None. Raises UserError."""
    count = layer_count(model)
    if text is None:
        return range(count)
    found = re.fullmatch(r"(\d+)-(\d+)", text)
    first, last = (int(found[1]), int(found[2])) if found else (1, 0)
    if not first <= last < count:
        raise UserError(f"layers are FIRST-LAST from 0 to {count - 1}, such as 0-{count // 2}, not {text!r}")
    return range(first, last + 1)


def drawn(model, seeds, conditions, truncation: float) -> np.ndarray:
    """The styles float32 [n, layers, n] of the pictures that `generate` makes of these seeds and conditions [int32 [n]]."""
    random = RowRandom(tf.constant(list(seeds), tf.int64))
    rows = len(seeds)
    model.noise(random, rows)  # whose numbers are drawn first
    latent = random.normal(rows, model.config.latent_size)
    return model.styles(latent, conditions, truncation=tf.fill([rows], float(truncation))).numpy()


def pictures(model, styles: np.ndarray) -> np.ndarray:
    """float32 [n, layers, size] -> float32 [n, side, side, 3] near [-1, 1], with the noise of seed 0."""
    parts = [styles[start : start + TOGETHER] for start in range(0, len(styles), TOGETHER)]
    return np.concatenate(
        [model.synthesize(tf.constant(part), fixed_noise(model, len(part))).numpy() for part in parts]
    )


def edits(styles: np.ndarray, vectors: np.ndarray, amounts: np.ndarray, layers: range) -> np.ndarray:
    """One style [layers, n], changed by amounts [m] of each vector [k, n] in some layers: float32 [k, m, layers, n]."""
    chosen = np.isin(np.arange(len(styles)), layers).astype(np.float32)
    change = np.einsum("m,l,kn->kmln", amounts, chosen, vectors)
    return (styles + change).astype(np.float32)


def mixtures(first: np.ndarray, second: np.ndarray, cut: int) -> np.ndarray:
    """A sheet of styles, row by row, with the coarse layers of one and, from layer `cut` on, the fine layers of another.

    Args:
        first: [rows, layers, n], also to the left of the others. second: [columns, layers, n], also above them.

    Returns:
        float32 [(rows + 1) (columns + 1), layers, n]; in the corner stands the mean.
    """
    sheet = np.empty((len(first) + 1, len(second) + 1, *first.shape[1:]), np.float32)
    sheet[0, 0] = np.concatenate([first, second]).mean(axis=0)
    sheet[1:, 0], sheet[0, 1:] = first, second
    sheet[1:, 1:, :cut] = first[:, np.newaxis, :cut]
    sheet[1:, 1:, cut:] = second[np.newaxis, :, cut:]
    return sheet.reshape(-1, *first.shape[1:])


def ways(styles: np.ndarray, steps: int) -> np.ndarray:
    """Straight ways from each of the styles [rows + 1, layers, n] to the next: float32 [rows * steps, layers, n]; ends included."""
    share = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, np.newaxis, np.newaxis]
    return np.concatenate([start + share * (end - start) for start, end in itertools.pairwise(styles)])


def from_json(content: bytes, model, name: str) -> np.ndarray:
    """The "styles" of a JSON file, float32 [layers, n], for a model. Raises UserError, which begins with `name`, for anything else."""
    shape = layer_count(model), model.config.latent_size
    try:
        styles = np.array(json.loads(content)["styles"], np.float32)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{name} is no JSON file of styles ({error})") from error
    if styles.shape != shape or not np.isfinite(styles).all():
        raise UserError(f"{name} must hold finite styles {list(shape)} for this run, not {list(styles.shape)}")
    return styles
