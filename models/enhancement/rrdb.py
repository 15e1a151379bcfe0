"""RRDB: residual-in-residual dense blocks, trained for fidelity: the network that ESRGAN starts from.

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCVW 2018 (arXiv 1809.00219), section 4.1: the
PSNR-oriented model, trained with L1 before the game begins. `x4-paper` has its 23 blocks of 64 channels that grow by 32; `x4` is narrow and
shallow, for two cores.

It departs in two things: `residual` adds the repeated pixels of the input, in the small presets only; the rate falls along a cosine.

Batch: `low`, `high`.

    python -m trainer.task --model rrdb --preset x4 --data folder:PHOTOS
"""

from dataclasses import dataclass

import keras

from data.errors import UserError
from data.facts import Facts
from models.base import OnePlayer
from models.layers.enlargers import dense
from models.losses.reconstruction import absolute
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.tasks import Enhancement


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are patches shown."""

    resolution: int = 96  # px, side of the high-resolution patches
    batch_size: int = 16  # patches a step
    images: int = 300_000  # length of training, patches
    scale: int = 4  # 2, 3 or 4
    width: int = 32  # channels of the features
    blocks: int = 3  # of three dense blocks each
    growth: int = 16  # channels that a convolution of a dense block adds
    residual: bool = True  # add the repeated pixels of the input
    learning_rate: float = 5e-4  # of Adam at the start
    learning_rate_end: float = 1e-6  # at the end of decay_images
    decay_images: int = 300_000  # length of the cosine from the one to the other
    ema_images: int = 5_000  # half-life of the averaged network, patches; 0: serve the trained one

    def __post_init__(self):
        check_numbers(self, "scale", "width", "blocks", "growth")
        if self.scale not in (2, 3, 4) or self.resolution % self.scale:
            raise UserError(f"scale must be 2, 3 or 4 and divide resolution={self.resolution}, not {self.scale}")


PAPER = {"width": 64, "blocks": 23, "growth": 32, "residual": False, "learning_rate": 2e-4}

PRESETS = {
    "tiny": Config(16, 4, 64, scale=2, width=8, blocks=1, growth=4, ema_images=500),
    "x4": Config(scale=4),
    "x2": Config(scale=2),
    "x4-paper": Config(128, 16, 16_000_000, scale=4, decay_images=16_000_000, **PAPER),
}


def build(config, name):
    """low [batch, height, width, 3] -> pictures float32 [batch, scale * height, scale * width, 3], near [-1, 1]."""
    low = keras.Input((None, None, 3), name="low")
    x = dense(
        low,
        scale=config.scale,
        width=config.width,
        blocks=config.blocks,
        growth=config.growth,
        residual=config.residual,
    )
    return keras.Model(low, keras.layers.Activation("linear", dtype="float32")(x), name=name)


class Model(Enhancement, OnePlayer):
    """Minimises the absolute difference: paper, section 4.1."""

    def __init__(self, config, *, facts=Facts(), seed=0):
        super().__init__(config, facts=facts, seed=seed)
        self.network, self.ema = self.with_ema(lambda name: build(config, name))
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = adam("adam", self.network, rate=rate)

    def terms(self, batch):
        return {"absolute": absolute(self.network(batch["low"], training=True), batch["high"])}
