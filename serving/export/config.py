"""The three text files of tensorflow_model_server: its models, batching and monitoring.

    tensorflow_model_server --model_config_file=models.config \\
        --enable_batching=true --batching_parameters_file=batching.config --monitoring_config_file=monitoring.config

Field meanings: tensorflow_serving/g3doc/serving_config.md and batching/README.md of tensorflow/serving 2.21.
"""

from collections.abc import Callable, Mapping

from google.protobuf import text_format

from data.errors import UserError
from serving.wire.messages import BatchingParameters, ModelServerConfig, MonitoringConfig

METRICS_PATH = "/monitoring/prometheus/metrics"


def models(
    base_paths: Mapping[str, str], kept: str = "", *, is_there: Callable[[str], bool] = lambda path: False
) -> str:
    """The text of a ModelServerConfig for the models of `base_paths` (name -> absolute path or URI).

    A model that is also in the text `kept` keeps its policy and labels, but not its base path: the folder may have been
    moved or copied. A model that is only in `kept` stays if `is_there(its base path)`. Otherwise it is dropped, because a
    missing base path keeps the server from loading any model.
    Raises UserError if `kept` cannot be parsed, or a path is not absolute.
    """
    try:
        known = {entry.name: entry for entry in text_format.Parse(kept, ModelServerConfig()).model_config_list.config}
    except text_format.ParseError as error:
        raise UserError(f"the existing models.config cannot be read: {error}") from error
    elsewhere = {name: entry.base_path for name, entry in known.items() if is_there(entry.base_path)}
    config = ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, base_path in sorted((elsewhere | dict(base_paths)).items()):
        if not base_path.startswith("/") and "://" not in base_path:
            raise UserError(f"the server wants an absolute path for the model {name!r}, not {base_path!r}")
        entry = config.model_config_list.config.add()
        if name in known:
            entry.CopyFrom(known[name])
        entry.name, entry.base_path = name, base_path
        if not entry.model_platform and not entry.model_type:
            entry.model_platform = "tensorflow"
    return text_format.MessageToString(config)


def batching(sizes: tuple[int, ...] = (1, 2, 4, 8, 16), timeout_micros: int = 2000, *, threads: int = 2) -> str:
    """The text of BatchingParameters: a batch waits `timeout_micros` to fill and is padded to the next of `sizes`.

    A request of more rows than the largest size is split. Raises UserError unless the sizes rise; with other sizes the
    model would not load.
    """
    if not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
        raise UserError(f"batch sizes must rise from 1 or more, not {sizes}")
    parameters = BatchingParameters(allowed_batch_sizes=sizes)
    parameters.max_batch_size.value = sizes[-1]
    parameters.max_execution_batch_size.value = sizes[-1]
    parameters.enable_large_batch_splitting.value = True
    parameters.batch_timeout_micros.value = timeout_micros
    parameters.max_enqueued_batches.value = 100
    parameters.num_batch_threads.value = threads
    return text_format.MessageToString(parameters)


def monitoring() -> str:
    """The text of a MonitoringConfig that serves Prometheus metrics on the REST port at METRICS_PATH."""
    return text_format.MessageToString(MonitoringConfig(prometheus_config={"enable": True, "path": METRICS_PATH}))
