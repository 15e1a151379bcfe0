"""Places of a transformer's tokens."""

import keras

from models.layers.initializers import normal


class Places(keras.layers.Layer):
    """Adds a learned vector to each token: [batch, tokens, width]; Dosovitskiy et al. 2021 (ViT, arXiv 2010.11929), eq. 1."""

    def build(self, input_shape):
        self.vectors = self.add_weight(shape=input_shape[1:], initializer=normal(), name="vectors")

    def call(self, inputs):
        return inputs + self.vectors
