"""Converts messages of TensorFlow Serving to requests of its REST interface, and JSON answers to replies.

Both ways use the columnar form: {"inputs": {alias: values}} and {"outputs": ...}. Bytes are {"b64": ...}, in answers
only for outputs whose name ends in _bytes; other strings are plain text. JSON has one type of number, so reading a reply
needs the signature. NaN, Infinity and -Infinity are bare words, as in Python's json.

Source: tensorflow/serving g3doc/api_rest.md and util/json_tensor.cc.
"""

import base64
import json
from urllib.parse import quote

import numpy as np
from google.protobuf import json_format

from ..wire import messages
from ..wire.errors import Internal, InvalidArgument, Unimplemented
from ..wire.tensors import proto_to_tensor, tensor_to_proto
from .calls import SIGNATURES, Signature, Tensor

_VERBS = {"Predict": ":predict", "Classify": ":classify", "Regress": ":regress"}
_PAGES = {"GetModelMetadata": "/metadata", "GetModelStatus": ""}


def request(method: str, message) -> tuple[str, str, str | None]:
    """The HTTP method, the path and the body of a call.

    Raises Unimplemented for a call that REST does not have.
    """
    if method not in _VERBS and method not in _PAGES:
        raise Unimplemented(f"the REST interface has no {method}; ask the gRPC port")
    model_spec = message.model_spec
    path = f"/v1/models/{quote(model_spec.name, safe='')}"
    if model_spec.HasField("version"):
        path += f"/versions/{model_spec.version.value}"
    elif model_spec.version_label:
        path += f"/labels/{quote(model_spec.version_label, safe='')}"
    if method in _PAGES:
        return "GET", path + _PAGES[method], None
    body = {"signature_name": model_spec.signature_name} if model_spec.signature_name else {}
    if method == "Predict":
        body["inputs"] = {alias: _to_json(proto_to_tensor(proto)) for alias, proto in message.inputs.items()}
    else:
        body |= _examples_to_json(message.input)
    return "POST", path + _VERBS[method], json.dumps(body)


def reply(method: str, message, text: str, signature: Signature | None):
    """The reply to the request `message` from the JSON `text`, which may hold raw bytes as surrogate escapes.

    REST has no `output_filter`, so outputs are filtered here. Raises Internal for an answer in another form, and
    InvalidArgument for an unknown name in `output_filter`.
    """
    try:
        return _READERS[method](message, text, signature)
    except (ValueError, KeyError, TypeError, AttributeError, json_format.ParseError) as error:
        raise Internal(
            f"the answer to {method} is not in the form of TensorFlow Serving's REST interface: {error}"
        ) from error


def error_sentence(text: str) -> str | None:
    """The sentence in the body of an error; None if it is not the JSON of TensorFlow Serving."""
    try:
        sentence = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return None
    return sentence if isinstance(sentence, str) else None


def _to_json(array):
    if array.dtype.hasobject:
        texts = np.empty(array.size, object)
        texts[:] = [_b64(text) for text in array.ravel()]
        return texts.reshape(array.shape).tolist()
    return array.tolist()


def _b64(content):
    return {"b64": base64.b64encode(content).decode("ascii")}


def _examples_to_json(message):
    if message.WhichOneof("kind") == "example_list_with_context":
        rows = message.example_list_with_context
        return {"examples": [_features(row) for row in rows.examples], "context": _features(rows.context)}
    return {"examples": [_features(row) for row in message.example_list.examples]}


def _features(example):
    made = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = getattr(feature, kind).value if kind else ()
        made[name] = [_b64(value) if isinstance(value, bytes) else value for value in values]
    return made


def _predicted(message, text, signature):
    values = json.loads(text)["outputs"]
    if signature is None:
        raise ValueError("the metadata has no such signature")
    known = signature.outputs
    if len(known) == 1:
        values = {next(iter(known)): values}
    for alias in message.output_filter:
        if alias not in known:
            raise InvalidArgument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {{{','.join(sorted(known))}}}."
            )
    response = messages.PredictResponse(model_spec=message.model_spec)
    for alias in message.output_filter or values:
        response.outputs[alias].CopyFrom(tensor_to_proto(_from_json(values[alias], known[alias])))
    return response


def _from_json(value, tensor: Tensor):
    dtype = tensor.array_dtype
    if dtype is None:
        raise ValueError(f"an output is {tensor.dtype}, for which NumPy has no type")
    array = np.array(_strings(value), object) if dtype.hasobject else np.array(value, dtype)
    if not array.size and tensor.shape is not None and array.ndim < len(tensor.shape):
        return array.reshape([size or 0 for size in tensor.shape])  # [] does not have the sizes of the other axes
    return array


def _strings(value):
    if isinstance(value, list):
        return [_strings(one) for one in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return value.encode("utf-8", "surrogateescape")


def _classified(message, text, _):
    response = messages.ClassificationResponse(model_spec=message.model_spec)
    for row in json.loads(text)["results"]:
        classes = response.result.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)
    return response


def _regressed(message, text, _):
    response = messages.RegressionResponse(model_spec=message.model_spec)
    for value in json.loads(text)["results"]:
        response.result.regressions.add(value=value)
    return response


def _described(_message, text, _):
    answer = json.loads(text)
    response = messages.GetModelMetadataResponse()
    _parse(answer["model_spec"], response.model_spec)
    definitions = _parse(answer["metadata"][SIGNATURES], messages.SignatureDefMap())
    response.metadata[SIGNATURES].Pack(definitions)
    return response


def _status(_message, text, _):
    versions = json.loads(text)["model_version_status"]
    return _parse({"model_version_status": versions}, messages.GetModelStatusResponse())


def _parse(value, message):
    return json_format.ParseDict(value, message, ignore_unknown_fields=True)


_READERS = {
    "Predict": _predicted,
    "Classify": _classified,
    "Regress": _regressed,
    "GetModelMetadata": _described,
    "GetModelStatus": _status,
}
