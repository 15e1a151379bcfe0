"""gRPC channels to a server, blocking and asynchronous: both send a `Call`, pause, and close.

Every method is a coroutine function. The coroutines of the blocking channel never suspend, so the blocking client runs
them to the end in one step. The asynchronous client awaits them. So the code of the clients is written once.
"""

import asyncio
import re
import time
from collections.abc import Mapping

import grpc

from ..wire.errors import BadCall, ServingError, from_code
from ..wire.messages import CODES, SERVICES
from . import proxies
from .tls import TLS

_LARGEST = 2**31 - 1  # bytes of a message; the default is 4 MiB
_OPTIONS = (
    ("grpc.max_send_message_length", _LARGEST),
    ("grpc.max_receive_message_length", _LARGEST),
    ("grpc.initial_reconnect_backoff_ms", 100),  # by default every retry in the first second fails unsent
)
_TARGET = re.compile(r"(?:dns|ipv4|ipv6|xds|unix):.+|[^\s/]+:[0-9]+")
_PORT = re.compile(r":([0-9]+)$")
_UNREACHABLE = ("failed to connect", "errors resolving", "DNS resolution failed")
_LAST_ERROR = re.compile(r".*last error: \w+: ", re.DOTALL)


class GrpcChannel:
    """Sends calls and blocks until they are answered. Safe to use from many threads.

    Raises BadCall for a target that is neither host:port nor unix:/path.
    """

    knows_types = True  # messages carry the types of their tensors

    def __init__(self, target: str, tls: TLS | None = None):
        self._way = _Way(target)
        self._channel, self._methods = self._way.connect(grpc, tls)

    async def send(self, call, seconds: float | None, headers: Mapping[str, str]):
        """The reply to `call`. Raises ServingError, a DeadlineExceeded after `seconds`."""
        try:
            return self._methods[call.method](call.request, timeout=seconds, metadata=_metadata(headers))
        except grpc.RpcError as error:
            raise self._way.error(error, seconds) from error

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    async def close(self) -> None:
        self._channel.close()


class AsyncGrpcChannel:
    """As `GrpcChannel`, for the event loop of its first call; calls do not block the loop."""

    knows_types = True

    def __init__(self, target: str, tls: TLS | None = None):
        self._way, self._tls = _Way(target), tls
        self._channel = None

    async def send(self, call, seconds: float | None, headers: Mapping[str, str]):
        """The reply to `call`. Raises ServingError, a DeadlineExceeded after `seconds`."""
        if self._channel is None:
            self._channel, self._methods = self._way.connect(grpc.aio, self._tls)
        try:
            return await self._methods[call.method](call.request, timeout=seconds, metadata=_metadata(headers))
        except grpc.RpcError as error:
            raise self._way.error(error, seconds) from error

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()


class _Way:
    """The way to a server: its target, and a proxy. Raises BadCall for an invalid target."""

    def __init__(self, target):
        port = None if target.startswith("unix:") else _PORT.search(target)
        # gRPC would take a larger port modulo 65536.
        if not _TARGET.fullmatch(target) or (port and not 1 <= int(port[1][:9]) <= 65535):
            raise BadCall(
                "a server is host:port, unix:/path, http://host:port or https://host:port, with a port from 1 to 65535, "
                f"not {target!r}"
            )
        self._target, self._proxy = target, proxies.of_grpc(target)
        self._named = target if self._proxy is None else f"{target} through {self._proxy}"

    def connect(self, library, tls):
        """A channel, and its methods by name; `library` is `grpc` or `grpc.aio`."""
        options = [*_OPTIONS, ("grpc.enable_http_proxy", int(self._proxy is not None))]
        if self._target.startswith("unix:"):
            options.append(("grpc.default_authority", "localhost"))  # a path is not a host name
        if tls is None:
            channel = library.insecure_channel(self._target, options)
        else:
            if tls.name:
                options.append(("grpc.ssl_target_name_override", tls.name))
            channel = library.secure_channel(self._target, tls.credentials(), options)
        return channel, {
            name: channel.unary_unary(
                f"/{service}/{name}",
                request_serializer=request.SerializeToString,
                response_deserializer=reply.FromString,
            )
            for service, methods in SERVICES.items()
            for name, (request, reply) in methods.items()
        }

    def error(self, error: grpc.RpcError, seconds: float | None) -> ServingError:
        """The error with the server's sentence; an error of gRPC itself gets a sentence that names the target."""
        code, details = error.code().value[0], error.details() or ""
        if code == CODES["UNAVAILABLE"] and details.startswith(_UNREACHABLE):
            details = f"no gRPC server can be reached at {self._named}: {_LAST_ERROR.sub('', details)}"
        elif code == CODES["DEADLINE_EXCEEDED"] and details == "Deadline Exceeded" and seconds is not None:
            details = f"{self._named} has not answered within {seconds:.1f} s"
        return from_code(code, details)


def _metadata(headers):
    return tuple((name.lower(), value) for name, value in headers.items())
