"""Builds requests from arrays and reads replies into arrays, without a transport.

Any transport can send a `Call`, blocking or not. REST sends it as JSON (`serving/client/rest_messages.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf import text_format

from ..wire import messages
from ..wire.errors import BadCall, from_code
from ..wire.tensors import MOST_BYTES, proto_to_tensor, tensor_to_proto

SIGNATURES = "signature_def"  # the only field of metadata

_METHOD_NAMES = {"classify": "tensorflow/serving/classify", "regress": "tensorflow/serving/regress"}
_TYPE_NAMES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}
_DATA_TYPES = {number: _TYPE_NAMES.get(name, name[3:].lower()) for name, number in messages.DATA_TYPES.items()}
_STATES = {number: name for name, number in messages.STATES.items()}


class Tensor(NamedTuple):
    """One input or output of a signature.

    `dtype` is TensorFlow's name of the type, such as "float32" or "string". None in `shape` is any size, and a `shape` of
    None is any rank.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def array_dtype(self) -> np.dtype | None:
        """The dtype of its arrays (object for strings); None for a type that NumPy does not have."""
        try:
            return np.dtype(object if self.dtype == "string" else self.dtype)
        except TypeError:
            return None


class Signature(NamedTuple):
    """Inputs and outputs of a signature by alias, and the defaults of optional inputs: one row each."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    defaults: dict[str, np.ndarray] = {}


class Metadata(NamedTuple):
    """The signatures of a version, by name."""

    model: str
    version: int
    signatures: dict[str, Signature]


class VersionStatus(NamedTuple):
    """A version: `state` is START, LOADING, AVAILABLE, UNLOADING or END, `code` "OK" unless loading it failed."""

    version: int
    state: str
    code: str
    message: str


class Call(NamedTuple):
    """A method of `messages.SERVICES`, its request, and a function from its reply to a result.

    `signature` describes the called signature, if known; REST needs it to read numbers, gRPC does not.
    """

    method: str
    request: Any
    read: Callable[[Any], Any]
    signature: Signature | None = None


def spec(model: str, signature: str = "", *, version: int | None = None, label: str | None = None):
    """A ModelSpec; without `version` and `label` it means the newest version. Raises BadCall for both."""
    made = messages.ModelSpec(name=model, signature_name=signature)
    if version is not None and label is not None:
        raise BadCall(f"give the version ({version}) or the label ({label}), not both")
    if version is not None:
        made.version.SetInParent()
        made.version.value = version
    if label is not None:
        made.version_label = label
    return made


def predict(
    model_spec, inputs: Mapping[str, Any], *, outputs: Iterable[str] = (), signature: Signature | None = None
) -> Call:
    """Arrays by alias -> arrays by alias.

    Numbers and lists are converted to the types in `signature`. `outputs` are the requested aliases, all if empty. Raises
    BadCall for a value that a tensor cannot hold, or a request of more than 2 GiB.
    """
    wanted = signature.inputs if signature else {}
    arrays = {alias: _array(alias, value, wanted.get(alias)) for alias, value in inputs.items()}
    if sum(array.nbytes for array in arrays.values()) >= MOST_BYTES:
        raise BadCall("the inputs are more than the 2 GiB that a request can hold; send fewer rows")
    request = messages.PredictRequest(model_spec=model_spec, output_filter=outputs)
    for alias, array in arrays.items():
        try:
            request.inputs[alias].CopyFrom(tensor_to_proto(array))
        except (TypeError, ValueError) as error:
            raise BadCall(f"input {alias}: {error}") from error
    return Call("Predict", request, _arrays, signature)


def classify(model_spec, examples: Sequence[Mapping], *, context: Mapping | None = None) -> Call:
    """Examples -> a list of (label, score) for each."""
    request = messages.ClassificationRequest(model_spec=model_spec, input=_input(examples, context))
    return Call("Classify", request, lambda reply: _classes(reply.result))


def regress(model_spec, examples: Sequence[Mapping], *, context: Mapping | None = None) -> Call:
    """Examples -> float32 [n]."""
    request = messages.RegressionRequest(model_spec=model_spec, input=_input(examples, context))
    return Call("Regress", request, lambda reply: _values(reply.result))


def multi_inference(tasks: Sequence[tuple], examples: Sequence[Mapping], *, context: Mapping | None = None) -> Call:
    """Pairs of ModelSpec and "classify" or "regress" -> the result of each, as from those calls.

    Raises ValueError for any other word.
    """
    request = messages.MultiInferenceRequest(input=_input(examples, context))
    for model_spec, kind in tasks:
        if kind not in _METHOD_NAMES:
            raise ValueError(f"a task is classify or regress, not {kind!r}")
        request.tasks.add(model_spec=model_spec, method_name=_METHOD_NAMES[kind])

    def read(reply):
        classified = [result.WhichOneof("result") == "classification_result" for result in reply.results]
        return [
            _classes(result.classification_result) if is_classes else _values(result.regression_result)
            for result, is_classes in zip(reply.results, classified, strict=True)
        ]

    return Call("MultiInference", request, read)


def metadata(model_spec) -> Call:
    """-> Metadata."""
    request = messages.GetModelMetadataRequest(model_spec=model_spec, metadata_field=[SIGNATURES])
    request.model_spec.signature_name = ""
    return Call("GetModelMetadata", request, _metadata)


def status(model_spec) -> Call:
    """-> list of VersionStatus, the newest first."""
    return Call("GetModelStatus", messages.GetModelStatusRequest(model_spec=model_spec), _status)


def reload(config) -> Call:
    """Replace the server's list of models by a ModelServerConfig: a message, or its text -> None.

    Raises BadCall for a text that cannot be parsed.
    """
    if isinstance(config, str):
        try:
            config = text_format.Parse(config, messages.ModelServerConfig())
        except text_format.ParseError as error:
            raise BadCall(f"this is no ModelServerConfig: {error}") from error
    request = messages.ReloadConfigRequest()
    # By its bytes, so that messages of tensorflow_serving's own classes work too.
    request.config.MergeFromString(config.SerializeToString())
    return Call("HandleReloadConfigRequest", request, _reloaded)


def _array(alias, value, tensor):
    if hasattr(value, "dtype"):
        return np.asarray(value)
    first = value
    while isinstance(first, list | tuple) and first:
        first = first[0]
    if isinstance(first, bytes | str):
        return np.array(value, object)  # NumPy's own strings lose trailing zeros
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise BadCall(f"input {alias}: {error}") from error
    wanted = tensor.array_dtype if tensor else None
    if wanted is None or wanted.hasobject or array.dtype.hasobject:
        return array
    with np.errstate(invalid="ignore"):
        cast = array.astype(wanted)
    if wanted.kind in "iub" and not np.array_equal(cast, array):
        raise BadCall(f"input {alias} is {wanted}, which cannot hold all the values given")
    return cast


def _arrays(reply):
    return {alias: proto_to_tensor(proto) for alias, proto in sorted(reply.outputs.items())}


def _input(examples, context):
    made = messages.Input()
    rows = made.example_list if context is None else made.example_list_with_context
    rows.SetInParent()
    for example in examples:
        _fill(rows.examples.add(), example)
    if context is not None:
        _fill(rows.context, context)
    return made


def _fill(message, features):
    """Features of a tf.Example: integers, floats, or bytes and text, one or a list."""
    message.features.SetInParent()
    for name, value in features.items():
        feature, values = message.features.feature[name], np.ravel(_array(name, value, None))
        if values.dtype.kind in "biu":
            feature.int64_list.value.extend(values.tolist())
        elif values.dtype.kind == "f":
            feature.float_list.value.extend(values.tolist())
        elif all(isinstance(text, str | bytes) for text in values):
            feature.bytes_list.value.extend(text.encode() if isinstance(text, str) else text for text in values)
        else:
            raise BadCall(f"feature {name}: a feature holds integers, floats, or bytes and text, not {value!r}")


def _classes(result):
    return [[(one.label, one.score) for one in row.classes] for row in result.classifications]


def _values(result):
    return np.array([row.value for row in result.regressions], np.float32)


def _metadata(reply):
    definitions = messages.SignatureDefMap()
    definitions.ParseFromString(reply.metadata[SIGNATURES].value)
    return Metadata(
        reply.model_spec.name,
        reply.model_spec.version.value,
        {
            name: Signature(_tensors(definition.inputs), _tensors(definition.outputs), _defaults(definition))
            for name, definition in sorted(definitions.signature_def.items())
            if not name.startswith("__saved_model")
        },
    )


def _defaults(definition):
    return {alias: proto_to_tensor(proto) for alias, proto in sorted(definition.defaults.items())}


def _tensors(infos):
    return {
        alias: Tensor(
            _DATA_TYPES.get(info.dtype, f"type {info.dtype}"),
            None
            if info.tensor_shape.unknown_rank
            else tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim),
        )
        for alias, info in sorted(infos.items())
    }


def _status(reply):
    return [
        VersionStatus(
            one.version,
            _STATES.get(one.state, "UNKNOWN"),
            from_code(one.status.error_code, "").name if one.status.error_code else "OK",
            one.status.error_message,
        )
        for one in reply.model_version_status
    ]


def _reloaded(reply):
    if reply.status.error_code:
        raise from_code(reply.status.error_code, reply.status.error_message)
