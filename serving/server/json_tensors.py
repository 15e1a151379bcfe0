"""Converts JSON bodies to request messages and tensors to JSON, by row and by column as TensorFlow Serving does.

Source of the checks and their messages: tensorflow_serving/util/json_tensor.cc. Numbers are written so that a float32
reads back as the same value; whole numbers have ".0", and NaN, Infinity and -Infinity are bare words.
"""

import base64
import binascii

import numpy as np

from serving.export.session import SessionError
from serving.server.json_text import Block, JsonError, Line, at, decimals, parse, quoted, shown
from serving.server.repository import code_name
from serving.server.servable import invalid
from serving.wire.messages import CODES, DATA_TYPES, ClassificationRequest, PredictRequest, RegressionRequest
from serving.wire.tensors import tensor_to_proto

_NAMES = {number: name.removeprefix("DT_").lower() for name, number in DATA_TYPES.items()}
_WHOLE = {
    "int8": (-(2**31), 2**31), "uint8": (-(2**31), 2**31), "int16": (-(2**31), 2**31), "int32": (-(2**31), 2**31),
    "int64": (-(2**63), 2**63), "uint32": (0, 2**32), "uint64": (0, 2**64),
}  # fmt: skip
_ARRAY_TYPES = {"float": np.float32, "double": np.float64, "bool": np.bool_, "string": object}
_NAMES_OF_TYPES = {"float32": "float", "float64": "double", "float16": "half"}
_KINDS = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}


def read(body: bytes) -> dict:
    """The JSON object in a request body. Raises SessionError for anything else."""
    try:
        document = parse(body)
    except JsonError as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {shown(document)} Is not object")
    return document


def signature_name(document: dict) -> str:
    """The value of "signature_name", "" if it is missing. Raises SessionError."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def predict_request(document: dict, definition) -> tuple[object, bool]:
    """(PredictRequest without model_spec, True if it is by row) for the SignatureDef `definition`. Raises SessionError."""
    types = {alias: _NAMES[info.dtype] for alias, info in sorted(definition.inputs.items())}
    if not types:
        raise invalid("Failed to get input map for signature: " + (signature_name(document) or "DEFAULT"))
    by_row = "instances" in document
    if by_row and "inputs" in document:
        raise invalid(
            f"JSON Value: {shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if not by_row and "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    try:
        arrays = _rows(document["instances"], types, document) if by_row else _columns(document["inputs"], types)
    except ValueError as error:  # more axes than an array can have
        raise invalid(f"tensor parsing error: {error}") from error
    request = PredictRequest()
    for alias, array in arrays.items():
        request.inputs[alias].CopyFrom(tensor_to_proto(array))
    return request, by_row


def predict_reply(outputs: dict[str, np.ndarray], by_row: bool) -> str:
    """The JSON of a prediction. Bytes that are not UTF-8 are kept, as surrogate escapes.

    Raises SessionError if its outputs do not fit the form.
    """
    arrays = dict(sorted(outputs.items()))
    if not by_row:
        parts = {alias: _written(alias, array, Block) for alias, array in arrays.items()}
        return at(Block({"outputs": Block(parts) if len(parts) > 1 else next(iter(parts.values()))}))
    rows = None
    for alias, array in arrays.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {alias} has no shape information ")
        if len(array) < 1:
            raise invalid(f"Tensor name: {alias} has invalid batch size: {len(array)}")
        if rows is not None and len(array) != rows:
            raise invalid(f"Tensor name: {alias} has inconsistent batch size: {len(array)} expecting: {rows}")
        rows = len(array)
    if len(arrays) == 1:
        ((alias, array),) = arrays.items()
        return _on_one_line("predictions", _written(alias, array, Line).parts)
    columns = {alias: _written(alias, array, Line).parts for alias, array in arrays.items()}
    lines = [Block({alias: parts[row] for alias, parts in columns.items()}) for row in range(rows)]
    return at(Block({"predictions": Block(lines)}))


def examples_request(document: dict, kind):
    """The ClassificationRequest or RegressionRequest (`kind`) without model_spec of a body. Raises SessionError."""
    request = kind()
    request.model_spec.signature_name = signature_name(document)
    listed = request.input.example_list
    if "context" in document:
        listed = request.input.example_list_with_context
        _fill_example(listed.context, document["context"])
    examples = document.get("examples")
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {shown(document)} When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(examples, list):
        raise invalid(f"JSON Value: {shown(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {shown(document)} 'examples' value is an empty array")
    for each in examples:
        _fill_example(listed.examples.add(), each)
    return request


def classify_request(document: dict):
    """The ClassificationRequest of a body."""
    return examples_request(document, ClassificationRequest)


def regress_request(document: dict):
    """The RegressionRequest of a body."""
    return examples_request(document, RegressionRequest)


def classify_reply(response) -> str:
    """The JSON of a ClassificationResponse."""
    rows = [
        Line([Line([quoted(each.label), *decimals(np.float32([each.score]))]) for each in row.classes])
        for row in response.result.classifications
    ]
    return _on_one_line("results", rows)


def regress_reply(response) -> str:
    """The JSON of a RegressionResponse."""
    values = np.float32([each.value for each in response.result.regressions])
    return at(Block({"results": Line(decimals(values))}))


def _rows(instances, types, document):
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {shown(document)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {shown(document)} No values in 'instances' array")
    by_name = _is_object(instances[0])
    if not isinstance(instances[0], dict) and len(types) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"
        )
    collected = {alias: [] for alias in types}
    for place, element in enumerate(instances):
        if by_name != _is_object(element):
            expected, got = ("object", "list") if by_name else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {got} at item {place} of input list")
        named = element if by_name else {next(iter(types)): element}
        for alias, value in named.items():
            key = f" key: {alias}" if by_name else ""
            try:
                _collect(collected, types, alias, value)
            except SessionError as error:
                raise invalid(
                    f"Failed to process element: {place}{key} of 'instances' list. Error: {code_name(error.code)}: {error.message}"
                ) from error
        if by_name and named.keys() != types.keys():
            raise invalid(
                f"Failed to process element: {place} of 'instances' list. JSON object: {shown(element)} "
                f"keys must be equal to: {','.join(types)}"
            )
    return {alias: np.stack(arrays) for alias, arrays in collected.items()}


def _collect(collected, types, alias, value):
    if alias not in types:
        raise invalid(f"JSON object: does not have named input: {alias}")
    array, before = _array(value, types[alias]), collected[alias]
    if before and before[0].size != array.size:
        raise invalid(f"Expecting tensor size: {before[0].size} but got: {array.size}")
    if before and before[0].shape != array.shape:
        raise invalid(f"Expecting shape {_shape(before[0])} but got: {_shape(array)}")
    before.append(array)


def _columns(inputs, types):
    if not _is_object(inputs):
        if len(types) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
            )
        ((alias, kind),) = types.items()
        return {alias: _array(inputs, kind)}
    for alias in types:
        if alias not in inputs:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
    return {alias: _array(inputs[alias], kind) for alias, kind in types.items()}


def _array(value, kind):
    """The array of nested lists; the depth is that of the first elements."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    values = []
    _flatten(value, shape, 0, kind, values)
    array = np.empty(len(values), _ARRAY_TYPES.get(kind, kind))
    with np.errstate(over="ignore"):  # a number beyond the largest float becomes infinite
        array[:] = np.array(values, np.int64).astype(kind) if kind in ("int8", "uint8", "int16") and values else values
    return array.reshape(shape)


def _flatten(value, shape, level, kind, values):
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            )
        values.append(_scalar(value, kind))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for each in value:
        _flatten(each, shape, level + 1, kind, values)


def _scalar(value, kind):
    if kind == "string":
        if isinstance(value, dict):
            return _decoded(value)
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
    elif kind == "bool":
        if isinstance(value, bool):
            return value
    elif kind in _WHOLE:
        low, beyond = _WHOLE[kind]
        if isinstance(value, int) and not isinstance(value, bool) and low <= value < beyond:
            return value
    elif kind in ("float", "double"):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    else:
        raise SessionError(CODES["UNIMPLEMENTED"], f"Conversion of JSON Value: {shown(value)} to type: {kind}")
    raise invalid(f"JSON Value: {shown(value)} Type: {_kind(value)} is not of expected type: {kind}")


def _decoded(value):
    if not _is_b64(value):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    try:
        text = "".join(value["b64"].split())
        padding = "" if "=" in text else "=" * (-len(text) % 4)
        return base64.b64decode(text + padding, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _fill_example(example, value):
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {_kind(value)}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for each in content if isinstance(content, list) else [content]:
            _add_feature(feature, name, each)


def _add_feature(feature, name, value):
    if isinstance(value, str):
        field, stored = "bytes_list", value.encode("utf-8", "surrogateescape")
    elif _is_b64(value):
        field, stored = "bytes_list", _decoded(value)
    elif isinstance(value, float) or isinstance(value, int) and not -(2**63) <= value < 2**64:
        with np.errstate(over="ignore"):
            field, stored = "float_list", float(np.float32(value))
    elif isinstance(value, int):
        field, stored = "int64_list", int(value)
        if stored >= 2**63:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    else:
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {_kind(value)}")
    kind = feature.WhichOneof("kind")
    if kind not in (None, field):
        expected = kind.removesuffix("_list")
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {expected}")
    getattr(feature, field).value.append(stored)


def _is_b64(value):
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value):
    return isinstance(value, dict) and not _is_b64(value)


def _kind(value):
    if isinstance(value, bool):
        return "True" if value else "False"
    return _KINDS[type(value)]


def _shape(array):
    return "[" + ",".join(str(size) for size in array.shape) + "]"


def _on_one_line(name, parts):
    # The writer ends its one-line form before it closes the list.
    return f'{{\n    "{name}": {Line(parts).at(1)[:-1]}\n    ]\n}}'


def _written(alias, array, layout):
    """The parts of a tensor as JSON, each axis in `layout`; strings are base64 where the name ends in _bytes."""
    array = np.asarray(array)
    kind = _NAMES_OF_TYPES.get(array.dtype.name, array.dtype.name)
    if array.dtype == object:
        parts = [_text(alias, each) for each in array.ravel().tolist()]
    elif kind == "bool":
        parts = ["true" if each else "false" for each in array.ravel().tolist()]
    elif kind in _WHOLE:
        parts = [str(each) for each in array.ravel().tolist()]
    elif kind in ("float", "double"):
        parts = decimals(array)
    else:
        raise invalid(f"Failed to write JSON value for tensor type: {kind}")
    return _nested(parts, array.shape, layout)


def _nested(parts, shape, layout):
    if not shape:
        return parts[0]
    if len(shape) == 1:
        return layout(parts)
    step = len(parts) // shape[0] if shape[0] else 0
    return layout([_nested(parts[row * step : (row + 1) * step], shape[1:], layout) for row in range(shape[0])])


def _text(alias, value):
    if alias.endswith("_bytes"):
        return Block({"b64": quoted(base64.b64encode(value).decode())})
    return quoted(value.decode("utf-8", "surrogateescape"))
