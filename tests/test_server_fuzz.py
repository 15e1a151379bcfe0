"""Whatever comes over the wire, the server answers with a code and lives."""

import http.client
import json
import socket

import grpc
import numpy as np
import pytest
import served
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import Stub, X

from serving.wire import messages
from serving.wire.tensors import tensor_to_proto

pytestmark = pytest.mark.slow
EASY = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SIGNATURES = ["", "add", "picture", "echo", "classify", "regress", "conv", "scalar", "none"]
NAMES = st.sampled_from(["x", "a", "b", "image_bytes", "text", "inputs", "z", ""])


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "batched"])
def running(request, tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "toy"
    served.place(served.save(tmp_path_factory.mktemp("saved") / "v", 3), base, 1)
    with served.running(model_name="toy", model_base_path=str(base), enable_batching=request.param) as flags:
        yield flags
        assert Stub(flags).ask(x=X)["y"].tolist() == [[3, 6]]


def answers(call, request):
    """The code a call ends with; anything but an answer or a status is an error of the test."""
    try:
        call(request, timeout=30)
        return grpc.StatusCode.OK
    except grpc.RpcError as error:
        assert error.code() not in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.UNKNOWN,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        ), error
        return error.code()


shapes = st.lists(st.integers(0, 5), max_size=5)
arrays = st.builds(
    lambda shape, dtype, fill: np.full(shape, fill, dtype),
    shapes,
    st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_, np.float16]),
    st.sampled_from([0, 1, 100]),
) | st.builds(lambda rows: np.array(rows, object), st.lists(st.binary(max_size=30), max_size=4))
sizes = st.one_of(st.integers(-2, 6), st.sampled_from([2**31, 2**40, 2**62]))
protos = st.builds(
    lambda dtype, dims, unknown, content, floats, ints, strings: messages.TensorProto(
        dtype=dtype,
        tensor_shape={"dim": [{"size": size} for size in dims], "unknown_rank": unknown},
        tensor_content=content,
        float_val=floats,
        int_val=ints,
        string_val=strings,
    ),
    st.integers(0, 25),
    st.lists(sizes, max_size=70),
    st.booleans(),
    st.binary(max_size=40),
    st.lists(st.floats(width=32), max_size=5),
    st.lists(st.integers(-5, 5), max_size=5),
    st.lists(st.binary(max_size=5), max_size=3),
)


@EASY
@given(
    st.sampled_from(SIGNATURES),
    st.dictionaries(NAMES, arrays.map(tensor_to_proto) | protos, max_size=3),
    st.lists(NAMES, max_size=3),
)
def test_tensors_of_any_kind(running, signature, inputs, outputs):
    request = messages.PredictRequest(model_spec={"name": "toy", "signature_name": signature}, output_filter=outputs)
    for alias, proto in inputs.items():
        request.inputs[alias].CopyFrom(proto)
    answers(Stub(running).Predict, request)


@EASY
@given(st.sampled_from([(s, m) for s, methods in messages.SERVICES.items() for m in methods]), st.binary(max_size=200))
def test_bytes_that_are_no_message(running, method, content):
    call = Stub(running).channel.unary_unary(f"/{method[0]}/{method[1]}")
    try:
        call(content, timeout=30)
    except grpc.RpcError as error:
        assert error.code() != grpc.StatusCode.UNAVAILABLE


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just({"b64": "AA=="}),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.just("b64"), inner, max_size=3),
    max_leaves=12,
)
bodies = st.builds(
    lambda key, value, signature: json.dumps({key: value, "signature_name": signature}).encode(),
    st.sampled_from(["instances", "inputs", "examples", "context"]),
    values,
    st.sampled_from(SIGNATURES),
) | st.binary(max_size=100)


@EASY
@given(bodies, st.sampled_from(["predict", "classify", "regress"]))
def test_bodies_of_any_kind(running, body, verb):
    connection = http.client.HTTPConnection("127.0.0.1", running.rest_api_port, timeout=30)
    connection.request("POST", f"/v1/models/toy:{verb}", body)
    response = connection.getresponse()
    content = json.loads(response.read().decode("utf-8", "surrogateescape"))
    assert response.status == 200 or (response.status in (400, 404, 500, 501) and isinstance(content["error"], str)), (
        content
    )
    assert "Traceback" not in str(content)
    connection.close()


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 1000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/models/toy:predict HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n{",
        b"POST /v1/models/toy:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=range(6),
)
def test_bytes_that_are_no_http(running, content):
    for port in (running.port, running.rest_api_port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            try:
                connection.sendall(content)
                connection.settimeout(0.3)
                connection.recv(1000)
            except OSError:
                pass
    assert Stub(running).ask(x=X)["y"].tolist() == [[3, 6]]


@pytest.mark.parametrize("rows", [2**26, 2**28, 2**60])
def test_few_bytes_do_not_ask_for_all_the_memory(running, rows):
    request = messages.PredictRequest(model_spec={"name": "toy"})
    request.inputs["x"].dtype = 1
    for size in (rows, 2):
        request.inputs["x"].tensor_shape.dim.add(size=size)
    assert answers(Stub(running).Predict, request) == grpc.StatusCode.INVALID_ARGUMENT
