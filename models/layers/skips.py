"""A picture as the sum of pictures made by all stages of a generator: Karras et al. 2020 (StyleGAN2), section 4.1."""

import keras

from models.layers.initializers import fan_in
from models.layers.resample import Upsample2x


def colours(x, side, *, gain=1.0):
    """A picture [batch, height, width, 3] by one convolution of that side."""
    return keras.layers.Conv2D(3, side, padding="same", use_bias=False, kernel_initializer=fan_in(gain))(x)


def skip_pictures(stages, last_side):
    """The sum of a picture of each stage, doubled to the size of the last, whose convolution has side `last_side`; the others have 1.

    `stages` are [batch, height, width, channels], each twice as wide and high as the one before it.
    """
    gain = len(stages) ** -0.5
    picture = colours(stages[0], 1, gain=gain)
    for x in stages[1:]:
        picture = Upsample2x()(picture) + colours(x, last_side if x is stages[-1] else 1, gain=gain)
    return picture
