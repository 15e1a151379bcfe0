"""Runs an exported folder as TensorFlow Serving does: the C++ session behind the C API of the installed TensorFlow.

Python's `tf.saved_model.load` finds variables, checks shapes and casts types where a server does none of it. `Session`
loads with `TF_LoadSessionFromSavedModel` and runs with `TF_SessionRun`. That is the server's own code path, so a model
that works here works there, with the same errors in the same words.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_char_p, c_int64, c_void_p
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from serving.export.c_api import TSTRING_BYTES, Output, library
from serving.export.kernels import unguarded

# The numbers of TF_Code, which are those of gRPC.
OK, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, FAILED_PRECONDITION = 0, 3, 8, 9

_STRING = tf.string.as_datatype_enum


class SessionError(Exception):
    """The error of a server: `code` is a TF_Code (= gRPC status code), `message` its sentence."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


class Tensor(NamedTuple):
    """One input or output of a signature; None in `shape` is any size, and a `shape` of None is any rank."""

    dtype: tf.DType
    shape: tuple[int | None, ...] | None
    name: str


class Signature(NamedTuple):
    """Inputs and outputs of a signature by alias, and the defaults of optional inputs."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    defaults: dict[str, np.ndarray]


class Call(NamedTuple):
    """A request that fits its signature: arrays by alias, and the aliases of the requested outputs."""

    signature: str
    inputs: dict[str, np.ndarray]
    outputs: tuple[str, ...]


class Session:
    """One version of a model, loaded for serving. Safe to use from many threads; use it in a `with`, or `close()` it.

    `signatures` maps each name to its `Signature`, and `meta_graph` is the MetaGraphDef of the folder without the
    graph. `unguarded` maps each name to the inputs whose shape may abort the process (see `serving.export.kernels`).
    Raises SessionError if the folder cannot be loaded.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        self._c = library()
        self._running = 0
        self._idle = threading.Condition()
        self._open = True
        self._session = None
        self._plans = {}
        self._graph = self._c.TF_NewGraph()
        try:
            self.meta_graph = self._load(self.path)
            self.signatures = {
                name: Signature(_tensors(definition.inputs), _tensors(definition.outputs), _defaults(definition))
                for name, definition in self.meta_graph.signature_def.items()
                if not name.startswith("__saved_model")
            }
        except BaseException:
            self.close()
            raise

    def run(
        self, signature: str, inputs: Mapping[str, np.ndarray], *, timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """Run `signature` ("" means serving_default) on arrays by alias and return its outputs by alias.

        Strings are arrays of `bytes` with dtype object, both ways (`str` is sent as UTF-8). `timeout` is in seconds.
        Raises SessionError with the server's code and sentence for an unknown signature, missing, surplus or misnamed
        inputs, wrong types, and errors of the graph. As in the server, shapes are not checked: the shape of an
        `unguarded` input may abort the process.
        """
        return self.execute(self.prepare(signature, inputs), timeout=timeout)

    def prepare(
        self,
        signature: str,
        inputs: Mapping[str, object],
        *,
        outputs: Sequence[str] = (),
        read: Callable[[str, object], np.ndarray] = lambda alias, value: value,
    ) -> Call:
        """Prepare a call: check names as the server does, and fill in defaults.

        `outputs` are the requested aliases, () for all; `read(alias, value)` converts an input to an array. Raises
        SessionError as `run` does, before anything runs.
        """
        name = signature or "serving_default"
        if name not in self.signatures:
            raise SessionError(FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        wanted = self.signatures[name]
        feeds = _complete(wanted, inputs, read)
        _check_outputs(wanted.outputs, outputs)
        return Call(name, feeds, tuple(outputs) or tuple(wanted.outputs))

    def execute(self, call: Call, *, timeout: float | None = None) -> dict[str, np.ndarray]:
        """Run a prepared call. Its arrays may have been replaced. Raises SessionError."""
        with self._alive():
            fed, fetched = self._plan(call)
            feeds, results = (c_void_p * len(fed))(), (c_void_p * len(fetched))()
            try:
                for place, array in enumerate(call.inputs.values()):
                    feeds[place] = self._new_tensor(array)
                with self._options(timeout) as options, self._status() as status:
                    self._c.TF_SessionRun(
                        *(self._session, options, fed, feeds, len(feeds), fetched, results, len(results)),
                        *(None, 0, None, status),
                    )
                return {alias: self._value(tensor) for alias, tensor in zip(call.outputs, results, strict=True)}
            finally:
                for tensor, array in zip(feeds, call.inputs.values(), strict=True):
                    if tensor:
                        self._free(tensor, array)
                for tensor in results:
                    if tensor:
                        self._c.TF_DeleteTensor(tensor)

    def _plan(self, call):
        """The ends of a call's inputs and outputs in the graph, looked up once for each set of aliases."""
        key = (call.signature, tuple(call.inputs), call.outputs)
        if key not in self._plans:
            signature = self.signatures[call.signature]
            self._plans[key] = (
                self._ends([signature.inputs[alias] for alias in call.inputs]),
                self._ends([signature.outputs[alias] for alias in call.outputs]),
            )
        return self._plans[key]

    def close(self) -> None:
        """Wait for calls in progress, then free the model. Closing twice is allowed."""
        with self._idle:
            was_open, self._open = self._open, False
            self._idle.wait_for(lambda: not self._running)
        if not was_open:
            return
        if self._session:
            for end in (self._c.TF_CloseSession, self._c.TF_DeleteSession):
                with self._status() as status:
                    end(self._session, status)
        self._c.TF_DeleteGraph(self._graph)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _load(self, path):
        tags = (c_char_p * 1)(b"serve")
        buffer, options = self._c.TF_NewBuffer(), self._c.TF_NewSessionOptions()
        try:
            with self._status() as status:
                self._session = self._c.TF_LoadSessionFromSavedModel(
                    options, None, path.encode(), tags, 1, self._graph, buffer, status
                )
            content = ctypes.string_at(buffer.contents.data, buffer.contents.length)
            meta_graph = meta_graph_pb2.MetaGraphDef.FromString(content)
            self.unguarded = unguarded(meta_graph)
            meta_graph.ClearField("graph_def")
            return meta_graph
        finally:
            self._c.TF_DeleteSessionOptions(options)
            self._c.TF_DeleteBuffer(buffer)

    @contextlib.contextmanager
    def _alive(self):
        with self._idle:
            if not self._open:
                raise SessionError(FAILED_PRECONDITION, "Session has been closed.")
            self._running += 1
        try:
            yield
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    @contextlib.contextmanager
    def _status(self):
        """A TF_Status for one call; raises its error afterwards."""
        status = self._c.TF_NewStatus()
        try:
            yield status
            code = self._c.TF_GetCode(status)
            if code != OK:
                raise SessionError(code, self._c.TF_Message(status).decode(errors="replace"))
        finally:
            self._c.TF_DeleteStatus(status)

    @contextlib.contextmanager
    def _options(self, timeout):
        if timeout is None:
            yield None
            return
        content = config_pb2.RunOptions(timeout_in_ms=max(1, round(timeout * 1000))).SerializeToString()
        buffer = self._c.TF_NewBufferFromString(content, len(content))
        try:
            yield buffer
        finally:
            self._c.TF_DeleteBuffer(buffer)

    def _ends(self, tensors):
        ends = (Output * len(tensors))()
        for end, tensor in zip(ends, tensors, strict=True):
            operation, _, index = tensor.name.partition(":")
            end.operation = self._c.TF_GraphOperationByName(self._graph, operation.encode())
            end.index = int(index or 0)
        return ends

    def _new_tensor(self, array):
        """A TF_Tensor that holds a copy of `array`, to be freed by the caller."""
        strings = array.dtype == object
        dtype = _STRING if strings else tf.as_dtype(array.dtype).as_datatype_enum
        length = array.size * TSTRING_BYTES if strings else array.nbytes
        tensor = self._c.TF_AllocateTensor(dtype, (c_int64 * array.ndim)(*array.shape), array.ndim, length)
        data = self._c.TF_TensorData(tensor)
        if not strings:
            ctypes.memmove(data, array.ctypes.data, length)
            return tensor
        for place in self._places(tensor, array):
            self._c.TF_StringInit(place)
        try:
            for place, text in zip(self._places(tensor, array), array.flat, strict=True):
                text = text.encode() if isinstance(text, str) else text
                self._c.TF_StringCopy(place, text, len(text))
        except BaseException:
            self._free(tensor, array)
            raise
        return tensor

    def _free(self, tensor, array):
        # The library frees the array of strings, but not the buffers of long strings.
        if array.dtype == object:
            for place in self._places(tensor, array):
                self._c.TF_StringDealloc(place)
        self._c.TF_DeleteTensor(tensor)

    def _places(self, tensor, array):
        data = self._c.TF_TensorData(tensor) if array.size else 0
        return range(data, data + array.size * TSTRING_BYTES, TSTRING_BYTES)

    def _value(self, tensor):
        shape = [self._c.TF_Dim(tensor, axis) for axis in range(self._c.TF_NumDims(tensor))]
        length, data = self._c.TF_TensorByteSize(tensor), self._c.TF_TensorData(tensor)
        dtype = tf.as_dtype(self._c.TF_TensorType(tensor))
        if dtype == tf.string:
            texts = np.empty(length // TSTRING_BYTES, object)
            for index in range(texts.size):
                place = data + index * TSTRING_BYTES
                texts[index] = ctypes.string_at(self._c.TF_StringGetDataPointer(place), self._c.TF_StringGetSize(place))
            return texts.reshape(shape)
        array = np.empty(shape, dtype.as_numpy_dtype)
        if length:
            ctypes.memmove(array.ctypes.data, data, length)
        return array


def _tensors(infos):
    return {
        alias: Tensor(
            tf.as_dtype(info.dtype),
            None
            if info.tensor_shape.unknown_rank
            else tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim),
            info.name,
        )
        for alias, info in sorted(infos.items())
    }


def _array(value):
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "SU" else np.asarray(array, order="C")


def _defaults(definition):
    return {alias: tf.make_ndarray(proto) for alias, proto in definition.defaults.items()}


def _complete(signature, given, read):
    """`given` in the order of the signature, with defaults; makes the server's checks of names, in its words."""
    wanted, defaults = signature.inputs, signature.defaults
    if len(given) > len(wanted) or len(given) + len(defaults) < len(wanted):
        raise SessionError(
            INVALID_ARGUMENT,
            f"input size does not match signature: {len(given)}!={len(wanted)} len({_braces(given)}) != "
            f"len({_braces(wanted)}). Sent extra: {_braces(given.keys() - wanted.keys())}. "
            f"Missing but required: {_braces(wanted.keys() - given.keys() - defaults.keys())}.",
        )
    feeds = {}
    for alias, tensor in wanted.items():
        if alias not in given and alias not in defaults:
            raise SessionError(
                INVALID_ARGUMENT,
                f"Signature input alias: {alias}(feed name: {tensor.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_braces(given)}, or default input alias set: "
                f"{_braces(defaults) if defaults else ''}",
            )
        feeds[alias] = _array(read(alias, given[alias])) if alias in given else defaults[alias]
    if surplus := given.keys() - wanted.keys():
        raise SessionError(
            INVALID_ARGUMENT,
            f"Inputs contains invalid name. Used request inputs: {_braces(given.keys() - surplus)}, "
            f"request input: {_braces(given)}",
        )
    return feeds


def _check_outputs(known, wanted):
    for place, alias in enumerate(wanted):
        if alias not in known:
            raise SessionError(
                INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {_braces(known)}.",
            )
        if alias in wanted[:place]:
            raise SessionError(INVALID_ARGUMENT, f"duplicate output tensor alias: {alias}")


def _braces(names):
    return "{" + ",".join(sorted(names)) + "}"
