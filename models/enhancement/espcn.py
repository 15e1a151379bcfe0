"""ESPCN: fast super-resolution that computes at the small size and shuffles channels into pixels at the end.

Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016
(arXiv 1609.05158), section 3: 5x5, 3x3 and 3x3 convolutions of 64, 32 and 3 scale^2 channels, tanh, squared error. It
works on RGB here, and
`residual` makes it learn what is to be added to the repeated pixels of the input.

Batch: `low`, `high`.

    python -m trainer.task --model espcn --preset x4 --data folder:PHOTOS
"""

from dataclasses import dataclass

import keras

from data.errors import UserError
from models.base import OnePlayer
from models.layers.resample import PixelShuffle
from models.losses.reconstruction import squared
from models.schedules import Cosine
from models.tasks import Enhancement


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are patches shown."""

    resolution: int = 96  # px, side of the high-resolution patches
    batch_size: int = 16  # patches a step
    images: int = 1_000_000  # length of training, patches
    scale: int = 4  # 2, 3 or 4
    widths: tuple[int, ...] = (64, 32)  # channels of the hidden layers
    activation: str = "tanh"
    residual: bool = True  # add the repeated pixels of the input
    learning_rate: float = 1e-3  # of Adam at the start
    learning_rate_end: float = 1e-5  # at the end of decay_images
    decay_images: int = 1_000_000  # length of the cosine from the one to the other
    ema_images: int = 5_000  # half-life of the averaged network, patches; 0: serve the trained one


PRESETS = {
    "tiny": Config(16, 4, 64, scale=2, widths=(8,), ema_images=500),
    "x4": Config(scale=4),
    "x3": Config(scale=3),
    "x2": Config(scale=2),
}


def build(config, name):
    """low [batch, height, width, 3] -> pictures float32 [batch, scale * height, scale * width, 3], near [-1, 1]."""
    low = keras.Input((None, None, 3), name="low")
    x = low
    for layer, width in enumerate(config.widths):
        x = keras.layers.Conv2D(width, 3 if layer else 5, padding="same", activation=config.activation)(x)
    x = keras.layers.Conv2D(
        3 * config.scale**2, 3, padding="same", kernel_initializer="zeros" if config.residual else "glorot_uniform"
    )(x)
    if config.residual:
        x = x + keras.layers.Concatenate()([low] * config.scale**2)
    return keras.Model(
        low, keras.layers.Activation("linear", dtype="float32")(PixelShuffle(config.scale)(x)), name=name
    )


class Model(Enhancement, OnePlayer):
    """Minimises the squared difference: paper, eq. 5."""

    default_steps_per_execution = 8

    def __init__(self, config, *, classes=0, seed=0):
        super().__init__(config, classes=classes, seed=seed)
        if config.scale not in (2, 3, 4) or config.resolution % config.scale:
            raise UserError(f"scale must be 2, 3 or 4 and divide resolution={config.resolution}, not {config.scale}")
        self.network, self.ema = self.with_ema(lambda name: build(config, name))
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = keras.optimizers.Adam(rate, name="adam")
        self.network_optimizer.build(self.network.trainable_weights)

    def terms(self, batch):
        return {"squared": squared(self.network(batch["low"], training=True), batch["high"])}
