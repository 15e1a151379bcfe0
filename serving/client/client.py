"""A client of TensorFlow Serving that needs no TensorFlow: arrays in, arrays out, over gRPC or REST.

    with Client("localhost:8500") as client:
        pictures = client.predict("shoes", {"seed": [1, 2], "truncation": [1, 1]}, signature="generate")["images"]

Calls are built in `serving/client/calls.py` and sent by `serving/client/channels.py` and
`serving/client/rest_channel.py`. This module adds deadlines, retries, headers and metrics.
"""

import itertools
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..wire import class_names
from ..wire.errors import BadCall, DeadlineExceeded, NotFound, ServingError, Unavailable, from_code
from ..wire.messages import CODES
from . import calls
from .calls import Metadata, VersionStatus
from .metrics import ClientMetrics, Labels
from .tls import TLS

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds before a call is sent again
POLL = 0.2  # seconds between two status calls of `wait_available`
SIGNATURE_AGE = 60.0  # seconds to keep signatures of a model without a named version: the newest may change

_REST = ("http://", "https://")
_CLIENTS = object()  # the client's own timeout

Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]


class _Caller:
    """The calls of both clients. Each makes a coroutine; `_run` of a client runs or returns it."""

    def __init__(self, channel, timeout, retries, headers):
        if timeout is not None and not timeout > 0:
            raise ValueError(f"a timeout is a number of seconds above 0, or None, not {timeout}")
        if retries < 0:
            raise ValueError(f"retries: a call can be sent again 0 times or more, not {retries}")
        self.metrics = ClientMetrics()
        self._channel = channel
        self._timeout = timeout
        self._retries = retries
        self._headers = headers if callable(headers) else lambda: headers
        self._signatures = {}

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        signature: str = "",
        version: int | None = None,
        label: str | None = None,
        outputs: Iterable[str] = (),
        timeout: float | None = _CLIENTS,
    ) -> dict[str, np.ndarray]:
        """Run a signature ("" is serving_default) on arrays by alias and return arrays by alias.

        Strings are `bytes` in arrays of dtype object. Arrays are sent with their dtype; numbers and lists are converted to
        the type in the signature. Without `version` and `label` the newest version answers. `outputs` are the requested
        aliases, all if empty. Raises ServingError, BadCall for invalid inputs, and ValueError for an answer of a type that
        NumPy does not have.
        """
        return self._run(
            self._predict(
                model,
                inputs,
                signature,
                version=version,
                label=label,
                outputs=outputs,
                deadline=self._deadline(timeout),
            )
        )

    def classify(
        self,
        model: str,
        examples: Sequence[Mapping],
        *,
        signature: str = "",
        version: int | None = None,
        label: str | None = None,
        context: Mapping | None = None,
        timeout: float | None = _CLIENTS,
    ) -> list[list[tuple[str, float]]]:
        """Classify examples, each a dict of features (integers, floats, or bytes and text; one or a list).

        Returns a list of (label, score) for each. `context` holds features that all examples share.
        """
        spec = calls.spec(model, signature, version=version, label=label)
        return self._run(self._send(calls.classify(spec, examples, context=context), self._deadline(timeout)))

    def regress(
        self,
        model: str,
        examples: Sequence[Mapping],
        *,
        signature: str = "",
        version: int | None = None,
        label: str | None = None,
        context: Mapping | None = None,
        timeout: float | None = _CLIENTS,
    ) -> np.ndarray:
        """Regress examples, as for `classify`: float32 [n]."""
        spec = calls.spec(model, signature, version=version, label=label)
        return self._run(self._send(calls.regress(spec, examples, context=context), self._deadline(timeout)))

    def multi_inference(
        self,
        model: str,
        tasks: Mapping[str, str],
        examples: Sequence[Mapping],
        *,
        version: int | None = None,
        label: str | None = None,
        context: Mapping | None = None,
        timeout: float | None = _CLIENTS,
    ) -> dict[str, Any]:
        """Run several signatures on the same examples: `tasks` is signature -> "classify" or "regress". Only over gRPC.

        Returns signature -> the result of `classify` or `regress`.
        """
        specs = [
            (calls.spec(model, signature, version=version, label=label), kind) for signature, kind in tasks.items()
        ]
        call = calls.multi_inference(specs, examples, context=context)
        named = call._replace(read=lambda reply: dict(zip(tasks, call.read(reply), strict=True)))
        return self._run(self._send(named, self._deadline(timeout)))

    def metadata(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = _CLIENTS,
    ) -> Metadata:
        """The signatures of a version, with the types and shapes of their inputs and outputs."""
        call = calls.metadata(calls.spec(model, "", version=version, label=label))
        return self._run(self._send(call, self._deadline(timeout)))

    def classes(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        condition: str = class_names.LABEL,
        timeout: float | None = _CLIENTS,
    ) -> list[str]:
        """The names of a conditional model's classes, in the order of their numbers, from its signature `classes`.

        For another `condition`, such as "colour", the names of its values, from `colour_values`. Raises ServingError; a
        model without that signature raises FailedPrecondition (over REST InvalidArgument).
        """
        return self._run(self._classes(model, version, label, condition, self._deadline(timeout)))

    def status(
        self, model: str, *, version: int | None = None, timeout: float | None = _CLIENTS
    ) -> list[VersionStatus]:
        """All versions in the server, or the given one, the newest first; failed and unloaded versions are END."""
        return self._run(self._send(calls.status(calls.spec(model, "", version=version)), self._deadline(timeout)))

    def reload(self, config, *, timeout: float | None = _CLIENTS) -> None:
        """Replace the server's list of models by a ModelServerConfig (a message, or its text). Only over gRPC.

        Models that are not in it are unloaded; new ones are loaded before the call returns. Only operators should be able
        to reach the ModelService.
        """
        return self._run(self._send(calls.reload(config), self._deadline(timeout)))

    def wait_available(
        self,
        model: str,
        version: int | None = None,
        *,
        timeout: float | None = _CLIENTS,
        unless: VersionStatus | None = None,
    ) -> VersionStatus:
        """Wait until `version` (or any) of a model is AVAILABLE; waits also for a server that has not started.

        Raises the error with which the version failed to load, and DeadlineExceeded with the last state. A failure equal
        to `unless`, from before a reload, is ignored.
        """
        return self._run(self._wait(model, version, self._deadline(timeout), unless))

    def _deadline(self, timeout):
        """The deadline of a call that starts now, by the monotonic clock; None for no limit."""
        seconds = self._timeout if timeout is _CLIENTS else timeout
        return math.inf if seconds is None else time.monotonic() + seconds

    async def _predict(self, model, inputs, signature, *, version, label, outputs, deadline):
        spec = calls.spec(model, signature, version=version, label=label)
        known = None
        if not self._channel.knows_types or not all(hasattr(value, "dtype") for value in inputs.values()):
            known = await self._signature(spec, deadline)
        return await self._send(calls.predict(spec, inputs, outputs=outputs, signature=known), deadline)

    async def _classes(self, model, version, label, condition, deadline):
        async def ask(numbers):
            return await self._predict(
                model,
                {condition: np.array(numbers, np.int64)},
                class_names.signature(condition),
                version=version,
                label=label,
                outputs=(),
                deadline=deadline,
            )

        count = (await ask([0]))["count"][0]
        return [name.decode() for name in (await ask(range(count)))["name"]]

    async def _signature(self, spec, deadline):
        """The signature of `spec` from the server's metadata; None if there is no such signature."""
        key = spec.name, spec.version.value if spec.HasField("version") else spec.version_label or None
        metadata, until = self._signatures.get(key, (None, 0))
        if time.monotonic() >= until:
            metadata = await self._send(calls.metadata(spec), deadline)
            until = math.inf if spec.HasField("version") else time.monotonic() + SIGNATURE_AGE
            self._signatures[key] = metadata, until
        return metadata.signatures.get(spec.signature_name or "serving_default")

    async def _send(self, call, deadline):
        started = time.monotonic()
        labels, retries = _labels(call), 0
        try:
            for retries in itertools.count():
                try:
                    reply = await self._channel.send(call, _left(deadline), self._headers())
                    break
                except Unavailable:
                    pause = min(FIRST_PAUSE * 2.0 ** min(retries, 16), LONGEST_PAUSE) * random.uniform(0.5, 1)
                    if retries == self._retries or time.monotonic() + pause >= deadline:
                        raise
                    await self._channel.pause(pause)
            labels = labels._replace(code="OK", version=_version_of(reply) or labels.version)
            return call.read(reply)
        except ServingError as error:
            labels = labels._replace(code=error.name)
            raise
        finally:
            self.metrics.observe(labels, time.monotonic() - started, retries=retries)

    async def _wait(self, model, version, deadline, unless):
        call, seen = calls.status(calls.spec(model, "", version=version)), None
        while True:
            try:
                found = await self._send(call, deadline)
            except (NotFound, Unavailable) as error:
                found, seen = [], error.message
            except DeadlineExceeded as error:
                found, seen = [], seen or error.message
            available = [one for one in found if one.state == "AVAILABLE"]
            if available:
                return available[0]
            if found:
                newest = found[0]
                seen = f"version {newest.version} is {newest.state} {newest.message}".rstrip()
                if newest.code != "OK" and newest != unless and all(one.state == "END" for one in found):
                    raise from_code(CODES[newest.code], f"{model} {newest.version}: {newest.message}")
            if time.monotonic() + POLL >= deadline:
                what = model if version is None else f"version {version} of {model}"
                raise DeadlineExceeded(f"{what} has not become available in time: {seen}")
            await self._channel.pause(POLL)


class Client(_Caller):
    """Calls a server and blocks until it answers. Safe to use from many threads; use it in a `with`, or `close()` it.

    Args:
        target: "host:port" or "unix:/path" for gRPC; "http://host:port" or "https://host:port" for REST.
        timeout: seconds for a call with all its retries; None for no limit. Every call can have its own.
        retries: how often a call is sent again when the server is UNAVAILABLE, after growing pauses.
        tls: for gRPC over TLS (`TLS()` trusts the usual authorities), and for https with your own files.
        headers: sent with every call, such as {"authorization": "Bearer ..."}; or a function that returns them, called
            before each call, as tokens expire.

    Raises BadCall for another form of target. It connects with the first call.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float | None = 60.0,
        retries: int = 3,
        tls: TLS | None = None,
        headers: Headers | None = None,
    ):
        super().__init__(_channel(target, tls), timeout, retries, headers or {})

    def close(self) -> None:
        """Close the connections. Closing twice is allowed."""
        self._run(self._channel.close())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self, coroutine):
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("a blocking channel has suspended")


class AsyncClient(_Caller):
    """As `Client`, for one event loop: its methods are awaited. Over gRPC only."""

    def __init__(
        self,
        target: str,
        *,
        timeout: float | None = 60.0,
        retries: int = 3,
        tls: TLS | None = None,
        headers: Headers | None = None,
    ):
        from .channels import AsyncGrpcChannel

        if target.startswith(_REST):
            raise BadCall(f"AsyncClient uses gRPC only: a target is host:port or unix:/path, not {target!r}")
        super().__init__(AsyncGrpcChannel(target, tls), timeout, retries, headers or {})

    async def close(self) -> None:
        """Close the connection. Closing twice is allowed."""
        await self._channel.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    def _run(self, coroutine):
        return coroutine


def _channel(target, tls):
    if target.startswith(_REST):
        from .rest_channel import RestChannel

        return RestChannel(target, tls)
    from .channels import GrpcChannel

    return GrpcChannel(target, tls)


def _left(deadline):
    """Seconds until the deadline, None if there is none. Raises DeadlineExceeded if it has passed."""
    if deadline == math.inf:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("the time for the call was over before it could be sent")
    return left


def _labels(call):
    """The labels of a call that got no reply."""
    request = call.request
    if call.method == "MultiInference":
        spec = calls.spec("")
        for task in request.tasks:
            spec.MergeFrom(task.model_spec)
        spec.signature_name = "+".join(task.model_spec.signature_name for task in request.tasks)
    elif call.method == "HandleReloadConfigRequest":
        spec = calls.spec("")
    else:
        spec = request.model_spec
    version = str(spec.version.value) if spec.HasField("version") else spec.version_label
    return Labels(spec.name, version, spec.signature_name, call.method, "CANCELLED")


def _version_of(reply):
    spec = getattr(reply, "model_spec", None)
    return str(spec.version.value) if spec is not None and spec.HasField("version") else None
