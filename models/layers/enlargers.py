"""Residual networks that enlarge pictures, shared by families: functions of the input tensor.

All of them compute at the small size and enlarge at the end. `scale` is 2, 3 or 4.
"""

import keras

from models.layers.initializers import fan_in
from models.layers.resample import PixelShuffle

DENSE_SCALE = 0.2  # of what a dense block adds: Wang et al. 2018, section 3.1
DENSE_GAIN = 0.1 * 2**0.5  # a tenth of He's deviation: "smaller initialization" there, as in the authors' code


def _conv(x, filters, initializer=None, **options):
    initializer = initializer or keras.initializers.LecunNormal()
    return keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer, **options)(x)


def _stages(scale):
    return (2, 2) if scale == 4 else (scale,)


def repeated(low, scale):
    """The input with each pixel repeated: [batch, scale * height, scale * width, channels]."""
    return PixelShuffle(scale)(keras.layers.Concatenate()([low] * scale**2))


def plain(low, *, scale, width, blocks, block_scale=1.0, direct=True, residual=True):
    """Blocks of two 3x3 convolutions with ReLU between, without normalisation: Lim et al. 2017 (EDSR, arXiv 1707.02921), section 3.

    Args:
        low: [batch, height, width, 3]. width: channels. block_scale: factor of what a block adds.
        direct: enlarge by one convolution to pixels, and not by stages of 2 or 3 with a convolution behind them.
        residual: add the repeated pixels of the input, to a last layer that starts at zero.

    Returns [batch, scale * height, scale * width, 3].
    """
    head = x = _conv(low, width)
    for _ in range(blocks):
        inner = _conv(_conv(x, width, activation="relu"), width)
        x = x + (inner if block_scale == 1 else inner * block_scale)
    x = head + _conv(x, width)
    last = "zeros" if residual else None
    if direct:
        x = PixelShuffle(scale)(_conv(x, 3 * scale**2, last))
    else:
        for factor in _stages(scale):
            x = PixelShuffle(factor)(_conv(x, width * factor**2))
        x = _conv(x, 3, last)
    return x + repeated(low, scale) if residual else x


def dense(low, *, scale, width, blocks, growth, residual=True):
    """Residual-in-residual dense blocks: Wang et al. 2018 (ESRGAN, arXiv 1809.00219), section 3.1 and figure 4.

    A block is three dense blocks of five convolutions, each of which sees all that came before it. Pixels are repeated and convolved to
    enlarge. Arguments and result as for `plain`; growth: channels that each of the first four convolutions adds.
    """
    head = x = _conv(low, width)
    for _ in range(blocks):
        inner = x
        for _ in range(3):
            inner = _dense_block(inner, growth)
        x = x + inner * DENSE_SCALE
    x = head + _conv(x, width)
    for factor in _stages(scale):
        x = _leaky(_conv(keras.layers.UpSampling2D(factor)(x), width))
    x = _conv(_leaky(_conv(x, width)), 3, "zeros" if residual else None)
    return x + repeated(low, scale) if residual else x


def _dense_block(x, growth):
    known = [x]
    for place in range(5):
        joined = keras.layers.Concatenate()(known) if place else x
        added = _conv(joined, growth if place < 4 else x.shape[-1], fan_in(DENSE_GAIN))
        known.append(_leaky(added) if place < 4 else added)
    return x + known[-1] * DENSE_SCALE


def _leaky(x):
    return keras.layers.LeakyReLU(0.2)(x)
