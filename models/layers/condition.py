"""Conditions of a network: joined to z in a generator, by projection in a critic.

A condition is an int32 [batch] input under its name, and -1 in it is unknown and contributes nothing: its embedding is the zero vector.
"""

import keras
import tensorflow as tf

from data.facts import UNKNOWN
from data.words import PADDING, TOKENS


@keras.saving.register_keras_serializable("packshot")
class KnownEmbedding(keras.layers.Embedding):
    """An embedding, and the zero vector for numbers below 0: int32 [batch] -> [batch, output_dim]."""

    def call(self, inputs):
        vectors = super().call(keras.ops.maximum(inputs, 0))
        return keras.ops.where(inputs[:, None] >= 0, vectors, keras.ops.zeros_like(vectors))


def condition_inputs(facts):
    """Inputs by `facts.keys` of a `data.facts.Facts`, to be put behind the others: the numbers of words int32 [batch, length] where there
    are any, and an int32 [batch] for each condition."""
    words = [keras.Input((facts.words.length,), dtype="int32", name=TOKENS)] if facts.words else []
    return words + [keras.Input((), dtype="int32", name=condition.name) for condition in facts]


def hide(told, known):
    """Says nothing in the rows where `known` bool [batch] is false: what a model is told, by `facts.keys`, and returned alike."""
    return [
        tf.where(known[:, tf.newaxis], column, PADDING) if len(column.shape) == 2 else tf.where(known, column, UNKNOWN)
        for column in told
    ]


def join(latent, inputs, facts, size):
    """z [batch, n] with an embedding of each condition behind it: [batch, n + size a condition], or z itself when there is none."""
    if not inputs:
        return latent
    embeddings = [
        KnownEmbedding(condition.count, size, "normal")(column) for column, condition in zip(inputs, facts, strict=True)
    ]
    return keras.layers.Concatenate()([latent, *embeddings])


def logits(
    features,
    inputs,
    facts,
    *,
    initializer=keras.initializers.GlorotUniform,
    use_bias=True,
    dense=keras.layers.Dense,
    embedding=KnownEmbedding,
):
    """Critic features [batch, n] -> float32 logits [batch]: a linear map, plus the product of the features with an embedding of each
    condition (the projection discriminator, Miyato & Koyama 2018, eq. 3; conditions taken as independent given the picture).

    Args:
        initializer: function () -> a Keras initialiser; None for those that the layers have of themselves.
        use_bias: False for a relativistic game, in which a bias has no effect.
        dense, embedding: classes of layers, called as `keras.layers.Dense` and `KnownEmbedding` are.
    """

    def drawn(name):
        return {name: initializer()} if initializer else {}

    total = dense(1, use_bias=use_bias, **drawn("kernel_initializer"))(features)
    for column, condition in zip(inputs, facts, strict=True):
        vector = embedding(condition.count, features.shape[-1], **drawn("embeddings_initializer"))(column)
        total = total + keras.layers.Dot(axes=1)([features, vector])
    return keras.layers.Reshape((), dtype="float32")(total)
