"""VAE: an encoder and a decoder of pictures, trained together by a bound on the likelihood.

Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014 (arXiv 1312.6114): the encoder gives a normal distribution of z for a
picture, the decoder the mean of a normal distribution of the picture for z. The deviation of the latter is the best one for each picture,
which has a closed form (Rybkin, Daniilidis and Levine 2021, arXiv 2006.13202). `beta` weighs the divergence (Higgins et al. 2017,
section 2): on photos of clothes, pictures made from z were patches of colour after 48,000 pictures at 1 with z of 128 numbers, and had
the blurred outlines of garments after 32,000 at 10 with z of 64. The preset `64` has 3 and 128, for reconstruction.

Batch: `image` [, `label`]. Conditions are told to the decoder alone, so pictures are encoded without them. Beside `generate`, an export
answers `encode` (the mean of z) and `reconstruct`.

    python -m trainer.task --model vae --data folder:PHOTOS --conditional
    packshot apply runs/vae-64-PHOTOS PHOTOS/shoes --signature reconstruct --label shoes --out seen/
"""

from dataclasses import dataclass

import tensorflow as tf

from data.facts import Facts
from models.augment import warp
from models.base import OnePlayer
from models.layers.autoencoders import build_autoencoder, check_stages
from models.losses.variational import divergence, surprise
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.tasks import Autoencoding

ROUNDING = (2 / 255) ** 2 / 12  # variance that pictures of 8 bits have at least, in [-1, 1]


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown."""

    resolution: int = 64  # px, a power of two, at least 16
    batch_size: int = 16  # pictures a step
    images: int = 200_000  # length of training, pictures
    latent_size: int = 64  # numbers in z
    channels: tuple[int, ...] = (
        192,
        96,
        48,
        24,
    )  # of the stages, from 4x4 px upwards, each twice as wide, to half the resolution
    embedding_size: int = 32  # numbers in the embedding of a condition
    beta: float = 10.0  # weight of the KL divergence
    shift: int = 0  # px at most, by which pictures are moved at random, their borders mirrored
    learning_rate: float = 1e-3  # of Adam at the start
    learning_rate_end: float = 1e-5  # at the end of decay_images
    decay_images: int = 200_000  # length of the cosine from the one to the other
    ema_images: int = 5_000  # half-life of the averaged network, pictures; 0: serve the trained one

    def __post_init__(self):
        check_numbers(self, "latent_size", "channels", "embedding_size")
        check_stages(self.channels, self.resolution)


PRESETS = {
    "tiny": Config(16, 8, 64, latent_size=8, channels=(16, 8), embedding_size=4, ema_images=500),
    "64": Config(64, latent_size=128, beta=3.0, shift=4),
    "32": Config(32, channels=(192, 96, 48)),
}


class Model(Autoencoding, OnePlayer):
    """Minimises the negative bound (paper, eq. 7 and 10), in nats a value of the picture."""

    def __init__(self, config, *, facts=Facts(), seed=0):
        super().__init__(config, facts=facts, seed=seed)
        self.network, self.ema = self.with_ema(lambda name: build_autoencoder(config, facts, name=name))
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = adam("adam", self.network, rate=rate)

    def terms(self, batch):
        pictures = self.moved(batch["image"])
        noise = self.random.normal(pictures.shape[0], self.config.latent_size)
        seen, _, mean, log_variance = self.network([pictures, noise, *self.conditions(batch)], training=True)
        values = pictures.shape[1] * pictures.shape[2] * pictures.shape[3]
        return {
            "reconstruction": surprise(seen, pictures, ROUNDING),
            "divergence": self.config.beta * divergence(mean, log_variance) / values,
        }

    def moved(self, pictures):
        """Pictures float32 [batch, resolution, resolution, 3], each moved by up to `shift` whole px down and right."""
        if not self.config.shift:
            return pictures
        reach = self.config.shift + 0.5
        steps = tf.round(self.random.uniform(pictures.shape[0], 2, low=-reach, high=reach))
        return warp(pictures, down=steps[:, 0], right=steps[:, 1], reflect=True)
