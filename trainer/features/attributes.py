"""A small classifier of attributes, such as kind, colour and pattern, trained on the pictures that a generator was trained on.

It tells whether a made picture shows what was asked for, and how often it is right about real pictures that it was not trained on: that
is all the accuracy of made pictures can be read against. (A score of CLIP would need its weights, and says less of colours.)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from data.errors import UserError
from data.facts import Condition
from data.progress import silent
from trainer.metrics.accuracy import hits

VERSION = "cnn-v1"  # of the network and its training; part of the names of measures
SHOWN = 96_000  # pictures in its training
HELD_OUT = 8  # one picture of so many is held out
LEAST = 64  # pictures to train on
_BATCH, _RATE = 64, 3e-3


@dataclass(frozen=True)
class AttributeClassifier:
    """A trained classifier.

    conditions: those that it tells. accuracy: its hits on real pictures that were held out, 0 or 1 each, float64 [n], by name of the
    condition, where their value is known.
    """

    network: keras.Model
    conditions: tuple[Condition, ...]
    accuracy: Mapping[str, np.ndarray] = field(default_factory=dict)

    def values(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """The number of the likeliest value of each condition, int64 [n] by name, of pictures uint8 [n, side, side, 3]."""
        found = [self.network(_floats(pictures[start : start + 256])) for start in range(0, len(pictures), 256)]
        names = [condition.name for condition in self.conditions]
        return {name: np.concatenate([part[name].numpy().argmax(axis=1) for part in found]) for name in names}


def train(pictures: np.ndarray, values: Mapping[str, np.ndarray], conditions, *, seed: int = 0, progress=silent):
    """Train an `AttributeClassifier`, the same every time on one machine.

    One picture in `HELD_OUT` is held out. Pictures are mirrored and moved by up to a sixteenth of their side at random. Adam follows a
    cosine (Loshchilov & Hutter 2017), the loss is the sum of the cross entropies of the values that are known.

    Args:
        pictures: uint8 [n, side, side, 3]. values: int [n] of each condition, -1 where unknown. conditions: `data.facts.Condition`s.
        progress: see `data.progress`.

    Raises UserError for too few pictures.
    """
    apart = np.zeros(
        len(pictures), bool
    )  # by chance: every eighth of goods that are listed in turn would be of some kinds only
    apart[np.random.default_rng(0).permutation(len(pictures))[: len(pictures) // HELD_OUT]] = True
    rows = np.flatnonzero(~apart)
    if len(rows) < LEAST:
        raise UserError(f"{len(pictures)} pictures are too few to train a classifier of attributes")
    conditions, steps = tuple(conditions), SHOWN // _BATCH
    network = _network(pictures.shape[1], conditions, seed)
    rate = keras.optimizers.schedules.CosineDecay(_RATE, steps)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(network.trainable_weights)
    columns = {condition.name: np.asarray(values[condition.name]) for condition in conditions}
    rng = np.random.default_rng(seed)

    @tf.function
    def step(batch, wanted):
        with tf.GradientTape() as tape:
            answers = network(batch, training=True)
            losses = [
                tf.where(
                    known >= 0, tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(known, 0), answers[name]), 0.0
                )
                for name, known in wanted.items()
            ]
            loss = tf.reduce_mean(tf.add_n(losses))
        optimizer.apply(tape.gradient(loss, network.trainable_weights), network.trainable_weights)

    for _ in progress(range(steps), steps, "training a classifier of attributes"):
        chosen = rng.choice(rows, _BATCH)
        wanted = {name: tf.constant(column[chosen], tf.int32) for name, column in columns.items()}
        step(_floats(_moved(pictures[chosen], rng)), wanted)
    found = AttributeClassifier(network, conditions).values(pictures[apart])
    right = {name: hits(found[name], column[apart]) for name, column in columns.items()}
    return AttributeClassifier(network, conditions, right)


def _network(side, conditions, seed):
    """Pictures float32 [n, side, side, 3] in [-1, 1] -> logits [n, count] of each condition, by name."""
    seeds = iter(range(seed * 100, seed * 100 + 100))

    def initial():
        return keras.initializers.HeNormal(next(seeds))

    picture = x = keras.Input((side, side, 3))
    # How much of the picture has which colour, wherever it is.
    y = keras.layers.AveragePooling2D(2)(x) if side >= 64 else x
    for channels in (32, 64):
        y = keras.layers.Conv2D(channels, 1, use_bias=False, kernel_initializer=initial())(y)
        y = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.95)(y))
    for place, channels in enumerate((32, 64, 96, 128)):
        if x.shape[1] >= 8 or not place:
            stride = 1 if place == 3 or side < 64 and not place else 2
            x = keras.layers.Conv2D(
                channels, 3 if place else 5, stride, "same", use_bias=False, kernel_initializer=initial()
            )(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.95)(x))
    pooled = [keras.layers.GlobalAveragePooling2D()(y), keras.layers.GlobalAveragePooling2D()(x)]
    x = keras.layers.Concatenate()([*pooled, keras.layers.GlobalMaxPooling2D()(x)])
    x = keras.layers.Dense(256, "relu", kernel_initializer=initial())(x)
    answers = {
        c.name: keras.layers.Dense(c.count, kernel_initializer=initial(), name=f"{c.name}_logits")(x)
        for c in conditions
    }
    return keras.Model(picture, answers)


def _floats(pictures):
    return tf.cast(pictures, tf.float32) / 127.5 - 1.0


def _moved(pictures, rng):
    pictures = np.where(rng.random(len(pictures))[:, None, None, None] < 0.5, pictures, pictures[:, :, ::-1])
    most = max(pictures.shape[1] // 16, 1)
    padded = np.pad(pictures, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
    down, across = rng.integers(0, 2 * most + 1, 2)
    return padded[:, down : down + pictures.shape[1], across : across + pictures.shape[2]]
