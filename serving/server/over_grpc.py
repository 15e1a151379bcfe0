"""The calls over gRPC: services, deadlines, TLS, UNIX socket, health. Runs in an event loop in its own thread."""

import asyncio
import contextlib
import ssl
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf import text_format

from data.errors import UserError
from serving.export.session import SessionError
from serving.server.addresses import CannotListen
from serving.server.calls import Calls, shortened
from serving.wire.messages import CODES, SERVICES, SSLConfig

LARGEST_MESSAGE = 2**31 - 1
_NO_DEADLINE = 1e9  # seconds: gRPC reports a longer time for a call without a deadline
_LARGE_REPLY = 2**17  # bytes: a larger reply is not serialized in the event loop
_COUNTED = ("Predict", "Classify", "Regress")
_UNCOUNTED = contextlib.nullcontext()
_STATUS = {code.value[0]: code for code in grpc.StatusCode}


class GrpcServer:
    """A gRPC server at `addresses` ("host:port", "unix:/path"); `start` it, and `stop` it.

    Args:
        calls: the `Calls` that answer.
        addresses: addresses to listen on.
        pool: threads for blocking calls.
        tls: a text SSLConfig, for all addresses but UNIX sockets.
        health: add grpc.health.v1.
        tensor_content: predictions hold numbers in tensor_content, not in typed fields.

    Raises UserError for an invalid SSLConfig.
    """

    def __init__(
        self,
        calls: Calls,
        addresses: list[str],
        pool: ThreadPoolExecutor,
        *,
        tls: str = "",
        health: bool = False,
        tensor_content: bool = False,
    ):
        self._calls = calls
        self._addresses = addresses
        self._pool = pool
        self._credentials = _credentials(tls) if tls else None
        self._health = health
        self._typed = not tensor_content
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server = None

    def start(self) -> None:
        """Listen and answer. Raises CannotListen."""
        self._thread.start()
        self._in_loop(self._start())

    def stop(self, grace: float) -> None:
        """Refuse new calls, and wait up to `grace` seconds for those in progress."""
        if self._server:
            self._in_loop(self._server.stop(grace))
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _in_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _start(self):
        options = [
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
            ("grpc.so_reuseport", 0),
        ]
        server = grpc.aio.server(options=options)
        answers = self._answers()
        for service, methods in SERVICES.items():
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(
                    self._handler(name, answers[name]),
                    request_deserializer=request.FromString,
                    response_serializer=bytes if name == "Predict" else response.SerializeToString,
                )
                for name, (request, response) in methods.items()
            }
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        if self._health:
            await _add_health(server)
        for address in self._addresses:
            self._listen(server, address)
        await server.start()
        self._server = server

    def _listen(self, server, address):
        try:
            if self._credentials and not address.startswith("unix:"):
                bound = server.add_secure_port(address, self._credentials)
            else:
                bound = server.add_insecure_port(address)
        except RuntimeError as error:
            raise CannotListen(f"cannot listen at {address}: {error}") from error
        if not bound:
            raise CannotListen(f"cannot listen at {address}")

    def _handler(self, api, answer):
        async def handle(request, context):
            remaining = context.time_remaining()
            timeout = None if remaining is None or remaining > _NO_DEADLINE else remaining
            counted = self._calls.counted(request.model_spec.name, api, "GRPC") if api in _COUNTED else _UNCOUNTED
            try:
                with counted:
                    return await answer(request, timeout)
            except SessionError as error:
                code, words = error.code, error.message
            except (MemoryError, ValueError) as error:  # too large for the memory or for a message
                code, words = CODES["RESOURCE_EXHAUSTED"], str(error) or "out of memory"
            await context.abort(_STATUS[code], shortened(words))

        return handle

    def _answers(self):
        calls = self._calls
        blocking = {
            "Classify": calls.classify,
            "Regress": calls.regress,
            "MultiInference": calls.multi_inference,
            "GetModelMetadata": calls.get_model_metadata,
            "GetModelStatus": calls.get_model_status,
            "HandleReloadConfigRequest": calls.handle_reload_config_request,
        }
        return {"Predict": self._predict} | {name: self._in_thread(answer) for name, answer in blocking.items()}

    async def _predict(self, request, timeout):
        prediction = await self._calls.predict_async(request, timeout=timeout)
        if sum(array.nbytes for array in prediction.outputs.values()) < _LARGE_REPLY:
            return prediction.to_wire(self._typed)
        return await self._loop.run_in_executor(self._pool, prediction.to_wire, self._typed)

    def _in_thread(self, answer):
        """Run a blocking call (which waits for a model, or for models to load) in a thread."""
        return lambda request, timeout: self._loop.run_in_executor(self._pool, lambda: answer(request, timeout=timeout))


def _credentials(text):
    try:
        config = text_format.Parse(text, SSLConfig())
    except text_format.ParseError as error:
        raise UserError(f"invalid SSLConfig: {error}") from error
    if not config.server_key or not config.server_cert:
        raise UserError("an SSLConfig needs server_key and server_cert, as PEM text")
    _check_pem(config)
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def _check_pem(config):
    """Raises UserError for keys that gRPC would refuse later, when it starts to listen, and only in its log."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"{config.server_key}\n{config.server_cert}\n")
        file.flush()
        try:
            context.load_cert_chain(file.name, password="")
            if config.custom_ca:
                context.load_verify_locations(cadata=config.custom_ca)
        except (ssl.SSLError, ValueError) as error:
            raise UserError(f"the keys or certificates of the SSLConfig cannot be used: {error}") from error


async def _add_health(server):
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    servicer = health.aio.HealthServicer()
    for name in ("", "PredictionService", "ModelService"):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
