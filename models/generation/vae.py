"""VAE: an encoder and a decoder of pictures, trained together by a bound on the likelihood.

Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014 (arXiv 1312.6114): the encoder gives a normal distribution of z for a
picture, the decoder the mean of a normal distribution of the picture for z. The deviation of the latter is the best one for each picture,
which has a closed form (Rybkin, Daniilidis and Levine 2021, arXiv 2006.13202). `beta` weighs the divergence (Higgins et al. 2017,
section 2): on photos of clothes, pictures made from z were patches of colour after 48,000 pictures at 1 with z of 128 numbers, and had
the blurred outlines of garments after 32,000 at 10 with z of 64.

Batch: `image` [, `label`]. Conditions are told to the decoder alone, so pictures are encoded without them. Beside `generate`, an export
answers `encode` (the mean of z) and `reconstruct`.

    python -m trainer.task --model vae --data folder:PHOTOS --conditional
    packshot apply runs/vae-64-PHOTOS PHOTOS/shoes --signature reconstruct --label shoes --out seen/
"""

import math
from dataclasses import dataclass

import keras
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from models import ports
from models.base import OnePlayer
from models.layers.condition import condition_inputs, join
from models.layers.conv import StridedConv2D
from models.layers.initializers import fan_in
from models.layers.resample import Downsample2x, Upsample2x
from models.losses.reconstruction import squared
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.signatures import Endpoint
from models.tasks import Generation

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
    learning_rate: float = 1e-3  # of Adam at the start
    learning_rate_end: float = 1e-5  # at the end of decay_images
    decay_images: int = 200_000  # length of the cosine from the one to the other
    ema_images: int = 5_000  # half-life of the averaged network, pictures; 0: serve the trained one

    def __post_init__(self):
        check_numbers(self, "latent_size", "channels", "embedding_size")
        if 8 * 2 ** (len(self.channels) - 1) != self.resolution:
            raise UserError(
                f"{len(self.channels)} stages from 4x4 px make pictures of {8 * 2 ** (len(self.channels) - 1)} px,"
                f" not resolution={self.resolution}"
            )


PRESETS = {
    "tiny": Config(16, 8, 64, latent_size=8, channels=(16, 8), embedding_size=4, ema_images=500),
    "64": Config(64),
    "32": Config(32, channels=(192, 96, 48)),
}


def block(x):
    """x + conv3(act(conv3(act x))), the second starting at zero."""
    y = keras.layers.Activation("silu")(x)
    y = keras.layers.Conv2D(x.shape[-1], 3, padding="same", kernel_initializer="he_normal")(y)
    y = keras.layers.Activation("silu")(y)
    return x + keras.layers.Conv2D(x.shape[-1], 3, padding="same", kernel_initializer="zeros")(y)


def match(x, channels):
    return keras.layers.Conv2D(channels, 1, kernel_initializer=fan_in())(x)


def build_encoder(config):
    """pictures [batch, resolution, resolution, 3] -> mean and log variance of z, float32 [batch, latent_size] each."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    *others, last = config.channels
    x = block(StridedConv2D(last, 2, kernel_initializer=fan_in())(picture))
    for channels in reversed(others):
        x = block(Downsample2x()(match(x, channels)))
    x = keras.layers.Flatten()(keras.layers.Activation("silu")(x))
    mean, log_variance = (
        keras.layers.Activation("linear", dtype="float32")(
            keras.layers.Dense(config.latent_size, kernel_initializer=fan_in())(x)
        )
        for _ in range(2)
    )
    return keras.Model(picture, [mean, log_variance], name="encoder")


def build_decoder(config, facts):
    """(latent [batch, latent_size] [, a condition [batch] ...]) -> pictures float32 [batch, resolution, resolution, 3], near [-1, 1]."""
    latent, conditions = keras.Input((config.latent_size,), name="latent"), condition_inputs(facts)
    x = join(latent, conditions, facts, config.embedding_size)
    first, *others = config.channels
    x = keras.layers.Dense(4 * 4 * first, kernel_initializer=fan_in())(x)
    x = block(keras.layers.Reshape((4, 4, first))(x))
    for channels in others:
        x = block(Upsample2x()(match(x, channels)))
    x = Upsample2x()(keras.layers.Activation("silu")(x))
    x = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer=fan_in())(x)
    return keras.Model([latent, *conditions], keras.layers.Activation("linear", dtype="float32")(x), name="decoder")


def build(config, facts, name):
    """(pictures, noise [batch, latent_size] [, a condition [batch] ...]) -> (pictures seen through z, mean, log variance): eq. 10."""
    encoder, decoder = build_encoder(config), build_decoder(config, facts)
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    noise, conditions = keras.Input((config.latent_size,), name="noise", dtype="float32"), condition_inputs(facts)
    mean, log_variance = encoder(picture)
    latent = mean + keras.ops.exp(0.5 * log_variance) * noise
    return keras.Model([picture, noise, *conditions], [decoder([latent, *conditions]), mean, log_variance], name=name)


def divergence(mean, log_variance):
    """KL divergence of N(mean, variance) from N(0, 1) in nats, summed over z, float32 [batch]: paper, appendix B."""
    return 0.5 * tf.reduce_sum(tf.square(mean) + tf.exp(log_variance) - 1.0 - log_variance, axis=1)


def surprise(seen, pictures):
    """Negative log density of pictures under the means `seen` and the best deviation of each, in nats a value, float32 [batch].

    The best variance is the mean squared difference (Rybkin et al. 2021, eq. 5), to which that of rounding to 8 bits is added.
    """
    return 0.5 * tf.math.log(2.0 * math.pi * math.e * (squared(seen, pictures) + ROUNDING))


class Model(Generation, OnePlayer):
    """Minimises the negative bound (paper, eq. 7 and 10), in nats a value of the picture."""

    def __init__(self, config, *, facts=Facts(), seed=0):
        super().__init__(config, facts=facts, seed=seed)
        self.network, self.ema = self.with_ema(lambda name: build(config, facts, name))
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = adam("adam", self.network, rate=rate)

    def terms(self, batch):
        pictures = batch["image"]
        noise = self.random.normal(pictures.shape[0], self.config.latent_size)
        seen, mean, log_variance = self.network([pictures, noise, *self.conditions(batch)], training=True)
        values = pictures.shape[1] * pictures.shape[2] * pictures.shape[3]
        return {
            "reconstruction": surprise(seen, pictures),
            "divergence": self.config.beta * divergence(mean, log_variance) / values,
        }

    def decode(self, latent, conditions, *, training=False):
        network = self.network if training else self.ema
        return network.get_layer("decoder")([latent, *conditions], training=training)

    def encode(self, pictures):
        """The mean of z, float32 [n, latent_size], of pictures float32 [n, resolution, resolution, 3] in [-1, 1]."""
        return self.ema.get_layer("encoder")(pictures, training=False)[0]

    def endpoints(self):
        """Beside its task's: encode: images -> z, the mean. reconstruct: images, conditions -> images."""
        conditions = {condition.name: ports.Condition(condition) for condition in self.facts}
        images = {"images": ports.Picture(self.config.resolution)}

        def encode(images):
            return {"z": self.encode(images)}

        def reconstruct(images, **given):
            return {"images": self.decode(self.encode(images), [given[name] for name in conditions])}

        return super().endpoints() | {
            "encode": Endpoint(encode, images, {"z": ports.Latent((self.config.latent_size,))}),
            "reconstruct": Endpoint(reconstruct, images | conditions, images),
        }
