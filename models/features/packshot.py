"""The encoder that comes with packshot: a small network made by `python -m trainer.features.make_encoder`, and run from one file of arrays.

Plain 3x3 convolutions, each with a bias and a ReLU; the first of each depth halves the side. From each depth come the mean and the
deviation of every channel over the picture, and of these the principal components over the training pictures, each scaled to deviation 1
there and bent so that no value leaves [-LIMIT, LIMIT]. So shallow depths (texture, noise, sharpness) and deep ones (parts, shapes) weigh
in a distance and in the kernel of KID as many times as they have features (`SHARES`), not by how large their numbers happen to be.
"""

from pathlib import Path

import numpy as np

from models.features.network import FeatureNetwork, digest

SIZE = 128  # px; pictures of 64 px come in whole, twice as large, and ones of 128 px keep every pixel
DEPTHS = ((24, 24), (40, 40), (80, 80), (144, 144), (192,))  # channels of the convolutions
SHARES = (32, 48, 80, 112, 112)  # features taken from each depth
LIMIT = 3.0
FILE = Path(__file__).parent / "encoder.npz"


class Packshot(FeatureNetwork):
    """The encoder of the named arrays `weights`: maps `depth1` to `depth5`, 384 features. Takes pictures of any size."""

    size = SIZE
    layers = compared = tuple(f"depth{number}" for number in range(1, 1 + len(DEPTHS)))

    def __init__(self, weights):
        import tensorflow as tf

        self.name = f"packshot1-{digest(weights)}"
        self._weights = {name: tf.constant(array, tf.float32) for name, array in weights.items()}

    def _vectors(self, pictures):
        return project(pool(maps(pictures, self._weights)), self._weights)

    def _maps(self, pictures, layers):
        found = maps(pictures, self._weights)
        return [found[self.layers.index(name)] for name in layers]


def open_packshot(path: str | Path = FILE) -> Packshot:
    """The encoder whose weights `path` holds. Raises OSError."""
    with np.load(path) as file:
        return Packshot({name: file[name] for name in file.files})


def maps(pictures, weights) -> list:
    """The output of each depth for float32 [n, height, width, 3] in [-1, 1]."""
    import tensorflow as tf

    found, here, number = [], pictures, 0
    for depth in DEPTHS:
        for layer in range(len(depth)):
            here = tf.nn.conv2d(here, weights[f"kernel{number}"], 1 if layer else 2, "SAME")
            here = tf.nn.relu(here + weights[f"bias{number}"])
            number += 1
        found.append(here)
    return found


def pool(layers) -> list:
    """Mean and deviation over the picture: [n, 2 * channels] of each depth."""
    import tensorflow as tf

    found = []
    for layer in layers:
        mean, variance = tf.nn.moments(layer, axes=[1, 2])
        found.append(tf.concat([mean, tf.sqrt(variance + 1e-6)], axis=1))
    return found


def project(pooled, weights):
    """The features float32 [n, sum of SHARES]."""
    import tensorflow as tf

    parts = [(rows - weights[f"centre{i}"]) @ weights[f"matrix{i}"] for i, rows in enumerate(pooled)]
    rows = tf.concat(parts, axis=1)
    return rows / tf.sqrt(1.0 + tf.square(rows / LIMIT))
