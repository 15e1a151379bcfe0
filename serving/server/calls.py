"""The remote calls without their transport: a request message in, a reply message out, or a SessionError.

Source of the checks and of the fields of replies: tensorflow_serving/model_servers/{prediction_service_impl,model_service_impl,
get_model_status_impl}.cc and servables/tensorflow/get_model_metadata_impl.cc.
"""

import asyncio
import contextlib
import time
from typing import NamedTuple

import numpy as np

from serving.export.session import SessionError
from serving.server.metrics import Metrics
from serving.server.repository import Repository, code_name
from serving.server.servable import Servable, invalid, too_late
from serving.wire.messages import (
    CODES,
    ClassificationResponse,
    GetModelMetadataResponse,
    GetModelStatusResponse,
    ModelServerConfig,
    ModelSpec,
    PredictResponse,
    RegressionResponse,
    ReloadConfigResponse,
)
from serving.wire.tensors import delimited, tensor_to_wire

_KEY, _VALUE = 1, 2  # field numbers of the entry of any map
LONGEST_MESSAGE = 1024
CUT = "...TRUNCATED"


def shortened(message: str) -> str:
    """An error text for gRPC: after LONGEST_MESSAGE bytes it is cut, with CUT at the end."""
    content = message.encode("utf-8", "replace")
    return message if len(content) <= LONGEST_MESSAGE else content[:LONGEST_MESSAGE].decode(errors="ignore") + CUT


class Prediction(NamedTuple):
    """A PredictResponse with its outputs as arrays by alias."""

    model_spec: ModelSpec
    outputs: dict[str, np.ndarray]

    @classmethod
    def of(cls, request, version, outputs) -> "Prediction":
        """The answer of `version` to a PredictRequest."""
        spec = ModelSpec()
        _answer_spec(spec, request.model_spec, version)
        return cls(spec, outputs)

    def to_wire(self, typed: bool) -> bytes:
        """The serialized PredictResponse; `typed` as for `tensor_to_wire`. Raises ValueError for an output too large for one."""
        wire = PredictResponse(model_spec=self.model_spec).SerializeToString()
        for alias, array in self.outputs.items():
            entry = delimited(_KEY, alias.encode()) + delimited(_VALUE, tensor_to_wire(array, typed))
            wire += delimited(PredictResponse.OUTPUTS_FIELD_NUMBER, entry)
        return wire


class Calls:
    """The calls of PredictionService and ModelService, by their names; `timeout` is in seconds, None for no limit."""

    def __init__(self, repository: Repository, metrics: Metrics):
        self._repository = repository
        self._metrics = metrics

    def predict(self, request, *, timeout: float | None = None):
        """PredictRequest -> Prediction."""
        with self._asked(request) as version:
            with self._running(request, "Predict"):
                outputs = version.servable.predict(request, timeout=timeout)
            return Prediction.of(request, version, outputs)

    async def predict_async(self, request, *, timeout: float | None = None):
        """As `predict`, for an event loop: blocks no thread while the model runs."""
        with self._asked(request) as version:
            with self._running(request, "Predict"):
                answer = asyncio.wrap_future(version.servable.submit(request, timeout=timeout))
                try:
                    outputs = await asyncio.wait_for(answer, timeout)
                except TimeoutError:
                    raise too_late() from None
            return Prediction.of(request, version, outputs)

    def classify(self, request, *, timeout: float | None = None):
        """ClassificationRequest -> ClassificationResponse."""
        return self._infer(request, "Classify", Servable.classify, ClassificationResponse, timeout)

    def regress(self, request, *, timeout: float | None = None):
        """RegressionRequest -> RegressionResponse."""
        return self._infer(request, "Regress", Servable.regress, RegressionResponse, timeout)

    def _infer(self, request, api, ask, reply, timeout):
        with self._asked(request) as version:
            name = request.model_spec.signature_name or "serving_default"
            with self._running(request, api):
                response = reply(result=ask(version.servable, name, request.input, timeout=timeout))
            _answer_spec(response.model_spec, request.model_spec, version)
            return response

    def multi_inference(self, request, *, timeout: float | None = None):
        """MultiInferenceRequest -> MultiInferenceResponse."""
        if not request.tasks or not request.tasks[0].model_spec.name:
            raise invalid("ModelSpec has no name specified.")
        with self._asked(request.tasks[0]) as version:
            response = version.servable.multi_inference(request, timeout=timeout)
            for task, result in zip(request.tasks, response.results, strict=True):
                _answer_spec(result.model_spec, task.model_spec, version)
            return response

    def get_model_metadata(self, request, *, timeout: float | None = None):
        """GetModelMetadataRequest -> GetModelMetadataResponse."""
        _require_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid(f"Metadata field {name} is not supported")
        with self._repository.use(request.model_spec) as version:
            response = GetModelMetadataResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version.number
            response.metadata["signature_def"].Pack(version.servable.metadata())
            return response

    def get_model_status(self, request, *, timeout: float | None = None):
        """GetModelStatusRequest -> GetModelStatusResponse."""
        _require_spec(request)
        spec = request.model_spec
        number = spec.version.value if spec.HasField("version") else None
        response = GetModelStatusResponse()
        for version in self._repository.states(spec.name, number):
            status = response.model_version_status.add(version=version.number, state=version.state_number)
            status.status.SetInParent()
            if version.error:
                status.status.error_code = version.error.code
                status.status.error_message = version.error.message
        return response

    def handle_reload_config_request(self, request, *, timeout: float | None = None):
        """ReloadConfigRequest -> ReloadConfigResponse. Raises errors; over gRPC they go into the status of the reply."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
            )
        config = ModelServerConfig()
        config.CopyFrom(request.config)
        self._repository.configure(config)
        response = ReloadConfigResponse()
        response.status.SetInParent()
        return response

    def signature(self, spec, name: str):
        """The SignatureDef of an HTTP request. Raises SessionError."""
        with self._repository.use(spec) as version:
            name = name or "serving_default"
            if name not in version.servable.definitions:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            return version.servable.definitions[name]

    @contextlib.contextmanager
    def counted(self, name: str, api: str, entrypoint: str):
        """Count and time a request for the model `name` in a `with`."""
        began, status = time.monotonic(), CODES["UNKNOWN"]
        try:
            yield
            status = CODES["OK"]
        except SessionError as error:
            status = error.code
            raise
        finally:
            # Unknown names are counted together: a client must not fill the memory with new ones.
            name = name if self._repository.knows(name) else ""
            self._metrics.count("/tensorflow/serving/request_count", model_name=name, status=code_name(status))
            if status == CODES["OK"]:
                self._observe("request", began, model_name=name, API=api, entrypoint=entrypoint)

    @contextlib.contextmanager
    def _running(self, request, api):
        began = time.monotonic()
        yield
        self._observe("runtime", began, model_name=request.model_spec.name, API=api, runtime="TF1")

    def _observe(self, what, began, **labels):
        self._metrics.observe(f"/tensorflow/serving/{what}_latency", 1e6 * (time.monotonic() - began), **labels)

    def _asked(self, request):
        """The version of a request, as `Repository.use`."""
        _require_spec(request)
        return self._repository.use(request.model_spec)


def _require_spec(request):
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def _answer_spec(answer, asked, version):
    answer.name = asked.name
    answer.version.value = version.number
    answer.signature_name = asked.signature_name or "serving_default"
