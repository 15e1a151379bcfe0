"""Channel to a server's REST interface, by the standard library: persistent connections, one deadline for an exchange."""

import collections
import http.client
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..wire.errors import BadCall, DeadlineExceeded, ServingError, Unavailable, from_http
from . import proxies, rest_messages
from .tls import TLS

_CHUNK = 1 << 20


class RestChannel:
    """Sends calls as HTTP requests and blocks until they are answered. Safe to use from many threads.

    `target` is http://host:port or https://host:port, with a path before /v1 if a proxy has one. Raises BadCall for
    any other target, and for `tls` over http.
    """

    knows_types = False  # JSON has one type of number

    def __init__(self, target: str, tls: TLS | None = None):
        try:
            parts = urlsplit(target)
            fits = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
            fits = fits and parts.port != 0  # raises for one that is too large
        except ValueError:
            fits = False
        if not fits:
            raise BadCall(
                f"a REST server is http://host:port or https://host:port, with a port from 1 to 65535, not {target!r}"
            )
        if parts.scheme == "http" and tls is not None:
            raise BadCall(f"{target} is not encrypted; TLS needs https://")
        self._target, self._root = target, parts.path.rstrip("/")
        self._host, self._port = parts.hostname, parts.port
        self._tls = (tls or TLS()) if parts.scheme == "https" else None
        self._context = self._tls.context() if self._tls else None
        self._idle = collections.deque()

    async def send(self, call, seconds: float | None, headers: Mapping[str, str]):
        """The reply to `call`. Raises ServingError, a DeadlineExceeded after `seconds`."""
        verb, path, body = rest_messages.request(call.method, call.request)
        content = None if body is None else body.encode("ascii")
        headers = {"Content-Type": "application/json", **headers} if content else dict(headers)
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            status, reason, answer = self._exchange((verb, self._root + path, content, headers), deadline)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self._target} has not answered within {seconds:.1f} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"no REST server can be reached at {self._target}: {self._problem(error)}") from error
        text = answer.decode("utf-8", "surrogateescape")
        if status != http.client.OK:
            raise _error(status, reason, text, self._target)
        return rest_messages.reply(call.method, call.request, text, call.signature)

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _problem(self, error):
        if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError | http.client.IncompleteRead):
            # Without the received bytes: a terminal may not be able to show them.
            return "what answers there is not HTTP/1.1 (a gRPC port is asked without http://, one with TLS by https://)"
        proxy = proxies.passed_over(f"{self._host}:{self._port or 0}")
        past = f"; it was asked directly, past {proxy}" if proxy else ""
        return (str(error) or type(error).__name__) + past

    def _exchange(self, request, deadline):
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._on(self._connection(), request, deadline)
        try:
            return self._on(kept, request, deadline)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException):  # the server may have closed the kept connection
            return self._on(self._connection(), request, deadline)

    def _on(self, connection, request, deadline):
        """Status, reason and body of the answer. Keeps the connection if it can be used again."""
        try:
            connection.timeout = _left(deadline)
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(_left(deadline))
            verb, path, content, headers = request
            connection.request(verb, path, content, headers)
            sock = connection.sock
            sock.settimeout(_left(deadline))
            response = connection.getresponse()
            parts = []
            while part := response.read1(_CHUNK):
                parts.append(part)
                sock.settimeout(_left(deadline))
            if response.length:  # bytes missing: the server has closed the connection
                raise http.client.IncompleteRead(b"".join(parts), response.length)
            response.close()
            answer = response.status, response.reason, b"".join(parts)
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:
            self._idle.append(connection)
        return answer

    def _connection(self):
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port)
        return _Encrypted(self._host, self._port, self._context, self._tls.name or self._host)


class _Encrypted(http.client.HTTPConnection):
    """As `http.client.HTTPSConnection`, but the name in the certificate may differ from the host."""

    default_port = http.client.HTTPS_PORT

    def __init__(self, host, port, context, name):
        super().__init__(host, port)
        self._context, self._name = context, name

    def connect(self):
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)


def _left(deadline):
    """Seconds until the deadline, None if there is none. Raises TimeoutError if it has passed."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _error(status, reason, text, target) -> ServingError:
    sentence = rest_messages.error_sentence(text)
    return from_http(status, sentence or f"{target} answered with HTTP {status} {reason}")
