"""Running servers that a test looks into and disturbs."""

import asyncio
import contextlib
import functools
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
from served import entry, listed, running

from serving.export.session import SessionError
from serving.server.calls import Calls


@dataclass
class Watched:
    """A server that runs: where it listens, what it was asked, and the faults its next calls meet."""

    grpc: str = ""  # host:port or unix:/path
    rest: str = ""  # URL
    seen: list = field(default_factory=list)  # (name, request) of every call, named as in `Calls`
    done: list = field(default_factory=list)  # the same of those that were answered without an error
    faults: deque = field(default_factory=deque)  # for each call to come a SessionError, or seconds to wait


class _Disturbed:
    """The calls of a server, noted in a `Watched` and disturbed by its faults."""

    def __init__(self, calls, watched):
        self._calls, self._watched = calls, watched

    def __getattr__(self, name):
        answer = getattr(self._calls, name)
        if name in ("signature", "counted"):  # which are no calls of their own
            return answer
        if name == "predict_async":
            return functools.partial(self._ask_async, "predict", answer)
        return functools.partial(self._ask, name, answer)

    def _ask(self, name, answer, request, **options):
        time.sleep(self._pause(name, request))
        reply = answer(request, **options)
        self._watched.done.append((name, request))
        return reply

    async def _ask_async(self, name, answer, request, **options):
        await asyncio.sleep(self._pause(name, request))
        reply = await answer(request, **options)
        self._watched.done.append((name, request))
        return reply

    def _pause(self, name, request):
        """Note a call; raise the error it is to meet, or say how many seconds it is to wait."""
        self._watched.seen.append((name, request))
        fault = self._watched.faults.popleft() if self._watched.faults else 0
        if isinstance(fault, SessionError):
            raise fault
        return fault


@contextlib.contextmanager
def watched(folder, *names, config="", **flags):
    """A `Watched` server of what the text `config` says; without it of the models in `folder`/<name>, of those named or of all."""
    names = names or sorted(path.name for path in folder.iterdir())
    server = Watched()
    with tempfile.NamedTemporaryFile("w", suffix=".config") as file:
        file.write(config or listed(*(entry(folder / name, name=name) for name in names)))
        file.flush()
        calls = lambda *parts: _Disturbed(Calls(*parts), server)  # noqa: E731
        with running(calls=calls, model_config_file=file.name, **flags) as chosen:
            server.grpc = f"localhost:{chosen.port}" if chosen.port else f"unix:{chosen.grpc_socket_path}"
            server.rest = f"http://localhost:{chosen.rest_api_port}"
            yield server


@contextlib.contextmanager
def hearing():
    """(host:port, headers of each call) of a gRPC server that knows no method."""
    heard = []

    class Ears(grpc.GenericRpcHandler):
        def service(self, details):
            heard.append(dict(details.invocation_metadata))

    server = grpc.server(ThreadPoolExecutor(1), [Ears()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"localhost:{port}", heard
    finally:
        server.stop(None)
