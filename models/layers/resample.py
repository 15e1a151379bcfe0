"""Smooth resampling by two and pixel shuffling, as layers.

The filter is [1, 3, 3, 1] / 8 along each axis (Karras et al. 2019; Zhang 2019): it suppresses the checkerboards of strided and transposed
convolutions. Borders repeat the edge pixel. Filtering and sampling along an axis are one product with a fixed matrix, whose derivatives of
all orders are such products too: on CPU several times faster than shifted copies, scaled and added.
"""

import keras
import numpy as np
import tensorflow as tf


def _doubling(size):
    """float32 [2 size, size]: pixel i becomes (x[i-1] + 3 x[i]) / 4 and (3 x[i] + x[i+1]) / 4, the edge pixel repeated."""
    pixel = np.arange(size)
    matrix = np.zeros((size, 2, size), np.float32)
    for phase, neighbour in enumerate((pixel - 1, pixel + 1)):
        np.add.at(matrix, (pixel, phase, pixel), 0.75)
        np.add.at(matrix, (pixel, phase, neighbour.clip(0, size - 1)), 0.25)
    return matrix.reshape(2 * size, size)


def _resample(x, down, across):
    """x [batch, h, w, c] with each column multiplied by `down` [h', h] and each row by `across` [w', w]: [batch, h', w', c]."""
    _, height, width, channels = x.shape
    columns = tf.matmul(tf.constant(down, x.dtype), tf.reshape(x, [-1, height, width * channels]))
    rows = tf.matmul(tf.constant(across, x.dtype), tf.reshape(columns, [-1, width, channels]))
    return tf.reshape(rows, [-1, len(down), len(across), channels])


@keras.saving.register_keras_serializable("packshot")
class Upsample2x(keras.layers.Layer):
    """[batch, h, w, c] -> [batch, 2h, 2w, c], filtered with [1, 3, 3, 1] / 4 per axis (gain 2 against the zeros put in)."""

    def call(self, inputs):
        return _resample(inputs, *(_doubling(side) for side in inputs.shape[1:3]))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height * 2, width * 2, channels)


@keras.saving.register_keras_serializable("packshot")
class Downsample2x(keras.layers.Layer):
    """[batch, 2h, 2w, c] -> [batch, h, w, c], filtered with [1, 3, 3, 1] / 8 per axis."""

    def call(self, inputs):
        return _resample(inputs, *(_doubling(side // 2).T / 2 for side in inputs.shape[1:3]))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height // 2, width // 2, channels)


def _blurring(size, change):
    """float32 [size + change, size]: the filter between the pixels, one place less or one more than they are."""
    matrix = np.zeros((size + change, size), np.float32)
    pixel = np.arange(size + change)
    for tap, weight in enumerate((1, 3, 3, 1)):
        np.add.at(matrix, (pixel, (pixel + tap - (2 if change > 0 else 1)).clip(0, size - 1)), weight / 8)
    return matrix


@keras.saving.register_keras_serializable("packshot")
class Blur(keras.layers.Layer):
    """[batch, h, w, c] -> [batch, h + change, w + change, c], filtered with gain * [1, 3, 3, 1] / 8 per axis.

    change: -1 behind a transposed convolution of stride 2 with three taps, with gain 2 for the zeros that it puts in; 1 before a
    convolution of stride 2 (Karras et al. 2020, StyleGAN2, section 4.1; Zhang 2019).
    """

    def __init__(self, change, *, gain=1.0, **kwargs):
        super().__init__(**kwargs)
        if change not in (-1, 1):
            raise ValueError(f"change must be -1 or 1, not {change}")
        self.change = change
        self.gain = gain

    def call(self, inputs):
        return _resample(inputs, *(self.gain * _blurring(side, self.change) for side in inputs.shape[1:3]))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height + self.change, width + self.change, channels)

    def get_config(self):
        return super().get_config() | {"change": self.change, "gain": self.gain}


@keras.saving.register_keras_serializable("packshot")
class PixelShuffle(keras.layers.Layer):
    """[batch, h, w, c * block^2] -> [batch, h * block, w * block, c]: Shi et al. 2016, eq. 4."""

    def __init__(self, block, **kwargs):
        super().__init__(**kwargs)
        self.block = block

    def call(self, inputs):
        return inputs if self.block == 1 else tf.nn.depth_to_space(inputs, self.block)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        size = [None if side is None else side * self.block for side in (height, width)]
        return (batch, *size, channels // self.block**2)

    def get_config(self):
        return super().get_config() | {"block": self.block}


def _cubic_taps(scale):
    """Keys' cubic with a = -0.5 (Keys 1981, eq. 15) for the `scale` pixels that one becomes: float32 [5 input pixels, scale]."""
    distance = np.abs((np.arange(scale) + 0.5) / scale - 0.5 - np.arange(-2, 3)[:, None])
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0)).astype(np.float32)


@keras.saving.register_keras_serializable("packshot")
class Bicubic(keras.layers.Layer):
    """[batch, h, w, c] -> float32 [batch, h * scale, w * scale, c], enlarged with Keys' cubic, the kernel of Pillow and MATLAB.

    At the borders the taps that fall outside are left out and the others weighed up, as Pillow does. XLA has no `tf.image.resize` with this
    kernel, so it is a convolution whose channels are shuffled into pixels.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.scale = scale

    def call(self, inputs):
        taps = _cubic_taps(self.scale)
        kernel = np.einsum("ip,jq->ijpq", taps, taps).reshape(5, 5, 1, -1)
        channels = inputs.shape[-1]
        each = np.einsum("ijp,cd->ijcpd", kernel[:, :, 0], np.eye(channels, dtype=np.float32)).reshape(
            5, 5, channels, -1
        )
        inside = self._shuffled(tf.ones_like(inputs[:1, :, :, :1]), kernel)
        return self._shuffled(inputs, each) / inside

    def _shuffled(self, inputs, kernel):
        return tf.nn.depth_to_space(tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME"), self.scale)

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else side * self.scale for side in sides), channels)

    def get_config(self):
        return super().get_config() | {"scale": self.scale}
