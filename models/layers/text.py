"""An encoder of words: a small transformer over the numbers of a text's words.

Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), the encoder of figure 1 with learned positions, and normalisation in
front of each part (Xiong et al. 2020, arXiv 2002.04745). Padding and words that are not in the vocabulary are seen by nothing.
"""

import keras
import tensorflow as tf

from data.words import FIRST_WORD
from models.layers.initializers import normal


@keras.saving.register_keras_serializable("packshot")
class TextEncoder(keras.layers.Layer):
    """tokens int32 [batch, length] -> (sentence [batch, width], words [batch, length, width], mask bool [batch, length]).

    `mask` is true where there is a word of the vocabulary. `words` are zero elsewhere, and `sentence` is their mean over the others: of
    a text without known words, such as "", all of it is zero. How much padding follows the words changes nothing.

    Args:
        count: numbers of words that there are, `data.words.Words.count`. longest: the largest `length`.
        width: of all vectors, a multiple of heads. depth: number of blocks. heads: of each attention.
    """

    def __init__(self, count, longest, width, *, depth=1, heads=2, **kwargs):
        super().__init__(**kwargs)
        self.count, self.longest, self.width, self.depth, self.heads = count, longest, width, depth, heads
        self.embedding = keras.layers.Embedding(count, width, normal(1.0), name="embedding")
        self.blocks = [_Block(width, heads, name=f"block_{place}") for place in range(depth)]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, name="norm")

    def build(self, input_shape):
        self.positions = self.add_weight(shape=(self.longest, self.width), initializer=normal(0.1), name="positions")
        self.embedding.build(input_shape)
        for layer in (*self.blocks, self.norm):
            layer.build((*input_shape, self.width))

    def call(self, tokens):
        mask = tokens >= FIRST_WORD
        x = self.embedding(tokens) + tf.convert_to_tensor(self.positions)[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, seen=mask)
        there = tf.cast(mask, self.compute_dtype)[:, :, tf.newaxis]
        words = self.norm(x) * there
        return tf.reduce_sum(words, axis=1) / tf.maximum(tf.reduce_sum(there, axis=1), 1.0), words, mask

    def compute_output_spec(self, tokens):
        batch, length = tokens.shape
        return (
            keras.KerasTensor((batch, self.width), self.compute_dtype),
            keras.KerasTensor((batch, length, self.width), self.compute_dtype),
            keras.KerasTensor((batch, length), "bool"),
        )

    def get_config(self):
        names = ("count", "longest", "width", "depth", "heads")
        return super().get_config() | {name: getattr(self, name) for name in names}


class _Block(keras.layers.Layer):
    """x + attention(norm(x)), then x + dense(gelu(dense(norm(x)))), over [batch, length, width]; only places in `seen` are looked at."""

    def __init__(self, width, heads, **kwargs):
        super().__init__(**kwargs)
        # No biases: one in the keys would change nothing, and Adam would follow the rounding of its gradient.
        self.attention = keras.layers.MultiHeadAttention(heads, width // heads, use_bias=False, name="attention")
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-5, name=f"norm_{place}") for place in range(2)]
        self.inner = keras.layers.Dense(4 * width, "gelu", name="inner")
        self.outer = keras.layers.Dense(width, name="outer")

    def build(self, input_shape):
        for norm in self.norms:
            norm.build(input_shape)
        self.attention.build(input_shape, input_shape)
        self.inner.build(input_shape)
        self.outer.build((*input_shape[:-1], self.inner.units))

    def call(self, x, seen):
        y = self.norms[0](x)
        x = x + self.attention(y, y, attention_mask=seen[:, tf.newaxis, :])
        return x + self.outer(self.inner(self.norms[1](x)))

    def compute_output_shape(self, input_shape, seen=None):
        return input_shape
