"""Telling a network the category: joined to z in a generator, by projection in a critic."""

import keras


def label_inputs(classes):
    """[] for an unconditional network, else one int32 input `label` [batch]; to be put behind the other inputs."""
    return [keras.Input((), dtype="int32", name="label")] if classes else []


def join(latent, labels, classes, size):
    """z [batch, n] with an embedding of the category behind it: [batch, n + size], or z itself when `labels` is empty."""
    if not labels:
        return latent
    return keras.layers.Concatenate()([latent, keras.layers.Embedding(classes, size, "normal")(labels[0])])


def logits(features, labels, classes, initializer=keras.initializers.GlorotUniform, use_bias=True):
    """Critic features [batch, n] -> float32 logits [batch]: a linear map, plus the product of the features with an embedding of the
    category when there is one (the projection discriminator, Miyato & Koyama 2018, eq. 3).

    Args:
        initializer: function () -> a Keras initialiser.
        use_bias: False for a relativistic game, in which a bias has no effect.
    """
    total = keras.layers.Dense(1, use_bias=use_bias, kernel_initializer=initializer())(features)
    if labels:
        wanted = keras.layers.Embedding(classes, features.shape[-1], initializer())(labels[0])
        total = total + keras.layers.Dot(axes=1)([features, wanted])
    return keras.layers.Reshape((), dtype="float32")(total)
