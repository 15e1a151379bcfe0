"""The calls over gRPC: services, deadlines, TLS, UNIX socket, health."""

import concurrent.futures

import grpc
from google.protobuf import text_format

from serving.protocol import CODES, SERVICES, SSLConfig
from serving.server.calls import Calls, shortened
from serving.session import SessionError

LARGEST_MESSAGE = 2**31 - 1
_NO_DEADLINE = 1e9  # seconds: what gRPC says remains of a call without one is longer
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_METHODS = {
    "Classify": Calls.classify,
    "Regress": Calls.regress,
    "MultiInference": Calls.multi_inference,
    "GetModelMetadata": Calls.get_model_metadata,
    "GetModelStatus": Calls.get_model_status,
    "HandleReloadConfigRequest": Calls.handle_reload_config_request,
}


class CannotListen(OSError):
    """The address is taken or cannot be used; the sentence says which."""


def make(
    calls: Calls,
    addresses: list[str],
    *,
    threads: int,
    tls: str = "",
    health: bool = False,
    tensor_content: bool = False,
) -> grpc.Server:
    """A gRPC server that listens at `addresses` ("host:port", "unix:/path"); start it with `start()`.

    `tls` is a text SSLConfig, for all but UNIX sockets; `health` adds grpc.health.v1; with `tensor_content` predictions hold
    numbers as that, not in typed fields. Raises CannotListen, and ValueError for a bad SSLConfig.
    """
    pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc")
    options = [
        ("grpc.max_receive_message_length", LARGEST_MESSAGE),
        ("grpc.max_send_message_length", LARGEST_MESSAGE),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.server(pool, options=options)
    answers = _METHODS | {"Predict": _predict_to_wire(not tensor_content)}
    for service, methods in SERVICES.items():
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                _handler(calls, answers[name]),
                request_deserializer=request.FromString,
                response_serializer=bytes if name == "Predict" else response.SerializeToString,
            )
            for name, (request, response) in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    if health:
        _add_health(server)
    credentials = _credentials(tls) if tls else None
    for address in addresses:
        try:
            if credentials and not address.startswith("unix:"):
                bound = server.add_secure_port(address, credentials)
            else:
                bound = server.add_insecure_port(address)
        except RuntimeError as error:
            raise CannotListen(f"cannot listen at {address}: {error}") from error
        if not bound:
            raise CannotListen(f"cannot listen at {address}")
    return server


def _predict_to_wire(typed):
    return lambda calls, request, timeout: calls.predict(request, timeout=timeout).to_wire(typed)


def _handler(calls, method):
    def handle(request, context):
        try:
            remaining = context.time_remaining()
            return method(calls, request, timeout=None if remaining is None or remaining > _NO_DEADLINE else remaining)
        except SessionError as error:
            context.abort(_STATUS[error.code], shortened(error.message))
        except (MemoryError, ValueError) as error:  # larger than the memory, or than a message can be
            context.abort(_STATUS[CODES["RESOURCE_EXHAUSTED"]], shortened(str(error) or "out of memory"))

    return handle


def _credentials(text):
    try:
        config = text_format.Parse(text, SSLConfig())
    except text_format.ParseError as error:
        raise ValueError(f"no SSLConfig: {error}") from error
    if not config.server_key or not config.server_cert:
        raise ValueError("an SSLConfig needs server_key and server_cert, as PEM text")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def _add_health(server):
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    servicer = health.HealthServicer()
    for name in ("", "PredictionService", "ModelService"):
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
