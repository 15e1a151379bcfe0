"""The HTTP side: both forms of bodies, codes, texts, metadata, the Prometheus page; on real sockets."""

import base64
import gzip
import http.client
import json

import numpy as np
import pytest
import served


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "toy"
    served.place(served.save(tmp_path_factory.mktemp("saved") / "v", 3), base, 7)
    monitoring = tmp_path_factory.mktemp("config") / "monitoring"
    monitoring.write_text('prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }')
    with served.running(
        model_name="toy",
        model_base_path=str(base),
        monitoring_config_file=str(monitoring),
        rest_api_enable_cors_support=True,
    ) as flags:
        yield flags.rest_api_port


def send(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    content = response.read().decode("utf-8", "surrogateescape")
    connection.close()
    return response, content


def ask(port, body, path="/v1/models/toy:predict"):
    response, content = send(port, "POST", path, body if isinstance(body, bytes | str) else json.dumps(body))
    return response.status, json.loads(content)


@pytest.mark.parametrize(
    "body, answer",
    [
        ({"instances": [[1, 2], [3.5, -1]]}, {"predictions": [[3, 6], [10.5, -3]]}),
        ({"instances": [{"x": [1, 2]}]}, {"predictions": [[3, 6]]}),
        ({"inputs": [[1, 2]]}, {"outputs": [[3, 6]]}),
        ({"inputs": {"x": [[1, 2]], "surplus": 1}}, {"outputs": [[3, 6]]}),
        ({"signature_name": "add", "instances": [{"a": 1, "b": 2}]}, {"predictions": [3]}),
        ({"signature_name": "add", "inputs": {"a": [1, 5], "b": [2, 5]}}, {"outputs": [3, 10]}),
        (
            {"signature_name": "echo", "instances": ["é", {"b64": base64.b64encode(b"\xff\0").decode()}]},
            {
                "predictions": [
                    {"text": "é", "text_bytes": {"b64": "w6k="}},
                    {"text": "\udcff\0", "text_bytes": {"b64": "/wA="}},
                ]
            },
        ),
        ({"signature_name": "scalar", "inputs": [[1, 2]]}, {"outputs": 3.0}),
    ],
)
def test_rows_and_columns(port, body, answer):
    assert ask(port, body) == (200, answer)


def test_floats_read_back_as_themselves_and_are_never_whole(port):
    body = '{"instances": [[0.1, NaN], [Infinity, 1e-7], [-Infinity, 16777215]]}'
    response, content = send(port, "POST", "/v1/models/toy:predict", body)
    given = np.float32(json.loads(content)["predictions"])
    expected = np.float32([[0.1, np.nan], [np.inf, 1e-7], [-np.inf, 16777215]]) * np.float32(3)
    np.testing.assert_array_equal(given, expected)
    assert "NaN" in content and "-Infinity" in content
    assert "[3.0, 6.0]" in send(port, "POST", "/v1/models/toy:predict", '{"instances": [[1, 2]]}')[1]
    assert response.headers["Content-Type"] == "application/json"


ERRORS = [
    ("", 400, "JSON Parse error: The document is empty"),
    ("{", 400, "JSON Parse error: Missing a name for object member. at offset: 1"),
    ("hello", 400, "JSON Parse error: Invalid value. at offset: 0"),
    ("[" * 100_000, 400, "JSON Parse error: The document is nested too deeply."),
    ("[]", 400, "JSON Value: [] Is not object"),
    ({}, 400, "Missing 'inputs' or 'instances' key"),
    ({"inputs": 1, "instances": []}, 400, "expecting only one of 'inputs' or 'instances' keys"),
    ({"instances": 1}, 400, "Expecting 'instances' to be an list/array"),
    ({"instances": []}, 400, "No values in 'instances' array"),
    ({"signature_name": 1}, 400, "'signature_name' key must be a string value."),
    ({"signature_name": "s", "instances": [1]}, 400, 'Serving signature name: "s" not found in signature def'),
    ({"instances": [["a", "b"]]}, 400, "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "),
    ({"instances": [[1, 2], [1]]}, 400, "Expecting tensor size: 2 but got: 1"),
    ({"instances": [[1, [2]]]}, 400, "Encountered list at unexpected level: 1 expected < 1"),
    ({"instances": [[[1, 2], 3]]}, 400, "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    ({"instances": [[1, 2], {"x": [1, 2]}]}, 400, "Expecting value/list but got object at item 1 of input list"),
    ({"instances": [{"z": 1}]}, 400, "JSON object: does not have named input: z"),
    ({"signature_name": "add", "instances": [{"a": 1}]}, 400, "keys must be equal to: a,b"),
    ({"signature_name": "add", "instances": [1]}, 400, "instances is a plain list, but expecting list of objects"),
    ({"signature_name": "add", "inputs": {"a": [1]}}, 400, "Missing named input: b in 'inputs' object."),
    (
        {"signature_name": "add", "inputs": {"a": [1.5], "b": [1]}},
        400,
        "JSON Value: 1.5 Type: Number is not of expected type: int32",
    ),
    ({"signature_name": "echo", "inputs": [{"b64": "***"}]}, 400, "Unable to base64 decode"),
    ({"signature_name": "scalar", "instances": [[1, 2]]}, 400, "Tensor name: y has no shape information "),
    ({"instances": [[1, 2, 3]]}, 400, "is not compatible with expected shape [?,2]"),
    ({"instances": [1]}, 400, "is not compatible with expected shape [?,2]"),
]


@pytest.mark.parametrize("body, status, words", ERRORS, ids=range(len(ERRORS)))
def test_what_is_wrong_with_a_body(port, body, status, words):
    got, answer = ask(port, body)
    assert got == status and words in answer["error"], answer


def test_no_depth_is_a_fault_of_the_server(port):
    for depth in range(950, 1000):
        for value in ('"a"', ""):
            status, answer = ask(port, '{"instances": ' + depth * "[" + value + depth * "]" + "}")
            assert status == 400, answer


PATHS = [
    ("GET", "/v1/models", 400, "Missing model name in request."),
    ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
    ("GET", "/v1/models/toy/versions/8", 404, "Could not find version 8 of model toy"),
    ("POST", "/v1/models/nope:predict", 404, "Servable not found for request: Latest(nope)"),
    ("POST", "/v1/models/toy/versions/8:predict", 404, "Servable not found for request: Specific(toy, 8)"),
    ("POST", "/v1/models/toy/labels/beta:predict", 400, "Unrecognized servable version label: beta"),
    (
        "POST",
        "/v1/models/toy/versions/7/labels/beta:predict",
        400,
        "Malformed request: POST /v1/models/toy/versions/7/labels/beta:predict",
    ),
    ("PUT", "/v1/models/toy:predict", 400, "Malformed request: PUT /v1/models/toy:predict"),
    ("GET", "/v1/models/toy:predict", 400, "Malformed request: GET /v1/models/toy:predict"),
    ("POST", "/v1/models/toy:explain", 400, "Malformed request: POST /v1/models/toy:explain"),
    ("POST", "/v1/models/toy:PREDICT", 400, "Malformed request: POST /v1/models/toy:PREDICT"),
    ("POST", "/v1/models/toy:predict?x=1", 400, "Malformed request: POST /v1/models/toy:predict?x=1"),
    ("GET", "/v1/models/toy?x=1", 404, "Could not find any versions of model toy?x=1"),
    ("GET", "/v1/models/toy/", 400, "Malformed request: GET /v1/models/toy/"),
    ("GET", "/v1/models/toy/versions/-1", 400, "Malformed request: GET /v1/models/toy/versions/-1"),
    ("GET", "/v1/models/versions/7", 400, "Missing model name in request."),
    ("GET", "/v1/models/toy/labels/beta/metadata", 400, "Unrecognized servable version label: beta"),
    ("OPTIONS", "/v1/models/toy", 400, "Malformed request: OPTIONS /v1/models/toy"),
]


@pytest.mark.parametrize("method, path, status, words", PATHS, ids=[f"{row[0]} {row[1]}" for row in PATHS])
def test_paths(port, method, path, status, words):
    response, content = send(port, method, path, '{"instances": [[1, 2]]}' if method == "POST" else None)
    assert (response.status, json.loads(content)) == (status, {"error": words})


def test_paths_are_case_insensitive_but_for_names_and_escapes_are_decoded(port):
    body = '{"instances": [[1, 2]]}'
    assert send(port, "POST", "/V1/MODELS/t%6fy/Versions/7:predict", body)[0].status == 200
    assert send(port, "POST", "/v1/models/TOY:predict", body)[0].status == 404
    assert send(port, "GET", "HTTP://shop.example/v1/models/toy")[0].status == 200
    for path in ("/elsewhere", "//[v1/models/toy", "//v1/models/toy", "/v1"):
        assert send(port, "GET", path)[0].status == 404
    response, content = send(port, "GET", "/v1/models/toy/versions/99999999999999999999")
    assert (response.status, content) == (400, "")


def test_head_has_no_body_that_the_next_answer_would_begin_with(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for method, path, status in (("HEAD", "/v1/models/toy", 400), ("HEAD", "/", 404), ("GET", "/v1/models/toy", 200)):
        connection.request(method, path)
        response = connection.getresponse()
        assert response.status == status and bool(response.read()) is (method == "GET")
    connection.close()


def test_status_and_metadata(port):
    answer = json.loads(send(port, "GET", "/v1/models/toy")[1])
    status = {"error_code": "OK", "error_message": ""}
    assert answer == {"model_version_status": [{"version": "7", "state": "AVAILABLE", "status": status}]}
    told = json.loads(send(port, "GET", "/v1/models/toy/versions/7/metadata")[1])
    assert told["model_spec"] == {"name": "toy", "signature_name": "", "version": "7"}
    x = told["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT" and [dim["size"] for dim in x["tensor_shape"]["dim"]] == ["-1", "2"]


def test_classify_and_regress(port):
    body = {"signature_name": "classify", "examples": [{"x": 2.0}]}
    assert ask(port, body, "/v1/models/toy:classify") == (200, {"results": [[["plus", 2], ["minus", -2]]]})
    body = {"signature_name": "regress", "context": {"x": 5.0}, "examples": [{}, {"x": [2.0]}]}
    assert ask(port, body, "/v1/models/toy:regress") == (200, {"results": [15, 6]})
    status, answer = ask(port, {"examples": [{"x": [1.0, "a"]}]}, "/v1/models/toy:regress")
    assert (status, answer["error"]) == (400, "Unexpected element type in feature: x expecting type: float")


def test_gzip_bodies_and_no_bombs(port):
    headers = {"Content-Encoding": "gzip"}
    body = gzip.compress(b'{"instances": [[1, 2]]}')
    assert send(port, "POST", "/v1/models/toy:predict", body, headers)[0].status == 200
    assert send(port, "POST", "/v1/models/toy:predict", b"\x1f\x8bjunk", headers)[0].status == 400
    bomb = gzip.compress(bytes(200 * 2**20))
    response, content = send(port, "POST", "/v1/models/toy:predict", bomb, headers)
    assert response.status == 400 and "unfolds to more" in content


def test_cors(port):
    response, _ = send(port, "OPTIONS", "/v1/models/toy:predict", headers={"Origin": "https://shop.example"})
    assert response.status == 200 and response.headers["Access-Control-Allow-Origin"] == "*"
    assert send(port, "OPTIONS", "/v1/models/toy:predict", headers={"Origin": "file://x"})[0].status == 400


def test_the_prometheus_page_counts(port):
    def count(name):
        page = send(port, "GET", "/monitoring/prometheus/metrics")[1]
        return int(next((line.rsplit(" ", 1)[1] for line in page.splitlines() if line.startswith(name)), 0))

    good = ':tensorflow:serving:request_count{model_name="toy",status="OK"}'
    timed = ':tensorflow:serving:request_latency_count{model_name="toy",API="predict",entrypoint="REST"}'
    before = count(good), count(timed)
    ask(port, {"instances": [[1, 2]]})
    assert (count(good), count(timed)) == (before[0] + 1, before[1] + 1)
    bad = ':tensorflow:serving:request_count{model_name="toy",status="INVALID_ARGUMENT"}'
    before = count(bad)
    ask(port, "no JSON")
    assert count(bad) == before + 1
    assert count(':tensorflow:serving:runtime_latency_count{model_name="toy",API="Predict",runtime="TF1"}')
    for number in range(5):
        ask(port, {"instances": [[1, 2]]}, f"/v1/models/unknown{number}:predict")
    page = send(port, "GET", "/monitoring/prometheus/metrics")[1]
    assert "unknown" not in page
    response, text = send(port, "GET", "/monitoring/prometheus/metrics?a=1")
    told = "Unexpected path: /monitoring/prometheus/metrics?a=1. Should be /monitoring/prometheus/metrics"
    assert (response.status, text) == (400, told)
    assert ':tensorflow:cc:saved_model:load_attempt_count{model_path="' in page
