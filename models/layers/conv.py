"""Convolutions that Keras does not give in the form needed here."""

import functools

import keras
import tensorflow as tf


@functools.cache
def has_grouped_gradients(dtype: tf.DType) -> bool:
    """Returns whether this machine differentiates a grouped convolution in that type: tried once."""
    with tf.init_scope():  # which pauses every tape
        pictures, kernel = tf.ones([1, 4, 4, 16], dtype), tf.ones([3, 3, 8, 16], dtype)
        settings = {"out_backprop": pictures, "strides": [1, 1, 1, 1], "padding": "SAME"}
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=pictures.shape, filter=kernel, **settings)
            tf.raw_ops.Conv2DBackpropFilter(input=pictures, filter_sizes=kernel.shape, **settings)
        except tf.errors.OpError:
            return False
    return True


@keras.saving.register_keras_serializable("packshot")
class GroupedConv2D(keras.layers.Layer):
    """A convolution in groups with bias, stride 1 and "same" padding, through `tf.nn.conv2d`.

    Keras' own `Conv2D(groups=...)` takes the XLA path on CPU, which is about a hundred times slower forward and backward. Where
    TensorFlow has no gradient of a grouped convolution (on CPU only oneDNN has one, and not in every precision), each group is
    a convolution of its own.

    Input [batch, height, width, channels] and output [batch, height, width, filters]; channels and filters are multiples of groups.
    """

    def __init__(self, filters, kernel_size, groups, *, kernel_initializer="he_normal", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.groups = groups
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"{channels} channels and {self.filters} filters must be multiples of groups={self.groups}"
            )
        shape = (self.kernel_size, self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs):
        kernel = tf.convert_to_tensor(self.kernel)
        if has_grouped_gradients(kernel.dtype):
            outputs = tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME")
        else:
            groups = zip(tf.split(inputs, self.groups, -1), tf.split(kernel, self.groups, -1), strict=True)
            outputs = tf.concat([tf.nn.conv2d(*group, strides=1, padding="SAME") for group in groups], -1)
        # Not bias_add: a server without oneDNN joins that with the convolution into a kernel that knows no groups.
        return outputs + tf.convert_to_tensor(self.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "groups": self.groups,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable("packshot")
class EqualPhases(keras.constraints.Constraint):
    """Keeps a transposed convolution from drawing a grid: the taps that meet in a pixel have the same sum for every pixel.

    Without it a constant input gives the same pattern of stride x stride pixels everywhere (Odena, Dumoulin & Olah 2016,
    "Deconvolution and Checkerboard Artifacts", distill.pub). The projection to the nearest such kernel.

    Kernels are [side, side, filters, channels]; the side is a multiple of `stride`.
    """

    def __init__(self, stride):
        self.stride = stride

    def __call__(self, kernel):
        side, _, filters, channels = kernel.shape
        taps = side // self.stride
        phases = keras.ops.reshape(kernel, (taps, self.stride, taps, self.stride, filters, channels))
        mean = keras.ops.mean(phases, axis=(0, 2), keepdims=True)
        return keras.ops.reshape(phases - mean + keras.ops.mean(phases, axis=(0, 1, 2, 3), keepdims=True), kernel.shape)

    def get_config(self):
        return {"stride": self.stride}


class _Strided(keras.layers.Layer):
    """Base class of the two layers below: a kernel of side 2 * patch, and optionally a bias."""

    def __init__(
        self, filters, patch, *, use_bias=True, kernel_initializer="glorot_uniform", kernel_constraint=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.patch = patch
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def _add_weights(self, *channels):
        shape = (2 * self.patch, 2 * self.patch, *channels)
        self.kernel = self.add_weight(
            shape=shape, initializer=self.kernel_initializer, constraint=self.kernel_constraint, name="kernel"
        )
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def _biased(self, outputs):
        return tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias)) if self.use_bias else outputs

    def _folded(self):
        """The kernel as one of side 2 whose taps are patches: [2, patch, 2, patch, *channels] -> [2, 2, patch, patch, *channels]."""
        kernel, patch = tf.convert_to_tensor(self.kernel), self.patch
        return tf.transpose(tf.reshape(kernel, [2, patch, 2, patch, *kernel.shape[2:]]), [0, 2, 1, 3, 4, 5])

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "patch": self.patch,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }


@keras.saving.register_keras_serializable("packshot")
class StridedConv2D(_Strided):
    """A convolution of side 2 * patch and stride patch, "same" padding; patch is even.

    Computed at the small size, on pixels folded into channels: on a picture's three channels that is several times faster backward on CPU.

    Input [batch, height, width, channels], sides multiples of patch; output [batch, height / patch, width / patch, filters].
    """

    def build(self, input_shape):
        self._add_weights(input_shape[-1], self.filters)

    def call(self, inputs):
        patch = self.patch
        edge = [patch // 2, patch // 2]
        folded = tf.nn.space_to_depth(tf.pad(inputs, [[0, 0], edge, edge, [0, 0]]), patch)
        kernel = tf.reshape(self._folded(), [2, 2, folded.shape[-1], self.filters])
        return self._biased(tf.nn.conv2d(folded, kernel, strides=1, padding="VALID"))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, height // self.patch, width // self.patch, self.filters)


@keras.saving.register_keras_serializable("packshot")
class StridedConv2DTranspose(_Strided):
    """The transpose of `StridedConv2D`: [batch, height, width, channels] -> [batch, height * patch, width * patch, filters]."""

    def build(self, input_shape):
        self._add_weights(self.filters, input_shape[-1])

    def call(self, inputs):
        patch, (_, height, width, channels) = self.patch, inputs.shape
        taps = tf.reverse(tf.reshape(self._folded(), [2, 2, -1, channels]), [0, 1])
        kernel = tf.transpose(taps, [0, 1, 3, 2])
        padded = tf.pad(
            inputs, [[0, 0], [1, 1], [1, 1], [0, 0]]
        )  # by itself: oneDNN takes no padded convolution in bfloat16
        folded = tf.nn.conv2d(padded, kernel, strides=1, padding="VALID")
        begin, size = [0, patch // 2, patch // 2, 0], [-1, height * patch, width * patch, self.filters]
        return self._biased(tf.slice(tf.nn.depth_to_space(folded, patch), begin, size))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, height * self.patch, width * self.patch, self.filters)
