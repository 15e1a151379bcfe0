"""R3GAN: a relativistic pairing game with zero-centred penalties on reals and fakes, and a plain residual network.

Huang, Gokaslan, Kuleshov and Tompkin, "The GAN is dead; long live the GAN! A Modern Baseline GAN", NeurIPS 2024
(arXiv 2501.05441). No normalisation, no style network, no minibatch statistics: ResNeXt blocks with grouped 3x3 convolutions, fix-up
initialisation, smooth resampling, an averaged generator.

Batch: `image` [, `label`]. The presets `32` to `256` follow the paper's widths for a GPU; `cpu-32` and `cpu-64` are narrow ones for two
CPU cores and depart from it: the critic's first convolution steps over several pixels, the generator adds up pictures of all its stages
(Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 4.1), and the penalties are taken on every fourth
step.

    python -m trainer.task --model r3gan --preset cpu-64 --data folder:PHOTOS --augment ada
"""

import math
from dataclasses import dataclass

import keras

from models.base import TwoPlayer
from models.layers.condition import join, label_inputs, logits
from models.layers.conv import GroupedConv2D, StridedConv2D
from models.layers.resample import Downsample2x, Upsample2x
from models.losses import penalties
from models.losses.adversarial import objective
from models.schedules import Cosine
from models.tasks import Generation

LEAK = 0.2


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown to the critic as reals."""

    resolution: int = 64  # px
    batch_size: int = 64  # pictures a step
    images: int = 200_000  # length of training, pictures
    latent_size: int = 64  # numbers in z
    channels: tuple[int, ...] = (128, 96, 64, 32, 32)  # of the stages, from 4x4 px upwards, each twice as wide
    blocks: tuple[int, ...] = (1, 1, 1, 1, 1)  # residual blocks of the stages
    expansion: int = 2  # inner channels of a block / outer channels
    group_width: int = 16  # channels a group of the 3x3 convolution
    patch: int = (
        1  # stride in px of the critic's first convolution, of twice that side, in place of its widest stages (1: 1x1)
    )
    skips: bool = False  # the generator's picture is the sum of pictures made by all its stages, doubled to its size
    last_side: int = 1  # px, of the generator's last convolution
    embedding_size: int = 32  # numbers in the embedding of a category
    gamma: float = 1.0  # weight of R1 and R2 (each enters as gamma / 2)
    penalty_every: int = 1  # steps between two penalised ones; the penalty is multiplied by it
    critic_steps: int = 1  # critic steps for one generator step
    learning_rate: float = 2e-4  # of both Adams at the start
    learning_rate_end: float = 5e-5  # after burn_in_images
    burn_in_images: int = 200_000  # length of the cosine from the one to the other
    beta_1: float = 0.0  # Adam
    beta_2: float = 0.99  # Adam
    ema_images: int = 10_000  # half-life of the averaged generator, pictures
    ada_images: int = 100_000  # pictures in which ADA may go from 0 to 1


PRESETS = {
    "tiny": Config(
        16,
        8,
        64,
        latent_size=8,
        channels=(16, 16, 16),
        blocks=(1, 1, 1),
        group_width=8,
        embedding_size=4,
        ema_images=500,
    ),
    "cpu-64": Config(
        64,
        16,
        60_000,
        channels=(192, 128, 96, 32, 16),
        blocks=(1, 1, 1, 1, 0),
        patch=4,
        skips=True,
        last_side=3,
        gamma=5.0,
        penalty_every=4,
        learning_rate=1e-3,
        learning_rate_end=1e-4,
        burn_in_images=60_000,
        ema_images=3_000,
    ),
    "cpu-32": Config(
        32,
        16,
        60_000,
        channels=(192, 128, 96, 32),
        blocks=(1, 1, 1, 1),
        patch=2,
        skips=True,
        last_side=3,
        gamma=2.0,
        penalty_every=4,
        learning_rate=1e-3,
        learning_rate_end=1e-4,
        burn_in_images=60_000,
        ema_images=3_000,
    ),
    "32": Config(32, 256, 10_000_000, channels=(384,) * 4, blocks=(2,) * 4, gamma=0.5, ema_images=500_000),
    "64": Config(64, 256, 10_000_000, channels=(384,) * 4 + (192,), blocks=(2,) * 5, gamma=2.0, ema_images=500_000),
    "128": Config(
        128, 128, 10_000_000, channels=(768,) * 3 + (384, 192, 96), blocks=(2,) * 6, gamma=15.0, ema_images=500_000
    ),
    "256": Config(
        256, 64, 10_000_000, channels=(768,) * 4 + (384, 192, 96), blocks=(2,) * 7, gamma=150.0, ema_images=500_000
    ),
}


def initializer(gain=1.0):
    """Deviation gain / sqrt(inputs). A new one for each layer: a Keras initialiser draws the same numbers every time it is used."""
    return keras.initializers.VarianceScaling(gain**2, "fan_in", "untruncated_normal")


class Basis(keras.layers.Layer):
    """A learned 4x4 picture whose channels z scales: [batch, latent] -> [batch, 4, 4, channels]."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels

    def build(self, input_shape):
        normal = keras.initializers.RandomNormal(stddev=1.0)
        self.basis = self.add_weight(shape=(4, 4, self.channels), initializer=normal, name="basis")
        self.scale = self.add_weight(shape=(input_shape[-1], self.channels), initializer=initializer(), name="scale")

    def call(self, inputs):
        return (inputs @ self.scale)[:, None, None, :] * self.basis


class Reading(keras.layers.Layer):
    """The sum of each channel's pixels under learned weights: [batch, 4, 4, channels] -> [batch, channels].

    The paper's 4x4 depthwise convolution, of which one pixel is left; TensorFlow's own is many times slower backward on CPU.
    """

    def build(self, input_shape):
        # A critic that begins with small answers: drawn as if the pixels of all channels were a weight's inputs.
        normal = keras.initializers.RandomNormal(stddev=math.prod(input_shape[1:]) ** -0.5)
        self.kernel = self.add_weight(shape=input_shape[1:], initializer=normal, name="kernel")

    def call(self, inputs):
        return keras.ops.sum(inputs * self.kernel, axis=(1, 2))


def block(x, config, layers):
    """x + conv1(act(grouped conv3(act(conv1 x)))), with fix-up scaling for a network of `layers` blocks (section 3.3)."""
    channels = x.shape[-1]
    inner = channels * config.expansion
    gain = (2.0 / (1 + LEAK**2)) ** 0.5 * layers**-0.25
    y = keras.layers.Conv2D(inner, 1, kernel_initializer=initializer(gain))(x)
    y = keras.layers.LeakyReLU(LEAK)(y)
    y = GroupedConv2D(inner, 3, max(inner // config.group_width, 1), kernel_initializer=initializer(gain))(y)
    y = keras.layers.LeakyReLU(LEAK)(y)
    y = keras.layers.Conv2D(channels, 1, use_bias=False, kernel_initializer="zeros")(y)
    return x + y


def match(x, channels):
    if x.shape[-1] == channels:
        return x
    return keras.layers.Conv2D(channels, 1, use_bias=False, kernel_initializer=initializer())(x)


def build_generator(config, classes, name):
    """(latent [batch, latent_size] [, label [batch]]) -> pictures float32 [batch, resolution, resolution, 3], near [-1, 1]."""
    latent, labels = keras.Input((config.latent_size,), name="latent"), label_inputs(classes)
    x = join(latent, labels, classes, config.embedding_size)
    layers = sum(config.blocks)
    x = Basis(config.channels[0])(x)
    picture = None
    for stage, (channels, blocks) in enumerate(zip(config.channels, config.blocks, strict=True), start=1):
        if stage > 1:
            x = Upsample2x()(match(x, channels))
        for _ in range(blocks):
            x = block(x, config, layers)
        last = stage == len(config.channels)
        if config.skips or last:
            side = config.last_side if last else 1
            start = initializer(len(config.channels) ** -0.5 if config.skips else 1.0)
            colours = keras.layers.Conv2D(3, side, padding="same", use_bias=False, kernel_initializer=start)(x)
            picture = colours if picture is None else Upsample2x()(picture) + colours
    return keras.Model([latent, *labels], keras.layers.Activation("linear", dtype="float32")(picture), name=name)


def build_critic(config, classes, name):
    """(pictures [batch, resolution, resolution, 3] [, label [batch]]) -> logits float32 [batch]."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    labels = label_inputs(classes)
    count = int(math.log2(config.resolution // config.patch)) - 1
    stages = list(zip(config.channels, config.blocks, strict=True))[:count]
    layers = sum(blocks for _, blocks in stages)
    channels, _ = stages[-1]
    if config.patch == 1:
        x = match(picture, channels)
    else:
        x = StridedConv2D(channels, config.patch, use_bias=False, kernel_initializer=initializer())(picture)
    for stage, (channels, blocks) in reversed(list(enumerate(stages))):
        x = match(x, channels)
        for _ in range(blocks):
            x = block(x, config, layers)
        if stage:
            x = Downsample2x()(x)
    x = Reading()(x)
    return keras.Model([picture, *labels], logits(x, labels, classes, initializer, use_bias=False), name=name)


class Model(Generation, TwoPlayer):
    """The game: minimise softplus(D(fake) - D(real)) + gamma/2 (R1 + R2) against softplus(D(real) - D(fake)); paper, eq. 2 and 3."""

    def __init__(self, config, *, classes=0, seed=0, augment="none"):
        super().__init__(config, classes=classes, seed=seed, augment=augment)
        if len(config.blocks) != len(config.channels):
            raise ValueError(f"channels={config.channels} and blocks={config.blocks} must name as many stages")
        widest = 4 * 2 ** (len(config.channels) - 1)
        if widest != config.resolution:
            raise ValueError(
                f"{len(config.channels)} stages from 4x4 px make {widest} px, not resolution={config.resolution}"
            )
        if config.patch not in [2**power for power in range(len(config.channels))]:
            raise ValueError(f"patch must be a power of two and at most {widest // 4}, not {config.patch}")
        self.objective = objective("relativistic")
        self.network, self.average = self.twins(lambda name: build_generator(config, classes, name))
        self.critic = build_critic(config, classes, "critic")
        self.generator_optimizer = self._adam("generator_adam", self.network)
        self.critic_optimizer = self._adam("critic_adam", self.critic)

    def _adam(self, name, network):
        config = self.config
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.burn_in_images // config.batch_size)
        adam = keras.optimizers.Adam(rate, config.beta_1, config.beta_2, name=name)
        adam.build(network.trainable_weights)
        return adam

    def judge(self, pictures, batch):
        return self.critic([self.seen(pictures), *self.labels(batch)], training=True)

    def critic_terms(self, batch, fakes, penalise):
        def judge(pictures):
            return self.judge(pictures, batch)

        if not penalise:
            real, fake = judge(batch["image"]), judge(fakes)
            self.note(real, fake, relativistic=True)
            return {"adversarial": self.objective.critic(real, fake)}
        weight = 0.5 * self.config.gamma * self.config.penalty_every
        real, real_slope = penalties.squared_slope(judge, batch["image"])
        fake, fake_slope = penalties.squared_slope(judge, fakes)
        self.note(real, fake, relativistic=True)
        return {
            "adversarial": self.objective.critic(real, fake),
            "r1": weight * real_slope,
            "r2": weight * fake_slope,
        }

    def generator_terms(self, batch, fakes):
        real, fake = self.judge(batch["image"], batch), self.judge(fakes, batch)
        return {"adversarial": self.objective.generator(real, fake)}
