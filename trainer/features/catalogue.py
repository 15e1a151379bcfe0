"""Opens an extractor, or LPIPS, by its spec. Importing this module does not import TensorFlow."""

from data.errors import UserError
from models.features.catalogue import open_network
from trainer.features.extractor import Extractor
from trainer.features.lpips import Lpips


def open_features(spec: str) -> Extractor:
    """Opens the extractor of the network `spec`, see `models.features.catalogue`.

    Raises UserError if the kind is unknown, or the network cannot be read or used.
    """
    import tensorflow as tf

    network = open_network(spec)
    shape = [tf.TensorSpec([None, network.size, network.size, 3], tf.float32)]

    def running(function):
        return tf.function(lambda pictures: function(pictures / 127.5 - 1.0), shape)

    return Extractor(
        name=network.name,
        size=network.size,
        to_vectors=running(network.vectors),
        to_maps=running(lambda pictures: list(network.maps(pictures).values())) if network.layers else None,
        to_probabilities=running(network.probabilities) if network.classes else None,
        classes=network.classes,
        batch=network.batch,
    )


def open_lpips(spec: str) -> Lpips:
    """Opens LPIPS on the network `spec`, `vgg16:PATH` or `alexnet:PATH`. Raises UserError for others, and as `open_features`."""
    if spec.partition(":")[0] not in ("vgg16", "alexnet"):
        raise UserError(f"LPIPS has weights for vgg16:PATH and alexnet:PATH, not for {spec!r}")
    return Lpips(open_network(spec))
