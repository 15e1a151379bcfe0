"""LPIPS of pictures in their own size, one distance per pair, on NumPy arrays."""

from collections.abc import Iterable

import numpy as np

from data.errors import UserError
from data.images import to_float


class Lpips:
    """Distance of Zhang et al. 2018, version 0.1, on an opened `models.features.torchvision` network.

    `name`: `lpips_vgg_<hash>` or `lpips_alex_<hash>`, with the first digits of the SHA-256 of the weights' file. `network`: its name.
    """

    def __init__(self, network):
        import tensorflow as tf

        from models.losses.perceptual import lpips

        shape = tf.TensorSpec([1, None, None, 3], tf.uint8)
        self.name, self.network = network.lpips_name, network.name
        self._least = network.least
        self._distance = tf.function(lambda a, b: lpips(network, to_float(a), to_float(b)), [shape, shape])

    def distances(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Returns float64 [n] of pairs of pictures uint8 [height, width, 3], of one shape within a pair.

        Nothing is resized. Raises UserError for other arrays, and for pictures smaller than the network's least input.
        """
        return np.array([self._of(*pair) for pair in pairs], np.float64)

    def _of(self, picture, target):
        for one in (picture, target):
            if one.dtype != np.uint8 or one.ndim != 3 or one.shape[2] != 3 or one.shape != target.shape:
                kinds = " and ".join(f"{x.dtype} {list(x.shape)}" for x in (picture, target))
                raise UserError(f"LPIPS takes two pictures uint8 [height, width, 3] of one size, not {kinds}")
        if min(picture.shape[:2]) < self._least:
            size = " x ".join(map(str, picture.shape[:2]))
            raise UserError(f"{self.name} takes pictures from {self._least} px a side, not {size}")
        return float(self._distance(picture[np.newaxis], target[np.newaxis])[0])
