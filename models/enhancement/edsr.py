"""EDSR: residual blocks without normalisation, at the small size, and an enlargement by shuffled channels.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017 (arXiv 1707.02921), section 3: blocks of two
3x3 convolutions with ReLU between, scaled by `block_scale` before they are added; L1.
`x4-baseline` (16 blocks of 64 channels) and `x4-large` (32 of 256, scaled by 0.1) are the paper's; `x4` is for two cores: 16 blocks of 32
channels and `direct`, one convolution to 3 scale^2 channels in place of stages at growing sizes.

It departs in three things: `residual` adds the repeated pixels of the input, in the small presets only; the rate falls along a cosine;
no network for x3 or x4 starts from the one for x2 unless `--init` says so.

Batch: `low`, `high`.

    python -m trainer.task --model edsr --preset x4 --data folder:PHOTOS
"""

from dataclasses import dataclass

import keras

from data.errors import UserError
from data.facts import Facts
from models.base import OnePlayer
from models.layers.enlargers import plain
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
    images: int = 500_000  # length of training, patches
    scale: int = 4  # 2, 3 or 4
    width: int = 32  # channels of the features
    blocks: int = 16  # 1 or more
    block_scale: float = 1.0  # factor of what a block adds; 0.1 where there are many channels
    direct: bool = (
        True  # enlarge by one convolution to pixels, and not by stages of 2 or 3 with a convolution behind them
    )
    residual: bool = True  # add the repeated pixels of the input
    learning_rate: float = 1e-3  # of Adam at the start
    learning_rate_end: float = 1e-5  # at the end of decay_images
    decay_images: int = 500_000  # length of the cosine from the one to the other
    ema_images: int = 5_000  # half-life of the averaged network, patches; 0: serve the trained one

    def __post_init__(self):
        check_numbers(self, "scale", "width", "blocks")
        if self.scale not in (2, 3, 4) or self.resolution % self.scale:
            raise UserError(f"scale must be 2, 3 or 4 and divide resolution={self.resolution}, not {self.scale}")


def _paper(scale, **changes):
    """Section 4.2: patches of 48 px at the small size, 300,000 steps of 16, a rate of 1e-4."""
    length = {"images": 4_800_000, "decay_images": 4_800_000, "learning_rate": 1e-4, "learning_rate_end": 1e-6}
    return Config(48 * scale, scale=scale, direct=False, residual=False, **length, **{"width": 64} | changes)


LARGE = {"width": 256, "blocks": 32, "block_scale": 0.1}

PRESETS = {
    "tiny": Config(16, 4, 64, scale=2, width=8, blocks=2, ema_images=500),
    "x4": Config(scale=4),
    "x3": Config(scale=3),
    "x2": Config(scale=2),
    "x4-baseline": _paper(4),
    "x3-baseline": _paper(3),
    "x2-baseline": _paper(2),
    "x4-large": _paper(4, **LARGE),
    "x3-large": _paper(3, **LARGE),
    "x2-large": _paper(2, **LARGE),
}


def build(config, name):
    """low [batch, height, width, 3] -> pictures float32 [batch, scale * height, scale * width, 3], near [-1, 1]."""
    low = keras.Input((None, None, 3), name="low")
    x = plain(
        low,
        scale=config.scale,
        width=config.width,
        blocks=config.blocks,
        block_scale=config.block_scale,
        direct=config.direct,
        residual=config.residual,
    )
    return keras.Model(low, keras.layers.Activation("linear", dtype="float32")(x), name=name)


class Model(Enhancement, OnePlayer):
    """Minimises the absolute difference: paper, section 4.2."""

    default_steps_per_execution = 4

    def __init__(self, config, *, facts=Facts(), seed=0):
        super().__init__(config, facts=facts, seed=seed)
        self.network, self.ema = self.with_ema(lambda name: build(config, name))
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = adam("adam", self.network, rate=rate)

    def terms(self, batch):
        return {"absolute": absolute(self.network(batch["low"], training=True), batch["high"])}
