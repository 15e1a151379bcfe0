"""Envoy runs as the bundle has it, in front of a stand-in for the server: predictions with a token pass, nothing else.

Only addresses are changed: free ports of this machine, and the folder of the secrets.
"""

import base64
import concurrent.futures
import contextlib
import http.client
import http.server
import json
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import bundles
import grpc
import pytest
import yaml
from bundles import GENERATOR, tool

from serving.deploy import envoy
from serving.wire.messages import PredictRequest, PredictResponse

PREDICT = "/tensorflow.serving.PredictionService/Predict"


class Rpc(grpc.GenericRpcHandler):
    """Answers every method with the request's model, and keeps the method and the metadata."""

    def __init__(self, seen):
        self.seen = seen

    def service(self, call):
        self.seen.append((call.method, dict(call.invocation_metadata)))
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def answer(self, request, context):
        response = PredictResponse()
        response.model_spec.CopyFrom(PredictRequest.FromString(request).model_spec)
        return response.SerializeToString()


def rest_handler(seen):
    class Rest(http.server.BaseHTTPRequestHandler):
        """Answers every request with 200 and keeps the path and the headers."""

        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self):
            seen.append((self.path, dict(self.headers.items())))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    return Rest


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def moved(node, ports, secrets):
    """The configuration with other ports, on this machine, and the secrets from another folder."""
    if isinstance(node, list):
        return [moved(each, ports, secrets) for each in node]
    if isinstance(node, dict):
        if "port_value" in node:
            return {"address": "127.0.0.1", "port_value": ports[node["port_value"]]}
        return {key: moved(value, ports, secrets) for key, value in node.items()}
    return node.replace(envoy.SECRETS, str(secrets)) if isinstance(node, str) else node


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """Envoy and the stand-in, with what reached the stand-in, and the folder of secrets."""
    binary, openssl = tool("envoy"), tool("openssl")
    folder = tmp_path_factory.mktemp("envoy")
    models = bundles.models(folder / "models", shoes=[1], mlp_gan2=[1])
    bundles.make(models, folder / "deploy", {"shoes": GENERATOR, "mlp_gan2": GENERATOR}, cpus=1)
    secrets = folder / "deploy-secrets"
    subprocess.run([folder / "deploy/keys/laptop.sh", secrets], check=True, capture_output=True, timeout=60)

    seen = []
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([Rpc(seen)])
    rpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    rest = http.server.ThreadingHTTPServer(("127.0.0.1", 0), rest_handler(seen))
    rest.handle_error = lambda *_: None  # Envoy hangs up on what is too large
    threading.Thread(target=rest.serve_forever, daemon=True).start()

    entrance, admin, metrics = free_ports(3)
    ports = {8443: entrance, 9901: admin, 9902: metrics, 8500: rpc_port, 8501: rest.server_port}
    document = yaml.safe_load((folder / "deploy" / envoy.FILE).read_text())
    (folder / "envoy.yaml").write_text(yaml.safe_dump(moved(document, ports, secrets)))
    command = [binary, "-c", str(folder / "envoy.yaml"), "--concurrency", "1", "--use-dynamic-base-id"]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_ready(process, metrics, folder / "log")
        yield SimpleNamespace(entrance=entrance, metrics=metrics, secrets=secrets, seen=seen, openssl=openssl)
    finally:
        process.terminate()
        process.wait(20)
        rest.shutdown()
        rest.server_close()
        server.stop(None).wait()


def wait_until_ready(process, port, log):
    for _ in range(200):
        assert process.poll() is None, Path(log).read_text()
        try:
            if fetch(port, "/ready")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(Path(log).read_text())


def fetch(port, path):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def token(gate, **claims):
    """A token like that of laptop.sh, with other claims; None leaves one out."""
    stated = {"sub": "test", "aud": "packshot", "exp": int(time.time()) + 600} | claims
    stated = {name: value for name, value in stated.items() if value is not None}
    head = {"alg": "RS256", "typ": "JWT", "kid": "laptop"}
    text = b".".join(encoded(json.dumps(part).encode()) for part in (head, stated))
    sign = [gate.openssl, "dgst", "-sha256", "-sign", gate.secrets / "issuer.key"]
    return (text + b"." + encoded(subprocess.run(sign, input=text, capture_output=True, check=True).stdout)).decode()


def encoded(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def ask_rest(gate, method, path, bearer=None, body=b"{}"):
    trusting = ssl.create_default_context(cafile=gate.secrets / "tls.crt")
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    opened = http.client.HTTPSConnection("localhost", gate.entrance, context=trusting, timeout=20)
    with contextlib.closing(opened) as connection:
        try:
            connection.request(method, path, body=body if method == "POST" else None, headers=headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was answered before all of the request had come
        with connection.getresponse() as response:
            return response.status


def ask_rpc(gate, method=PREDICT, bearer=None):
    request = PredictRequest()
    request.model_spec.name = "shoes"
    trusting = grpc.ssl_channel_credentials((gate.secrets / "tls.crt").read_bytes())
    metadata = [] if bearer is None else [("authorization", f"Bearer {bearer}")]
    with grpc.secure_channel(f"localhost:{gate.entrance}", trusting) as channel:
        call = channel.unary_unary(method)
        try:
            return PredictResponse.FromString(call(request.SerializeToString(), metadata=metadata, timeout=20))
        except grpc.RpcError as error:
            return error.code()


@pytest.fixture
def laptop(gate):
    """The token of keys/laptop.sh; and nothing has been seen yet."""
    gate.seen.clear()
    return (gate.secrets / "token").read_text().strip()


def test_predictions_with_a_token_pass_without_it(gate, laptop):
    assert ask_rpc(gate, bearer=laptop).model_spec.name == "shoes"
    assert ask_rest(gate, "POST", "/v1/models/shoes:predict", laptop) == 200
    assert ask_rest(gate, "POST", "/v1/models/mlp_gan2/labels/stable:predict", laptop) == 200
    assert [where for where, _ in gate.seen] == [
        PREDICT,
        "/v1/models/shoes:predict",
        "/v1/models/mlp_gan2/labels/stable:predict",
    ]
    assert not [name for _, headers in gate.seen for name in headers if name.lower() == "authorization"]


@pytest.mark.parametrize(
    "claims, rest, rpc",
    [
        ({"aud": "somebody else"}, 403, grpc.StatusCode.PERMISSION_DENIED),
        ({"aud": None}, 403, grpc.StatusCode.PERMISSION_DENIED),
        ({"exp": 1_700_000_000}, 401, grpc.StatusCode.UNAUTHENTICATED),
        ({"exp": None}, 401, grpc.StatusCode.UNAUTHENTICATED),
    ],
)
def test_tokens_for_others_and_of_the_past_do_not_pass(gate, laptop, claims, rest, rpc):
    assert ask_rest(gate, "POST", "/v1/models/shoes:predict", token(gate, **claims)) == rest
    assert ask_rpc(gate, bearer=token(gate, **claims)) == rpc
    assert not gate.seen
    assert ask_rest(gate, "POST", "/v1/models/shoes:predict", token(gate)) == 200


def test_without_a_token_or_with_a_forged_one_nothing_passes(gate, laptop):
    head, _, signature = laptop.split(".")
    forged = ".".join([head, encoded(b'{"aud": "packshot", "exp": 9999999999}').decode(), signature])
    for bearer in (None, "x", forged):
        assert ask_rest(gate, "POST", "/v1/models/shoes:predict", bearer) == 401
        assert ask_rpc(gate, bearer=bearer) == grpc.StatusCode.UNAUTHENTICATED
    assert not gate.seen


@pytest.mark.parametrize(
    "method",
    [
        "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
        "/tensorflow.serving.ModelService/GetModelStatus",
        "/tensorflow.serving.PredictionService/GetModelMetadata",
        "/tensorflow.serving.PredictionService/Classify",
        "/tensorflow.ProfilerService/Profile",
        "/tensorflow.serving.PredictionService/../ModelService/HandleReloadConfigRequest",
    ],
)
def test_no_other_method_passes(gate, laptop, method):
    assert ask_rpc(gate, method, laptop) == grpc.StatusCode.PERMISSION_DENIED
    assert not gate.seen


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/v1/models/shoes"),
        ("GET", "/v1/models/shoes/metadata"),
        ("GET", "/v1/models/shoes:predict"),
        ("POST", "/v1/models/boots:predict"),
        ("POST", "/v1/models/shoes:classify"),
        ("POST", "/v1/models/shoes:predict/../boots:predict"),
        ("GET", "/monitoring/prometheus/metrics"),
        ("POST", PREDICT),  # as plain HTTP, not as gRPC
    ],
)
def test_no_other_path_passes(gate, laptop, method, path):
    assert ask_rest(gate, method, path, laptop) == 403
    assert not gate.seen


def test_paths_in_disguise_and_requests_too_large_are_refused(gate, laptop):
    assert ask_rest(gate, "POST", "/v1/models/shoes%2f..%2fboots:predict", laptop) == 400
    too_large = bytes(envoy.REQUEST_BYTES + 1)
    assert ask_rest(gate, "POST", "/v1/models/shoes:predict", laptop, too_large) == 413
    assert not gate.seen
    assert ask_rest(gate, "POST", "/v1/models/shoes:predict", laptop, too_large[:-1]) == 200


def test_metrics_are_there_and_the_rest_of_the_admin_is_not(gate, laptop):
    ask_rest(gate, "POST", "/v1/models/shoes:predict", laptop)
    status, text = fetch(gate.metrics, "/stats/prometheus")
    assert status == 200
    # The series that the board asks for.
    assert (
        'envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="entrance"}' in text
    )
    for path in ("/", "/config_dump", "/quitquitquit", "/certs"):
        assert fetch(gate.metrics, path)[0] == 404
