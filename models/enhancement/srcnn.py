"""SRCNN: the first convolutional super-resolution network, which refines a bicubic enlargement.

Dong, Loy, He and Tang, "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016 (arXiv 1501.00092), section 3.1: 9x9,
1x1 and 5x5 convolutions of 64, 32 and 3 channels with ReLU between, on the picture enlarged by bicubic interpolation, squared error.
It departs in three things: all layers pad, so that the size stays; weights start with He's deviation and Adam moves them, where the paper
takes SGD with two rates; `residual` makes the network learn what is to be added to the enlargement (Kim et al. 2016, VDSR).

Measured: x4, 300,000 patches of the 291 images, 30.16 dB on Set5 (bicubic 28.43, the paper 30.48, trained on ImageNet); about 900 patches
a second in bfloat16 on one core of an Intel Xeon with AMX.

Batch: `low`, `high`.

    python -m trainer.task --model srcnn --preset x4 --data folder:PHOTOS
"""

from dataclasses import dataclass

import keras

from data.errors import UserError
from data.facts import Facts
from models.base import OnePlayer
from models.layers.resample import Bicubic
from models.losses.reconstruction import squared
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.tasks import Enhancement


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are patches shown."""

    resolution: int = 48  # px, side of the high-resolution patches
    batch_size: int = 16  # patches a step
    images: int = 500_000  # length of training, patches
    scale: int = 4  # 2, 3 or 4
    kernels: tuple[int, ...] = (9, 1, 5)  # px, of the layers
    widths: tuple[int, ...] = (64, 32)  # channels of the hidden layers
    residual: bool = True  # add the bicubic enlargement to the output
    learning_rate: float = 1e-3  # of Adam at the start
    learning_rate_end: float = 1e-5  # at the end of decay_images
    decay_images: int = 500_000  # length of the cosine from the one to the other
    ema_images: int = 5_000  # half-life of the averaged network, patches; 0: serve the trained one

    def __post_init__(self):
        check_numbers(self, "scale", "kernels", "widths")
        if self.scale not in (2, 3, 4) or self.resolution % self.scale:
            raise UserError(f"scale must be 2, 3 or 4 and divide resolution={self.resolution}, not {self.scale}")
        if len(self.kernels) != len(self.widths) + 1:
            raise UserError(f"kernels={self.kernels} must name one layer more than widths={self.widths}")


PRESETS = {
    "tiny": Config(16, 4, 64, scale=2, kernels=(5, 1, 3), widths=(8, 4), ema_images=500),
    "x4": Config(scale=4),
    "x3": Config(scale=3),
    "x2": Config(scale=2),
    "x3-955": Config(scale=3, kernels=(9, 5, 5)),
}


def build(config, name):
    """low [batch, height, width, 3] -> pictures float32 [batch, scale * height, scale * width, 3], near [-1, 1]."""
    low = keras.Input((None, None, 3), name="low")
    enlarged = x = Bicubic(config.scale)(low)
    *hidden, last = config.kernels
    for kernel, width in zip(hidden, config.widths, strict=True):
        x = keras.layers.Conv2D(width, kernel, padding="same", activation="relu", kernel_initializer="he_normal")(x)
    x = keras.layers.Conv2D(3, last, padding="same", kernel_initializer="zeros" if config.residual else "he_normal")(x)
    if config.residual:
        x = x + enlarged
    return keras.Model(low, keras.layers.Activation("linear", dtype="float32")(x), name=name)


class Model(Enhancement, OnePlayer):
    """Minimises the squared difference: paper, eq. 4."""

    default_steps_per_execution = 8

    def __init__(self, config, *, facts=Facts(), seed=0):
        super().__init__(config, facts=facts, seed=seed)
        self.network, self.ema = self.with_ema(lambda name: build(config, name))
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = adam("adam", self.network, rate=rate)

    def terms(self, batch):
        return {"squared": squared(self.network(batch["low"], training=True), batch["high"])}
