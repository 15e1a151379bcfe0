"""NAFNet: restores a picture at its own size, without activation functions: noise, blur, compression, or all at once.

Chen, Chu, Zhang and Sun, "Simple Baselines for Image Restoration", ECCV 2022 (arXiv 2204.04676), section 4 and figure 3d: a U-Net whose
blocks have layer normalisation over channels, a depthwise convolution, a gate that multiplies one half of the channels by the other, and
attention over channels without a non-linearity. The network adds to its input. Loss: the negative PSNR; Adam with betas of 0.9
and a cosine, as in the authors' settings.

It departs in two things: any picture is mirrored at the bottom and right to sides that the U-Net can halve, and cut again; and the preset
`cpu` is narrow and shallow. Attention averages over the whole picture, in training over a patch: what is far larger than a patch is
restored better in tiles, as `packshot enhance` does.

Batch: `low`, `high`, of one size: what `low` suffers is named by `--view`.

    python -m trainer.task --model nafnet --data folder:PHOTOS --view noise:25
    packshot enhance photos/ --model runs/nafnet-cpu-PHOTOS --out better/
"""

import math
from dataclasses import dataclass

import keras
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from models.base import OnePlayer
from models.layers.resample import PixelShuffle
from models.losses.reconstruction import squared
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.tasks import Enhancement


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are patches shown."""

    resolution: int = 96  # px, side of the patches, a multiple of 2 to the number of stages
    batch_size: int = 8  # patches a step
    images: int = 300_000  # length of training, patches
    scale: int = 1  # of the result
    width: int = 16  # channels at full size; each stage has twice as many
    encoder: tuple[int, ...] = (1, 1, 2)  # blocks of each stage on the way down
    middle: int = 2  # blocks at the smallest size
    decoder: tuple[int, ...] = (1, 1, 1)  # blocks of each stage on the way up
    learning_rate: float = 1e-3  # of Adam at the start
    learning_rate_end: float = 1e-6  # at the end of decay_images
    decay_images: int = 300_000  # length of the cosine from the one to the other
    beta_2: float = 0.9  # Adam
    ema_images: int = 5_000  # half-life of the averaged network, patches; 0: serve the trained one

    def __post_init__(self):
        check_numbers(self, "scale", "width", "encoder", "middle", "decoder")
        if self.scale != 1:
            raise UserError(f"scale must be 1, not {self.scale}: the result has the size of the picture")
        if len(self.encoder) != len(self.decoder) or self.resolution % 2 ** len(self.encoder):
            raise UserError(
                f"encoder={self.encoder} and decoder={self.decoder} must have as many stages, and"
                f" resolution={self.resolution} be a multiple of 2 to their number"
            )


PRESETS = {
    "tiny": Config(16, 4, 64, width=4, encoder=(1,), middle=1, decoder=(1,), ema_images=500),
    "cpu": Config(),
    "32": Config(256, 32, 12_800_000, width=32, encoder=(2, 2, 4, 8), middle=12, decoder=(2, 2, 2, 2)),
    "64": Config(256, 32, 12_800_000, width=64, encoder=(2, 2, 4, 8), middle=12, decoder=(2, 2, 2, 2)),
}


@keras.saving.register_keras_serializable("packshot")
class Scaled(keras.layers.Layer):
    """Each channel times a learned number that starts at 0: beta and gamma of the authors' code."""

    def build(self, input_shape):
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="factor")

    def call(self, inputs):
        return inputs * self.factor


@keras.saving.register_keras_serializable("packshot")
class MirrorTo(keras.layers.Layer):
    """[batch, height, width, c] mirrored at the bottom and right to sides that are multiples of a number, as often as it takes."""

    def __init__(self, multiple, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, inputs):
        for axis in (1, 2):
            length = tf.shape(inputs)[axis]
            places = tf.range(-(-length // self.multiple) * self.multiple)
            period = tf.maximum(2 * (length - 1), 1)
            mirrored = tf.minimum(places % period, period - places % period) % length
            inputs = tf.gather(inputs, mirrored, axis=axis)
        return inputs

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        sides = [None if side is None else -(-side // self.multiple) * self.multiple for side in (height, width)]
        return (batch, *sides, channels)

    def get_config(self):
        return super().get_config() | {"multiple": self.multiple}


@keras.saving.register_keras_serializable("packshot")
class CutAs(keras.layers.Layer):
    """The first of two pictures cut to the size of the second."""

    def call(self, inputs):
        larger, like = inputs
        return larger[:, : tf.shape(like)[1], : tf.shape(like)[2]]

    def compute_output_shape(self, input_shape):
        larger, like = input_shape
        return (larger[0], *like[1:3], larger[3])


def _gate(x):
    """Half of the channels times the other half: paper, eq. 4."""
    one, other = keras.ops.split(x, 2, axis=-1)  # the gradient of slices is seven times as slow
    return one * other


def block(x):
    """x + what a depthwise convolution and channel attention add, then that + what two 1x1 convolutions add: figure 3d."""
    channels = x.shape[-1]
    y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    y = keras.layers.Conv2D(2 * channels, 1)(y)
    y = _gate(keras.layers.DepthwiseConv2D(3, padding="same")(y))
    attention = keras.layers.Conv2D(channels, 1)(keras.layers.GlobalAveragePooling2D(keepdims=True)(y))
    x = x + Scaled()(keras.layers.Conv2D(channels, 1)(y * attention))
    y = _gate(keras.layers.Conv2D(2 * channels, 1)(keras.layers.LayerNormalization(epsilon=1e-6)(x)))
    return x + Scaled()(keras.layers.Conv2D(channels, 1)(y))


def build(config, name):
    """low [batch, height, width, 3] -> pictures float32 of the same shape, near [-1, 1]."""
    low = keras.Input((None, None, 3), name="low")
    whole = MirrorTo(2 ** len(config.encoder))(low)
    x, skips = keras.layers.Conv2D(config.width, 3, padding="same")(whole), []
    for blocks in config.encoder:
        for _ in range(blocks):
            x = block(x)
        skips.append(x)
        x = keras.layers.Conv2D(2 * x.shape[-1], 2, strides=2)(x)
    for _ in range(config.middle):
        x = block(x)
    for blocks in config.decoder:
        x = PixelShuffle(2)(keras.layers.Conv2D(2 * x.shape[-1], 1, use_bias=False)(x)) + skips.pop()
        for _ in range(blocks):
            x = block(x)
    x = keras.layers.Conv2D(3, 3, padding="same")(x) + whole
    return keras.Model(low, keras.layers.Activation("linear", dtype="float32")(CutAs()([x, low])), name=name)


class Model(Enhancement, OnePlayer):
    """Minimises the negative PSNR of each picture: authors' code."""

    default_steps_per_execution = 4

    def __init__(self, config, *, facts=Facts(), seed=0):
        super().__init__(config, facts=facts, seed=seed)
        self.network, self.ema = self.with_ema(lambda name: build(config, name))
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = adam("adam", self.network, rate=rate, beta_2=config.beta_2)

    def terms(self, batch):
        error = squared(self.network(batch["low"], training=True), batch["high"]) / 4.0  # of pictures in [0, 1]
        return {"negative_psnr": 10.0 / math.log(10.0) * tf.math.log(error + 1e-8)}
