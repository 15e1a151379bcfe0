"""Warm-up file: the requests that TensorFlow Serving replays when it loads a version, with their responses.

`assets.extra/tf_serving_warmup_requests` is a TFRecord of PredictionLog. The server reads only the requests. With the
responses the file is a golden test of a server's answers. Reading needs no TensorFlow.

Sources: tensorflow_serving/g3doc/saved_model_warmup.md; tensorflow/core/lib/io/record_writer.h for the framing.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from serving.wire.messages import PredictionLog
from serving.wire.tensors import proto_to_tensor, tensor_to_proto

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")


class Exchange(NamedTuple):
    """A request to a signature and the response to it, as arrays by alias."""

    signature: str
    request: dict[str, np.ndarray]
    response: dict[str, np.ndarray]


def write(folder: str, model: str, exchanges: Iterable[Exchange]) -> None:
    """Write `exchanges` with the model `model` as the warm-up file of the version in `folder`, a local path."""
    import tensorflow as tf  # for the checksums of the records

    path = os.path.join(folder, FILE)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tf.io.TFRecordWriter(path) as records:
        for signature, request, response in exchanges:
            log = PredictionLog()
            for message in (log.predict_log.request, log.predict_log.response):
                message.model_spec.name, message.model_spec.signature_name = model, signature
            for fields, arrays in (
                (log.predict_log.request.inputs, request),
                (log.predict_log.response.outputs, response),
            ):
                for alias, array in arrays.items():
                    fields[alias].CopyFrom(tensor_to_proto(array))
            records.write(log.SerializeToString())


def read(folder: str) -> Iterator[Exchange]:
    """Yield the exchanges of the version in `folder`, a local path. Raises OSError if there is no warm-up file."""
    with open(os.path.join(folder, FILE), "rb") as file:
        while head := file.read(12):
            (length,) = struct.unpack_from("<Q", head)
            log = PredictionLog.FromString(file.read(length)).predict_log
            file.seek(4, os.SEEK_CUR)
            yield Exchange(
                log.request.model_spec.signature_name,
                {alias: proto_to_tensor(proto) for alias, proto in log.request.inputs.items()},
                {alias: proto_to_tensor(proto) for alias, proto in log.response.outputs.items()},
            )
