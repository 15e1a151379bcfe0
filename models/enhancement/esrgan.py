"""ESRGAN: enlargement that invents plausible detail: a game against a critic, and distances in the layers of a feature network.

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCVW 2018 (arXiv 1809.00219): the generator of
`rrdb`, a critic of strided convolutions that tells whether a picture is more real than the others are on average, and the sum of
perceptual distance, 5e-3 times the game and 1e-2 times the absolute difference of pictures in [0, 1] (eq. 3). `--init` begins it with a
run trained for fidelity, with the same settings of the network: of `rrdb`, or for `body=plain` (preset `x4-plain`) of `edsr`. `x4-paper`
has the paper's sizes and weights; `x4` and `x4-plain` are for two cores and more faithful: see docs/enhancement.md.

It departs in three things: the distance is the mean over several layers of `features`, before the ReLU where a network has such
(Real-ESRGAN, arXiv 2107.10833, takes several too), by default of packshot's own encoder; the rate falls along a cosine; an average is
served.

Batch: `low`, `high`.

    python -m trainer.task --model rrdb --preset x4 --data folder:PHOTOS --job-dir runs/rrdb
    python -m trainer.task --model esrgan --preset x4 --data folder:PHOTOS --init runs/rrdb
"""

from dataclasses import dataclass

import keras

from data.errors import UserError
from data.facts import Facts
from models.base import TwoPlayer
from models.features.catalogue import open_network
from models.layers.enlargers import dense, plain
from models.layers.norm import FusedBatchNormalization
from models.losses.adversarial import objective
from models.losses.perceptual import perceptual
from models.losses.reconstruction import absolute
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.tasks import Enhancement

BODIES = ("dense", "plain")


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are patches shown."""

    resolution: int = 96  # px, side of the high-resolution patches
    batch_size: int = 16  # patches a step
    images: int = 200_000  # length of training, patches
    scale: int = 4  # 2, 3 or 4
    body: str = "dense"  # of the generator: "dense" blocks, or "plain" residual ones
    width: int = 32  # channels of the features
    blocks: int = 3
    growth: int = 16  # dense: channels that a convolution of a dense block adds
    block_scale: float = 1.0  # plain: factor of what a block adds
    direct: bool = True  # plain: enlarge by one convolution to pixels
    residual: bool = True  # add the repeated pixels of the input
    critic_width: int = 32  # channels of the critic's first layers
    critic_layers: int = 4  # times that the critic halves its patch
    features: str = "packshot"  # feature network of the perceptual distance
    perceptual: float = 1.0  # weight of the distance in its layers
    content: float = 1e-2  # weight of the absolute difference
    adversarial: float = 5e-3  # weight of the game
    critic_steps: int = 1  # critic steps for one generator step
    learning_rate: float = 1e-4  # of both Adams at the start
    learning_rate_end: float = 1e-6  # at the end of decay_images
    decay_images: int = 200_000  # length of the cosine from the one to the other
    ema_images: int = 5_000  # half-life of the averaged generator, patches; 0: serve the trained one
    ada_images: int = 100_000  # patches in which ADA may go from 0 to 1

    def __post_init__(self):
        check_numbers(self, "scale", "width", "blocks", "growth", "critic_width", "critic_layers")
        if self.scale not in (2, 3, 4) or self.resolution % self.scale:
            raise UserError(f"scale must be 2, 3 or 4 and divide resolution={self.resolution}, not {self.scale}")
        if self.resolution % 2**self.critic_layers:
            raise UserError(
                f"critic_layers={self.critic_layers} halve a patch so often, and resolution={self.resolution} cannot be"
            )
        if self.body not in BODIES:
            raise UserError(f"body must be {' or '.join(BODIES)}, not {self.body!r}")


SMALL = {
    "content": 1.0,
    "adversarial": 3e-3,
}  # with the paper's weights a small network loses 4 dB, and fringes its edges
PAPER = {"width": 64, "blocks": 23, "growth": 32, "residual": False, "critic_width": 64, "critic_layers": 5}

PRESETS = {
    "tiny": Config(16, 4, 64, scale=2, width=8, blocks=1, growth=4, critic_width=8, critic_layers=2, ema_images=500),
    "x4": Config(scale=4, **SMALL),
    "x2": Config(scale=2, **SMALL),
    "x4-plain": Config(scale=4, body="plain", blocks=16, **SMALL),
    "x2-plain": Config(scale=2, body="plain", blocks=16, **SMALL),
    "x4-paper": Config(128, 16, 6_400_000, scale=4, decay_images=6_400_000, **PAPER),
}


def build_generator(config, name):
    """low [batch, height, width, 3] -> pictures float32 [batch, scale * height, scale * width, 3], near [-1, 1]."""
    low = keras.Input((None, None, 3), name="low")
    sizes = {"scale": config.scale, "width": config.width, "blocks": config.blocks, "residual": config.residual}
    if config.body == "dense":
        x = dense(low, growth=config.growth, **sizes)
    else:
        x = plain(low, block_scale=config.block_scale, direct=config.direct, **sizes)
    return keras.Model(low, keras.layers.Activation("linear", dtype="float32")(x), name=name)


def build_critic(config, name):
    """Pictures [batch, resolution, resolution, 3] -> logits float32 [batch].

    The critic of the authors' code, after Ledig et al. 2017 (arXiv 1609.04802), figure 4: it halves the patch `critic_layers` times. Its
    last layer has no bias, which has no effect in a relativistic game.
    """
    pictures = x = keras.Input((config.resolution, config.resolution, 3), name="pictures")
    for layer in range(config.critic_layers):
        channels = min(config.critic_width * 2**layer, 8 * config.critic_width)
        for kernel, strides in ((3, 1), (4, 2)):
            first = x is pictures
            x = keras.layers.Conv2D(
                channels, kernel, strides, "same", use_bias=first, kernel_initializer=keras.initializers.HeNormal()
            )(x)
            x = keras.layers.LeakyReLU(0.2)(x if first else FusedBatchNormalization()(x))
    x = keras.layers.LeakyReLU(0.2)(keras.layers.Dense(100)(keras.layers.Flatten()(x)))
    x = keras.layers.Dense(1, use_bias=False)(x)
    return keras.Model(pictures, keras.layers.Reshape((), dtype="float32")(x), name=name)


class Model(Enhancement, TwoPlayer):
    """Perceptual distance, the relativistic average game and the absolute difference: paper, eq. 1 to 3."""

    def __init__(self, config, *, facts=Facts(), seed=0, augment="none"):
        super().__init__(config, facts=facts, seed=seed, augment=augment)
        self.objective = objective("relativistic_average")
        self.features = self.frozen(open_network(config.features))
        names = [name.replace("relu", "conv") for name in self.features.compared]  # maps before their ReLU
        self.distances = {name: config.perceptual / len(names) for name in names}
        self.network, self.ema = self.with_ema(lambda name: build_generator(config, name))
        self.critic = build_critic(config, "critic")
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.generator_optimizer = adam("generator_adam", self.network, rate=rate)
        self.critic_optimizer = adam("critic_adam", self.critic, rate=rate)

    def critic_logits(self, pictures, batch):
        return self.critic(self.augmented(pictures), training=True)

    def fakes(self, batch):
        return self.network(batch["low"], training=True)

    def critic_terms(self, batch, fakes, due):
        real, fake = self.critic_logits(batch["high"], batch), self.critic_logits(fakes, batch)
        self.record_confidence(real, fake, relativistic=True)
        return {"adversarial": self.objective.critic(real, fake)}

    def generator_terms(self, batch, fakes, due):
        real, fake = self.critic_logits(batch["high"], batch), self.critic_logits(fakes, batch)
        return {
            "perceptual": perceptual(self.features, fakes, batch["high"], self.distances, difference=absolute),
            "adversarial": self.config.adversarial * self.objective.generator(real, fake),
            "content": self.config.content * absolute(fakes, batch["high"]) / 2.0,
        }
