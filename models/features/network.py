"""The interface of a feature network: maps for losses, one vector a picture for measures of sets."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from data.errors import UserError


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """The first eight hex digits of the SHA-256 of named arrays: what tells two networks of one name apart."""
    found = hashlib.sha256()
    for name, array in sorted(weights.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return found.hexdigest()[:8]


class FeatureNetwork:
    """A network with fixed weights, differentiable with respect to the pictures.

    A plain object and not a Keras layer: a model that holds one does not count its weights among its own, so no optimiser, average or
    checkpoint gets them. It computes in float32 whatever the dtype policy.

    Attributes:
        name: the network, its input size where there are several, and a hash of its weights; letters, digits, dots and hyphens.
        size: side in px of the pictures whose vectors are compared.
        layers: names of all maps, shallow ones first; () when none is known.
        compared: those of `layers` that stand for the network in distances and losses.
        classes: how many classes it knows; None when it is no classifier.
        batch: pictures that fit well into one call.
    """

    name: str
    size: int
    layers: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    classes: int | None = None
    batch: int = 64

    def maps(self, pictures, layers: Sequence[str] | None = None) -> dict:
        """Feature maps {layer: float32 [batch, h, w, channels]} of float32 [batch, height, width, 3] in [-1, 1].

        The maps of `layers`, in that order, by default of `compared`. Raises UserError for names that are not in `self.layers`, and when
        there are none.
        """
        import tensorflow as tf

        layers = self.compared if layers is None else tuple(layers)
        if not self.layers:
            raise UserError(f"{self.name} is known by its vectors alone: it has no layers to look into")
        for name in layers:
            if name not in self.layers:
                raise UserError(f"{self.name} has no layer {name}; have: {', '.join(self.layers)}")
        if not layers:
            raise UserError(f"no layers of {self.name} are asked for; have: {', '.join(self.layers)}")
        return dict(zip(layers, self._maps(tf.cast(pictures, tf.float32), layers), strict=True))

    def vectors(self, pictures):
        """Features float32 [batch, d] of float32 [batch, size, size, 3] in [-1, 1]."""
        import tensorflow as tf

        return self._vectors(tf.cast(pictures, tf.float32))

    def probabilities(self, pictures):
        """Class probabilities float32 [batch, classes] of float32 [batch, size, size, 3] in [-1, 1].

        Raises UserError when the network is no classifier.
        """
        import tensorflow as tf

        if self.classes is None:
            raise UserError(f"{self.name} is no classifier")
        return self._probabilities(tf.cast(pictures, tf.float32))

    def _maps(self, pictures, layers):
        """A list of the maps of `layers`."""
        raise NotImplementedError

    def _vectors(self, pictures):
        raise NotImplementedError

    def _probabilities(self, pictures):
        raise NotImplementedError
