"""Low-rank adaptation: a trained network learns something new by small changes of its kernels."""

import keras
import tensorflow as tf

from data.errors import UserError


class Adaptation:
    """A network whose dense layers and convolutions of Keras use W + A B and train A and B alone: LoRA (Hu et al. 2021, arXiv 2106.09685),
    eq. 3.

    A [inputs, rank] is random and B [rank, outputs] zero, so that the network computes what it did. What is no kernel of such a layer
    (biases, embeddings, normalisation, layers of packshot's own) is trained as before.

    Args:
        network: a built Keras model, which is changed.
        rank: int, 1 or more.

    Raises:
        UserError: the network has no such layer.
    """

    def __init__(self, network, rank):
        self.before = network.variables
        self._adapted = {}
        for layer in _layers(network):
            if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D):
                kernel = layer.kernel
                layer.enable_lora(rank)
                self._adapted[id(kernel)] = (kernel, layer.lora_kernel_a, layer.lora_kernel_b)
        if not self._adapted:
            raise UserError(
                "--lora changes dense layers and convolutions of Keras, and the network of this family has none"
            )

    def followed(self):
        """[(function, variables)] for each variable that the network had before: by function(*variables) it computes now."""
        return [
            (_merged, self._adapted[id(variable)]) if id(variable) in self._adapted else (tf.identity, (variable,))
            for variable in self.before
        ]


def _merged(kernel, a, b):
    """W + A B of tensors [..., inputs, outputs], [..., inputs, rank] and [rank, outputs]."""
    return kernel + keras.ops.matmul(a, b)


def _layers(network):
    """All layers of a network, each once: those that a model has, and those that are attributes of a layer."""
    found, left = {}, [network]
    while left:
        one = left.pop()
        if isinstance(one, list | tuple):
            left += one
        elif isinstance(one, keras.layers.Layer) and id(one) not in found:
            found[id(one)] = one
            left += one.layers if isinstance(one, keras.Model) else vars(one).values()
    return found.values()
