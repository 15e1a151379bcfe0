"""Layers with an equalised learning rate, and convolutions that a style modulates.

Karras, Aila, Laine and Lehtinen 2018 (arXiv 1710.10196), section 4.1: weights are stored with deviation 1 and scaled by
gain / sqrt(inputs) whenever they are used, so that Adam moves all of them at one relative speed. `gain` includes that of the
nonlinearity behind the layer, sqrt(2) for a leaky ReLU.
"""

import math

import keras
import tensorflow as tf

from models.layers.condition import KnownEmbedding
from models.layers.initializers import normal

EPSILON = 1e-8


class _Equal(keras.layers.Layer):
    """A kernel [..., inputs, filters] of deviation 1 / rate, used times rate * gain / sqrt(fan in), and a bias."""

    def __init__(self, filters, *, gain=1.0, rate=1.0, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.gain = gain
        self.rate = rate
        self.use_bias = use_bias

    def _add_weights(self, *shape, bias=0.0):
        self._scale = self.rate * self.gain / math.sqrt(math.prod(shape))
        self.kernel = self.add_weight(shape=(*shape, self.filters), initializer=normal(1.0 / self.rate), name="kernel")
        if self.use_bias:
            start = keras.initializers.Constant(bias / self.rate)
            self.bias = self.add_weight(shape=(self.filters,), initializer=start, name="bias")

    def scaled_kernel(self):
        """The kernel as it is used, of the compute type within a call."""
        return tf.convert_to_tensor(self.kernel) * self._scale

    def _biased(self, outputs):
        return outputs + tf.convert_to_tensor(self.bias) * self.rate if self.use_bias else outputs

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "gain": self.gain,
            "rate": self.rate,
            "use_bias": self.use_bias,
        }


@keras.saving.register_keras_serializable("packshot")
class EqualDense(_Equal):
    """[batch, inputs] -> [batch, filters]. `rate` multiplies the learning rate (Karras et al. 2019, section 4)."""

    def build(self, input_shape):
        self._add_weights(input_shape[-1])

    def call(self, inputs):
        return self._biased(tf.matmul(inputs, self.scaled_kernel()))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.filters)


@keras.saving.register_keras_serializable("packshot")
class EqualEmbedding(KnownEmbedding):
    """int32 [batch] -> [batch, filters], times 1 / sqrt(filters), as `EqualDense` of as many inputs; the zero vector below 0."""

    def __init__(self, count, filters, **kwargs):
        super().__init__(count, filters, **{"embeddings_initializer": normal(1.0)} | kwargs)

    def call(self, inputs):
        return super().call(inputs) / math.sqrt(self.output_dim)


@keras.saving.register_keras_serializable("packshot")
class EqualConv2D(_Equal):
    """A convolution: [batch, height, width, channels] -> [batch, height', width', filters]; `padding` as in Keras, "same" or "valid"."""

    def __init__(self, filters, side, *, stride=1, padding="same", **kwargs):
        super().__init__(filters, **kwargs)
        self.side = side
        self.stride = stride
        self.padding = padding

    def build(self, input_shape):
        self._add_weights(self.side, self.side, input_shape[-1])

    def call(self, inputs):
        kernel = self.scaled_kernel()
        return self._biased(tf.nn.conv2d(inputs, kernel, strides=self.stride, padding=self.padding.upper()))

    def compute_output_shape(self, input_shape):
        batch, *sides, _ = input_shape
        lost = self.side - 1 if self.padding == "valid" else 0
        return (batch, *(-(-(side - lost) // self.stride) for side in sides), self.filters)

    def get_config(self):
        return super().get_config() | {"side": self.side, "stride": self.stride, "padding": self.padding}


@keras.saving.register_keras_serializable("packshot")
class ModulatedConv2D(_Equal):
    """A convolution whose kernel is multiplied by a style for each input channel: Karras et al. 2020 (StyleGAN2), eq. 1 and 3.

    [pictures [batch, height, width, channels], w [batch, n]] -> [batch, height, width, filters]. The style is an affine map
    of w that starts around 1. `demodulate` divides each row's kernel by its length for every output channel. Scaling a kernel's inputs
    and outputs is scaling the pictures before and behind one convolution that all rows share: here no row has a kernel of its own, which
    would cost a grouped convolution. `enlarge`: a transposed convolution of stride 2 without padding, whose result of
    2 * height + side - 2 pixels is to be blurred.
    """

    def __init__(self, filters, side, *, demodulate=True, enlarge=False, **kwargs):
        super().__init__(filters, **kwargs)
        self.side = side
        self.demodulate = demodulate
        self.enlarge = enlarge

    def build(self, input_shape):
        (*_, channels), (_, size) = input_shape
        self._add_weights(self.side, self.side, channels)
        self.affine = self.add_weight(shape=(size, channels), initializer=normal(1.0), autocast=False, name="affine")
        self.affine_bias = self.add_weight(shape=(channels,), initializer="ones", autocast=False, name="affine_bias")

    def style(self, w):
        """float32 [batch, n] -> float32 [batch, channels]."""
        slope = tf.convert_to_tensor(self.affine.value) / math.sqrt(self.affine.shape[0])
        return tf.matmul(tf.cast(w, tf.float32), slope) + tf.convert_to_tensor(self.affine_bias.value)

    def call(self, inputs):
        pictures, w = inputs
        style, kernel = self.style(w), self.scaled_kernel()
        outputs = self._convolved(pictures * self._by_channel(style), kernel)
        if not self.demodulate:
            return self._biased(outputs)
        # The length leaves the gain out, which the outputs keep.
        energy = tf.reduce_sum(tf.square(tf.cast(kernel, tf.float32) / self.gain), axis=(0, 1))
        length = tf.math.rsqrt(tf.matmul(tf.square(style), energy) + EPSILON)
        return self._biased(outputs * self._by_channel(length))

    def _by_channel(self, scales):
        return tf.cast(scales, self.compute_dtype)[:, tf.newaxis, tf.newaxis, :]

    def _convolved(self, pictures, kernel):
        if not self.enlarge:
            return tf.nn.conv2d(pictures, kernel, strides=1, padding="SAME")
        _, *sides, _ = self.compute_output_shape([pictures.shape])
        shape = [tf.shape(pictures)[0], *sides, self.filters]
        return tf.nn.conv2d_transpose(pictures, tf.transpose(kernel, [0, 1, 3, 2]), shape, strides=2, padding="VALID")

    def compute_output_shape(self, input_shape):
        batch, *sides, _ = input_shape[0]
        if self.enlarge:
            sides = [2 * side + self.side - 2 for side in sides]
        return (batch, *sides, self.filters)

    def get_config(self):
        return super().get_config() | {"side": self.side, "demodulate": self.demodulate, "enlarge": self.enlarge}
