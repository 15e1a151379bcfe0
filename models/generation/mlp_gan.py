"""The simplest GAN of product pictures: a dense generator against a small convolutional critic.

Goodfellow et al., "Generative Adversarial Nets", 2014 (arXiv 1406.2661), with the non-saturating generator loss of its section 3. A
teaching floor: everything a GAN needs, and nothing that makes one good. A dense layer knows nothing of neighbouring pixels, so
its pictures are grainy; see dcgan and r3gan for what structure buys.

Batch: `image` [, `label`].

    python -m trainer.task --model mlp_gan --data folder:PHOTOS
"""

from dataclasses import dataclass

import keras

from data.facts import Facts
from models.base import TwoPlayer
from models.layers.condition import condition_inputs, join, logits
from models.losses.adversarial import objective
from models.optimizers import adam
from models.settings import check_numbers
from models.tasks import Generation


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown to the critic as reals."""

    resolution: int = 128  # px, a multiple of 8
    batch_size: int = 64  # pictures a step
    images: int = 100_000  # length of training, pictures
    latent_size: int = 100  # numbers in z
    generator_widths: tuple[int, ...] = (256, 512)  # units of the dense layers before the pixels
    critic_widths: tuple[int, ...] = (32, 64, 128)  # channels of the strided convolutions
    embedding_size: int = 32  # numbers in the embedding of a condition
    objective: str = "non_saturating"
    critic_steps: int = 1  # critic steps for one generator step
    penalty_every: int = 1  # no penalty here
    learning_rate: float = 2e-4  # of both Adams
    beta_1: float = 0.5  # Adam
    ema_images: int = 5_000  # half-life of the averaged generator, pictures; 0: serve the trained one
    ada_images: int = 100_000  # pictures in which ADA may go from 0 to 1

    def __post_init__(self):
        check_numbers(self, "latent_size", "generator_widths", "critic_widths", "embedding_size")


PRESETS = {
    "tiny": Config(16, 8, 64, 8, generator_widths=(32,), critic_widths=(8, 16), embedding_size=4, ema_images=500),
    "128": Config(128),
    "64": Config(64),
}


def build_generator(config, facts, name):
    """(latent [batch, latent_size] [, a condition [batch] ...]) -> pictures float32 [batch, resolution, resolution, 3] in [-1, 1]."""
    latent, conditions = keras.Input((config.latent_size,), name="latent"), condition_inputs(facts)
    x = join(latent, conditions, facts, config.embedding_size)
    for width in config.generator_widths:
        x = keras.layers.Dense(width, kernel_initializer="he_normal")(x)
        x = keras.layers.LeakyReLU(0.2)(x)
    x = keras.layers.Dense(config.resolution**2 * 3)(x)
    x = keras.layers.Reshape((config.resolution, config.resolution, 3))(x)
    return keras.Model([latent, *conditions], keras.layers.Activation("tanh", dtype="float32")(x), name=name)


def build_critic(config, facts, name):
    """(pictures [batch, resolution, resolution, 3] [, a condition [batch] ...]) -> logits float32 [batch]."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    conditions = condition_inputs(facts)
    x = picture
    for width in config.critic_widths:
        x = keras.layers.Conv2D(width, 4, 2, "same", kernel_initializer="he_normal")(x)
        x = keras.layers.LeakyReLU(0.2)(x)
    return keras.Model([picture, *conditions], logits(keras.layers.Flatten()(x), conditions, facts), name=name)


class Model(Generation, TwoPlayer):
    """The game of the chosen objective, without penalties."""

    def __init__(self, config, *, facts=Facts(), seed=0, augment="none"):
        super().__init__(config, facts=facts, seed=seed, augment=augment)
        self.objective = objective(config.objective)
        self.network, self.ema = self.with_ema(lambda name: build_generator(config, facts, name))
        self.critic = build_critic(config, facts, "critic")
        pace = {"rate": config.learning_rate, "beta_1": config.beta_1}
        self.generator_optimizer = adam("generator_adam", self.network, **pace)
        self.critic_optimizer = adam("critic_adam", self.critic, **pace)

    def critic_terms(self, batch, fakes, due):
        real, fake = self.critic_logits(batch["image"], batch), self.critic_logits(fakes, batch)
        self.record_confidence(real, fake, relativistic=self.objective.relativistic)
        return {"adversarial": self.objective.critic(real, fake)}

    def generator_terms(self, batch, fakes, due):
        real = self.critic_logits(batch["image"], batch) if self.objective.relativistic else None
        return {"adversarial": self.objective.generator(real, self.critic_logits(fakes, batch))}
