"""Convolutions that Keras does not give in the form needed here."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("packshot")
class GroupedConv2D(keras.layers.Layer):
    """A convolution in groups with bias, stride 1 and "same" padding, through `tf.nn.conv2d`.

    Keras' own `Conv2D(groups=...)` takes the XLA path on CPU, which is about a hundred times slower forward and backward.

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
        outputs = tf.nn.conv2d(inputs, tf.convert_to_tensor(self.kernel), strides=1, padding="SAME")
        return tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "groups": self.groups,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
