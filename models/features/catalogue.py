"""Open a feature network by what the user typed. Importing this module does not import TensorFlow."""

from data import files
from data.errors import UserError
from models.features.network import FeatureNetwork

KINDS = ("packshot", "inception[:PATH]", "keras:NAME", "vgg16:PATH", "alexnet:PATH", "file:PATH")


def open_network(spec: str) -> FeatureNetwork:
    """Open what `spec` names, one of `KINDS`, in float32 whatever Keras' dtype policy.

    Raises UserError, one sentence for the user, when the kind is unknown, and when a network cannot be had or cannot be used.
    """
    kind, colon, rest = spec.partition(":")
    if kind not in _OPENERS or (colon and not rest) or (rest and kind == "packshot") or (not rest and kind in _NAMED):
        raise UserError(f"unknown features {spec!r}; have: {', '.join(KINDS)}")
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return _OPENERS[kind](rest)
    finally:
        keras.config.set_dtype_policy(policy)


def _packshot(rest):
    from models.features.packshot import open_packshot

    return open_packshot()


def _inception(path):
    from models.features.inception import open_inception

    return open_inception(files.resolve(path) if path else None)


def _keras(name):
    from models.features.applications import open_application

    return open_application(name)


def _vgg16(path):
    from models.features.torchvision import open_vgg16

    return open_vgg16(files.resolve(path))


def _alexnet(path):
    from models.features.torchvision import open_alexnet

    return open_alexnet(files.resolve(path))


def _file(path):
    from models.features.saved import open_saved

    return open_saved(files.resolve(path))


_OPENERS = {
    "packshot": _packshot,
    "inception": _inception,
    "keras": _keras,
    "vgg16": _vgg16,
    "alexnet": _alexnet,
    "file": _file,
}
_NAMED = ("keras", "vgg16", "alexnet", "file")  # that need what stands behind the colon
