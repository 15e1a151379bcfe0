"""Deep image prior: an untrained network fitted to one damaged photo, and stopped before it fits the damage.

Ulyanov, Vedaldi & Lempitsky, "Deep Image Prior", CVPR 2018 (arXiv 1711.10925): a U-Net with narrow skips makes the picture from fixed
noise, and convolutions fit what is natural before what is not. It is no family: there is no training set, and nothing is exported.

When to stop: Wang et al., "Early Stopping for Deep Image Prior", TMLR 2023 (arXiv 2112.06074): at the lowest variance of the results
within a moving window.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from data.images import to_uint8
from data.random import StepRandom
from models.layers.norm import FusedBatchNormalization
from models.optimizers import adam

COMPARED = 20_000  # pixels from which the variance of results is estimated
AVERAGED = 0.98  # share of a result that the average keeps at each step


@dataclass(frozen=True)
class Config:
    """Hyperparameters. The paper's network has width=128; 32 is for two cores."""

    width: int = 32  # channels at every size
    sizes: int = 5  # times that the network halves the picture; fewer where it is small
    skip: int = 4  # channels of each skip
    inputs: int = 32  # channels of the noise
    noise: float = 0.03  # deviation of what is added to the noise, drawn anew for each step
    learning_rate: float = 0.01  # of Adam
    steps: int = 2_000  # at most
    begin: int = 200  # step from which the variance is watched: at first the results hardly change
    window: int = 50  # results of which the variance is taken
    patience: int = 300  # steps without a lower variance after which it ends


@dataclass(frozen=True)
class Result:
    """Of a step: picture, uint8 [scale * height, scale * width, 3], the average of the newest results; loss; whether it is the best so
    far, by the variance of the results."""

    step: int
    loss: float
    picture: np.ndarray | None


def build(config: Config, height: int, width: int) -> keras.Model:
    """Noise [1, height, width, inputs] -> a picture float32 [1, height, width, 3] in [-1, 1]; sides are multiples of 2 ** sizes."""

    def layer(x, kernel, strides=1, channels=config.width):
        x = keras.layers.Conv2D(channels, kernel, strides, "same", kernel_initializer="he_normal")(x)
        return keras.layers.LeakyReLU(0.2)(FusedBatchNormalization()(x))

    def level(x, left):
        if not left:
            return x
        below = level(layer(layer(x, 3, 2), 3), left - 1)
        below = keras.layers.UpSampling2D(interpolation="bilinear")(below)
        joined = FusedBatchNormalization()(keras.layers.Concatenate()([layer(x, 1, channels=config.skip), below]))
        return layer(layer(joined, 3), 1)

    noise = keras.Input((height, width, config.inputs), batch_size=1, name="noise")
    picture = keras.layers.Conv2D(3, 1)(level(noise, config.sizes))
    return keras.Model(noise, keras.layers.Activation("tanh", dtype="float32")(picture), name="prior")


def fit(
    photo: np.ndarray, *, scale: int = 1, known: np.ndarray | None = None, config: Config = Config(), seed: int = 0
) -> Iterator[Result]:
    """Fit a network to a photo and yield after each step; ends by itself.

    Args:
        photo: uint8 [height, width, 3]. scale: 1, 2 or 4; the result is so many times as large, and shrunk by antialiased bicubic it is
            the photo.
        known: bool [height, width], True where the photo is known; the rest is filled in. None: all is known.

    Yields:
        Results; `picture` only where it is the best so far, and at the first step. The last of them is what to keep.
    """
    height, width = (side * scale for side in photo.shape[:2])
    sizes = max(1, min(config.sizes, int(math.log2(max(2, min(height, width)))) - 2))
    unit = 2**sizes
    padded = -(-height // unit) * unit, -(-width // unit) * unit
    keras.utils.set_random_seed(seed)
    network = build(Config(**{**vars(config), "sizes": sizes}), *padded)
    optimizer = adam("prior_adam", network, rate=config.learning_rate)
    target = tf.constant(photo[np.newaxis], tf.float32) / 127.5 - 1.0
    weight = (
        tf.ones([1, *photo.shape[:2], 1])
        if known is None
        else tf.constant(known[np.newaxis, ..., np.newaxis], tf.float32)
    )
    rest = StepRandom(seed, tf.constant(-1, tf.int64)).uniform(1, *padded, config.inputs, high=0.1)

    @tf.function(autograph=False)
    def step(number):
        noise = rest + config.noise * StepRandom(seed, number).normal(1, *padded, config.inputs)
        with tf.GradientTape() as tape:
            made = network(noise, training=True)[:, :height, :width]
            small = made if scale == 1 else tf.image.resize(made, photo.shape[:2], "bicubic", antialias=True)
            loss = tf.reduce_sum(weight * tf.square(small - target)) / (3.0 * tf.maximum(tf.reduce_sum(weight), 1.0))
        optimizer.apply(tape.gradient(loss, network.trainable_weights), network.trainable_weights)
        return made[0], loss

    watched = np.random.default_rng(seed).permutation(height * width)[:COMPARED]
    average, window, lowest, best = None, deque(maxlen=config.window), math.inf, 0
    for number in range(1, config.steps + 1):
        made, loss = (value.numpy() for value in step(tf.constant(number, tf.int64)))
        share = min(AVERAGED, 1.0 - 1.0 / number)
        average = made if average is None else share * average + (1.0 - share) * made
        window.append(made.reshape(-1, 3)[watched])
        picture = average if number == 1 else None
        if len(window) == config.window and number >= config.begin:
            variance = float(np.var(window, axis=0).mean())
            if variance < lowest:
                lowest, best, picture = variance, number, average
        yield Result(number, float(loss), None if picture is None else to_uint8(picture))
        if best and number - best >= config.patience:
            return
