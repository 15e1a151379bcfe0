"""Joins waiting requests into batches: rows of many requests, one run of the model.

Follows TensorFlow Serving's session batching. Each set of inputs and outputs has a queue. A batch is closed when it is
full, or when its oldest request has waited for the timeout and a thread is free. It is padded to an allowed size; large
requests are split or refused. With the default timeout of 0 a free thread takes all waiting requests. Sources:
tensorflow_serving/batching/batching_session.cc and batching_util.cc;
tensorflow/core/kernels/batching_util/shared_batch_scheduler.h.
"""

import os
import threading
import time
from collections import deque
from concurrent.futures import Future

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

from data.errors import UserError
from serving.export.session import Call, Session, SessionError
from serving.server.servable import Queued
from serving.wire.messages import CODES, DATA_TYPES, BatchingParameters

PER_MODEL_FILE = "batching_params.pbtxt"


class Parameters:
    """BatchingParameters with TensorFlow Serving's defaults. Raises UserError for invalid sizes."""

    def __init__(self, message=None):
        message = message or BatchingParameters()

        def value(name, default):
            return getattr(message, name).value if message.HasField(name) else default

        self.most_rows = value("max_batch_size", 1000)
        self.timeout = value("batch_timeout_micros", 0) / 1e6
        self.most_batches = value("max_enqueued_batches", 10)
        self.threads = value("num_batch_threads", os.cpu_count() or 1)
        self.pool_name = value("thread_pool_name", "batch_threads")
        self.sizes = tuple(message.allowed_batch_sizes)
        self.pad_shapes = message.pad_variable_length_inputs
        self.splits = value("enable_large_batch_splitting", False)
        self.most_rows_run = (value("max_execution_batch_size", 0) or self.most_rows) if self.splits else self.most_rows
        if min(self.most_rows, self.most_batches, self.threads, self.most_rows_run) < 1 or self.timeout < 0:
            raise UserError("batch sizes, numbers of batches and threads must be 1 or more, and the timeout 0 or more")
        if self.sizes and (list(self.sizes) != sorted(set(self.sizes)) or self.sizes[0] < 1):
            raise UserError(f"allowed_batch_sizes entries must be monotonically increasing, not {list(self.sizes)}")
        if self.sizes and self.sizes[-1] != self.most_rows_run:
            which = "max_execution_batch_size" if self.splits else "max_batch_size"
            raise UserError(
                f"final entry in allowed_batch_sizes must equal {which}: {self.sizes[-1]} is not {self.most_rows_run}"
            )

    @classmethod
    def of_file(cls, path: str) -> "Parameters":
        """Read a text BatchingParameters. Raises UserError with the path if that fails."""
        try:
            with open(path, encoding="utf-8") as file:
                return cls(text_format.Parse(file.read(), BatchingParameters()))
        except (text_format.ParseError, UnicodeDecodeError, UserError) as error:
            raise UserError(f"Invalid protobuf file: '{path}': {error}") from error


class _Part:
    """Some rows of a request: all of them, unless it was split."""

    def __init__(self, call, rows):
        self.call = call
        self.rows = rows
        self.arrived = time.monotonic()
        self.answer = Queued()  # of arrays by alias


class _Batch:
    def __init__(self, parts=()):
        self.parts = list(parts)
        self.rows = sum(part.rows for part in parts)

    def add(self, part):
        self.parts.append(part)
        self.rows += part.rows

    def kept(self):
        """The batch without cancelled parts."""
        return _Batch([part for part in self.parts if part.answer.set_running_or_notify_cancel()])


class Batcher:
    """Runs the calls of one session in batches. Close it before the session.

    `observe(seconds)` is called with the waiting time of each request, `ran()` when a batch starts.
    """

    def __init__(self, session: Session, parameters: Parameters, *, observe=lambda seconds: None, ran=lambda: None):
        self._session = session
        self._parameters = parameters
        self._observe = observe
        self._ran = ran
        self._queues: dict[tuple, deque[_Batch]] = {}
        self._changed = threading.Condition()
        self._open = True
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(parameters.threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Call, *, timeout: float | None = None) -> Future:
        """Run a call together with others: a future of the result of `Session.execute`, or of its SessionError.

        `timeout` is left to the caller: a future that is cancelled while it waits does not run. Raises SessionError, in
        TensorFlow Serving's words, for a call that cannot be batched.
        """
        parts = self._split(call, self.check(call))
        with self._changed:
            if not self._open:
                raise SessionError(CODES["UNAVAILABLE"], "The batch scheduler has been stopped.")
            self._enqueue(parts)
            self._changed.notify()
        return parts[0].answer if len(parts) == 1 else _joined([part.answer for part in parts], call.outputs)

    def check(self, call: Call) -> int:
        """The number of rows of a call. Raises SessionError for a call that cannot be batched."""
        rows, most = _rows_of(call), self._parameters.most_rows
        self._check_types(call)
        if rows > most and not self._parameters.splits:
            raise SessionError(
                CODES["INVALID_ARGUMENT"], f"Task size {rows} is larger than maximum input batch size {most}"
            )
        return rows

    def close(self) -> None:
        """Answer waiting requests, then stop the threads."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _check_types(self, call):
        """Refuse a wrong type here, in the runtime's words: it would fail the whole batch."""
        for place, (alias, array) in enumerate(call.inputs.items()):
            wanted = self._session.signatures[call.signature].inputs[alias].dtype
            given = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
            if given != wanted:
                raise SessionError(
                    CODES["INVALID_ARGUMENT"],
                    f"Expects arg[{place}] to be {_words(wanted)} but {_words(given)} is provided",
                )

    def _split(self, call, rows):
        most = self._parameters.most_rows_run
        if rows <= most:
            return [_Part(call, rows)]
        cuts = [(start, min(start + most, rows)) for start in range(0, rows, most)]
        return [
            _Part(call._replace(inputs={alias: array[start:end] for alias, array in call.inputs.items()}), end - start)
            for start, end in cuts
        ]

    def _enqueue(self, parts):
        key = (parts[0].call.signature, tuple(sorted(parts[0].call.outputs)))
        queue = self._queues.setdefault(key, deque())
        most, added = self._parameters.most_rows_run, []
        joins = bool(queue) and queue[-1].rows + parts[0].rows <= most
        for part in parts[joins:]:
            if not added or added[-1].rows + part.rows > most:
                added.append(_Batch())
            added[-1].add(part)
        if added and len(queue) + len(added) > self._parameters.most_batches:
            raise SessionError(
                CODES["UNAVAILABLE"],
                "The batch scheduling queue to which this task was submitted is full; "
                f"currently {len(queue)} batches are enqueued and max_enqueued_batches is {self._parameters.most_batches}",
            )
        if joins:
            queue[-1].add(parts[0])
        queue.extend(added)

    def _work(self):
        while (batch := self._next()) is not None:
            began, batch = time.monotonic(), batch.kept()
            if not batch.parts:
                continue
            for part in batch.parts:
                self._observe(began - part.arrived)
            try:
                self._run(batch)
            except SessionError as error:
                self._fail(batch, error)
            except Exception as error:  # without the thread, every later request would wait forever
                self._fail(batch, SessionError(CODES["INTERNAL"], str(error)))

    def _fail(self, batch, error):
        for part in batch.parts:
            part.answer.set_exception(SessionError(error.code, error.message))

    def _next(self):
        """Wait for the next batch to run, the oldest first. None if closed and empty."""
        with self._changed:
            while True:
                now, wait = time.monotonic(), None
                waiting = [queue for queue in self._queues.values() if queue]
                for queue in sorted(waiting, key=lambda queue: queue[0].parts[0].arrived):
                    age = now - queue[0].parts[0].arrived
                    full = len(queue) > 1 or queue[0].rows >= self._parameters.most_rows_run
                    if full or age >= self._parameters.timeout or not self._open:
                        return queue.popleft()
                    left = self._parameters.timeout - age
                    wait = left if wait is None else min(wait, left)
                if not self._open:
                    return None
                self._changed.wait(wait)

    def _run(self, batch):
        calls = [part.call for part in batch.parts]
        joined = calls[0]
        padded = next((size for size in self._parameters.sizes if size >= batch.rows), batch.rows)
        if len(calls) > 1 or padded > batch.rows:
            inputs = {
                alias: self._join(alias, [call.inputs[alias] for call in calls], padded - batch.rows)
                for alias in joined.inputs
            }
            joined = joined._replace(inputs=inputs)
        self._ran()
        answer = self._session.execute(joined)
        for array in answer.values():
            _check_output(array, padded)
        start = 0
        for part in batch.parts:
            part.answer.set_result({alias: array[start : start + part.rows] for alias, array in answer.items()})
            start += part.rows

    def _join(self, alias, arrays, missing):
        if missing:
            arrays = [*arrays, np.repeat(arrays[-1][:1], missing, axis=0)]
        shapes = {array.shape[1:] for array in arrays}
        if len(shapes) > 1:
            if not self._parameters.pad_shapes or len({len(shape) for shape in shapes}) > 1:
                raise SessionError(
                    CODES["FAILED_PRECONDITION"],
                    f"Tensors with name '{alias}' from different tasks have different shapes and padding is turned off. "
                    "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name "
                    "have equal dimensions starting with the first dim.",
                )
            largest = np.max([array.shape[1:] for array in arrays], axis=0)
            arrays = [_pad(array, largest) for array in arrays]
        return np.concatenate(arrays)


def _joined(answers, outputs):
    """One future of several: their rows in order, or the first error."""
    whole, left = Future(), threading.Semaphore(len(answers) - 1)

    def finish(_):
        if left.acquire(blocking=False) or not whole.set_running_or_notify_cancel():
            return
        try:
            parts = [answer.result() for answer in answers]
            whole.set_result({alias: np.concatenate([part[alias] for part in parts]) for alias in outputs})
        except BaseException as error:
            whole.set_exception(error)

    for answer in answers:
        answer.add_done_callback(finish)
    return whole


def _words(dtype):
    """The runtime's name of a type: DT_FLOAT is float."""
    names = {number: name for name, number in DATA_TYPES.items()}
    return names.get(dtype.as_datatype_enum, dtype.name).removeprefix("DT_").lower()


def _rows_of(call):
    if not call.inputs:
        raise SessionError(CODES["INVALID_ARGUMENT"], "Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in call.inputs.values()):
        raise SessionError(CODES["INVALID_ARGUMENT"], "Batching Run() input tensors must have at least one dimension")
    rows = {len(array) for array in call.inputs.values()}
    if len(rows) > 1:
        raise SessionError(CODES["INVALID_ARGUMENT"], "Batching Run() input tensors must have equal 0th-dimension size")
    return rows.pop()


def _check_output(array, rows):
    if array.ndim == 0:
        raise SessionError(CODES["FAILED_PRECONDITION"], "Batched output tensor has 0 dimensions")
    if len(array) != rows:
        raise SessionError(
            CODES["FAILED_PRECONDITION"],
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
        )


def _pad(array, shape):
    """Pad the axes after the first to `shape`, at their ends, with the array's first element."""
    edges = [(0, 0), *((0, size - have) for size, have in zip(shape, array.shape[1:], strict=True))]
    return np.pad(array, edges, constant_values=array.flat[0] if array.size else 0)
