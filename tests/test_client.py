"""A client on real sockets: the same answers over gRPC and REST, the server's errors, and all that happens on the way.

The server is the local one; what `addresses` gives to the first part can be any server that has the models.
"""

import asyncio
import contextlib
import datetime
import ipaddress
import json
import math
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import served
import small_models
from served import entry, listed, specific, until
from watching import hearing, watched

from serving.client.client import AsyncClient, Client
from serving.client.metrics import BOUNDS, ClientMetrics, Labels
from serving.client.tls import TLS
from serving.export.session import SessionError
from serving.wire import errors, messages

ROOT = Path(__file__).parent.parent
FULL = SessionError(
    messages.CODES["UNAVAILABLE"], "The batch scheduling queue to which this task was submitted is full"
)


@pytest.fixture(scope="module")
def addresses(models):
    with watched(models) as server:
        yield {"grpc": server.grpc, "rest": server.rest}


@pytest.fixture(scope="module", params=["grpc", "rest"])
def way(request):
    return request.param


@pytest.fixture(scope="module")
def client(way, addresses):
    with Client(addresses[way], timeout=30) as made:
        yield made


# What a server answers


def test_arrays_go_in_and_come_out(client):
    x = np.array([[0.1, -2.5, 3e38]], np.float32)
    np.testing.assert_array_equal(client.predict("arrays", {"x": x / 4})["y"], x / 2)


def test_no_rows_are_rows_too(client, way):
    rows = client.predict("arrays", {"n": np.zeros(0, np.float32)}, signature="large")["rows"]
    assert rows.shape == (0, small_models.WIDTH) and rows.dtype == np.float32
    empty = {"x": np.zeros((0, 3), np.float32)}
    if way == "grpc":
        assert client.predict("arrays", empty)["y"].shape == (0, 3)
    else:  # [] in JSON has one axis, whatever it was before
        with pytest.raises(errors.InvalidArgument, match=r"\[0\] is not compatible with expected shape \[\?,3\]"):
            client.predict("arrays", empty)


KINDS = {
    "f": np.array([0.1, math.nan, -math.inf], np.float32),
    "i": np.array([-1, 0, 2**31 - 1], np.int32),
    "l": np.array([-(2**63), 2**53 + 1, 7], np.int64),
    "u": np.array([0, 127, 255], np.uint8),
    "b": np.array([True, False, True]),
    "s": np.array([b"", b"\xff\0\xfe\0", "né".encode()], object),
}


def test_every_type_is_the_same_over_both_ways(client):
    answer = client.predict("arrays", KINDS, signature="kinds")
    assert list(answer) == ["b", "f", "i", "l", "raw_bytes", "text", "u"]
    sent = {**KINDS, "text": KINDS["s"], "raw_bytes": KINDS["s"]}
    for alias, array in answer.items():
        assert array.dtype == sent[alias].dtype, alias
        np.testing.assert_array_equal(array, sent[alias], alias)


def test_numbers_and_lists_take_the_type_the_signature_asks_for(client):
    given = {"f": [1, 2], "i": [1, 2], "l": [2**40, 2], "u": (1, 2), "b": [0, 1], "s": ["a", b"b\0"]}
    answer = client.predict("arrays", given, signature="kinds", outputs=["f", "l", "u", "text"])
    assert set(answer) == {"f", "l", "u", "text"}
    assert [answer[alias].dtype.name for alias in ("f", "l", "u", "text")] == ["float32", "int64", "uint8", "object"]
    assert answer["l"].tolist() == [2**40, 2] and answer["text"].tolist() == [b"a", b"b\0"]


@pytest.mark.parametrize(
    "alias, value, words",
    [
        ("u", [256, 1], "input u is uint8, which cannot hold"),
        ("i", [1.5, 1], "input i is int32, which cannot hold"),
        ("f", [[1], [1, 2]], "input f: "),
        ("s", [object(), object()], "input s: "),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(client, alias, value, words):
    with pytest.raises(ValueError, match=words):
        client.predict("arrays", {**KINDS, alias: value}, signature="kinds")


def test_a_reply_may_be_larger_than_the_four_mebibytes_clients_take_by_default(addresses):
    with Client(addresses["grpc"]) as client:
        rows = client.predict("arrays", {"n": [1, 2]}, signature="large")["rows"]
    assert rows.nbytes == 2 * 4 * small_models.WIDTH and (rows == [[1], [2]]).all()


def test_examples_are_classified_and_regressed(client):
    examples = [{"value": 0.25}, {"value": [0.5], "note": "any"}, {}]
    assert client.classify("arrays", examples, signature="classify") == [
        [("yes", 0.25), ("no", 0.75)],
        [("yes", 0.5), ("no", 0.5)],
        [("yes", 0.0), ("no", 1.0)],
    ]
    values = client.regress("arrays", examples, signature="regress")
    assert values.dtype == np.float32 and values.tolist() == [0.5, 1.0, 0.0]
    assert client.regress("arrays", [{}, {}], signature="regress", context={"value": 2.0}).tolist() == [4.0, 4.0]


def test_several_signatures_run_over_the_same_examples(addresses):
    with Client(addresses["grpc"]) as client:
        answers = client.multi_inference("arrays", {"regress": "regress", "classify": "classify"}, [{"value": 0.25}])
        assert answers["classify"] == [[("yes", 0.25), ("no", 0.75)]] and answers["regress"].tolist() == [0.5]
        with pytest.raises(ValueError, match="classify or regress, not 'rank'"):
            client.multi_inference("arrays", {"regress": "rank"}, [])


def test_metadata_tells_types_and_shapes(client):
    metadata = client.metadata("arrays", version=1)
    assert (metadata.model, metadata.version) == ("arrays", 1)
    assert set(metadata.signatures) == {"serving_default", "kinds", "large", "classify", "regress"}
    assert metadata.signatures["serving_default"].inputs == {"x": ("float32", (None, 3))}
    outputs = metadata.signatures["kinds"].outputs
    assert {alias: tensor.dtype for alias, tensor in outputs.items()} == {
        **{"b": "bool", "f": "float32", "i": "int32", "l": "int64", "u": "uint8"},
        **{"text": "string", "raw_bytes": "string"},
    }


def test_status_lists_versions(client):
    assert client.status("arrays") == [(1, "AVAILABLE", "OK", "")]
    assert client.wait_available("arrays", 1, timeout=5).version == 1


ERRORS = {
    "unknown model": (errors.NotFound, "Servable not found for request: Latest(nope)", {"model": "nope"}),
    "unknown version": (errors.NotFound, "Servable not found for request: Specific(arrays, 99)", {"version": 99}),
    "unknown label": (errors.InvalidArgument, "Unrecognized servable version label: beta", {"label": "beta"}),
    "surplus input": (errors.InvalidArgument, "input size does not match signature: 2!=1", {"surplus": True}),
    "wrong type": (errors.InvalidArgument, "Expects arg[0] to be float but int64 is provided", {"dtype": np.int64}),
    "unknown output": (errors.InvalidArgument, "output tensor alias not found in signature: w", {"outputs": ["w"]}),
    "unknown signature": (errors.FailedPrecondition, 'Serving signature key "s" not found.', {"signature": "s"}),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_have_the_servers_sentence_and_the_class_of_its_code(client, way, case):
    kind, sentence, changes = ERRORS[case]
    if way == "rest" and case in ("surplus input", "wrong type", "unknown signature"):
        pytest.skip("REST leaves surplus names out, has one type of number, and words of its own for signatures")
    changes = dict(changes)
    inputs = {"x": np.zeros((1, 3), changes.pop("dtype", np.float32))}
    if changes.pop("surplus", False):
        inputs["z"] = inputs["x"]
    with pytest.raises(kind) as caught:
        client.predict(changes.pop("model", "arrays"), inputs, **changes)
    assert caught.value.message.startswith(sentence) and str(caught.value) == caught.value.message
    assert messages.CODES[caught.value.name] == caught.value.code


def test_rest_has_its_own_words_for_a_signature_and_no_code_but_the_status(addresses):
    with Client(addresses["rest"]) as client:
        with pytest.raises(errors.InvalidArgument, match='"s" not found in signature def'):
            client.predict("arrays", {"x": [[1, 2, 3]]}, signature="s")
        with pytest.raises(errors.InvalidArgument, match="Missing named input: x"):
            client.predict("arrays", {"z": [[1, 2, 3]]})
        for call in (client.reload, lambda _: client.multi_inference("arrays", {}, [])):
            with pytest.raises(errors.Unimplemented, match="gRPC port"):
                call("")


def test_a_version_and_a_label_exclude_each_other(client):
    with pytest.raises(ValueError, match="not both"):
        client.predict("arrays", {"x": [[1, 2, 3]]}, version=1, label="stable")


# What happens on the way


@pytest.fixture(params=["grpc", "rest"])
def faulty(models, request):
    """A server of one's own, and the address of it."""
    with watched(models, "arrays") as server:
        yield server, getattr(server, request.param)


X = {"x": np.ones((1, 3), np.float32)}


def test_a_call_is_sent_again_while_the_server_is_unavailable(faulty):
    server, address = faulty
    with Client(address) as client:
        client.predict("arrays", X)
        before = len(server.seen)
        server.faults.extend([FULL, FULL])
        assert client.predict("arrays", X)["y"].tolist() == [[2, 2, 2]]
        assert len(server.seen) == before + 3
        made = {labels: tally for labels, tally in client.metrics.as_dict().items() if labels.method == "Predict"}
        assert sum(tally.count for tally in made.values()) == 2 and sum(tally.retries for tally in made.values()) == 2


def test_retries_end_with_the_servers_sentence(faulty):
    server, address = faulty
    with Client(address, retries=1) as client:
        server.faults.extend([FULL] * 2)
        with pytest.raises(errors.Unavailable, match="queue .* is full"):
            client.status("arrays")
        assert len(server.seen) == 2


def test_nothing_but_unavailable_is_sent_again(faulty):
    server, address = faulty
    with Client(address) as client:
        server.faults.append(SessionError(messages.CODES["RESOURCE_EXHAUSTED"], "OOM when allocating tensor"))
        with pytest.raises(errors.ResourceExhausted, match="OOM"):
            client.status("arrays")
        assert len(server.seen) == 1


def test_no_retry_goes_beyond_the_deadline(faulty):
    server, address = faulty
    with Client(address, retries=1000) as client:
        server.faults.extend([FULL] * 1000)
        with pytest.raises((errors.Unavailable, errors.DeadlineExceeded)):
            client.status("arrays", timeout=0.35)
    assert len(server.seen) <= 4  # the pauses are at least 0.05, 0.1 and 0.2 s


def test_a_deadline_ends_a_call_that_is_not_answered(faulty):
    server, address = faulty
    with Client(address, timeout=0.2) as client:
        server.faults.append(1.0)
        with pytest.raises(errors.DeadlineExceeded, match=r"localhost:\d+ has not answered within 0.2 s"):
            client.status("arrays")
        server.faults.append(0.3)
        assert client.status("arrays", timeout=None)[0].state == "AVAILABLE"


def test_headers_go_with_every_call_and_are_asked_for_each_time():
    def ask_twice(target):
        tokens = iter(["Bearer 1", "Bearer 2"])
        with Client(target, headers=lambda: {"Authorization": next(tokens)}) as client:
            for _ in range(2):
                with pytest.raises(errors.Unimplemented):
                    client.status("arrays")

    with hearing() as (target, heard):
        ask_twice(target)
    assert [headers["authorization"] for headers in heard] == ["Bearer 1", "Bearer 2"]
    requests = []
    with _saying(*[b"HTTP/1.0 501 Not Implemented\r\n\r\n"] * 2, heard=requests) as target:
        ask_twice(target)
    assert [b"\r\nAuthorization: Bearer %d\r\n" % n in request for n, request in enumerate(requests, 1)] == [True, True]


def test_many_threads_share_a_client(faulty):
    _, address = faulty
    with Client(address) as client, futures.ThreadPoolExecutor(8) as pool:
        rows = [np.full((1, 3), i, np.float32) for i in range(40)]
        answers = pool.map(lambda x: client.predict("arrays", {"x": x})["y"], rows)
        for x, y in zip(rows, answers, strict=True):
            np.testing.assert_array_equal(y, 2 * x)


def test_signatures_are_asked_once(faulty):
    server, address = faulty
    with Client(address) as client:
        for _ in range(3):
            client.predict("arrays", {"x": [[1, 2, 3]]})
    assert [name for name, _ in server.seen] == ["get_model_metadata"] + ["predict"] * 3


def test_arrays_need_no_signature_over_grpc(models):
    with watched(models, "arrays") as server, Client(server.grpc) as client:
        client.predict("arrays", X)
    assert [name for name, _ in server.seen] == ["predict"]


@pytest.mark.parametrize("target", ["localhost:1", "http://localhost:1", "unix:/nowhere/socket"])
def test_a_dead_host_is_unavailable_by_name(target):
    with Client(target, retries=0) as client:
        with pytest.raises(errors.Unavailable, match=f"no (gRPC|REST) server can be reached at {target}: "):
            client.status("arrays")


def test_the_wrong_port_is_told(addresses):
    grpc_port, rest_port = addresses["grpc"], addresses["rest"].removeprefix("http://")
    for target in (rest_port, f"http://{grpc_port}"):
        with Client(target, retries=0) as client, pytest.raises(errors.Unavailable, match="can be reached"):
            client.status("arrays", timeout=5)


@pytest.mark.parametrize("target", ["localhost", "", "http://", "ftp://localhost:1", "localhost:port", "/tmp/socket"])
def test_a_target_that_is_none_is_refused(target):
    with pytest.raises(ValueError, match="host:port"):
        Client(target)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"retries": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="not"):
        Client("localhost:1", **options)


def test_a_unix_socket_will_do(models, tmp_path):
    flags = {"port": 0, "grpc_socket_path": str(tmp_path / "socket")}
    with watched(models, "arrays", **flags) as server, Client(server.grpc) as client:
        assert client.status("arrays")[0].version == 1


def test_a_server_that_hangs_up_between_calls_is_called_again(models):
    """A kept REST connection that has been closed meanwhile is no error."""
    with watched(models, "arrays") as server, Client(server.rest, retries=0) as client:
        client.status("arrays")
        client._channel._idle[0].sock.shutdown(2)
        assert client.status("arrays")[0].version == 1


@contextlib.contextmanager
def _saying(*answers, heard=None):
    """The URL of a server that gives each connection the next of these bytes, whatever it asks (`heard`), and hangs up."""
    heard = [] if heard is None else heard

    def serve():
        for answer in answers:
            connection, _ = listening.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(answer)

    with socket.create_server(("localhost", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://localhost:{listening.getsockname()[1]}"
        thread.join(timeout=10)


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00@\x00\x00",  # HTTP/2, as gRPC speaks it
        b"\x15\x03\x03\x00\x02\x02F",  # TLS
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 70000,
    ],
)
def test_bytes_of_another_protocol_are_not_shown(answer):
    with _saying(answer) as target, Client(target, retries=0) as client:
        with pytest.raises(errors.Unavailable, match="what answers there is not HTTP/1.1") as caught:
            client.status("arrays")
    assert caught.value.message.isprintable()


def test_this_machine_is_asked_directly_and_a_proxy_before_another_is_named(addresses, monkeypatch):
    for variable in ("grpc_proxy", "https_proxy", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for target in addresses.values():
        with Client(target, retries=0) as client:
            assert client.status("arrays")[0].version == 1
    with Client("tfs.invalid:8500", retries=0) as client:
        with pytest.raises(
            errors.Unavailable, match=r"at tfs.invalid:8500 through the proxy http://127.0.0.1:9 \(by grpc"
        ):
            client.status("arrays")
    with Client("http://tfs.invalid:8501", retries=0) as client:
        with pytest.raises(
            errors.Unavailable, match=r"asked directly, past the proxy http://127.0.0.1:9 \(by http_proxy"
        ):
            client.status("arrays")


NO_PORTS = ["0", "65536", "99999", "9" * 30]


@pytest.mark.parametrize(
    "target",
    [f"{way}localhost:{port}" for way in ("", "http://", "https://") for port in (*NO_PORTS, "-1", "x")]
    + [f"dns:///localhost:{port}" for port in NO_PORTS],
)
def test_ports_that_are_none_are_refused(target):
    with pytest.raises(ValueError, match="a port from 1 to 65535, not "):
        Client(target)


STATUS = b'{"model_version_status": [{"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK"}}]}'


def test_an_answer_cut_short_is_no_answer():
    with _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + STATUS) as target:
        with Client(target, retries=0) as client, pytest.raises(errors.Unavailable, match="IncompleteRead"):
            client.status("arrays")


def test_answers_may_come_in_chunks_or_end_with_the_connection():
    parts = (STATUS[:7], STATUS[7:], b"")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    with _saying(chunked, b"HTTP/1.0 200 OK\r\n\r\n" + STATUS) as target, Client(target) as client:
        for _ in range(2):
            assert client.status("arrays") == [(3, "AVAILABLE", "OK", "")]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"model_version_status": 3}', b'{"error": 1}'])
def test_an_answer_in_another_form_is_said_to_be_one(body):
    with _saying(b"HTTP/1.0 200 OK\r\n\r\n" + body) as target, Client(target) as client:
        with pytest.raises(errors.Internal, match="is not in the form of TensorFlow Serving's REST interface"):
            client.status("arrays")


def test_an_error_without_json_gives_the_status():
    with _saying(b"HTTP/1.0 403 Forbidden\r\n\r\n<html>RBAC: access denied</html>") as target, Client(target) as client:
        with pytest.raises(errors.PermissionDenied, match="localhost:.* answered with HTTP 403 Forbidden"):
            client.status("arrays")


def test_a_page_that_is_not_tensorflow_servings_gives_its_status(addresses):
    with Client(addresses["rest"] + "/elsewhere", retries=0) as client:
        with pytest.raises(errors.NotFound, match="localhost:.*/elsewhere answered with HTTP 404 Not Found"):
            client.status("arrays")
    assert isinstance(errors.from_http(404, ""), errors.NotFound)
    assert isinstance(errors.from_http(302, ""), errors.Unknown)
    assert isinstance(errors.from_code(99, ""), errors.Unknown)


def test_every_code_has_its_class():
    for name, number in messages.CODES.items():
        if number:
            error = errors.from_code(number, "a sentence")
            assert (error.name, error.code, str(error)) == (name, number, "a sentence")
            assert type(error).__name__.upper() == name.replace("_", "")


# Models that come and go


def _reload(client, base):
    """Let the server look what is in the folder of `arrays`."""
    client.reload(listed(entry(base, name="arrays")))


def test_a_version_that_is_loading_is_waited_for(models, tmp_path):
    base, saved = tmp_path / "arrays", models / "arrays" / "1"
    served.place(saved, base, 1)
    trying = {"num_load_threads": 1, "max_num_load_retries": 1000, "load_retry_interval_micros": 20_000}
    with watched(tmp_path, **trying) as server, Client(server.grpc) as client, futures.ThreadPoolExecutor(1) as pool:
        served.place(saved, base, 2)
        served.damage(base / "2")
        _reload(client, base)
        waiting = pool.submit(client.wait_available, "arrays", 2, timeout=30)
        until(lambda: "get_model_status" in [name for name, _ in server.done])
        assert client.wait_available("arrays", timeout=10).version == 1  # any will do
        assert client.status("arrays", version=2)[0].state == "LOADING" and not waiting.done()
        (base / "2" / "saved_model.pb").write_bytes((saved / "saved_model.pb").read_bytes())
        assert waiting.result() == (2, "AVAILABLE", "OK", "")


def test_waiting_ends_when_a_version_has_failed(models, tmp_path):
    base = tmp_path / "arrays"
    for number in (1, 2):
        served.place(models / "arrays" / "1", base, number)
    served.damage(base / "2")
    config = listed(entry(base, specific(1), "arrays"))
    with watched(tmp_path, config=config) as server, Client(server.grpc) as client:
        _reload(client, base)
        with pytest.raises(errors.OutOfRange, match="arrays 2: "):
            client.wait_available("arrays", 2, timeout=10)
        (failed,) = client.status("arrays", version=2)
        assert (failed.state, failed.code) == ("END", "OUT_OF_RANGE")
        with pytest.raises(errors.DeadlineExceeded, match=f"version 2 is END {re.escape(failed.message)}"):
            client.wait_available("arrays", 2, timeout=0.3, unless=failed)
        with pytest.raises(errors.DeadlineExceeded, match="version 9 of arrays .* Could not find version 9"):
            client.wait_available("arrays", 9, timeout=0.3)


def test_what_was_seen_last_is_told_when_the_last_look_is_not_answered(models):
    with watched(models, "arrays") as server, Client(server.grpc) as client:
        server.faults.extend([0.0, 1.0])
        with pytest.raises(errors.DeadlineExceeded, match="version 9 of arrays .* Could not find version 9"):
            client.wait_available("arrays", 9, timeout=0.5)
        server.faults.append(1.0)
        with pytest.raises(errors.DeadlineExceeded, match="version 9 of arrays .* has not answered within 0.3 s"):
            client.wait_available("arrays", 9, timeout=0.3)


def test_a_server_that_is_still_to_start_is_waited_for(models):
    port = served.free_port()
    with Client(f"localhost:{port}", retries=0) as client, futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait_available, "arrays", timeout=20)
        time.sleep(0.3)
        with watched(models, "arrays", port=port):
            assert waiting.result().version == 1


def test_a_config_is_sent_as_text_or_as_a_message(models):
    text = listed(entry(models / "arrays", name="arrays"))
    with watched(models, "arrays", "gan") as server, Client(server.grpc) as client:
        assert client.reload(text) is None
        client.reload(server.done[-1][1].config)
        (_, first), (_, second) = server.done
        assert first == second and first.config.model_config_list.config[0].name == "arrays"
        until(lambda: [one.state for one in client.status("gan")] == ["END"])
        with pytest.raises(errors.InvalidArgument, match="absolute path"):
            client.reload(text.replace(str(models), "models"))
        with pytest.raises(ValueError, match="no ModelServerConfig"):
            client.reload("models: 3")


# Without blocking


def test_the_client_that_does_not_block_gives_the_same(addresses):
    async def ask():
        async with AsyncClient(addresses["grpc"]) as client:
            answers = await asyncio.gather(
                *(client.predict("arrays", {"x": np.full((1, 3), i, np.float32)}) for i in range(10))
            )
            kinds = await client.predict("arrays", KINDS, signature="kinds")
            with pytest.raises(errors.NotFound, match="Latest"):
                await client.predict("nope", X)
            with pytest.raises(errors.FailedPrecondition, match="classes"):
                await client.classes("arrays")
            return answers, kinds, await client.status("arrays"), await client.metadata("arrays")

    answers, kinds, status, metadata = asyncio.run(ask())
    assert [answer["y"][0, 0] for answer in answers] == [2 * i for i in range(10)]
    np.testing.assert_array_equal(kinds["l"], KINDS["l"])
    with Client(addresses["grpc"]) as client:
        assert (status, metadata) == (client.status("arrays"), client.metadata("arrays"))


def test_the_client_that_does_not_block_retries_and_keeps_deadlines(models):
    async def ask(address, faults):
        async with AsyncClient(address) as client:
            faults.extend([FULL, FULL])
            first = await client.predict("arrays", {"x": [[1, 2, 3]]})
            faults.append(1.0)
            with pytest.raises(errors.DeadlineExceeded, match="has not answered within 0.2 s"):
                await client.status("arrays", timeout=0.2)
            return first

    with watched(models, "arrays") as server:
        assert asyncio.run(ask(server.grpc, server.faults))["y"].tolist() == [[2, 4, 6]]


def test_a_call_that_is_given_up_is_counted_as_cancelled(models):
    async def ask(server):
        async with AsyncClient(server.grpc) as client:
            server.faults.append(0.5)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.status("arrays"), 0.1)
            return client.metrics.as_dict()

    with watched(models, "arrays") as server:
        (labels,) = asyncio.run(ask(server))
    assert labels == Labels("arrays", "", "", "GetModelStatus", "CANCELLED")


def test_closing_twice_is_no_error(addresses):
    for target in addresses.values():
        client = Client(target)
        client.status("arrays")
        client.close()
        client.close()


def test_the_client_that_does_not_block_speaks_grpc_only():
    with pytest.raises(ValueError, match="uses gRPC"):
        AsyncClient("http://localhost:8501")


# Encrypted


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    """Paths of an authority's certificate and of certificates and keys it gave to a server and to a client."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("pems")
    start = datetime.datetime(2020, 1, 1)

    def write(name, subject, issuer, signing_key, authority, names=()):
        key = ec.generate_private_key(ec.SECP256R1())
        signing_key = signing_key or key
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=365 * 80))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
        )
        if names:
            alternatives = [x509.DNSName(one) for one in names] + [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(signing_key, hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return key

    authority = write("ca", "authority", "authority", None, True)
    write("server", "server", "authority", authority, False, ["localhost"])
    write("named", "named", "authority", authority, False, ["tfs.internal"])
    write("client", "client", "authority", authority, False)
    return folder


@contextlib.contextmanager
def _proxy(url, context):
    """The URL of a proxy that takes the encryption off and hands on to `url`: a server's own HTTP has none."""
    started = futures.Future()

    async def carry(reader, writer):
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
        writer.close()

    async def connected(reader, writer):
        host, _, port = url.removeprefix("http://").partition(":")
        to_reader, to_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(carry(reader, to_writer), carry(to_reader, writer))

    async def serve():
        stop = asyncio.Event()
        proxy = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        started.set_result((asyncio.get_running_loop(), stop, proxy.sockets[0].getsockname()[1]))
        await stop.wait()
        proxy.close()

    with futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, serve())
        loop, stop, port = started.result(10)
        try:
            yield f"https://localhost:{port}"
        finally:
            loop.call_soon_threadsafe(stop.set)
        running.result(10)


@pytest.fixture
def encrypted(models, pems, tmp_path):
    """encrypted(name, mutual): a context of a server behind TLS over both ways, whose certificate is `name`."""

    @contextlib.contextmanager
    def start(name="server", mutual=False):
        key, cert, ca = ((pems / file).read_text() for file in (f"{name}.key", f"{name}.crt", "ca.crt"))
        config = messages.SSLConfig(server_key=key, server_cert=cert, custom_ca=ca, client_verify=mutual)
        (tmp_path / "ssl.config").write_text(str(config))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pems / f"{name}.crt", pems / f"{name}.key")
        if mutual:
            context.load_verify_locations(pems / "ca.crt")
            context.verify_mode = ssl.CERT_REQUIRED
        with watched(models, "arrays", ssl_config_file=str(tmp_path / "ssl.config")) as server:
            with _proxy(server.rest, context) as server.rest:
                yield server

    return start


def _both(server):
    return server.grpc, server.rest


def test_tls_by_path_and_by_bytes(pems, encrypted):
    with encrypted() as server:
        for target in _both(server):
            for ca in (pems / "ca.crt", str(pems / "ca.crt"), (pems / "ca.crt").read_bytes()):
                with Client(target, tls=TLS(ca=ca)) as client:
                    assert client.predict("arrays", X)["y"].tolist() == [[2, 2, 2]]


def test_a_server_nobody_vouches_for_is_not_spoken_to(pems, encrypted):
    with encrypted() as server:
        for target in _both(server):
            with Client(target, tls=TLS(), retries=0) as client, pytest.raises(errors.Unavailable, match="(?i)certif"):
                client.status("arrays", timeout=10)
    assert not server.seen


def test_the_name_in_the_certificate_may_be_given(pems, encrypted):
    with encrypted("named") as server:
        for target in _both(server):
            with Client(target, tls=TLS(ca=pems / "ca.crt", name="tfs.internal")) as client:
                assert client.status("arrays")[0].version == 1
            with Client(target, tls=TLS(ca=pems / "ca.crt"), retries=0) as client:
                with pytest.raises(errors.Unavailable):
                    client.status("arrays", timeout=10)


def test_mutual_tls_asks_who_is_calling(pems, encrypted):
    ca = pems / "ca.crt"
    with encrypted(mutual=True) as server:
        for target in _both(server):
            by_path = TLS(ca=ca, cert=pems / "client.crt", key=pems / "client.key")
            by_bytes = TLS(ca, (pems / "client.crt").read_bytes(), (pems / "client.key").read_bytes())
            for tls in (by_path, by_bytes):
                with Client(target, tls=tls) as client:
                    assert client.status("arrays")[0].version == 1
            with Client(target, tls=TLS(ca=ca), retries=0) as client, pytest.raises(errors.Unavailable):
                client.status("arrays", timeout=10)

        async def ask():
            async with AsyncClient(server.grpc, tls=by_path) as client:
                return await client.status("arrays")

        assert asyncio.run(ask())[0].version == 1


@pytest.mark.parametrize(
    "made, words",
    [
        (lambda pems: TLS(cert=pems / "client.crt"), "go together"),
        (lambda pems: TLS(ca=b"no pem"), "ca. is no PEM"),
        (lambda pems: TLS(cert=pems / "client.crt", key=pems / "server.key"), "do not fit"),
        (lambda pems: TLS(cert=b"x", key=b"y"), "are no PEM"),
        (lambda pems: Client("http://localhost:1", tls=TLS()), "TLS needs https"),
    ],
)
def test_wrong_files_are_refused_at_once(pems, made, words):
    with pytest.raises(ValueError, match=words):
        made(pems)


# Counting


def test_calls_are_counted_by_the_version_that_answered(models, tmp_path):
    for number in (1, 2):
        served.place(models / "arrays" / "1", tmp_path / "arrays", number)
    config = listed(entry(tmp_path / "arrays", specific(1, 2, stable=1), "arrays"))
    flags = {"allow_version_labels_for_unavailable_models": True}
    with watched(tmp_path, config=config, **flags) as server, Client(server.grpc) as client:
        with Client(server.grpc) as other:
            for number in (1, 2):
                other.wait_available("arrays", number)
        client.predict("arrays", X)
        client.predict("arrays", X, label="stable")
        with pytest.raises(errors.FailedPrecondition):
            client.predict("arrays", X, signature="s", label="stable")
        counts = {labels: tally.count for labels, tally in client.metrics.as_dict().items()}
        text = client.metrics.prometheus()
    assert counts == {
        Labels("arrays", "2", "", "Predict", "OK"): 1,
        Labels("arrays", "1", "", "Predict", "OK"): 1,
        Labels("arrays", "stable", "s", "Predict", "FAILED_PRECONDITION"): 1,
    }
    assert (
        'packshot_client_request_seconds_count{model="arrays",version="2",signature="",method="Predict",code="OK"} 1'
        in text.splitlines()
    )


def test_latencies_fall_into_buckets_that_add_up():
    metrics, labels = ClientMetrics(), Labels('a"b\\', "1", "s", "Predict", "OK")
    for seconds in (0.001, 0.0011, 100.0):
        metrics.observe(labels, seconds, retries=1)
    tally = metrics.as_dict()[labels]
    assert (tally.count, tally.retries, tally.buckets[0], tally.buckets[1], tally.buckets[-1]) == (3, 3, 1, 1, 1)
    assert tally.seconds == pytest.approx(100.0021) and len(tally.buckets) == len(BOUNDS) + 1
    lines = metrics.prometheus().splitlines()
    text = r'model="a\"b\\",version="1",signature="s",method="Predict",code="OK"'
    assert f'packshot_client_request_seconds_bucket{{{text},le="0.001"}} 1' in lines
    assert f'packshot_client_request_seconds_bucket{{{text},le="60.0"}} 2' in lines
    assert f'packshot_client_request_seconds_bucket{{{text},le="+Inf"}} 3' in lines
    assert f"packshot_client_request_retries_total{{{text}}} 3" in lines


# On its own


def test_no_tensorflow_is_imported(addresses):
    code = """
import json, sys
for name in ("tensorflow", "tensorflow_serving", "keras"):
    sys.modules[name] = None
from serving.client.client import AsyncClient, Client
from serving.client import picture_files
for target in sys.argv[1:]:
    with Client(target) as client:
        assert client.predict("arrays", {"x": [[1, 2, 3]]})["y"].tolist() == [[2, 4, 6]]
for name in ("tensorflow", "tensorflow_serving", "keras"):
    del sys.modules[name]
print(json.dumps(sorted(name for name in sys.modules if name.startswith(("tensorflow", "keras")))))
"""
    command = [sys.executable, "-c", code, addresses["grpc"], addresses["rest"]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_the_stock_stubs_live_in_the_same_process(models, addresses):
    pytest.importorskip("tensorflow_serving")
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    from tensorflow_serving.config import model_server_config_pb2

    with grpc.insecure_channel(addresses["grpc"]) as channel, Client(addresses["grpc"]) as client:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "arrays"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(X["x"]))
        theirs = tf.make_ndarray(stub.Predict(request).outputs["y"])
        np.testing.assert_array_equal(theirs, client.predict("arrays", X)["y"])
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name="arrays", base_path=str(models / "arrays"), model_platform="tensorflow")
    with watched(models, "gan") as server, Client(server.grpc) as client:
        client.reload(config)
        assert client.predict("arrays", X)["y"].tolist() == [[2, 2, 2]]
