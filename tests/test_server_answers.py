"""What TensorFlow Serving answers to its own test models, and to what is odd: the same bodies, codes and sentences.

The models are those of its tutorial, made anew (`small_models`); the answers are read from its sources and documentation.
"""

import contextlib
import http.client
import json

import grpc
import numpy as np
import pytest
import served
import small_models
from served import Stub

from serving.export.kernels import Unguarded, unguarded
from serving.export.session import Call, Session
from serving.server.json_text import Block, JsonError, Line, at, decimals, parse, shown
from serving.server.trial import Trial
from serving.wire.messages import ClassificationRequest, RegressionRequest

MODELS = ["half_plus_two", "half_plus_three", "half_plus_two_of_tf2", "abrupt", "arrays"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in MODELS:
        getattr(small_models, name)(folder / name / "00000123")
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "batched"])
def running(request, folder):
    config = folder / "models.config"
    config.write_text(served.listed(*(served.entry(folder / name, name=name) for name in MODELS)))
    monitoring = folder / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    files = {"model_config_file": str(config), "monitoring_config_file": str(monitoring)}
    with served.running(**files, enable_batching=request.param) as flags:
        yield flags


def ask(running, model, body, verb="predict"):
    """(status, text) of a POST."""
    connection = http.client.HTTPConnection("127.0.0.1", running.rest_api_port, timeout=120)
    connection.request(
        "POST", f"/v1/models/{model}:{verb}", body if isinstance(body, str | bytes) else json.dumps(body)
    )
    response = connection.getresponse()
    content = response.read().decode("utf-8", "surrogateescape")
    connection.close()
    return response.status, content


def test_a_version_folder_with_zeros_before_its_number_is_served(running):
    connection = http.client.HTTPConnection("127.0.0.1", running.rest_api_port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/v1/models/half_plus_two/versions/123")
        assert json.loads(connection.getresponse().read())["model_version_status"][0]["version"] == "123"


TUTORIAL = [
    ("half_plus_two", [1.0, 2.0, 5.0], [2.5, 3.0, 4.5]),
    ("half_plus_three", [1.0, 2.0, 5.0], [3.5, 4.0, 5.5]),
    ("half_plus_two_of_tf2", [1.0, 2.0, 5.0], [2.5, 3.0, 4.5]),
    ("half_plus_two", [[1.0], [2.0]], [[2.5], [3.0]]),
    ("half_plus_two", [[1.0, 2.0]], [[2.5, 3.0]]),
    ("half_plus_two", [[[1.0]]], [[[2.5]]]),
    ("half_plus_two", [{"x": 1.0}, {"x": 5}], [2.5, 4.5]),
    ("half_plus_three", [[1.0, 2.0]], [[3.5, 4.0]]),
]


@pytest.mark.parametrize("model, instances, predictions", TUTORIAL, ids=range(len(TUTORIAL)))
def test_shapes_that_are_not_the_declared_ones_are_computed(running, model, instances, predictions):
    status, text = ask(running, model, {"instances": instances})
    assert (status, json.loads(text)) == (200, {"predictions": predictions})
    status, text = ask(
        running, model, {"inputs": [each["x"] if isinstance(each, dict) else each for each in instances]}
    )
    assert (status, json.loads(text)) == (200, {"outputs": predictions})


def test_grpc_computes_them_too(running):
    stub = Stub(running)
    assert stub.ask("half_plus_two", x=np.float32([1, 2, 5]))["y"].tolist() == [2.5, 3.0, 4.5]
    assert stub.ask("half_plus_two", x=np.ones((2, 1, 3), np.float32))["y"].shape == (2, 1, 3)
    assert stub.ask("half_plus_three", x=np.float32([1, 2, 5]))["y"].tolist() == [3.5, 4.0, 5.5]
    assert stub.ask("half_plus_two", x=np.ones((0, 1), np.float32))["y"].shape == (0, 1)


def test_a_scalar_is_computed_unless_it_would_be_batched(running):
    status, text = ask(running, "half_plus_two", {"inputs": 1.0})
    if running.enable_batching:
        assert (status, json.loads(text)["error"]) == (
            400,
            "Batching Run() input tensors must have at least one dimension",
        )
    else:
        assert (status, json.loads(text)) == (200, {"outputs": 2.5})


def test_what_cannot_be_batched_is_not_tried(running, monkeypatch):
    tried = []
    monkeypatch.setattr(Trial, "survives", lambda *_: tried.append(1))
    for body, words in (
        (1.0, "must have at least one dimension"),
        (square(1001), "larger than maximum input batch size"),
    ):
        status, text = ask(running, "abrupt", {"signature_name": "any", "inputs": body})
        assert status == 400 and (words in text) is running.enable_batching
    assert bool(tried) is not running.enable_batching


def test_the_batches_are_counted(running):
    ask(running, "half_plus_two", {"instances": [1.0]})
    connection = http.client.HTTPConnection("127.0.0.1", running.rest_api_port, timeout=30)
    connection.request("GET", "/monitoring/prometheus/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    waited = ':tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name="model_server_batch_threads"}'
    for name in (":tensorflow:serving:batching_session:wrapped_run_count{} ", waited):
        assert (name in page) is running.enable_batching


BODIES = [  # model, verb, body, status, text
    ("half_plus_two", "predict", {"instances": [1.0, 2.0]}, 200, '{\n    "predictions": [2.5, 3.0\n    ]\n}'),
    ("half_plus_two", "predict", {"inputs": [1.0, 2.0]}, 200, '{\n    "outputs": [\n        2.5,\n        3.0\n    ]\n}'),
    ("half_plus_two", "predict", '{"inputs": ' + 300 * "[" + 300 * "]" + "}", 400, "tensor parsing error: "),
    ("half_plus_two", "predict", {"inputs": []}, 200, '{\n    "outputs": []\n}'),
    # Numbers: six digits where these are enough, else nine; any JSON number is taken for a float.
    ("half_plus_two", "predict", {"instances": [1111111.0]}, 200, '{\n    "predictions": [555557.5\n    ]\n}'),
    ("half_plus_two", "predict", {"instances": [16777216]}, 200, '{\n    "predictions": [8.38861e+06\n    ]\n}'),
    ("half_plus_two", "predict", '{"instances": [1e39, -1e39, NaN]}', 200,
     '{\n    "predictions": [Infinity, -Infinity, NaN\n    ]\n}'),
    ("half_plus_two", "predict", {"instances": [2**64, 2**63, -(2**63)]}, 200,
     '{\n    "predictions": [9.22337204e+18, 4.61168602e+18, -4.61168602e+18\n    ]\n}'),
    ("half_plus_two", "predict", '{"instances": [Inf]}', 200, '{\n    "predictions": [Infinity\n    ]\n}'),
    ("half_plus_two", "predict", {"instances": ["a"]}, 400,
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
     'JSON Value: "a" Type: String is not of expected type: float'),
    ("half_plus_two", "predict", {"instances": [True]}, 400, "JSON Value: true Type: True is not of expected type: float"),
    ("half_plus_two", "predict", {"instances": [None]}, 400, "JSON Value: null Type: Null is not of expected type: float"),
    ("half_plus_two", "predict", {"instances": [{"b64": "AA=="}]}, 400, "Type: Object is not of expected type: float"),
    ("half_plus_two", "predict", {"instances": 1}, 400,
     'JSON Value: {\n    "instances": 1\n} Expecting \'instances\' to be an list/array'),
    ("half_plus_two", "predict", {"instances": []}, 400, "No values in 'instances' array"),
    ("half_plus_two", "predict", {"instances": [{"x": 1, "z": 1}]}, 400,
     "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
     "JSON object: does not have named input: z"),
    ("half_plus_two", "predict", {"instances": [{}]}, 400,
     "Failed to process element: 0 of 'instances' list. JSON object: {} keys must be equal to: x"),
    ("half_plus_two", "predict", {"signature_name": "s", "instances": [1]}, 400,
     'Serving signature name: "s" not found in signature def'),
    ("half_plus_two", "predict", "hello", 400, "JSON Parse error: Invalid value. at offset: 0"),
    ("half_plus_two", "predict", "", 400, "JSON Parse error: The document is empty"),
    ("half_plus_two", "predict", '{"instances": [1.0, 2.0]', 400,
     "JSON Parse error: Missing a comma or '}' after an object member. at offset: 24"),
    ("half_plus_two", "predict", "3", 400, "JSON Value: 3 Is not object"),
    # Of members of one name the first is found.
    ("half_plus_two", "predict", '{"instances": [1.0], "instances": [5.0]}', 200, '{\n    "predictions": [2.5\n    ]\n}'),
    ("half_plus_two", "predict", '{"inputs": {"x": 1e999, "x": [5.0]}}', 400, "Number too big to be stored in double."),
    ("half_plus_two", "predict", '{"signature_name": "serving_default", "inputs": {"x": [Inf], "x": [1.0]}, "signature_name": "s"}',
     200, '{\n    "outputs": [\n        Infinity\n    ]\n}'),
    ("arrays", "predict", '{"signature_name": "kinds", "inputs": {"s": {"b64": "AA="}, "f": 1, "i": 1, "l": 1, "u": 1, "b": true}}',
     400, "Unable to base64 decode"),
    # Strings: base64 as command lines write it, in lines and without the marks at its end.
    ("arrays", "predict", {"signature_name": "kinds", "instances": [
        {"f": 1, "i": 2, "l": 3, "u": 260, "b": True, "s": {"b64": "aGVs\nbG8"}}]}, 200,
     '{\n    "predictions": [\n        {\n            "b": true,\n            "f": 1.0,\n            "i": 2,\n            "l": 3,\n'
     '            "raw_bytes": {\n                "b64": "aGVsbG8="\n            },\n            "text": "hello",\n'
     '            "u": 4\n        }\n    ]\n}'),
    # Examples.
    ("half_plus_two", "classify", {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}, {"x": [2.0]}]}, 200,
     '{\n    "results": [[["", 2.5]], [["", 3.0]]\n    ]\n}'),
    ("half_plus_two", "regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}, 200,
     '{\n    "results": [2.5, 3.0]\n}'),
    ("half_plus_two", "regress", {"signature_name": "regress_x_to_y2", "context": {"x": 1.0}, "examples": [{}]}, 200,
     '{\n    "results": [3.5]\n}'),
    ("half_plus_two", "regress", {"signature_name": "regress_x2_to_y3", "examples": [{"x": 1.0}]}, 400,
     "Expects arg[0] to be float but string is provided"),
    ("half_plus_two", "regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 1e39}]}, 200,
     '{\n    "results": [Infinity]\n}'),
    ("half_plus_two", "regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 2**64}]}, 200,
     '{\n    "results": [9.22337204e+18]\n}'),
    ("half_plus_two", "regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 2**63}]}, 400,
     "Feature: x has uint64 element. Only int64 is supported."),
    ("half_plus_two", "classify", {"examples": [{"x": 1.0}]}, 400, "No classification inputs found in SignatureDef: "),
    ("half_plus_two", "regress", {"examples": [{"x": 1.0}]}, 400, "No regression inputs found in SignatureDef: "),
    ("half_plus_two", "classify", {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}]}, 400,
     'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: '),
    ("half_plus_two", "regress", {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]}, 400,
     "No regression outputs found in SignatureDef: "),
    ("half_plus_two", "classify", {"context": {"x": None}}, 400, "Feature: x has element with unexpected JSON type: Null"),
    ("half_plus_two", "classify", {}, 400, "When method is classify, key 'examples' is expected and was not found"),
    ("half_plus_two", "classify", {"examples": {}}, 400, "Expecting 'examples' value to be an list/array"),
    ("half_plus_two", "classify", {"examples": []}, 400, "'examples' value is an empty array"),
    ("half_plus_two", "classify", {"examples": [1]}, 400, "Example must be JSON object but got JSON Number"),
]  # fmt: skip


@pytest.mark.parametrize("model, verb, body, status, words", BODIES, ids=range(len(BODIES)))
def test_bodies(running, model, verb, body, status, words):
    got, text = ask(running, model, body, verb)
    assert got == status, text
    assert text == words if status == 200 else words in json.loads(text)["error"]


@pytest.mark.parametrize("kind, call", [(ClassificationRequest, "Classify"), (RegressionRequest, "Regress")])
def test_no_inputs_for_examples_is_an_invalid_argument(running, kind, call):
    request = kind(model_spec={"name": "half_plus_two"}, input={"example_list": {"examples": [{}]}})
    with pytest.raises(grpc.RpcError) as caught:
        getattr(Stub(running), call)(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def square(*shape):
    return np.ones(shape, np.float32).tolist()


def test_what_may_end_a_process_is_tried_in_another(running):
    """With oneDNN the convolution of TensorFlow 2.21 aborts on a rank below 4 and computes rank 5; without, and later, it refuses both."""

    def conv(name, *shape):
        status, text = ask(running, "abrupt", {"signature_name": name, "inputs": square(*shape)})
        return status, np.sum(json.loads(text).get("outputs", 0))

    good = conv("guarded", 1, 4, 4, 1)
    assert good == (200, 100)
    assert conv("conv", 1, 4, 4, 1) == conv("any", 1, 4, 4, 1) == good
    assert conv("conv", 1, 1, 4, 4, 1) in (good, (400, 0))
    assert conv("conv", 4, 4, 1) == conv("any", 3) == conv("guarded", 4, 4, 1) == (400, 0)
    if not running.enable_batching:  # where one row in and 16 rows out do not fit
        assert conv("flat", 16) == good
    stub = Stub(running)
    assert stub.ask("abrupt", "png", images=np.zeros((1, 2, 2, 3), np.uint8))["files"][0].startswith(b"\x89PNG")
    with pytest.raises(grpc.RpcError) as caught:
        stub.ask("abrupt", "png", images=np.zeros((1, 0, 4, 3), np.uint8))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert conv("guarded", 1, 4, 4, 1) == good


def test_a_trial_that_ends_its_process_or_takes_too_long(folder):
    call = Call("guarded", {"x": np.ones((1, 4, 4, 1), np.float32)}, ("y",))
    trial = Trial(str(folder / "abrupt" / "00000123"))
    with pytest.raises(TimeoutError):
        trial.survives(call, timeout=0.001)
    assert trial.survives(call) and trial.survives(call, timeout=0.001)
    trial.close()
    dead = Trial(str(folder / "nothing"))
    assert not dead.survives(call)
    dead.close()


def test_which_inputs_are_unguarded(folder):
    found = {}
    for model in ("abrupt", "half_plus_two", "half_plus_three", "half_plus_two_of_tf2"):
        with Session(folder / model / "00000123") as session:
            found[model] = {name: session.unguarded[name] for name in session.signatures}
    nothing = Unguarded(frozenset(), frozenset())
    assert all(each == nothing for model in found if model != "abrupt" for each in found[model].values())
    x, images = Unguarded(frozenset({"x"}), frozenset({"x"})), Unguarded(frozenset({"images"}), frozenset({"images"}))
    assert found["abrupt"] == {"conv": x, "flat": x, "any": x, "guarded": nothing, "png": images}


def test_a_guard_is_found_in_functions_loops_and_branches():
    import tensorflow as tf

    kernel = tf.ones([3, 3, 1, 1])

    @tf.function
    def conv(x, kernel):
        return tf.nn.conv2d(x, kernel, 1, "SAME")

    def found(function):
        concrete = tf.function(function).get_concrete_function(tf.TensorSpec(None, tf.float32, "x"))
        graph = tf.compat.v1.MetaGraphDef(graph_def=concrete.graph.as_graph_def())
        graph.signature_def["s"].inputs["x"].name = "x:0"
        return unguarded(graph)["s"]

    ensure = lambda x, *shape: tf.ensure_shape(x, shape)  # noqa: E731
    both = Unguarded(frozenset({"x"}), frozenset({"x"}))
    assert found(lambda x: conv(x, kernel)) == both
    assert found(lambda x: conv(ensure(x, None, 4, 4, 1), kernel)) == Unguarded(frozenset(), frozenset())
    assert found(lambda x: conv(ensure(x, None, None, 4, 1), kernel)) == Unguarded(frozenset(), frozenset({"x"}))
    assert found(lambda x: tf.map_fn(lambda row: conv(row, kernel), x)) == both
    assert found(lambda x: tf.cond(tf.size(x) > 2, lambda: conv(x, kernel), lambda: x)) == both
    assert found(lambda x: tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, conv(y, kernel)), (0, x))[1]) == both
    assert found(lambda x: tf.cond(tf.size(x) > 2, lambda: x + 1, lambda: x)) == Unguarded(frozenset(), frozenset())


TEXTS = [
    (b"nope", "Invalid value. at offset: 1"),
    (b"  ", "The document is empty. at offset: 2"),
    (b"{", "Missing a name for object member. at offset: 1"),
    (b"{'a': 1}", "Missing a name for object member. at offset: 1"),
    (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
    (b'{"a": 1,}', "Missing a name for object member. at offset: 8"),
    (b"[1 2]", "Missing a comma or ']' after an array element. at offset: 3"),
    (b"[1,]", "Invalid value. at offset: 3"),
    (b"[] x", "The document root must not be followed by other values. at offset: 3"),
    (b'["abc', "Missing a closing quotation mark in string. at offset: 5"),
    (b'["\\x"]', "Invalid escape character in string. at offset: 2"),
    (b'["\n"]', "Invalid escape character in string. at offset: 2"),
    (b'["\\u12g4"]', "Incorrect hex digit after \\u escape in string. at offset: 2"),
    (b'["\\ud800"]', "The surrogate pair in string is invalid. at offset: 2"),
    (b"[1.]", "Miss fraction part in number. at offset: 3"),
    (b"[1e+]", "Miss exponent in number. at offset: 4"),
    (b"[1e309]", "Number too big to be stored in double. at offset: 1"),
    (b"[" + b"9" * 400 + b"]", "Number too big to be stored in double. at offset: 1"),
    (b"[01]", "Missing a comma or ']' after an array element. at offset: 2"),
    (b"[+1]", "Invalid value. at offset: 1"),
    ('["é" x'.encode(), "Missing a comma or ']' after an array element. at offset: 6"),
    (b'\xef\xbb\xbf{"a":nul}', "Invalid value. at offset: 11"),
]


@pytest.mark.parametrize("body, words", TEXTS, ids=range(len(TEXTS)))
def test_what_is_no_json_is_told_as_rapidjson_tells_it(body, words):
    with pytest.raises(JsonError) as caught:
        parse(body)
    assert str(caught.value) == words


def test_what_rapidjson_reads_and_python_does_not():
    assert parse(b"[Inf, -Inf, 1e39]") == [np.inf, -np.inf, 1e39]
    assert parse(b'["\xff"]') == ["\udcff"]
    assert parse(b'{"a": "\\ud83d\\ude00 e1000", "b": [-0.5e-3, 12, true, null, {}]}') == {
        "a": "\U0001f600 e1000", "b": [-0.0005, 12, True, None, {}]
    }  # fmt: skip
    assert parse(b"\xef\xbb\xbf{}") == {}


def test_numbers_read_back_as_themselves():
    rng = np.random.default_rng(0)
    for dtype, bits in ((np.float32, np.uint32), (np.float64, np.uint64)):
        values = rng.integers(np.iinfo(bits).max, size=10_000, dtype=bits).view(dtype)
        values = values[np.isfinite(values)]
        texts = decimals(values)
        assert np.array_equal(np.array(texts).astype(dtype), values)
        assert all("." in text or "e" in text for text in texts)
    assert decimals(np.float32([0.1, 3, 3e-5, 9e6, 1234567, np.nan, -np.inf])) == [
        "0.1", "3.0", "3e-05", "9e+06", "1234567.0", "NaN", "-Infinity"
    ]  # fmt: skip
    assert (shown(0.1), shown(1e300), shown([1, {}])) == ("0.1", "1e+300", "[\n    1,\n    {}\n]")


def test_the_layout_of_documents():
    parts = Block({"a": Block(["1", Line(["2", Block({"b": "3"})])]), "c": Line([])})
    text = at(parts)
    assert json.loads(text) == {"a": [1, [2, {"b": 3}]], "c": []}
    assert (
        text
        == '{\n    "a": [\n        1,\n        [2, {\n                "b": 3\n            }]\n    ],\n    "c": []\n}'
    )
