"""DCGAN: the convolutional GAN that the others are measured against, with a choice of objective.

Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional GANs", ICLR 2016 (arXiv 1511.06434): strided
and transposed convolutions, batch normalisation in both networks except at the pictures, ReLU up, leaky ReLU down, Adam 2e-4 with
beta1 0.5, weights drawn with deviation 0.02. One departure, except in the preset `paper`: after each step the kernels of the generator's
transposed convolutions are projected to ones that draw no grid of two pixels (`EqualPhases`).

Batch: `image` [, `label`]. Objectives: non_saturating, minimax, lsgan, wgan (weights clipped), wgan_gp (layer
normalisation in the critic, since batch normalisation ties rows together), hinge, relativistic.

    python -m trainer.task --model dcgan --data folder:PHOTOS
    python -m trainer.task --model dcgan --preset wgan_gp --data folder:PHOTOS
"""

import math
from dataclasses import dataclass

import keras

from data.errors import UserError
from data.facts import Facts
from models.base import Player, TwoPlayer
from models.layers.condition import condition_inputs, join, logits
from models.layers.conv import EqualPhases, StridedConv2D, StridedConv2DTranspose
from models.layers.initializers import near_one, normal
from models.layers.norm import FusedBatchNormalization
from models.losses import penalties
from models.losses.adversarial import objective
from models.optimizers import adam, built
from models.settings import check_numbers
from models.tasks import Generation


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown to the critic as reals."""

    resolution: int = 64  # px, a power of two, at least 8
    batch_size: int = 64  # pictures a critic step
    images: int = 200_000  # length of training, pictures
    latent_size: int = 100  # numbers in z
    width: int = 64  # channels next to the picture; doubled at every halving
    widest: int = 512  # channels at most
    equal_phases: bool = False  # keep the generator's transposed convolutions from drawing a grid
    embedding_size: int = 32  # numbers in the embedding of a condition
    objective: str = "non_saturating"
    critic_steps: int = 1  # critic steps for one generator step
    penalty_every: int = 1  # steps between two penalised ones (wgan_gp)
    penalty: float = 10.0  # weight of the gradient penalty (wgan_gp)
    clip: float = 0.01  # largest critic weight (wgan)
    optimizer: str = "adam"  # or "rmsprop"
    learning_rate: float = 2e-4  # of both optimisers
    beta_1: float = 0.5  # Adam
    beta_2: float = 0.999  # Adam
    ema_images: int = 10_000  # half-life of the averaged generator, pictures; 0: serve the trained one
    ada_images: int = 100_000  # pictures in which ADA may go from 0 to 1

    def __post_init__(self):
        check_numbers(self, "latent_size", "width", "widest", "embedding_size")


PRESETS = {
    "tiny": Config(16, 8, 64, latent_size=8, width=8, widest=16, embedding_size=4, ema_images=500),
    "64": Config(64, equal_phases=True),
    "32": Config(32, equal_phases=True),
    "128": Config(128, equal_phases=True),
    "paper": Config(64, 128, 10_000_000, width=128, widest=1024, ema_images=0),
    "wgan": Config(objective="wgan", critic_steps=5, optimizer="rmsprop", learning_rate=5e-5, images=1_000_000),
    "wgan_gp": Config(
        objective="wgan_gp", critic_steps=5, learning_rate=1e-4, beta_1=0.0, beta_2=0.9, images=1_000_000
    ),
}


@keras.saving.register_keras_serializable("packshot")
class Clip(keras.constraints.Constraint):
    """Every weight within [-limit, limit]: Arjovsky et al. 2017, algorithm 1, line 7."""

    def __init__(self, limit):
        self.limit = limit

    def __call__(self, weight):
        return keras.ops.clip(weight, -self.limit, self.limit)

    def get_config(self):
        return {"limit": self.limit}


def widths(config):
    """Channels of the stages from 4x4 px upwards."""
    stages = int(math.log2(config.resolution)) - 2
    return [min(config.width * 2 ** (stages - 1 - stage), config.widest) for stage in range(stages)]


def build_generator(config, facts, name):
    """(latent [batch, latent_size] [, a condition [batch] ...]) -> pictures float32 [batch, resolution, resolution, 3] in [-1, 1]."""
    latent, conditions = keras.Input((config.latent_size,), name="latent"), condition_inputs(facts)
    x = join(latent, conditions, facts, config.embedding_size)
    first, *rest = widths(config)
    even = EqualPhases(2) if config.equal_phases else None
    x = keras.layers.Dense(4 * 4 * first, use_bias=False, kernel_initializer=normal())(x)
    x = keras.layers.Reshape((4, 4, first))(x)
    for channels in [*rest, None]:
        x = FusedBatchNormalization(gamma_initializer=near_one())(x)
        x = keras.layers.ReLU()(x)
        if channels:
            x = keras.layers.Conv2DTranspose(
                channels, 4, 2, "same", use_bias=False, kernel_initializer=normal(), kernel_constraint=even
            )(x)
    x = StridedConv2DTranspose(3, 2, kernel_initializer=normal(), kernel_constraint=even)(x)
    return keras.Model([latent, *conditions], keras.layers.Activation("tanh", dtype="float32")(x), name=name)


def build_critic(config, facts, name):
    """(pictures [batch, resolution, resolution, 3] [, a condition [batch] ...]) -> logits float32 [batch]."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    conditions = condition_inputs(facts)
    *others, first = widths(config)
    x = keras.layers.LeakyReLU(0.2)(StridedConv2D(first, 2, kernel_initializer=normal())(picture))
    for channels in reversed(others):
        x = keras.layers.Conv2D(channels, 4, 2, "same", use_bias=False, kernel_initializer=normal())(x)
        if config.objective == "wgan_gp":
            x = keras.layers.LayerNormalization(axis=(1, 2, 3))(x)
        else:
            x = FusedBatchNormalization(gamma_initializer=near_one())(x)
        x = keras.layers.LeakyReLU(0.2)(x)
    network = keras.Model(
        [picture, *conditions], logits(keras.layers.Flatten()(x), conditions, facts, initializer=normal), name=name
    )
    if config.objective == "wgan":
        for variable in network.trainable_weights:
            variable.constraint = Clip(config.clip)
    return network


class Model(Generation, TwoPlayer):
    """The game of the chosen objective, with the gradient penalty for `wgan_gp`."""

    def __init__(self, config, *, facts=Facts(), seed=0, augment="none"):
        super().__init__(config, facts=facts, seed=seed, augment=augment)
        if config.resolution < 8 or config.resolution & (config.resolution - 1):
            raise UserError(f"resolution must be a power of two, 8 or more, not {config.resolution}")
        self.objective = objective(config.objective)
        self.network, self.ema = self.with_ema(lambda name: build_generator(config, facts, name))
        self.critic = build_critic(config, facts, "critic")
        self.generator_optimizer = self._optimizer("generator_optimizer", self.network)
        self.critic_optimizer = self._optimizer("critic_optimizer", self.critic)

    def _optimizer(self, name, network):
        config = self.config
        if config.optimizer == "rmsprop":
            return built(keras.optimizers.RMSprop(config.learning_rate, name=name), network)
        if config.optimizer == "adam":
            return adam(name, network, rate=config.learning_rate, beta_1=config.beta_1, beta_2=config.beta_2)
        raise UserError(f"unknown optimizer {config.optimizer!r}; have: adam, rmsprop")

    def players(self):
        lazy = ("gradient_penalty",) if self.config.objective == "wgan_gp" else ()
        critic = Player((self.critic,), self.critic_optimizer, every=self.config.penalty_every, lazy=lazy)
        return super().players() | {"critic": critic}

    def critic_terms(self, batch, fakes, due):
        real, fake = self.critic_logits(batch["image"], batch), self.critic_logits(fakes, batch)
        self.record_confidence(real, fake, relativistic=self.objective.relativistic)
        terms = {"adversarial": self.objective.critic(real, fake)}
        if self.config.objective == "wgan_gp" and due:
            mix = self.random.uniform(batch["image"].shape[0], 1, 1, 1)
            penalty = penalties.gradient_penalty(lambda x: self.critic_logits(x, batch), batch["image"], fakes, mix)
            terms["gradient_penalty"] = self.config.penalty * penalty
        return terms

    def generator_terms(self, batch, fakes, due):
        fake = self.critic_logits(fakes, batch)
        real = self.critic_logits(batch["image"], batch) if self.objective.relativistic else None
        return {"adversarial": self.objective.generator(real, fake)}
