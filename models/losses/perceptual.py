"""Losses in the layers of a feature network: pure functions of two picture batches float32 [batch, height, width, 3] in [-1, 1], one
value per example [batch].

`network` is a `models.features.network.FeatureNetwork`, or anything whose `maps(pictures, layers)` gives {layer: [batch, h, w, channels]}.
"""

from collections.abc import Mapping

import tensorflow as tf

from models.losses.reconstruction import squared

NEARLY_NOTHING = 1e-20  # the least squared length a pixel's channels are divided by


def perceptual(network, prediction, target, layers: Mapping[str, float], *, difference=squared):
    """Sum over layers of weight * difference of their maps, each a mean over places and channels.

    With `squared`, Johnson et al. 2016 (1603.08155), eq. 2, and Ledig et al. 2017 (1609.04802), eq. 5, but for its mean over channels;
    Wang et al. 2018 (1809.00219) take `absolute` and layers before their ReLU.

    Args:
        layers: {name: weight} of the network's layers.
        difference: of two batches of maps to [batch], such as those of `models.losses.reconstruction`.

    Raises ValueError for no layers and for ones that the network does not have.
    """
    made, wanted = network.maps(prediction, list(layers)), network.maps(target, list(layers))
    return tf.add_n([weight * difference(made[name], wanted[name]) for name, weight in layers.items()])


def lpips(network, prediction, target):
    """Zhang et al. 2018 (1801.03924), eq. 1: >= 0, 0 for equal pictures.

    Channels of each pixel are scaled to length 1; squared differences are weighted, summed over channels, averaged over places, and summed
    over layers. `network` also has `lpips`, {layer: weights [channels]}: see `models.features.torchvision`.
    """
    layers = list(network.lpips)
    made, wanted = network.maps(prediction, layers), network.maps(target, layers)
    return tf.add_n(
        [
            tf.reduce_mean(tf.square(_unit(made[name]) - _unit(wanted[name])) @ weights[:, None], axis=[1, 2, 3])
            for name, weights in network.lpips.items()
        ]
    )


def _unit(maps):
    return tf.math.l2_normalize(maps, axis=-1, epsilon=NEARLY_NOTHING)
