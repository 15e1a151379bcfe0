"""A loaded version that answers request messages through the C++ session.

The order of the checks, the codes and the texts are those of
tensorflow_serving/servables/tensorflow/{predict_util,classifier,regressor,multi_inference}.cc. As there, shapes are not
checked; but a shape that may abort the process is tried in another process first.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from serving.export.session import Call, Session, SessionError
from serving.server.trial import Trial
from serving.wire.messages import (
    CODES,
    DATA_TYPES,
    ClassificationResult,
    MultiInferenceResponse,
    RegressionResult,
    SignatureDef,
    SignatureDefMap,
)
from serving.wire.tensors import proto_to_tensor

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_DOUBTFUL_AT_ONCE = 4


def invalid(words: str) -> SessionError:
    return SessionError(CODES["INVALID_ARGUMENT"], words)


class Queued(Future):
    """The answer to a call that waits for its batch."""


def too_late() -> SessionError:
    """The error of a request that timed out, in the words of the C++ session."""
    return SessionError(CODES["DEADLINE_EXCEEDED"], "Timed out waiting for notification")


def awaited(answer: Future, timeout: float | None):
    """The result of a future. Raises its SessionError, or another one after `timeout` seconds."""
    try:
        return answer.result(timeout)
    except TimeoutError:
        if answer.cancel() and isinstance(answer, Queued):
            words = "Run() timeout exceeded while waiting in batching queue"
            raise SessionError(CODES["RESOURCE_EXHAUSTED"], words) from None
        raise too_late() from None


class Direct:
    """Runs each call of a session alone, in a thread of `pool`."""

    def __init__(self, session: Session, pool: ThreadPoolExecutor):
        self._session = session
        self._pool = pool

    def submit(self, call: Call, *, timeout: float | None = None) -> Future:
        """A future of the result of `Session.execute`; the session enforces `timeout`."""
        return self._pool.submit(self._session.execute, call, timeout=timeout)

    def check(self, call: Call) -> None:
        """Accepts every call."""

    def close(self) -> None:
        """Does nothing: no calls wait here."""


class Servable:
    """A loaded version. Safe to use from many threads.

    Args:
        session: runs the calls; closed with the servable.
        runner: a `Batcher`, or `Direct`: object with `check(call)`, `submit(call, timeout=)`, a future of arrays by alias, and `close()`.
        check_method_names: require that a signature is for the called method.
    """

    def __init__(self, session: Session, runner, *, check_method_names=False):
        self._session = session
        self._runner = runner
        self._check_method_names = check_method_names
        self._trial = Trial(session.path)
        self._doubtful = ThreadPoolExecutor(_DOUBTFUL_AT_ONCE, thread_name_prefix="doubtful")
        definitions = session.meta_graph.signature_def
        self.definitions = {
            name: SignatureDef.FromString(definition.SerializeToString()) for name, definition in definitions.items()
        }

    def close(self) -> None:
        """Answer calls in progress, then free the model."""
        self._doubtful.shutdown()
        self._trial.close()
        self._runner.close()
        self._session.close()

    def metadata(self):
        """The SignatureDefMap of all signatures."""
        signatures = SignatureDefMap()
        for name, definition in self.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        return signatures

    def predict(self, request, *, timeout: float | None = None) -> dict[str, np.ndarray]:
        """PredictRequest -> arrays by alias. Raises SessionError."""
        return awaited(self.submit(request, timeout=timeout), timeout)

    def submit(self, request, *, timeout: float | None = None) -> Future:
        """As `predict`, but returns a future of the arrays. Raises SessionError for an invalid request."""
        name = request.model_spec.signature_name or "serving_default"
        if name in self.definitions and self._check_method_names:
            method = self.definitions[name].method_name
            if method not in (PREDICT, CLASSIFY, REGRESS):
                raise SessionError(
                    CODES["INTERNAL"],
                    "Expected prediction signature method_name to be one of "
                    f"{{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: {method}",
                )
        call = self._session.prepare(name, request.inputs, outputs=tuple(request.output_filter), read=_read)
        return self._submit(call, timeout)

    def classify(self, name: str, examples, *, timeout: float | None = None):
        """Signature `name` on an Input -> ClassificationResult. Raises SessionError."""
        definition = self._definition(name, CLASSIFY, "classification")
        _check_classification(definition)
        answer, rows = self._run_examples(
            name, examples, [key for key in ("classes", "scores") if key in definition.outputs], timeout
        )
        classes, scores = answer.get("classes"), answer.get("scores")
        for array, kind, dtype, words in (
            (classes, "classes", object, "DT_STRING"),
            (scores, "scores", np.float32, "DT_FLOAT"),
        ):
            if array is None:
                continue
            if array.ndim != 2:
                raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
            if array.dtype != dtype:
                raise invalid(f"Expected {kind} Tensor of {words}. Got: {_type_name(array)}")
            if len(array) != rows:
                raise invalid(f"Expected {kind} output batch size of {rows}. Got: {len(array)}")
        if classes is not None and scores is not None and classes.shape != scores.shape:
            raise invalid(
                f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
            )
        result = ClassificationResult()
        for row in range(rows):
            each = result.classifications.add()
            for column in range((scores if classes is None else classes).shape[1]):
                each.classes.add(
                    label="" if classes is None else classes[row, column].decode(errors="replace"),
                    score=0.0 if scores is None else scores[row, column],
                )
        return result

    def regress(self, name: str, examples, *, timeout: float | None = None):
        """Signature `name` on an Input -> RegressionResult. Raises SessionError."""
        definition = self._definition(name, REGRESS, "regression")
        _check_regression(definition)
        answer, rows = self._run_examples(name, examples, ["outputs"], timeout)
        array = answer["outputs"]
        if not (array.ndim == 1 or array.ndim == 2 and array.shape[1] == 1):
            raise invalid(
                f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(array)}"
            )
        if len(array) != rows:
            raise invalid(f"Input batch size did not match output batch size: {rows} vs. {len(array)}")
        if array.dtype != np.float32:
            raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_type_name(array)}")
        result = RegressionResult()
        for value in array.ravel().tolist():
            result.regressions.add(value=value)
        return result

    def multi_inference(self, request, *, timeout: float | None = None):
        """MultiInferenceRequest -> MultiInferenceResponse without model_specs. Raises SessionError."""
        checks = {CLASSIFY: _check_classification, REGRESS: _check_regression}
        seen, tensors = set(), set()
        for task in request.tasks:
            name = task.model_spec.signature_name or "serving_default"
            if not task.model_spec.name:
                raise invalid("Found ModelSpec with an empty model name.")
            if task.model_spec.name != request.tasks[0].model_spec.name:
                raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
            if name in seen:
                raise invalid(f"Duplicate evaluation of signature: {name}")
            seen.add(name)
            if name not in self.definitions:
                raise invalid(f"Requested signature not found in model graph: {name}")
            if task.method_name not in checks:
                raise SessionError(CODES["UNIMPLEMENTED"], f"Unsupported signature method_name: {task.method_name}")
            checks[task.method_name](self.definitions[name])
            tensors.add(self.definitions[name].inputs["inputs"].name)
        if len(tensors) > 1:
            raise invalid("Input tensor must be the same for all Signatures.")
        response = MultiInferenceResponse()
        for task in request.tasks:
            name, result = task.model_spec.signature_name or "serving_default", response.results.add()
            if task.method_name == CLASSIFY:
                result.classification_result.CopyFrom(self.classify(name, request.input, timeout=timeout))
            else:
                result.regression_result.CopyFrom(self.regress(name, request.input, timeout=timeout))
        return response

    def _definition(self, name, method, noun):
        if name not in self.definitions:
            raise invalid(f"No signature was found with the name: {name}")
        definition = self.definitions[name]
        if self._check_method_names and definition.method_name != method:
            raise invalid(f"Expected {noun} signature method_name to be {method}. Was: {definition.method_name}")
        return definition

    def _run_examples(self, name, examples, outputs, timeout):
        rows = _serialized(examples)
        call = self._session.prepare(name, {"inputs": rows}, outputs=outputs)
        return awaited(self._submit(call, timeout), timeout), len(rows)

    def _submit(self, call, timeout):
        if self._is_doubtful(call):
            self._runner.check(call)
            return self._doubtful.submit(self._run_if_it_survives, call, timeout)
        return self._runner.submit(call, timeout=timeout)

    def _is_doubtful(self, call):
        """True if an undeclared rank, or a size of 0, reaches a kernel that may abort the process."""
        declared, unguarded = self._session.signatures[call.signature].inputs, self._session.unguarded[call.signature]
        return any(call.inputs[alias].size == 0 for alias in unguarded.sizes) or any(
            declared[alias].shape is None or len(declared[alias].shape) != call.inputs[alias].ndim
            for alias in unguarded.rank
        )

    def _run_if_it_survives(self, call, timeout):
        began = time.monotonic()
        try:
            survives = self._trial.survives(call, timeout)
        except TimeoutError:
            raise too_late() from None
        if not survives:
            raise invalid(self._what_does_not_fit(call))
        left = None if timeout is None else max(0.0, timeout - (time.monotonic() - began))
        return awaited(self._runner.submit(call, timeout=left), left)

    def _what_does_not_fit(self, call):
        for alias, tensor in self._session.signatures[call.signature].inputs.items():
            shape, array = tensor.shape, call.inputs[alias]
            if shape is not None and len(shape) != array.ndim:
                wanted = ",".join("?" if size is None else str(size) for size in shape)
                return f"Shape of tensor {alias} {_shape(array)} is not compatible with expected shape [{wanted}]."
        given = ", ".join(f"{alias} {_shape(array)}" for alias, array in call.inputs.items())
        return f"No kernel of this model computes with the shapes of {given}: they end the process that tries."


def _read(alias, proto):
    try:
        return proto_to_tensor(proto)
    except ValueError as error:
        raise invalid(f"tensor parsing error: {alias}") from error


def _serialized(examples):
    """The serialized examples of an Input, each after the serialized context."""
    kind = examples.WhichOneof("kind")
    listed = getattr(examples, kind).examples if kind else ()
    if not listed:
        raise invalid("Input is empty.")
    context = examples.example_list_with_context.context.SerializeToString() if kind.endswith("context") else b""
    rows = np.empty(len(listed), object)
    rows[:] = [context + example.SerializeToString() for example in listed]
    return rows


def _check_classification(definition):
    if len(definition.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(definition.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(definition.outputs)}")
    if "inputs" not in definition.inputs:
        raise invalid(f"No classification inputs found in SignatureDef: {definition}")
    if not {"classes", "scores"} & set(definition.outputs):
        raise invalid(
            f'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: {definition}'
        )


def _check_regression(definition):
    if len(definition.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(definition.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    for noun, key, fields in (("inputs", "inputs", definition.inputs), ("outputs", "outputs", definition.outputs)):
        if key not in fields:
            raise invalid(f"No regression {noun} found in SignatureDef: {definition}")


def _type_name(array):
    number = tf.as_dtype(tf.string if array.dtype == object else array.dtype).as_datatype_enum
    return next(name for name, each in DATA_TYPES.items() if each == number)


def _shape(array):
    return "[" + ",".join(str(size) for size in array.shape) + "]"
