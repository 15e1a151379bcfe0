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

from data.errors import UserError
from data.facts import Facts
from models.base import Player, TwoPlayer
from models.layers.condition import condition_inputs, join, logits
from models.layers.conv import GroupedConv2D, StridedConv2D, StridedConv2DTranspose
from models.layers.initializers import fan_in, normal
from models.layers.pool import DepthwisePool
from models.layers.resample import Downsample2x, Upsample2x
from models.layers.skips import colours, skip_pictures
from models.losses import penalties
from models.losses.adversarial import objective
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.tasks import Generation

LEAK = 0.2


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown to the critic as reals."""

    resolution: int = 64  # px
    batch_size: int = 64  # pictures a step
    images: int = 200_000  # length of training, pictures
    latent_size: int = 64  # numbers in z
    channels: tuple[int, ...] = (128, 96, 64, 32)  # of the stages, from 4x4 px upwards, each twice as wide
    blocks: tuple[int, ...] = (1, 1, 1, 1)  # residual blocks of the stages
    expansion: int = 2  # inner channels of a block / outer channels
    group_width: int = 16  # channels a group of the 3x3 convolution
    # Stride in px of the critic's first convolution, whose side is twice that (1: 1x1), in place of its widest stages. Without `skips`
    # the generator ends in its transpose.
    patch: int = 1
    skips: bool = False  # the generator's picture is the sum of pictures made by all its stages, doubled to its size
    last_side: int = 1  # px, of the generator's last convolution
    embedding_size: int = 32  # numbers in the embedding of a condition
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

    def __post_init__(self):
        check_numbers(self, "latent_size", "channels", "expansion", "group_width", "patch", "embedding_size")


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
        50_000,
        channels=(192, 128, 96, 32, 16),
        blocks=(1, 1, 1, 1, 0),
        patch=4,
        skips=True,
        last_side=3,
        gamma=5.0,
        penalty_every=4,
        learning_rate=1e-3,
        learning_rate_end=1e-4,
        burn_in_images=50_000,
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


class LearnedConstant(keras.layers.Layer):
    """A learned 4x4 picture whose channels z scales: [batch, latent] -> [batch, 4, 4, channels]."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels

    def build(self, input_shape):
        self.basis = self.add_weight(shape=(4, 4, self.channels), initializer=normal(1.0), name="basis")
        self.scale = self.add_weight(shape=(input_shape[-1], self.channels), initializer=fan_in(), name="scale")

    def call(self, inputs):
        return (inputs @ self.scale)[:, None, None, :] * self.basis


def block(x, config, layers):
    """x + conv1(act(grouped conv3(act(conv1 x)))), with fix-up scaling for a network of `layers` blocks (section 3.3)."""
    channels = x.shape[-1]
    inner = channels * config.expansion
    gain = (2.0 / (1 + LEAK**2)) ** 0.5 * layers**-0.25
    y = keras.layers.Conv2D(inner, 1, kernel_initializer=fan_in(gain))(x)
    y = keras.layers.LeakyReLU(LEAK)(y)
    y = GroupedConv2D(inner, 3, max(inner // config.group_width, 1), kernel_initializer=fan_in(gain))(y)
    y = keras.layers.LeakyReLU(LEAK)(y)
    y = keras.layers.Conv2D(channels, 1, use_bias=False, kernel_initializer="zeros")(y)
    return x + y


def match(x, channels):
    if x.shape[-1] == channels:
        return x
    return keras.layers.Conv2D(channels, 1, use_bias=False, kernel_initializer=fan_in())(x)


def build_generator(config, facts, name):
    """(latent [batch, latent_size] [, a condition [batch] ...]) -> pictures float32 [batch, resolution, resolution, 3], near [-1, 1]."""
    latent, conditions = keras.Input((config.latent_size,), name="latent"), condition_inputs(facts)
    x = join(latent, conditions, facts, config.embedding_size)
    layers = sum(config.blocks)
    x = LearnedConstant(config.channels[0])(x)
    stages = []
    for channels, blocks in zip(config.channels, config.blocks, strict=True):
        if stages:
            x = Upsample2x()(match(x, channels))
        for _ in range(blocks):
            x = block(x, config, layers)
        stages.append(x)
    if config.skips:
        picture = skip_pictures(stages, config.last_side)
    elif config.patch > 1:
        picture = StridedConv2DTranspose(3, config.patch, use_bias=False, kernel_initializer=fan_in())(x)
    else:
        picture = colours(x, config.last_side)
    return keras.Model([latent, *conditions], keras.layers.Activation("linear", dtype="float32")(picture), name=name)


def build_critic(config, facts, name):
    """(pictures [batch, resolution, resolution, 3] [, a condition [batch] ...]) -> logits float32 [batch]."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    conditions = condition_inputs(facts)
    count = int(math.log2(config.resolution // config.patch)) - 1
    stages = list(zip(config.channels, config.blocks, strict=True))[:count]
    layers = sum(blocks for _, blocks in stages)
    channels, _ = stages[-1]
    if config.patch == 1:
        x = match(picture, channels)
    else:
        x = StridedConv2D(channels, config.patch, use_bias=False, kernel_initializer=fan_in())(picture)
    for stage, (channels, blocks) in reversed(list(enumerate(stages))):
        x = match(x, channels)
        for _ in range(blocks):
            x = block(x, config, layers)
        if stage:
            x = Downsample2x()(x)
    x = DepthwisePool()(x)
    return keras.Model(
        [picture, *conditions], logits(x, conditions, facts, initializer=fan_in, use_bias=False), name=name
    )


class Model(Generation, TwoPlayer):
    """The game: minimise softplus(D(fake) - D(real)) + gamma/2 (R1 + R2) against softplus(D(real) - D(fake)); paper, eq. 2 and 3."""

    def __init__(self, config, *, facts=Facts(), seed=0, augment="none"):
        super().__init__(config, facts=facts, seed=seed, augment=augment)
        if len(config.blocks) != len(config.channels):
            raise UserError(f"channels={config.channels} and blocks={config.blocks} must name as many stages")
        if config.patch not in (1, 2, 4, 8, 16):
            raise UserError(f"patch must be 1, 2, 4, 8 or 16, not {config.patch}")
        made = 4 * 2 ** (len(config.channels) - 1) * (1 if config.skips else config.patch)
        if made != config.resolution:
            raise UserError(
                f"{len(config.channels)} stages from 4x4 px with patch={config.patch} and skips={config.skips} make {made} px,"
                f" not resolution={config.resolution}"
            )
        if config.resolution < 4 * config.patch:
            raise UserError(f"patch={config.patch} leaves no 4x4 px of resolution={config.resolution}")
        self.objective = objective("relativistic")
        self.network, self.ema = self.with_ema(lambda name: build_generator(config, facts, name))
        self.critic = build_critic(config, facts, "critic")
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.burn_in_images // config.batch_size)
        pace = {"rate": rate, "beta_1": config.beta_1, "beta_2": config.beta_2}
        self.generator_optimizer = adam("generator_adam", self.network, **pace)
        self.critic_optimizer = adam("critic_adam", self.critic, **pace)

    def players(self):
        critic = Player((self.critic,), self.critic_optimizer, every=self.config.penalty_every, lazy=("r1", "r2"))
        return super().players() | {"critic": critic}

    def critic_terms(self, batch, fakes, due):
        def logits_of(pictures):
            return self.critic_logits(pictures, batch)

        real, fake, penalised = penalties.on_both_sides(
            logits_of, batch["image"], fakes, weight=self.config.gamma, due=due
        )
        self.record_confidence(real, fake, relativistic=True)
        return {"adversarial": self.objective.critic(real, fake)} | penalised

    def generator_terms(self, batch, fakes, due):
        real, fake = self.critic_logits(batch["image"], batch), self.critic_logits(fakes, batch)
        return {"adversarial": self.objective.generator(real, fake)}
