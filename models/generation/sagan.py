"""SAGAN: residual networks that look at the whole picture through self-attention, kept smooth by spectral normalisation.

Zhang, Goodfellow, Metaxas and Odena, "Self-Attention Generative Adversarial Networks", ICML 2019 (arXiv 1805.08318): attention over all
places of one low resolution in both networks, spectral normalisation in both (Miyato et al. 2018), hinge loss, and a critic that learns
four times as fast as the generator. The residual blocks, the critic's projection of conditions and the generator's conditional batch
normalisation are those of Miyato & Koyama 2018 (arXiv 1802.05637). It departs in one thing: the generator enlarges smoothly, since
repeated pixels left a grid.

Batch: `image` [, `label`]. The preset `64` has the paper's widths; `cpu-64` is narrow and learns faster, for two CPU cores.

    python -m trainer.task --model sagan --data folder:PHOTOS --conditional --augment ada
"""

import functools
import operator
from dataclasses import dataclass

import keras
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from models.base import TwoPlayer
from models.layers.condition import KnownEmbedding, condition_inputs, logits
from models.layers.gate import Gate
from models.layers.norm import FusedBatchNormalization
from models.layers.resample import Upsample2x
from models.layers.spectral import SpectralConv2D, SpectralDense, SpectralEmbedding
from models.losses.adversarial import objective
from models.optimizers import adam
from models.settings import check_numbers
from models.tasks import Generation


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown to the critic as reals."""

    resolution: int = 64  # px
    batch_size: int = 16  # pictures a critic step
    images: int = 100_000  # length of training, pictures
    latent_size: int = 128  # numbers in z
    channels: tuple[int, ...] = (128, 96, 64, 32, 16)  # from 4x4 px upwards, each stage twice as wide
    attention: int = 16  # px, where the networks attend; 0: nowhere
    critic_steps: int = 1  # critic steps for one generator step
    generator_learning_rate: float = 2e-4  # of Adam
    critic_learning_rate: float = 8e-4  # of Adam
    beta_1: float = 0.0  # Adam
    beta_2: float = 0.9  # Adam
    ema_images: int = 5_000  # half-life of the averaged generator, pictures; 0: serve the trained one
    ada_images: int = 100_000  # pictures in which ADA may go from 0 to 1

    def __post_init__(self):
        check_numbers(self, "latent_size", "channels")
        sides = [4 * 2**stage for stage in range(len(self.channels))]
        if self.resolution != sides[-1]:
            raise UserError(
                f"{len(sides)} stages from 4x4 px make pictures of {sides[-1]} px, not resolution={self.resolution}"
            )
        if self.attention not in (0, *sides[1:-1]):
            raise UserError(f"attention must be 0 or a side between 4 and {sides[-1]} px, not {self.attention}")


PRESETS = {
    "tiny": Config(
        16,
        8,
        64,
        latent_size=8,
        channels=(16, 16, 8),
        attention=8,
        generator_learning_rate=1e-4,
        critic_learning_rate=4e-4,
        ema_images=500,
    ),
    "cpu-64": Config(),
    "64": Config(
        64,
        64,
        10_000_000,
        channels=(1024, 512, 256, 128, 64),
        attention=32,
        generator_learning_rate=1e-4,
        critic_learning_rate=4e-4,
        ema_images=50_000,
    ),
}


class Attend(keras.layers.Layer):
    """For each place of the queries, the values of all other places by their weights: paper, eq. 1 and 2.

    Queries [batch, height, width, k], keys [batch, h, w, k] and values [batch, h, w, c] -> [batch, height, width, c]. The weights are a
    softmax, in float32, over the h w products of query and key.
    """

    def call(self, inputs):
        query, key, value = (tf.reshape(each, [-1, each.shape[1] * each.shape[2], each.shape[3]]) for each in inputs)
        weights = tf.nn.softmax(tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32))
        found = tf.matmul(tf.cast(weights, value.dtype), value)
        return tf.reshape(found, [-1, *inputs[0].shape[1:3], value.shape[2]])

    def compute_output_shape(self, input_shape):
        query, _, value = input_shape
        return (*query[:3], value[3])


def self_attention(x):
    """x + gamma v(attention(f(x), g(x), h(x))), paper, section 3.

    As in the authors' code f and g have an eighth of the channels, h has half of them, and keys and values are pooled to a quarter of
    the places.
    """
    channels = x.shape[-1]
    query, key = (SpectralConv2D(max(channels // 8, 1), 1, use_bias=False)(x) for _ in range(2))
    value = SpectralConv2D(max(channels // 2, 1), 1, use_bias=False)(x)
    found = Attend()([query, keras.layers.MaxPooling2D()(key), keras.layers.MaxPooling2D()(value)])
    return x + Gate()(SpectralConv2D(channels, 1, use_bias=False)(found))


def normalised(x, conditions, facts):
    """ReLU of batch normalisation, whose scale and shift are changed by the sum of an embedding of each condition, which starts at 0."""
    x = FusedBatchNormalization()(x)
    if conditions:
        changes = [
            KnownEmbedding(condition.count, 2 * x.shape[-1], "zeros")(column)
            for column, condition in zip(conditions, facts, strict=True)
        ]
        change = keras.layers.Reshape((1, 1, 2 * x.shape[-1]))(functools.reduce(operator.add, changes))
        scale, shift = keras.ops.split(change, 2, axis=-1)
        x = x + scale * x + shift
    return keras.layers.ReLU()(x)


def build_generator(config, facts, name):
    """(latent [batch, latent_size] [, a condition [batch] ...]) -> pictures float32 [batch, resolution, resolution, 3] in [-1, 1]."""
    latent, conditions = keras.Input((config.latent_size,), name="latent"), condition_inputs(facts)
    first, *others = config.channels
    x = keras.layers.Reshape((4, 4, first))(SpectralDense(4 * 4 * first)(latent))
    for channels in others:
        # No bias: a constant of a channel is taken away by the last normalisation, and Adam would follow the rounding of its gradient.
        y = Upsample2x()(normalised(x, conditions, facts))
        y = SpectralConv2D(channels, 3, use_bias=False)(y)
        y = SpectralConv2D(channels, 3, use_bias=False)(normalised(y, conditions, facts))
        x = y + Upsample2x()(SpectralConv2D(channels, 1, use_bias=False)(x))
        if x.shape[1] == config.attention:
            x = self_attention(x)
    x = SpectralConv2D(3, 3)(normalised(x, (), ()))
    return keras.Model([latent, *conditions], keras.layers.Activation("tanh", dtype="float32")(x), name=name)


def build_critic(config, facts, name):
    """(pictures [batch, resolution, resolution, 3] [, a condition [batch] ...]) -> logits float32 [batch]."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    conditions = condition_inputs(facts)
    x = picture
    for channels in reversed(config.channels[1:]):
        y = x if x is picture else keras.layers.ReLU()(x)
        y = keras.layers.ReLU()(SpectralConv2D(channels, 3)(y))
        y = keras.layers.AveragePooling2D(2)(SpectralConv2D(channels, 3)(y))
        x = y + SpectralConv2D(channels, 1, use_bias=False)(keras.layers.AveragePooling2D(2)(x))
        if x.shape[1] == config.attention:
            x = self_attention(x)
    y = keras.layers.ReLU()(SpectralConv2D(config.channels[0], 3)(keras.layers.ReLU()(x)))
    x = SpectralConv2D(config.channels[0], 3)(y) + SpectralConv2D(config.channels[0], 1, use_bias=False)(x)
    x = keras.ops.sum(keras.layers.ReLU()(x), axis=(1, 2))
    total = logits(x, conditions, facts, dense=SpectralDense, embedding=SpectralEmbedding)
    return keras.Model([picture, *conditions], total, name=name)


class Model(Generation, TwoPlayer):
    """The game: minimise max(0, 1 - D(real)) + max(0, 1 + D(fake)) against -D(fake); paper, eq. 4."""

    def __init__(self, config, *, facts=Facts(), seed=0, augment="none"):
        super().__init__(config, facts=facts, seed=seed, augment=augment)
        self.objective = objective("hinge")
        self.network, self.ema = self.with_ema(lambda name: build_generator(config, facts, name))
        self.critic = build_critic(config, facts, "critic")
        betas = {"beta_1": config.beta_1, "beta_2": config.beta_2}
        self.generator_optimizer = adam("generator_adam", self.network, rate=config.generator_learning_rate, **betas)
        self.critic_optimizer = adam("critic_adam", self.critic, rate=config.critic_learning_rate, **betas)

    def critic_terms(self, batch, fakes, due):
        real, fake = self.critic_logits(batch["image"], batch), self.critic_logits(fakes, batch)
        self.record_confidence(real, fake)
        return {"adversarial": self.objective.critic(real, fake)}

    def generator_terms(self, batch, fakes, due):
        return {"adversarial": self.objective.generator(None, self.critic_logits(fakes, batch))}
