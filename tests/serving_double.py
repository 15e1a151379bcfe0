"""A stand-in for a server, for tests of its clients: TensorFlow Serving's answers and errors, over real sockets.

Its models are NumPy functions; `export` writes the same ones as SavedModels, so that they can be asked of a real server,
and `test_client.py` holds the two to each other. `Double.faults` makes the next calls fail or wait, and
`Double.seen` records what came in.
"""

import base64
import collections
import contextlib
import http.server
import io
import json
import re
import threading
import time
from concurrent import futures
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

import grpc
import numpy as np
from google.protobuf import json_format
from PIL import Image

from serving import protocol, tensors

PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{verb}" for verb in ("predict", "classify", "regress"))
WIDTH = 2**20  # floats in a row of `large`: one of them alone is the 4 MiB that clients take by default
SIZE = 8  # of the pictures of `gan`

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_STATUSES = {
    3: 400,
    9: 400,
    11: 400,
    5: 404,
    10: 409,
    6: 409,
    8: 429,
    1: 499,
    12: 501,
    14: 503,
    4: 504,
    7: 403,
    16: 401,
}
_NUMPY = {"float32": "DT_FLOAT", "int32": "DT_INT32", "int64": "DT_INT64", "uint8": "DT_UINT8", "bool": "DT_BOOL"}


class Refusal(Exception):
    """An error the server answers with."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = protocol.CODES[code], message


class Signature(NamedTuple):
    """`inputs` and `outputs` are alias -> (type, shape), and `run` takes and returns arrays by alias."""

    inputs: dict
    outputs: dict
    run: object
    method: str = PREDICT


def _png(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _files(pictures):
    rows = np.empty(len(pictures), object)
    rows[:] = [_png(picture) for picture in pictures]
    return rows


def _double(x):
    return {"y": 2 * x}


def _kinds(f, i, l, u, b, s):  # noqa: E741 - named for their types
    return {"f": f, "i": i, "l": l, "u": u, "b": b, "text": s, "raw_bytes": s}


def _large(n):
    return {"rows": np.zeros((len(n), WIDTH), np.float32) + n[:, None]}


def _value(example):
    return (*example.features.feature["value"].float_list.value, 0.0)[0]


def _classify(examples):
    scores = [[_value(example), 1 - _value(example)] for example in examples]
    return [[("yes", yes), ("no", no)] for yes, no in scores]


def _regress(examples):
    return [2 * _value(example) for example in examples]


def _generate(seed, truncation, label=None):
    """Each picture one colour, which tells its seed, its truncation and its label."""
    label = np.zeros_like(seed) if label is None else label
    colours = np.stack([seed % 256, truncation * 100, label], axis=1).astype(np.uint8)
    return np.broadcast_to(colours[:, None, None], (len(seed), SIZE, SIZE, 3))


def _negative(image_bytes):
    try:
        pictures = [np.array(Image.open(io.BytesIO(content)).convert("RGB")) for content in image_bytes]
    except OSError:
        sentence = "Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required."
        raise Refusal("INVALID_ARGUMENT", sentence) from None
    return {"image_bytes": _files([255 - picture for picture in pictures])}


_IMAGES = ("uint8", (None, SIZE, SIZE, 3))
_FILES = ("string", (None,))


def _generator(label):
    inputs = {"seed": ("int64", (None,)), "truncation": ("float32", (None,))} | label
    images = Signature(inputs, {"images": _IMAGES}, lambda **given: {"images": _generate(**given)})
    return {
        "serving_default": images,
        "generate": images,
        "generate_png": Signature(
            inputs, {"image_bytes": _FILES}, lambda **given: {"image_bytes": _files(_generate(**given))}
        ),
    }


_KINDS = {"f": "float32", "i": "int32", "l": "int64", "u": "uint8", "b": "bool", "s": "string"}
_EXAMPLES = {"inputs": ("string", (None,))}
ROWS = (None,)
MODELS = {
    "arrays": {
        "serving_default": Signature({"x": ("float32", (None, 3))}, {"y": ("float32", (None, 3))}, _double),
        "kinds": Signature(
            {alias: (dtype, ROWS) for alias, dtype in _KINDS.items()},
            {alias: (dtype, ROWS) for alias, dtype in _KINDS.items() if alias != "s"}
            | {"text": ("string", ROWS), "raw_bytes": ("string", ROWS)},
            _kinds,
        ),
        "large": Signature({"n": ("float32", ROWS)}, {"rows": ("float32", (None, WIDTH))}, _large),
        "classify": Signature(
            _EXAMPLES, {"classes": ("string", (None, 2)), "scores": ("float32", (None, 2))}, _classify, CLASSIFY
        ),
        "regress": Signature(_EXAMPLES, {"outputs": ("float32", (None,))}, _regress, REGRESS),
    },
    "gan": _generator({}),
    "conditional": _generator({"label": ("int64", (None,))}),
    "negative": {
        "serving_default": Signature({"image_bytes": _FILES}, {"image_bytes": _FILES}, _negative),
        "apply_bytes": Signature({"image_bytes": _FILES}, {"image_bytes": _FILES}, _negative),
    },
}


def export_arrays(folder):
    """Write the model `arrays` as a SavedModel into `folder`, a version's."""
    import tensorflow as tf

    parse = {"value": tf.io.FixedLenFeature([], tf.float32, 0.0)}

    def classify(inputs):
        value = tf.io.parse_example(inputs, parse)["value"]
        classes = tf.broadcast_to(tf.constant([["yes", "no"]]), [tf.shape(value)[0], 2])
        return {"classes": classes, "scores": tf.stack([value, 1 - value], 1)}

    functions = {
        "serving_default": lambda x: {"y": 2 * tf.ensure_shape(x, [None, 3])},
        "kinds": lambda **given: {alias: tf.identity(value) for alias, value in _kinds(**given).items()},
        "large": lambda n: {"rows": tf.zeros([tf.shape(n)[0], WIDTH]) + n[:, None]},
        "classify": classify,
        "regress": lambda inputs: {"outputs": 2 * tf.io.parse_example(inputs, parse)["value"]},
    }
    signatures = {
        name: tf.function(functions[name]).get_concrete_function(
            **{alias: tf.TensorSpec(shape, dtype, alias) for alias, (dtype, shape) in signature.inputs.items()}
        )
        for name, signature in MODELS["arrays"].items()
    }
    tf.saved_model.save(tf.Module(), folder, signatures=signatures)


@dataclass
class Version:
    """`looks` is how many times its status is still asked before it has loaded; `broken` says why it never will."""

    state: str = "AVAILABLE"
    looks: int = 0
    broken: str = ""


@dataclass
class Double:
    """Models by name -> version -> Version. `disk` has the versions that could be loaded: model -> number -> Version."""

    versions: dict = field(default_factory=lambda: {name: {1: Version()} for name in MODELS})
    labels: dict = field(default_factory=dict)
    disk: dict = field(default_factory=dict)
    faults: collections.deque = field(default_factory=collections.deque)
    seen: list = field(default_factory=list)
    configs: list = field(default_factory=list)

    def answer(self, method, request, headers):
        """The reply message. Raises Refusal."""
        self.seen.append((method, request, headers))
        if self.faults:
            fault = self.faults.popleft()
            if isinstance(fault, Refusal):
                raise fault
            time.sleep(fault)
        return getattr(self, f"_{method}")(request)

    def _Predict(self, request):
        number, signature = self._asked(request.model_spec, "Predict")
        given = dict(request.inputs)
        _check_names(signature.inputs, given)
        arrays = {}
        for alias, proto in given.items():
            try:
                arrays[alias] = tensors.proto_to_tensor(proto)
            except ValueError:
                raise Refusal("INVALID_ARGUMENT", f"tensor parsing error: {alias}") from None
        for place, (alias, (dtype, _)) in enumerate(sorted(signature.inputs.items())):
            got = _type_name(arrays[alias])
            if got != dtype:
                raise Refusal("INVALID_ARGUMENT", f"Expects arg[{place}] to be {_cc(dtype)} but {_cc(got)} is provided")
        for alias in request.output_filter:
            if alias not in signature.outputs:
                names = _braces(signature.outputs)
                raise Refusal(
                    "INVALID_ARGUMENT",
                    f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {names}.",
                )
        response = protocol.PredictResponse(model_spec=_answering(request.model_spec, number))
        for alias, array in signature.run(**arrays).items():
            if not request.output_filter or alias in request.output_filter:
                response.outputs[alias].CopyFrom(tensors.tensor_to_proto(array))
        return response

    def _Classify(self, request):
        number, signature = self._asked(request.model_spec, "Classify")
        response = protocol.ClassificationResponse(model_spec=_answering(request.model_spec, number))
        _fill_classes(response.result, signature.run(_examples(request.input)))
        return response

    def _Regress(self, request):
        number, signature = self._asked(request.model_spec, "Regress")
        response = protocol.RegressionResponse(model_spec=_answering(request.model_spec, number))
        _fill_values(response.result, signature.run(_examples(request.input)))
        return response

    def _MultiInference(self, request):
        response = protocol.MultiInferenceResponse()
        for task in request.tasks:
            number, signature = self._asked(task.model_spec, "MultiInference")
            result = response.results.add(model_spec=_answering(task.model_spec, number))
            answers = signature.run(_examples(request.input))
            if task.method_name == CLASSIFY:
                _fill_classes(result.classification_result, answers)
            else:
                _fill_values(result.regression_result, answers)
        return response

    def _GetModelMetadata(self, request):
        if list(request.metadata_field) != ["signature_def"]:
            raise Refusal("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field")
        number = self._servable(request.model_spec)
        definitions = protocol.SignatureDefMap()
        for name, signature in MODELS[request.model_spec.name].items():
            definition = definitions.signature_def[name]
            definition.method_name = signature.method
            for infos, ends in ((definition.inputs, signature.inputs), (definition.outputs, signature.outputs)):
                for alias, (dtype, shape) in ends.items():
                    infos[alias].name = f"{name}_{alias}:0"
                    infos[alias].dtype = protocol.DATA_TYPES[_NUMPY.get(dtype, "DT_STRING")]
                    for size in shape:
                        infos[alias].tensor_shape.dim.add(size=-1 if size is None else size)
        definitions.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "NoOp"
        response = protocol.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = number
        response.metadata["signature_def"].Pack(definitions)
        return response

    def _GetModelStatus(self, request):
        spec = request.model_spec
        known = self.versions.get(spec.name, {})
        if spec.HasField("version"):
            known = {number: version for number, version in known.items() if number == spec.version.value}
            if not known:
                raise Refusal("NOT_FOUND", f"Could not find version {spec.version.value} of model {spec.name}")
        if not known:
            raise Refusal("NOT_FOUND", f"Could not find any versions of model {spec.name}")
        response = protocol.GetModelStatusResponse()
        for number, version in sorted(known.items(), reverse=True):
            _load(version)
            one = response.model_version_status.add(version=number, state=protocol.STATES[version.state])
            if version.state == "END" and version.broken:
                one.status.error_code, one.status.error_message = protocol.CODES["NOT_FOUND"], version.broken
        return response

    def _HandleReloadConfigRequest(self, request):
        entries = request.config.model_config_list.config
        for entry in entries:
            if not entry.base_path.startswith("/") and "://" not in entry.base_path:
                raise Refusal(
                    "INVALID_ARGUMENT",
                    f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}",
                )
            for number in entry.version_labels.values():
                version = self.versions.get(entry.name, {}).get(number, Version("END"))
                if version.state != "AVAILABLE":
                    raise Refusal(
                        "FAILED_PRECONDITION",
                        f"Request to assign label to version {number} of model {entry.name}, which is not currently "
                        "available for inference",
                    )
        self.configs.append(request.config)
        self.labels = {entry.name: dict(entry.version_labels) for entry in entries}
        for name, known in self.versions.items():
            entry = next((entry for entry in entries if entry.name == name), None)
            newest = max({*self.disk.get(name, {}), *known})
            wanted = [] if entry is None else entry.model_version_policy.specific.versions or [newest]
            for number in wanted:
                if number not in known or known[number].state == "END":
                    if number in self.disk.get(name, {}):
                        known[number] = self.disk[name][number]
                        known[number].state = "LOADING"
            for number, version in known.items():
                version.state = version.state if number in wanted else "END"
        return protocol.ReloadConfigResponse(status={})

    def _servable(self, spec):
        if not spec.name:
            raise Refusal("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        loaded = [number for number, one in self.versions.get(spec.name, {}).items() if one.state == "AVAILABLE"]
        number = max(loaded, default=None)
        wanted = f"Latest({spec.name})"
        if spec.version_label:
            if spec.version_label not in self.labels.get(spec.name, {}):
                raise Refusal("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
            number = self.labels[spec.name][spec.version_label]
        elif spec.HasField("version"):
            number = spec.version.value
        if spec.version_label or spec.HasField("version"):
            wanted = f"Specific({spec.name}, {number})"
        if number not in loaded:
            raise Refusal("NOT_FOUND", f"Servable not found for request: {wanted}")
        return number

    def _asked(self, spec, method):
        number = self._servable(spec)
        name = spec.signature_name or "serving_default"
        if name not in MODELS[spec.name]:
            if method == "Predict":
                raise Refusal("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
            raise Refusal("INVALID_ARGUMENT", f"No signature was found with the name: {name}")
        return number, MODELS[spec.name][name]


def _load(version):
    if version.state != "LOADING":
        return
    if version.looks:
        version.looks -= 1
    else:
        version.state = "END" if version.broken else "AVAILABLE"


def _answering(spec, number):
    made = protocol.ModelSpec(name=spec.name, signature_name=spec.signature_name or "serving_default")
    made.version.value = number
    return made


def _check_names(wanted, given):
    if len(wanted) != len(given):
        raise Refusal(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(given)}!={len(wanted)} len({_braces(given)}) != "
            f"len({_braces(wanted)}). Sent extra: {_braces(given.keys() - wanted.keys())}. "
            f"Missing but required: {_braces(wanted.keys() - given.keys())}.",
        )
    for alias in sorted(wanted):
        if alias not in given:
            raise Refusal("INVALID_ARGUMENT", f"Signature input alias: {alias}(…) not found in request")


def _braces(names):
    return "{" + ",".join(sorted(names)) + "}"


def _type_name(array):
    return "string" if array.dtype.hasobject else array.dtype.name


def _cc(dtype):
    return {"float32": "float", "float64": "double"}.get(dtype, dtype)


def _examples(message):
    if message.WhichOneof("kind") == "example_list":
        return list(message.example_list.examples)
    rows = message.example_list_with_context
    merged = []
    for example in rows.examples:
        both = protocol.Example()
        both.ParseFromString(rows.context.SerializeToString() + example.SerializeToString())
        merged.append(both)
    return merged


def _fill_classes(result, rows):
    for row in rows:
        classes = result.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)


def _fill_values(result, values):
    for value in values:
        result.regressions.add(value=value)


# REST

_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata|:\w+)?")


def _rest(double, verb, path, body, headers):
    """Status and JSON text."""
    try:
        found = _PATH.fullmatch(path)
        if not found:
            raise Refusal("INVALID_ARGUMENT", f"Malformed request: {verb} {path}")
        name, number, label, rest = found.groups()
        spec = protocol.ModelSpec(name=unquote(name), version_label=unquote(label or ""))
        if number:
            spec.version.value = int(number)
        return 200, _rest_answer(double, verb, spec, rest, body, headers)
    except Refusal as refusal:
        return _STATUSES.get(refusal.code, 500), json.dumps({"error": refusal.message})


def _rest_answer(double, verb, spec, rest, body, headers):
    if verb == "GET" and rest is None:
        request = protocol.GetModelStatusRequest(model_spec=spec)
        return _proto_json(double.answer("GetModelStatus", request, headers))
    if verb == "GET":
        request = protocol.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        reply = double.answer("GetModelMetadata", request, headers)
        definitions = protocol.SignatureDefMap.FromString(reply.metadata["signature_def"].value)
        inside = f'{{"signature_def": {_proto_json(definitions)}}}'
        return f'{{"model_spec": {_proto_json(reply.model_spec)}, "metadata": {inside}}}'
    body = json.loads(body)
    spec.signature_name = body.get("signature_name", "")
    if rest == ":predict":
        return _rest_predict(double, spec, body["inputs"], headers)
    message = protocol.Input()
    rows = message.example_list_with_context if "context" in body else message.example_list
    rows.SetInParent()
    for features in body["examples"]:
        _json_features(rows.examples.add(), features)
    if "context" in body:
        _json_features(rows.context, body["context"])
    if rest == ":classify":
        request = protocol.ClassificationRequest(model_spec=spec, input=message)
        result = double.answer("Classify", request, headers).result
        rows = [[[one.label, _short(one.score)] for one in row.classes] for row in result.classifications]
    else:
        request = protocol.RegressionRequest(model_spec=spec, input=message)
        rows = [_short(one.value) for one in double.answer("Regress", request, headers).result.regressions]
    return json.dumps({"results": rows})


def _rest_predict(double, spec, inputs, headers):
    signature = MODELS.get(spec.name, {}).get(spec.signature_name or "serving_default")
    request = protocol.PredictRequest(model_spec=spec)
    if signature is not None:
        if not isinstance(inputs, dict):
            inputs = {next(iter(signature.inputs)): inputs}
        for alias, (dtype, _) in signature.inputs.items():
            if alias not in inputs:
                raise Refusal("INVALID_ARGUMENT", f"Missing named input: {alias} in 'inputs' object.")
            array = np.array(_unb64(inputs[alias]), object if dtype == "string" else dtype)
            request.inputs[alias].CopyFrom(tensors.tensor_to_proto(array))
    elif spec.name in MODELS:
        raise Refusal("INVALID_ARGUMENT", f'Serving signature name: "{spec.signature_name}" not found in signature def')
    response = double.answer("Predict", request, headers)
    made = {alias: _to_json(alias, tensors.proto_to_tensor(proto)) for alias, proto in response.outputs.items()}
    return json.dumps({"outputs": next(iter(made.values())) if len(made) == 1 else made}, ensure_ascii=False)


def _unb64(value):
    if isinstance(value, list):
        return [_unb64(one) for one in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def _to_json(alias, array):
    def one(value):
        if isinstance(value, bytes):
            if alias.endswith("_bytes"):
                return {"b64": base64.b64encode(value).decode()}
            return value.decode("utf-8", "surrogateescape")
        return _short(value) if isinstance(value, float) else value

    def nested(value):
        return [nested(part) for part in value] if isinstance(value, list) else one(value)

    return nested(array.tolist())


def _short(value):
    """The shortest decimal that is the same float32."""
    return float(str(np.float32(value)))


def _proto_json(message):
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _json_features(example, features):
    example.features.SetInParent()
    for name, values in features.items():
        values = values if isinstance(values, list) else [values]
        feature = example.features.feature[name]
        if any(isinstance(value, dict | str) for value in values):
            feature.bytes_list.value.extend(_unb64(values))
        elif all(isinstance(value, int) for value in values):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)


# Sockets


@dataclass
class Running:
    """Where a `double` listens: `grpc`, as host:port or unix:/path, and `rest`, as a URL."""

    double: Double
    grpc: str
    rest: str


@contextlib.contextmanager
def running(double=None, *, address="localhost:0", credentials=None, context=None):
    """Serve `double` until the end of the `with`. `credentials` (gRPC) and `context` (REST) are for TLS."""
    double = double or Double()
    server = grpc.server(
        futures.ThreadPoolExecutor(8),
        options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)],
    )
    for service, methods in protocol.SERVICES.items():
        handlers = {name: _handler(double, name, request) for name, (request, _) in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    server.start()
    web = http.server.ThreadingHTTPServer(("localhost", 0), _page(double))
    if context is not None:
        web.socket = context.wrap_socket(web.socket, server_side=True)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    scheme = "http" if context is None else "https"
    try:
        yield Running(
            double,
            address if address.startswith("unix:") else f"localhost:{port}",
            f"{scheme}://localhost:{web.server_port}",
        )
    finally:
        server.stop(None)
        web.shutdown()
        web.server_close()
        thread.join()


def _handler(double, name, request):
    def handle(message, context):
        try:
            return double.answer(name, message, dict(context.invocation_metadata()))
        except Refusal as refusal:
            context.abort(_CODES[refusal.code], refusal.message)

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=request.FromString, response_serializer=lambda reply: reply.SerializeToString()
    )


def _page(double):
    class Page(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def _reply(self, body):
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, text = _rest(double, self.command, self.path, body, headers)
            content = text.encode("utf-8", "surrogateescape")
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            self._reply(None)

        def do_POST(self):
            self._reply(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_):
            pass

    return Page
