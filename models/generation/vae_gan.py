"""VAE-GAN: an autoencoder whose reconstructions are measured by what a critic sees in them, and whose decoder plays against that critic.

Larsen, Sønderby, Larochelle and Winther, "Autoencoding beyond pixels using a learned similarity metric", ICML 2016 (arXiv 1512.09300): the
encoder gives a normal distribution of z for a picture, and the decoder makes a picture of z. A reconstruction should be like its picture
in one layer of the critic (eq. 7 and 8), the distribution of z like a standard normal one (eq. 6), and pictures made of z, be it that of
a photo or a drawn one, should pass the critic (eq. 9). As in algorithm 1 the critic learns from the game alone, the encoder from all but
the game, and `gamma` weighs reconstruction against the game for the decoder. (It scales all terms of the encoder, which Adam does not
notice.)

Newer than the paper are the relativistic game with penalties on reals and fakes (Huang et al. 2024, arXiv 2501.05441), the latter on
every fourth step; an averaged network, which is served; residual blocks, smooth resampling and pictures from all stages (Karras et al.
2020, arXiv 1912.04958) in place of batch normalisation and strides; and the best deviation of the critic's features for each picture
(Rybkin et al. 2021, arXiv 2006.13202), since the critic changes their scale all the time. Half of the fakes of a step are
reconstructions and half are drawn, where the paper has a batch of each.

Batch: `image` [, `label`]. Conditions are told to the decoder and the critic, so pictures are encoded without them. Beside `generate`,
an export answers `encode` (the mean of z) and `reconstruct`.

    python -m trainer.task --model vae_gan --data folder:PHOTOS --conditional --augment ada
    packshot apply runs/vae_gan-64-PHOTOS PHOTOS/shoes --signature reconstruct --label shoes --out seen/
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from models.base import Player, TwoPlayer
from models.layers.autoencoders import block, build_autoencoder, check_stages, match
from models.layers.condition import condition_inputs, logits
from models.layers.conv import StridedConv2D
from models.layers.initializers import fan_in
from models.layers.pool import DepthwisePool
from models.layers.resample import Downsample2x
from models.losses import penalties
from models.losses.adversarial import objective
from models.losses.variational import divergence, surprise
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.tasks import Autoencoding

LEAST = 1e-6  # variance of the critic's features that is added to what is found


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown to the critic as reals."""

    resolution: int = 64  # px, a power of two, at least 16
    batch_size: int = 16  # pictures a step
    images: int = 100_000  # length of training, pictures
    latent_size: int = 64  # numbers in z
    channels: tuple[int, ...] = (192, 96, 48, 24)  # of both networks' stages, from 4x4 px to half the resolution
    embedding_size: int = 32  # numbers in the embedding of a condition
    critic_channels: tuple[int, ...] = (192, 96, 64)  # from 4x4 px up to where its first convolution leads
    similarity: int = 16  # px, side of the critic's maps in which reconstructions are measured
    gamma: float = 1.0  # weight of reconstruction and divergence against the game
    beta: float = 2.0  # weight of the KL divergence against the reconstruction
    seen_share: float = 0.5  # of the fakes, that are reconstructions; the others are drawn
    penalty: float = 5.0  # weight of R1 and R2 (each enters as penalty / 2)
    penalty_every: int = 4  # steps between two penalised ones; the penalty is multiplied by it
    critic_steps: int = 1  # critic steps for one generator step
    learning_rate: float = 5e-4  # of both Adams at the start
    learning_rate_end: float = 5e-5  # at the end of decay_images
    decay_images: int = 100_000  # length of the cosine from the one to the other
    beta_1: float = 0.5  # Adam
    beta_2: float = 0.99  # Adam
    ema_images: int = 3_000  # half-life of the averaged encoder and decoder, pictures; 0: serve the trained ones
    ada_images: int = 100_000  # pictures in which ADA may go from 0 to 1

    def __post_init__(self):
        check_numbers(self, "latent_size", "channels", "critic_channels", "embedding_size")
        check_stages(self.channels, self.resolution)
        if self.seen_share > 1:
            raise UserError(f"seen_share is a share, between 0 and 1, not {self.seen_share}")
        sides = [4 * 2**stage for stage in range(len(self.critic_channels))]
        if 2 * sides[-1] > self.resolution:
            raise UserError(
                f"critic_channels={self.critic_channels} begin at {sides[-1]} px; the most is {self.resolution // 2}"
            )
        if self.similarity not in sides:
            raise UserError(f"similarity must be one of {', '.join(map(str, sides))} px, not {self.similarity}")


PRESETS = {
    "tiny": Config(
        16,
        8,
        64,
        latent_size=8,
        channels=(16, 8),
        embedding_size=4,
        critic_channels=(16, 8),
        similarity=8,
        penalty_every=2,
        ema_images=500,
    ),
    "64": Config(),
}


def build_critic(config, facts, name):
    """(pictures [batch, resolution, resolution, 3] [, a condition [batch] ...]) -> (logits float32 [batch], maps float32 [batch, s, s, c]).

    The maps have the side s = `similarity`.
    """
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    conditions = condition_inputs(facts)
    *others, last = config.critic_channels
    patch = config.resolution // (4 * 2 ** len(others))
    x = block(StridedConv2D(last, patch, kernel_initializer=fan_in())(picture))
    stages = [x]
    for channels in reversed(others):
        x = block(Downsample2x()(match(x, channels)))
        stages.append(x)
    maps = next(x for x in stages if x.shape[1] == config.similarity)
    x = DepthwisePool()(keras.layers.Activation("silu")(x))
    total = logits(x, conditions, facts, initializer=fan_in, use_bias=False)
    return keras.Model(
        [picture, *conditions], [total, keras.layers.Activation("linear", dtype="float32")(maps)], name=name
    )


class Model(Autoencoding, TwoPlayer):
    """Algorithm 1 with two players: encoder and decoder move in one turn, each by its own terms.

    The critic minimises softplus(D(fake) - D(real)) + penalty/2 (R1 + R2); paper of R3GAN, eq. 2 and 3.
    """

    def __init__(self, config, *, facts=Facts(), seed=0, augment="none"):
        super().__init__(config, facts=facts, seed=seed, augment=augment)
        self.objective = objective("relativistic")
        self.network, self.ema = self.with_ema(lambda name: build_autoencoder(config, facts, name=name, skips=True))
        self.critic = build_critic(config, facts, "critic")
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        pace = {"rate": rate, "beta_1": config.beta_1, "beta_2": config.beta_2}
        self.generator_optimizer = adam("generator_adam", self.network, **pace)
        self.critic_optimizer = adam("critic_adam", self.critic, **pace)

    def players(self):
        critic = Player((self.critic,), self.critic_optimizer, every=self.config.penalty_every, lazy=("r1", "r2"))
        return super().players() | {"critic": critic}

    def critic_logits(self, pictures, batch):
        return super().critic_logits(pictures, batch)[0]

    def fakes(self, batch):
        """Reconstructions `seen`, with `mean` and `log_variance` of their z; and `played`, the fakes of the game: reconstructions whose z
        passes no gradient on to the encoder, and pictures of fresh z, at random."""
        pictures, conditions = batch["image"], self.conditions(batch)
        rows = pictures.shape[0]
        noise, drawn = (self.random.normal(rows, self.config.latent_size) for _ in range(2))
        seen, latent, mean, log_variance = self.network([pictures, noise, *conditions], training=True)
        of_picture = self.random.uniform(rows, 1) < self.config.seen_share
        latent = tf.where(of_picture, tf.stop_gradient(latent), drawn)
        played = self.decode(latent, conditions, training=True)
        return {"seen": seen, "mean": mean, "log_variance": log_variance, "played": played}

    def critic_terms(self, batch, fakes, due):
        def logits_of(pictures):
            return self.critic_logits(pictures, batch)

        real, fake, penalised = penalties.on_both_sides(
            logits_of, batch["image"], fakes["played"], weight=self.config.penalty, due=due
        )
        self.record_confidence(real, fake, relativistic=True)
        return {"adversarial": self.objective.critic(real, fake)} | penalised

    def generator_terms(self, batch, fakes, due):
        # Both seen by the critic in the same way, also where what it sees is augmented.
        both = self.augmented(tf.concat([batch["image"], fakes["seen"]], axis=-1))
        (real, wanted), (_, seen) = (
            self.critic([pictures, *self.conditions(batch)], training=True) for pictures in tf.split(both, 2, axis=-1)
        )
        fake = self.critic_logits(fakes["played"], batch)
        values = seen.shape[1] * seen.shape[2] * seen.shape[3]
        kl = divergence(fakes["mean"], fakes["log_variance"]) / values
        return {
            "reconstruction": self.config.gamma * surprise(seen, wanted, LEAST),
            "divergence": self.config.gamma * self.config.beta * kl,
            "adversarial": self.objective.generator(real, fake),
        }
