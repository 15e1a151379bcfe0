"""pix2pix: from one picture to another, learned from aligned pairs.

Isola, Zhu, Zhou and Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017 (arXiv 1611.07004): a U-Net
with skips against a critic that judges 70x70 patches of source and target together, plus 100 times the absolute difference. Layer
widths, dropout and Adam are those of section 6.1 of the paper; the learning rate falls, as in the authors' code. Three departures:
the presets enlarge by filtered doubling and 3x3 convolutions, since transposed convolutions draw a grid even on a blank source (Odena,
Dumoulin and Olah 2016, distill.pub), and see the source again at its full size; the exported model uses the moving statistics of
batch normalisation and no dropout, so that a row's picture depends on that row alone; and it serves an averaged generator. The preset
`cpu-128`, for two CPU cores, has half the paper's widths, a quarter of its widest ones (where most weights are), and another game: each
answer to a picture is compared with that to its target (relativistic pairing, with R1 and R2: Huang et al. 2024, arXiv 2501.05441), and
the absolute difference weighs less. On a few thousand photos the paper's critic wins, and clothes shimmer in all colours.
`--set smooth_upsampling=False` is the paper's generator.

Batch: `source`, `target`.

    python -m trainer.task --model pix2pix --data folder:PHOTOS          # edges of each photo -> photo
    python -m trainer.task --model pix2pix --data pairs:FOLDER           # your own pairs
"""

import math
from dataclasses import dataclass

import keras
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from models.base import Player, TwoPlayer
from models.layers.initializers import near_one, normal
from models.layers.norm import FusedBatchNormalization
from models.layers.resample import Upsample2x
from models.losses import penalties
from models.losses.adversarial import objective
from models.losses.reconstruction import absolute
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.tasks import Translation


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pairs shown."""

    resolution: int = 128  # px, a power of two, at least 8
    batch_size: int = 4  # pairs a step
    images: int = 60_000  # length of training, pairs
    width: int = 64  # channels of the first layers
    widest: int = 512  # channels at most
    critic_layers: int = 3  # strided convolutions of the critic; 3 judge patches of 70x70 px
    smooth_upsampling: bool = False  # filtered doubling and 3x3 convolutions in place of transposed convolutions
    dropout: float = 0.5  # share dropped in the three innermost layers of the decoder
    objective: str = "non_saturating"
    l1: float = 100.0  # weight of the absolute difference
    critic_steps: int = 1  # critic steps for one generator step
    gamma: float = 0.0  # weight of the penalties R1 and R2; 0: none, and a critic with batch normalisation
    penalty_every: int = 4  # steps between two with the penalties, which are multiplied by it
    learning_rate: float = 2e-4  # of both Adams at the start
    learning_rate_end: float = 2e-6  # at the end of decay_images
    decay_images: int = 60_000  # length of the cosine from the one to the other
    beta_1: float = 0.5  # Adam
    ema_images: int = 2_000  # half-life of the averaged generator, pairs; 0: serve the trained one
    ada_images: int = 100_000  # pairs in which ADA may go from 0 to 1

    def __post_init__(self):
        check_numbers(self, "width", "widest", "critic_layers")


PRESETS = {
    "tiny": Config(16, 4, 64, width=8, widest=16, critic_layers=1, ema_images=500),
    "cpu-128": Config(
        128,
        4,
        60_000,
        width=32,
        widest=128,
        smooth_upsampling=True,
        objective="relativistic",
        l1=20.0,
        gamma=0.05,
        learning_rate=5e-4,
        decay_images=60_000,
    ),
    "128": Config(128, smooth_upsampling=True),
    "64": Config(64, 8, smooth_upsampling=True),
    "256": Config(256, 1, 200_000, smooth_upsampling=True, decay_images=200_000),
}


def _down(x, channels, strides=2, norm=True):
    x = keras.layers.Conv2D(channels, 4, strides, "same", use_bias=not norm, kernel_initializer=normal())(x)
    return FusedBatchNormalization(gamma_initializer=near_one())(x) if norm else x


def _up(x, channels, *, smooth):
    """[batch, h, w, c] -> [batch, 2h, 2w, channels], normalised."""
    if smooth:
        x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, kernel_initializer=normal())(x)
    else:
        x = keras.layers.Conv2DTranspose(channels, 4, 2, "same", use_bias=False, kernel_initializer=normal())(x)
    x = FusedBatchNormalization(gamma_initializer=near_one())(x)
    return Upsample2x()(x) if smooth else x


def build_generator(config, name):
    """source [batch, resolution, resolution, 3] -> pictures float32 of the same shape in [-1, 1]: the U-Net, down to 1x1 px."""
    source = keras.Input((config.resolution, config.resolution, 3), name="source")
    stages = int(math.log2(config.resolution))
    widths = [min(config.width * 2**stage, config.widest) for stage in range(stages)]
    x, skips = source, []
    for stage, channels in enumerate(widths):
        if stage:
            x = keras.layers.LeakyReLU(0.2)(x)
        x = _down(x, channels, norm=0 < stage < stages - 1)
        skips.append(x)
    skips.pop()
    for stage, channels in enumerate(reversed(widths[:-1])):
        x = _up(keras.layers.ReLU()(x), channels, smooth=config.smooth_upsampling)
        if stage < 3 and config.dropout:
            x = keras.layers.Dropout(config.dropout, seed=stage)(x)
        x = keras.layers.Concatenate()([x, skips.pop()])
    x = keras.layers.ReLU()(x)
    if config.smooth_upsampling:
        x = keras.layers.Concatenate()([_up(x, config.width, smooth=True), source])
        for channels in (config.width // 2, 3):
            x = keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer=normal())(keras.layers.ReLU()(x))
    else:
        x = keras.layers.Conv2DTranspose(3, 4, 2, "same", kernel_initializer=normal())(x)
    return keras.Model(source, keras.layers.Activation("tanh", dtype="float32")(x), name=name)


def build_critic(config, name):
    """Source and picture joined, [batch, resolution, resolution, 6] -> logits float32 [batch, patches, patches]."""
    pair = keras.Input((config.resolution, config.resolution, 6), name="pair")
    x = keras.layers.LeakyReLU(0.2)(_down(pair, config.width, norm=False))
    for layer in range(1, config.critic_layers + 1):
        channels = min(config.width * 2**layer, config.widest)
        strides = 2 if layer < config.critic_layers else 1
        # A penalised answer has to be that of its own row alone.
        x = keras.layers.LeakyReLU(0.2)(_down(x, channels, strides, norm=not config.gamma))
    x = keras.layers.Conv2D(1, 4, 1, "same", kernel_initializer=normal())(x)
    return keras.Model(pair, keras.layers.Reshape(x.shape[1:3], dtype="float32")(x), name=name)


class Model(Translation, TwoPlayer):
    """min_G max_D of the conditional game, plus l1 times the absolute difference: paper, eq. 4. The critic's loss is halved."""

    def __init__(self, config, *, facts=Facts(), seed=0, augment="none"):
        super().__init__(config, facts=facts, seed=seed, augment=augment)
        if config.resolution < 8 or config.resolution & (config.resolution - 1):
            raise UserError(f"resolution must be a power of two, 8 or more, not {config.resolution}")
        self.objective = objective(config.objective)
        self.network, self.ema = self.with_ema(lambda name: build_generator(config, name))
        self.critic = build_critic(config, "critic")
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.generator_optimizer = adam("generator_adam", self.network, rate=rate, beta_1=config.beta_1)
        self.critic_optimizer = adam("critic_adam", self.critic, rate=rate, beta_1=config.beta_1)

    def players(self):
        critic = Player((self.critic,), self.critic_optimizer, every=self.config.penalty_every, lazy=("r1", "r2"))
        return super().players() | ({"critic": critic} if self.config.gamma else {})

    def critic_logits(self, pictures, batch):
        return self.critic(self.augmented(tf.concat([batch["source"], pictures], axis=-1)), training=True)

    def fakes(self, batch):
        return self.network(batch["source"], training=True)

    def critic_terms(self, batch, fakes, due):
        def logits_of(pictures):
            return self.critic_logits(pictures, batch)

        weight = self.config.gamma / math.prod(
            self.critic.output_shape[1:]
        )  # of the sum over patches, as for one of them
        real, fake, penalised = penalties.on_both_sides(
            logits_of, batch["target"], fakes, weight=weight, due=due and bool(weight)
        )
        self.record_confidence(real, fake, relativistic=self.objective.relativistic)
        return {"adversarial": 0.5 * tf.reduce_mean(self.objective.critic(real, fake), axis=[1, 2])} | penalised

    def generator_terms(self, batch, fakes, due):
        fake = self.critic_logits(fakes, batch)
        real = self.critic_logits(batch["target"], batch) if self.objective.relativistic else None
        return {
            "adversarial": tf.reduce_mean(self.objective.generator(real, fake), axis=[1, 2]),
            "l1": self.config.l1 * absolute(fakes, batch["target"]),
        }
