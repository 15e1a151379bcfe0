"""Spectral normalisation: layers whose kernel is divided by its largest singular value.

Miyato, Kataoka, Koyama and Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018 (arXiv 1802.05957),
section 2.1 and algorithm 1. `keras.layers.SpectralNormalization` writes the divided kernel into the variable when it is called, so a critic
would move in the generator's turn. Here the kernel stays as the optimiser left it: each call takes one step of power iteration from the
stored vector `u`, and keeps the new one when `training` is true.
"""

import keras
import tensorflow as tf


class _Spectral(keras.layers.Layer):
    """A kernel [..., filters], its singular vector and a bias. Statistics are float32 whatever the compute type."""

    def __init__(self, filters, *, use_bias=True, kernel_initializer="orthogonal", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def _add_weights(self, *shape):
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.u = self.add_weight(
            shape=(1, self.filters),
            initializer=keras.initializers.RandomNormal(seed=self.filters),
            trainable=False,
            dtype="float32",
            autocast=False,
            aggregation="only_first_replica",
            name="u",
        )
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def normalised_kernel(self, training):
        """The kernel over its largest singular value, of the compute type."""
        kernel = tf.cast(tf.convert_to_tensor(self.kernel.value), tf.float32)
        matrix = tf.reshape(kernel, [-1, self.filters])
        fixed = tf.stop_gradient(matrix)
        v = tf.math.l2_normalize(tf.matmul(self.u.value, fixed, transpose_b=True))
        u = tf.math.l2_normalize(tf.matmul(v, fixed))
        if training:
            self.u.assign(u)
        sigma = tf.reduce_sum(tf.matmul(v, matrix) * u)
        return tf.cast(kernel / sigma, self.compute_dtype)

    def _biased(self, outputs):
        return tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias)) if self.use_bias else outputs

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable("packshot")
class SpectralConv2D(_Spectral):
    """A spectrally normalised convolution with "same" padding: [batch, height, width, channels] -> [..., filters]."""

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(filters, **kwargs)
        self.kernel_size = kernel_size

    def build(self, input_shape):
        self._add_weights(self.kernel_size, self.kernel_size, input_shape[-1], self.filters)

    def call(self, inputs, training=False):
        return self._biased(tf.nn.conv2d(inputs, self.normalised_kernel(training), strides=1, padding="SAME"))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return super().get_config() | {"kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable("packshot")
class SpectralDense(_Spectral):
    """A spectrally normalised linear map: [batch, channels] -> [batch, filters]."""

    def build(self, input_shape):
        self._add_weights(input_shape[-1], self.filters)

    def call(self, inputs, training=False):
        return self._biased(tf.matmul(inputs, self.normalised_kernel(training)))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)


@keras.saving.register_keras_serializable("packshot")
class SpectralEmbedding(_Spectral):
    """A spectrally normalised table, and the zero vector for numbers below 0: int32 [batch] -> [batch, filters]."""

    def __init__(self, count, filters, *, embeddings_initializer="orthogonal", **kwargs):
        super().__init__(filters, use_bias=False, kernel_initializer=embeddings_initializer, **kwargs)
        self.count = count

    def build(self, input_shape):
        self._add_weights(self.count, self.filters)

    def call(self, inputs, training=False):
        return tf.matmul(tf.one_hot(inputs, self.count, dtype=self.compute_dtype), self.normalised_kernel(training))

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.filters)

    def get_config(self):
        config = super().get_config()
        del config["use_bias"]
        return config | {"count": self.count, "embeddings_initializer": config.pop("kernel_initializer")}
