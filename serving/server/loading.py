"""Loads a version for serving: session, batching, warm-up."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf
from google.protobuf.message import DecodeError

from data.errors import UserError
from serving.export import warmup
from serving.export.session import Session, SessionError
from serving.server.batching import PER_MODEL_FILE, Batcher, Parameters
from serving.server.metrics import Metrics
from serving.server.servable import Direct, Servable
from serving.wire.messages import CODES, PredictionLog

MOST_RECORDS = 1000


class Loader:
    """Loads versions: `Loader(...)(model, number, path)` is a Servable. Raises SessionError.

    Args:
        pool: threads for calls that are not batched.
        metrics: counts loads, warm-ups and waiting times.
        batching: batching parameters of all models, or None.
        per_model: batch only models with a batching_params.pbtxt, with its parameters.
        warmup_rounds: number of replays of the warm-up requests; 0: none.
        servable: further arguments of `Servable`.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        metrics: Metrics,
        *,
        batching: Parameters | None,
        per_model: bool,
        warmup_rounds: int,
        **servable,
    ):
        self._pool = pool
        self._metrics = metrics
        self._batching = batching
        self._per_model = per_model
        self._rounds = warmup_rounds
        self._servable = servable

    def __call__(self, model: str, number: int, path: str) -> Servable:
        status = "fail"
        try:
            servable = self._open(path)
            status = "success"
        finally:
            self._metrics.count("/tensorflow/cc/saved_model/load_attempt_count", model_path=path, status=status)
        try:
            self._warm_up(servable, path)
        except BaseException:
            servable.close()
            raise
        return servable

    def _open(self, path):
        parameters = self._batching
        if self._per_model:
            parameters = _read_parameters(os.path.join(path, PER_MODEL_FILE))
        session = Session(path)
        if not parameters:
            return Servable(session, Direct(session, self._pool), **self._servable)

        def waited(seconds):
            name = "/tensorflow/serving/batching_session/queuing_latency"
            self._metrics.observe(name, 1e6 * seconds, thread_pool_name=parameters.pool_name)

        def ran():
            self._metrics.count("/tensorflow/serving/batching_session/wrapped_run_count")

        return Servable(session, Batcher(session, parameters, observe=waited, ran=ran), **self._servable)

    def _warm_up(self, servable, path):
        if not self._rounds or not tf.io.gfile.exists(f"{path}/{warmup.FILE}"):
            return
        began, status = time.monotonic(), "fail"
        try:
            for log in _records(f"{path}/{warmup.FILE}"):
                replay = _replay(servable, log)
                for _ in range(self._rounds):
                    replay()
            status = "OK"
        finally:
            microseconds = 1e6 * (time.monotonic() - began)
            self._metrics.observe(
                "/tensorflow/serving/model_warmup_latency", microseconds, model_path=path, status=status
            )


def _read_parameters(file):
    if not tf.io.gfile.exists(file):
        return None
    try:
        return Parameters.of_file(file)
    except UserError as error:
        raise SessionError(CODES["INVALID_ARGUMENT"], str(error)) from error


def _records(file):
    records = tf.data.TFRecordDataset(file).as_numpy_iterator()
    try:
        for place, record in enumerate(records):
            if place == MOST_RECORDS:
                raise SessionError(
                    CODES["INVALID_ARGUMENT"],
                    f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {file}",
                )
            try:
                yield PredictionLog.FromString(record)
            except DecodeError as error:
                raise SessionError(
                    CODES["INVALID_ARGUMENT"], f"Failed to parse warmup record: {record[:100]!r} from {file}"
                ) from error
    except tf.errors.DataLossError as error:
        raise SessionError(
            CODES["DATA_LOSS"], f"{error.message}. Please verify your warmup data is in TFRecord format."
        ) from error


def _replay(servable, log) -> Callable[[], object]:
    kind = log.WhichOneof("log_type")
    if kind is None:
        raise SessionError(CODES["UNIMPLEMENTED"], "Unsupported log_type for warmup: 0")
    request = getattr(log, kind).request
    if kind == "predict_log":
        return lambda: servable.predict(request)
    if kind == "multi_inference_log":
        return lambda: servable.multi_inference(request)
    name = request.model_spec.signature_name or "serving_default"
    ask = servable.classify if kind == "classify_log" else servable.regress
    return lambda: ask(name, request.input)
