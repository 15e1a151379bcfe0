"""The server as a process: what it says, signals, TLS and mTLS, UNIX socket, health, taken ports."""

import datetime
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import served
from served import Stub, X, free_port, predict_request

from serving.server.addresses import Address, CannotListen, addresses, check_socket_path
from serving.server.flags import Flags
from serving.server.local import Server

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "toy"
    served.place(served.save(tmp_path_factory.mktemp("saved") / "v", 3), base, 1)
    return base


class Process:
    """`python -m serving.server` with flags; `wait_for(words)` reads its notices until they come."""

    def __init__(self, *flags):
        command = [sys.executable, "-m", "serving.server", *flags]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.said = []
        self._reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self._reader.start()

    def wait_for(self, words, seconds=60):
        end = time.monotonic() + seconds
        while not any(words in line for line in list(self.said)):
            assert self.process.poll() is None and time.monotonic() < end, self.said
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()


def test_sigterm_finishes_what_is_under_way(base, tmp_path):
    port, path = free_port(), tmp_path / "socket"
    flags = [f"--port={port}", f"--grpc_socket_path={path}", f"--model_base_path={base}", "--model_name=toy"]
    with Process(*flags, "--enable_grpc_healthcheck_service") as server:
        server.wait_for("for development; in production run TensorFlow Serving")
        assert any(f"serving toy from {base}" in line for line in server.said)
        stub, over_socket = Stub(f"127.0.0.1:{port}"), Stub(f"unix:{path}")
        assert over_socket.ask(x=X)["y"].tolist() == [[3, 6]]
        health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
        from grpc_health.v1 import health_pb2_grpc

        health = health_pb2_grpc.HealthStub(stub.channel)
        for service in ("", "PredictionService", "ModelService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
        answers = []
        slow = threading.Thread(target=lambda: answers.append(stub.ask(signature="wait", n=np.array([300_000]))))
        slow.start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("those under way are finished")
        slow.join(60)
        assert answers[0]["n"].tolist() == [300_000]
        assert server.process.wait(60) == 0


def test_a_second_signal_ends_a_run_that_does_not_end(base):
    port = free_port()
    with Process(f"--port={port}", f"--model_base_path={base}", "--model_name=toy") as server:
        server.wait_for("for development; in production run TensorFlow Serving")
        stub = Stub(f"127.0.0.1:{port}")
        under_way = stub.Predict.future(predict_request(signature="wait", n=np.array([10**12])))
        stub.ask(x=X)  # behind the other on the same connection
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("a second signal ends the server at once")
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == -signal.SIGTERM
        assert under_way.exception(60)


def refused(*flags):
    """What a server says that ends before it has loaded a model."""
    with Process(*flags) as server:
        assert server.process.wait(120) == 2
        server._reader.join()
        assert not any("Traceback" in line or "is available" in line for line in server.said)
        return server.said[-1].rstrip()


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_taken_port_is_one_sentence_and_exit_code_2(base, flag):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        flags = {"port": free_port()} | {flag: number}
        said = refused(*(f"--{name}={value}" for name, value in flags.items()), f"--model_base_path={base}")
        assert said == f"Failed to start server. Error: cannot listen at 127.0.0.1:{number}: Address already in use"


def test_a_host_that_is_none_is_one_sentence_and_exit_code_2(base):
    said = refused(f"--port={free_port()}", f"--model_base_path={base}", "--bind_address=999.1.1.1")
    assert (
        said.startswith("Failed to start server. Error: cannot listen at '999.1.1.1': ")
        and "--bind_address takes a name or an address" in said
    )


def test_models_that_do_not_load_end_the_server(tmp_path):
    (tmp_path / "toy" / "1").mkdir(parents=True)
    with Process(f"--port={free_port()}", f"--model_base_path={tmp_path}/toy", "--max_num_load_retries=0") as server:
        assert server.process.wait(60) == 1
        server._reader.join()
        assert any("Failed to start server. Error: UNKNOWN: 1 servable(s)" in line for line in server.said)


def test_sigterm_while_waiting_for_a_first_version(tmp_path):
    (tmp_path / "toy").mkdir()
    with Process(f"--port={free_port()}", f"--model_base_path={tmp_path}/toy") as server:
        server.wait_for("No versions of servable default found under base path")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


@pytest.fixture(scope="module")
def pem():
    """name -> (key, certificate) as PEM text; `ca` signs `server` (for localhost) and `client`."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    made, ca = {}, None
    for name in ("ca", "server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca[1].subject if ca else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=not ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        certificate = builder.sign(ca[0] if ca else key, hashes.SHA256())
        ca = ca or (key, certificate)
        made[name] = (
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
            certificate.public_bytes(serialization.Encoding.PEM).decode(),
        )
    return made


@pytest.mark.parametrize("verify", [False, True])
def test_tls_and_mutual_tls(base, pem, tmp_path, verify):
    from serving.wire.messages import SSLConfig

    config = SSLConfig(
        server_key=pem["server"][0], server_cert=pem["server"][1], custom_ca=pem["ca"][1], client_verify=verify
    )
    (tmp_path / "ssl").write_text(str(config))
    flags = {
        "model_name": "toy",
        "model_base_path": str(base),
        "ssl_config_file": str(tmp_path / "ssl"),
        "rest_api_port": 0,
    }
    with served.running(**flags) as running:
        target = f"localhost:{running.port}"
        root = pem["ca"][1].encode()
        anyone = grpc.ssl_channel_credentials(root)
        known = grpc.ssl_channel_credentials(root, pem["client"][0].encode(), pem["client"][1].encode())
        assert Stub(grpc.secure_channel(target, known)).ask(x=X)["y"].tolist() == [[3, 6]]
        if verify:
            with pytest.raises(grpc.RpcError) as caught:
                Stub(grpc.secure_channel(target, anyone)).ask(x=X)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        else:
            assert Stub(grpc.secure_channel(target, anyone)).ask(x=X)["y"].tolist() == [[3, 6]]
        with pytest.raises(grpc.RpcError):
            Stub(target).ask(x=X, timeout=3)


def test_keys_that_are_none_are_refused_before_models_are_loaded(base, tmp_path):
    (tmp_path / "ssl").write_text('server_key: "no key" server_cert: "no certificate"')
    with pytest.raises(ValueError, match="the keys or certificates of the SSLConfig cannot be used"):
        Server(Flags(model_base_path=str(base), port=free_port(), ssl_config_file=str(tmp_path / "ssl")))


@pytest.mark.parametrize("host", ["", "*", "999.1.1.1", "127.0.0.1:80", "a..b", "http://localhost", "[]"])
def test_what_is_no_host(host):
    with pytest.raises(CannotListen, match="--bind_address takes a name or an address of this machine"):
        addresses(host, 8500)


def test_an_address_of_another_machine_is_refused_with_its_port():
    with pytest.raises(CannotListen, match=r"cannot listen at 192\.0\.2\.1:8500: "):
        addresses("192.0.2.1", 8500)


def test_hosts_in_all_their_forms():
    port = free_port()
    assert [str(each) for each in addresses("127.0.0.1", port)] == [f"127.0.0.1:{port}"]
    assert f"127.0.0.1:{port}" in [str(each) for each in addresses("localhost", port)]
    assert str(Address("::1", 80)) == "[::1]:80"


@pytest.mark.parametrize("host", ["::1", "[::1]", "::"])
def test_ipv6(base, host):
    try:
        Address("::1", free_port()).bound().close()
    except CannotListen:
        pytest.skip("no IPv6 here")
    said = []
    with served.running(said, model_name="toy", model_base_path=str(base), bind_address=host) as flags:
        shown = f"[{host.strip('[]')}]"
        assert any(
            f"gRPC at {shown}:{flags.port}, HTTP at http://{shown}:{flags.rest_api_port}/" in words for words in said
        )
        assert Stub(f"[::1]:{flags.port}").ask(x=X)["y"].tolist() == [[3, 6]]
        for family in ("::1", "127.0.0.1") if host == "::" else ("::1",):
            with socket.create_connection((family, flags.rest_api_port), timeout=10):
                pass


def test_where_no_unix_socket_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    for path, words in [
        (tmp_path / "no" / "socket", "there is no folder"),
        (tmp_path / "file", "there is another file"),
        (tmp_path / ("x" * 100), "has at most"),
    ]:
        with pytest.raises(CannotListen, match=words):
            check_socket_path(str(path))
    check_socket_path(f"{tmp_path}/s" if len(str(tmp_path)) < 90 else "/tmp/s")
