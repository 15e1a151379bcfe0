"""Anybody's network, from a .keras file or a SavedModel folder.

What it must be: one input, float32 [n, side, side, 3] in [0, 255], with a fixed side; one output, floats [n, d], or [n, height, width, d],
which are averaged over places. Scaling belongs into the network.
"""

import hashlib
import os
import re
from functools import partial
from pathlib import Path

import numpy as np

from data.errors import UserError
from models.features.network import FeatureNetwork, digest


def open_saved(path: str) -> FeatureNetwork:
    """The network in `path`, which has vectors and no maps; its name is that of the file. Raises UserError when it is not there or not as
    above."""
    if os.path.isfile(path) and path.endswith(".keras"):
        network, shapes, made_of = _keras(path)
    elif os.path.isfile(os.path.join(path, "saved_model.pb")):
        network, shapes, made_of = _saved_model(path)
    else:
        raise UserError(f"{path} is neither a .keras file nor a folder with a saved_model.pb")
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] is not None or shapes[0][3] != 3:
        raise UserError(f"{path} must have one input [None, side, side, 3], not {_shown(shapes)}")
    _, size, width, _ = shapes[0]
    if not size or size != width:
        raise UserError(f"{path} must have an input with a fixed side, [None, side, side, 3], not {_shown(shapes)}")
    rows = _only(network(np.zeros((2, size, size, 3), np.float32)))
    if rows.shape.ndims not in (2, 4) or len(rows) != 2 or not rows.dtype.is_floating:
        raise UserError(f"{path} must give floats [n, d], not {rows.dtype.name} {list(rows.shape)} for 2 pictures")
    word = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(path).resolve().name.removesuffix(".keras"))
    return Saved(f"{word}-{size}-{made_of}", size, network)


class Saved(FeatureNetwork):
    """A function from float32 [n, side, side, 3] in [0, 255] to features."""

    def __init__(self, name, size, network):
        self.name, self.size, self._network = name, size, network

    def _vectors(self, pictures):
        import tensorflow as tf

        rows = tf.cast(_only(self._network((pictures + 1.0) * 127.5)), tf.float32)
        return tf.reduce_mean(rows, axis=[1, 2]) if rows.shape.ndims == 4 else rows


def _only(outputs):
    import tensorflow as tf

    (rows,) = tf.nest.flatten(outputs)
    return rows


def _keras(path):
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # a damaged file, or a layer that only its own program knows
        raise UserError(f"{path} cannot be loaded: {error}") from error
    if len(model.outputs) != 1:
        raise UserError(f"{path} must have one output, not {len(model.outputs)}")
    weights = {f"{number:05}": array for number, array in enumerate(model.get_weights())}
    return partial(model, training=False), [tuple(tensor.shape) for tensor in model.inputs], digest(weights)


def _saved_model(path):
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(path)
    except Exception as error:
        raise UserError(f"{path} cannot be loaded: {error}") from error
    if "serving_default" not in loaded.signatures:
        raise UserError(f"{path} has no signature serving_default")
    signature = loaded.signatures["serving_default"]
    inputs = signature.structured_input_signature[1]
    outputs = list(signature.structured_outputs)
    if len(outputs) != 1:
        raise UserError(f"{path} must have one output, not {len(outputs)}")
    if any(spec.dtype != tf.float32 for spec in inputs.values()):
        raise UserError(f"{path} must take float32, not {', '.join(spec.dtype.name for spec in inputs.values())}")

    def network(batch, _keep=loaded):  # a signature does not keep its variables alive
        return signature(**{next(iter(inputs)): tf.convert_to_tensor(batch)})[outputs[0]]

    made_of = hashlib.sha256()
    parts = [Path(path) / "saved_model.pb", *sorted((Path(path) / "variables").glob("variables.*"))]
    for part in parts:
        made_of.update(part.name.encode() + hashlib.sha256(part.read_bytes()).digest())
    return network, [tuple(spec.shape) for spec in inputs.values()], made_of.hexdigest()[:8]


def _shown(shapes):
    return ", ".join(str(list(shape)) for shape in shapes) or "none"
