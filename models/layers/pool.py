"""The end of a critic: from maps to features."""

import math

import keras

from models.layers.initializers import normal


class DepthwisePool(keras.layers.Layer):
    """The sum of each channel's pixels under learned weights: [batch, 4, 4, channels] -> [batch, channels].

    The 4x4 depthwise convolution of R3GAN (Huang et al. 2024, arXiv 2501.05441), of which one pixel is left; TensorFlow's own is many
    times slower backward on CPU.
    """

    def build(self, input_shape):
        # A critic that begins with small answers: drawn as if the pixels of all channels were a weight's inputs.
        small = normal(math.prod(input_shape[1:]) ** -0.5)
        self.kernel = self.add_weight(shape=input_shape[1:], initializer=small, name="kernel")

    def call(self, inputs):
        return keras.ops.sum(inputs * self.kernel, axis=(1, 2))
