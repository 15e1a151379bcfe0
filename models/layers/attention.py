"""Attention: of tokens to each other, and of tokens to the words of a text."""

import keras
import tensorflow as tf

from models.layers.initializers import fan_in

HEAD_SIZE = 32  # numbers of a query of `WordAttention`


def attend(query, key, value, *, seen=None):
    """softmax(q k^T / sqrt(size)) v: Vaswani et al. 2017 (arXiv 1706.03762), eq. 1. The softmax is float32.

    Args:
        query, key, value: [batch, heads, n, size], [batch, heads, m, size] and [batch, heads, m, any].
        seen: bool [batch, m], the places that may be looked at; None: all. A row without any looks at all alike.

    Returns:
        [batch, heads, n, any], of the type of `value`.
    """
    products = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32) * query.shape[-1] ** -0.5
    if seen is not None:
        products = tf.where(seen[:, tf.newaxis, tf.newaxis], products, -1e9)
    return tf.matmul(tf.cast(tf.nn.softmax(products), value.dtype), value)


def heads_of(x, parts, heads):
    """[batch, n, parts * heads * size] -> `parts` tensors [batch, heads, n, size]."""
    _, places, width = x.shape
    split = tf.reshape(x, [-1, places, parts, heads, width // parts // heads])
    return tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4]))


def joined(x):
    """[batch, heads, n, size] -> [batch, n, heads * size]."""
    _, heads, places, size = x.shape
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, places, heads * size])


def unit(x):
    """x over the root of its mean square along the last axis (Zhang and Sennrich 2019, arXiv 1910.07467)."""
    power = tf.reduce_mean(tf.square(tf.cast(x, tf.float32)), axis=-1, keepdims=True)
    return x * tf.cast(tf.math.rsqrt(power + 1e-6), x.dtype)


class WordAttention(keras.layers.Layer):
    """Cross-attention: what each token finds in the words of a text, to be added to it, in heads of `HEAD_SIZE` (Rombach et al. 2022, arXiv
    2112.10752, section 3.3). It begins at zero, and finds nothing in a text without known words.

    Inputs: tokens [batch, n, width], and of a `TextEncoder` its words [batch, m, size] and mask bool [batch, m]. Output [batch, n, width].
    Queries and keys have length 1 (Henry et al. 2020, arXiv 2010.04245).
    """

    def build(self, input_shape):
        (_, _, width), (_, _, size), _ = input_shape
        self.heads = width // HEAD_SIZE

        def dense(inputs, units, kernel):
            layer = keras.layers.Dense(units, use_bias=False, kernel_initializer=kernel, dtype=self.dtype_policy)
            layer.build([None, inputs])
            return layer

        self.asked, self.told = dense(width, width, fan_in()), dense(size, 2 * width, fan_in())
        self.found = dense(width, width, "zeros")

    def call(self, inputs):
        tokens, words, seen = inputs
        (query,), (key, value) = heads_of(self.asked(tokens), 1, self.heads), heads_of(self.told(words), 2, self.heads)
        return self.found(joined(attend(unit(query), unit(key), value, seen=seen)))

    def compute_output_shape(self, input_shape):
        return input_shape[0]
