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
