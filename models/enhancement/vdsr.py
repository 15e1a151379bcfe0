"""VDSR: twenty convolutions that learn what a bicubic enlargement lacks.

Kim, Lee and Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016 (arXiv 1511.04587), section 3:
twenty 3x3 convolutions, 64 channels, ReLU between, on the picture enlarged by bicubic interpolation, whose sum with the output is the
answer; squared error.

It departs in four things: RGB in place of luma; one network a scale; Adam with a rate that falls along a cosine, in place of SGD with a
high rate and clipped gradients; the last layer starts at zero, so that training starts at the enlargement.

Batch: `low`, `high`.

    python -m trainer.task --model vdsr --preset x4 --data folder:PHOTOS
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

    resolution: int = 48  # px, side of the high-resolution patches; a pixel sees 41 px
    batch_size: int = 16  # patches a step
    images: int = 200_000  # length of training, patches
    scale: int = 4  # 2, 3 or 4
    width: int = 64  # channels of the hidden layers
    depth: int = 20  # layers, 2 or more
    learning_rate: float = 5e-4  # of Adam at the start
    learning_rate_end: float = 5e-6  # at the end of decay_images
    decay_images: int = 200_000  # length of the cosine from the one to the other
    ema_images: int = 5_000  # half-life of the averaged network, patches; 0: serve the trained one

    def __post_init__(self):
        check_numbers(self, "scale", "width")
        if self.scale not in (2, 3, 4) or self.resolution % self.scale:
            raise UserError(f"scale must be 2, 3 or 4 and divide resolution={self.resolution}, not {self.scale}")
        if self.depth < 2:
            raise UserError(f"depth must be 2 or more, not {self.depth}")


PRESETS = {
    "tiny": Config(16, 4, 64, scale=2, width=8, depth=4, learning_rate=1e-3, ema_images=500),
    "x4": Config(scale=4),
    "x3": Config(scale=3),
    "x2": Config(scale=2),
}


def build(config, name):
    """low [batch, height, width, 3] -> pictures float32 [batch, scale * height, scale * width, 3], near [-1, 1]."""
    low = keras.Input((None, None, 3), name="low")
    enlarged = x = Bicubic(config.scale)(low)
    for _ in range(config.depth - 1):
        initializer = keras.initializers.HeNormal()
        x = keras.layers.Conv2D(config.width, 3, padding="same", activation="relu", kernel_initializer=initializer)(x)
    x = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer="zeros")(x)
    return keras.Model(low, keras.layers.Activation("linear", dtype="float32")(x + enlarged), name=name)


class Model(Enhancement, OnePlayer):
    """Minimises the squared difference: paper, section 3.2."""

    default_steps_per_execution = 2

    def __init__(self, config, *, facts=Facts(), seed=0):
        super().__init__(config, facts=facts, seed=seed)
        self.network, self.ema = self.with_ema(lambda name: build(config, name))
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = adam("adam", self.network, rate=rate)

    def terms(self, batch):
        return {"squared": squared(self.network(batch["low"], training=True), batch["high"])}
