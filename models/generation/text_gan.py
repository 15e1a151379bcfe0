"""text_gan: pictures of what a sentence says, in one stage, against a critic that knows whether words and picture fit.

After Tao, Tang, Wu, Jing, Bao and Xu, "DF-GAN: A Simple and Effective Baseline for Text-to-Image Synthesis", CVPR 2022 (arXiv 2008.05865):
the sentence scales and shifts every map of the generator (section 3.4); the critic compares maps and sentence at 4x4 px and gives one
answer (3.3); it learns that a real picture with another picture's words is wrong, and is kept flat where a real picture has its own (MA-GP,
3.2). It departs in seven things: the encoder of words is learned with each network and not before; all scales and shifts have one hidden
layer in common; the generator enlarges smoothly, since repeated pixels leave a grid; the critic's first convolution steps over two pixels;
its answer also has the product of maps and words (Miyato & Koyama 2018, arXiv 1802.05637); its pictures are not bounded by
tanh; and the presets for CPUs penalise every second step.

Batch: `image`, `tokens` [, `label`]. The presets `64` and `256` have the paper's widths; `cpu-64` is narrow and learns faster, for two CPU
cores.

    python -m trainer.task --model text_gan --data studio
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from models.base import Player, TwoPlayer
from models.layers.condition import KnownEmbedding, condition_inputs
from models.layers.conv import StridedConv2D
from models.layers.gate import Gate
from models.layers.initializers import fan_in
from models.layers.resample import Upsample2x
from models.layers.text import TextEncoder
from models.losses.penalties import matching_aware_penalty
from models.optimizers import adam
from models.settings import check_numbers
from models.tasks import Generation

LEAK = 0.2
POWER = 6.0  # p of MA-GP


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown to the critic as reals."""

    resolution: int = 64  # px
    batch_size: int = 16  # pictures a critic step
    images: int = 120_000  # length of training, pictures
    latent_size: int = 64  # numbers in z
    channels: tuple[int, ...] = (128, 128, 96, 48, 16)  # from 4x4 px upwards, each stage twice as wide
    hidden: int = 128  # units behind z and words, from which all scales and shifts are computed
    words_size: int = 64  # numbers in the vector of a word and of a sentence, a multiple of heads
    words_depth: int = 1  # blocks of the encoder of words
    heads: int = 4  # of its attention
    embedding_size: int = 32  # numbers in the embedding of a condition
    penalty: float = 2.0  # weight of MA-GP, k of the paper
    penalty_every: int = 2  # steps between two penalised ones; the penalty is multiplied by it
    critic_steps: int = 1  # critic steps for one generator step
    generator_learning_rate: float = 5e-4  # of Adam
    critic_learning_rate: float = 1e-3  # of Adam
    beta_1: float = 0.0  # Adam
    beta_2: float = 0.9  # Adam
    ema_images: int = 5_000  # half-life of the averaged generator, pictures; 0: serve the trained one
    ada_images: int = 100_000  # pictures in which ADA may go from 0 to 1

    def __post_init__(self):
        check_numbers(self, "latent_size", "channels", "hidden", "words_size", "words_depth", "heads", "embedding_size")
        sides = [4 * 2**stage for stage in range(len(self.channels))]
        if self.resolution != sides[-1] or len(sides) < 3:
            raise UserError(
                f"{len(sides)} stages from 4x4 px make pictures of {sides[-1]} px, not resolution={self.resolution}; at least 3 are needed"
            )
        if self.words_size % self.heads:
            raise UserError(f"words_size={self.words_size} must be a multiple of heads={self.heads}")


PAPER = {
    "latent_size": 100,
    "hidden": 256,
    "words_size": 256,
    "words_depth": 4,
    "penalty_every": 1,
    "generator_learning_rate": 1e-4,
    "critic_learning_rate": 4e-4,
    "ema_images": 50_000,
}
PRESETS = {
    "tiny": Config(
        16,
        8,
        64,
        latent_size=8,
        channels=(16, 16, 8),
        hidden=8,
        words_size=8,
        heads=2,
        embedding_size=4,
        generator_learning_rate=1e-4,
        critic_learning_rate=4e-4,
        ema_images=500,
    ),
    "cpu-64": Config(),
    "cpu-32": Config(32, channels=(128, 128, 96, 32)),
    "64": Config(64, 32, 10_000_000, channels=(256, 256, 128, 64, 32), **PAPER),
    "256": Config(256, 24, 10_000_000, channels=(256, 256, 256, 256, 128, 64, 32), **PAPER),
}


def description(config, facts, inputs):
    """A vector of all that a picture should show, [batch, n]: the vector of the sentence, with an embedding of each condition behind it."""
    tokens, *columns = inputs
    words = facts.words
    encoder = TextEncoder(
        words.count, words.length, config.words_size, depth=config.words_depth, heads=config.heads, name="text"
    )
    sentence, _, _ = encoder(tokens)
    embeddings = [
        KnownEmbedding(condition.count, config.embedding_size, "normal")(column)
        for column, condition in zip(columns, facts, strict=True)
    ]
    return keras.layers.Concatenate()([sentence, *embeddings]) if embeddings else sentence


def affine(x, told):
    """Leaky ReLU of the channels of x, scaled and shifted by what is told: paper, eq. 3 and 4, which begin as the identity."""
    change = keras.layers.Dense(2 * x.shape[-1], kernel_initializer="zeros")(told)
    scale, shift = keras.ops.split(keras.layers.Reshape((1, 1, 2 * x.shape[-1]))(change), 2, axis=-1)
    return keras.layers.LeakyReLU(LEAK)(x + scale * x + shift)


def conv(channels, side=3, *, use_bias=True):
    gain = (2.0 / (1 + LEAK**2)) ** 0.5 if side > 1 else 1.0
    return keras.layers.Conv2D(channels, side, padding="same", use_bias=use_bias, kernel_initializer=fan_in(gain))


def build_generator(config, facts, name):
    """(latent [batch, latent_size], tokens [batch, length] [, a condition [batch] ...]) -> pictures float32 [batch, resolution,
    resolution, 3] near [-1, 1]."""
    latent, inputs = keras.Input((config.latent_size,), name="latent"), condition_inputs(facts)
    told = keras.layers.Concatenate()([latent, description(config, facts, inputs)])
    told = keras.layers.Dense(config.hidden, "relu", kernel_initializer=fan_in(2**0.5))(told)
    first, *others = config.channels
    x = keras.layers.Reshape((4, 4, first))(keras.layers.Dense(4 * 4 * first, kernel_initializer=fan_in())(latent))
    for channels in others:
        y = conv(channels)(Upsample2x()(affine(affine(x, told), told)))
        y = conv(channels)(affine(affine(y, told), told))
        x = y + Upsample2x()(x if x.shape[-1] == channels else conv(channels, 1, use_bias=False)(x))
    x = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer=fan_in(0.1))(keras.layers.LeakyReLU(LEAK)(x))
    # Not tanh: it was driven to white on pale backgrounds, where it has no slope to come back by.
    return keras.Model([latent, *inputs], keras.layers.Activation("linear", dtype="float32")(x), name=name)


def build_maps(config):
    """The critic's look at a picture: float32 [batch, resolution, resolution, 3] -> maps [batch, 4, 4, channels[0]]."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    *deeper, widest = config.channels[:-1]
    x = StridedConv2D(widest, 2, kernel_initializer=fan_in())(picture)
    for channels in reversed(deeper):
        gain = (2.0 / (1 + LEAK**2)) ** 0.5
        y = StridedConv2D(channels, 2, kernel_initializer=fan_in(gain))(keras.layers.LeakyReLU(LEAK)(x))
        y = conv(channels)(keras.layers.LeakyReLU(LEAK)(y))
        x = keras.layers.AveragePooling2D(2)(x)
        # Residuals that begin at 0, as in the authors' code.
        x = Gate()(y) + (x if x.shape[-1] == channels else conv(channels, 1, use_bias=False)(x))
    return keras.Model(picture, keras.layers.LeakyReLU(LEAK)(x), name="maps")


def build_description(config, facts):
    """The critic's reading: the inputs of `facts` -> [batch, n]."""
    inputs = condition_inputs(facts)
    return keras.Model(inputs, description(config, facts, inputs), name="description")


def build_answer(maps, told):
    """The critic's answer, larger where they fit: maps [batch, 4, 4, channels] and a description [batch, n] -> logits float32 [batch]."""
    maps, told = keras.Input(maps.shape[1:], name="maps"), keras.Input(told.shape[1:], name="told")
    everywhere = keras.layers.Reshape((4, 4, told.shape[-1]))(keras.layers.RepeatVector(16)(told))
    x = keras.layers.LeakyReLU(LEAK)(conv(maps.shape[-1])(keras.layers.Concatenate()([maps, everywhere])))
    # No bias: while no hinge is idle, its gradient is zero.
    total = keras.layers.Dense(1, use_bias=False, kernel_initializer=fan_in())(keras.layers.Flatten()(x))
    shown = keras.layers.Dense(told.shape[-1], use_bias=False, kernel_initializer=fan_in(0.25))
    total = total + keras.layers.Dot(axes=1)([shown(keras.layers.GlobalAveragePooling2D()(maps)), told])
    return keras.Model([maps, told], keras.layers.Reshape((), dtype="float32")(total), name="answer")


class Model(Generation, TwoPlayer):
    """The game: the hinge of a real picture with its words, of a made one and of a real one with other words, half each; paper, eq. 2."""

    WORDS = "needed"

    def __init__(self, config, *, facts=Facts(), seed=0, augment="none"):
        super().__init__(config, facts=facts, seed=seed, augment=augment)
        self.network, self.ema = self.with_ema(lambda name: build_generator(config, facts, name))
        self.maps, self.description = build_maps(config), build_description(config, facts)
        self.answer = build_answer(self.maps.output, self.description.output)
        picture, told = self.maps.input, self.description.inputs
        fits = self.answer([self.maps(picture), self.description(told)])
        self.critic = keras.Model([picture, *told], fits, name="critic")
        betas = {"beta_1": config.beta_1, "beta_2": config.beta_2}
        self.generator_optimizer = adam("generator_adam", self.network, rate=config.generator_learning_rate, **betas)
        self.critic_optimizer = adam("critic_adam", self.critic, rate=config.critic_learning_rate, **betas)

    def players(self):
        critic = Player((self.critic,), self.critic_optimizer, every=self.config.penalty_every, lazy=("ma_gp",))
        return super().players() | {"critic": critic}

    def critic_terms(self, batch, fakes, due):
        told = self.conditions(batch)
        own = self.description(told, training=True)
        partners = _partners(own.shape[0])

        def look(pictures, words):
            maps = self.maps(self.augmented(pictures), training=True)
            return self.answer([maps, words], training=True), maps

        penalised = {}
        if due:
            (real, maps), penalty = matching_aware_penalty(look, batch["image"], own, power=POWER)
            penalised = {"ma_gp": self.config.penalty * penalty}
        else:
            real, maps = look(batch["image"], own)
        wrong = self.answer([maps, tf.gather(own, partners)], training=True)
        fake, _ = look(fakes, own)
        self.record_confidence(real, fake)
        return {
            "real": tf.nn.relu(1.0 - real),
            "fake": 0.5 * tf.nn.relu(1.0 + fake),
            "mismatch": 0.5 * tf.nn.relu(1.0 + wrong) * _mismatched(told, partners),
        } | penalised

    def generator_terms(self, batch, fakes, due):
        return {"adversarial": -self.critic_logits(fakes, batch)}


def _partners(rows):
    """For each of so many rows the one that lends it its words: its neighbour, so that equal shares of a batch keep theirs."""
    return [row ^ 1 if row ^ 1 < rows else max(row - 1, 0) for row in range(rows)]


def _mismatched(told, partners):
    """float32 [batch]: 1 where the partner is told something that is known and not the same, else 0."""
    found = []
    for own in told:
        other = tf.gather(own, partners)
        known = other > 0 if len(own.shape) > 1 else other >= 0
        differs = (
            (other != own) & known if len(own.shape) == 1 else (other != own) & tf.reduce_any(known, 1, keepdims=True)
        )
        found.append(tf.reduce_any(tf.reshape(differs, [len(partners), -1]), axis=1))
    return tf.cast(tf.reduce_any(tf.stack(found), axis=0), tf.float32)
