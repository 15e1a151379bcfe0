"""A gate: one learned number."""

import keras


class Gate(keras.layers.Layer):
    """The input times one learned number that starts at 0: gamma of Zhang et al. 2019 (SAGAN, arXiv 1805.08318), eq. 3."""

    def build(self, input_shape):
        self.gamma = self.add_weight(shape=(), initializer="zeros", name="gamma")

    def call(self, inputs):
        return inputs * self.gamma
