"""The flags of tensorflow_model_server, with its names and defaults, read strictly.

TensorFlow Serving silently ignores unknown flags, the form `--port 8500`, and flags that have no effect together with
others. Here each of these is refused. Source: tensorflow_serving/model_servers/main.cc and server.cc, 2.21.
"""

import os
import re
from dataclasses import dataclass, field, fields

from data.errors import UserError


class BadFlags(UserError):
    """Flags that TensorFlow Serving would refuse or silently ignore; the message names the flag and the reason."""


def _flag(default, words):
    return field(default=default, metadata={"help": words})


@dataclass(frozen=True)
class Flags:
    """Settings of the server. Only `bind_address` is not a flag of TensorFlow Serving."""

    bind_address: str = _flag(
        "127.0.0.1", "name or address to listen on: 0.0.0.0 all IPv4, :: all; TensorFlow Serving listens on all"
    )
    port: int = _flag(8500, "gRPC port; 0: none, then grpc_socket_path is needed")
    grpc_socket_path: str = _flag("", "UNIX socket to listen on as well")
    rest_api_port: int = _flag(0, "HTTP port; 0: none, or $AIP_HTTP_PORT where Vertex AI sets it")
    rest_api_num_threads: int = _flag(4 * (os.cpu_count() or 1), "threads that answer HTTP requests")
    rest_api_timeout_in_ms: int = _flag(30000, "longest run of a model for an HTTP request; 0 or less: no limit")
    rest_api_enable_cors_support: bool = _flag(False, "allow pages of other sites to read HTTP answers")
    model_name: str = _flag("default", "name of the single model")
    model_base_path: str = _flag("", "absolute path of the single model's folder of versions")
    model_config_file: str = _flag("", "text ModelServerConfig: several models, version policies, labels")
    model_config_file_poll_wait_seconds: int = _flag(0, "seconds between readings of that file; 0: read once")
    file_system_poll_wait_seconds: int = _flag(1, "seconds between searches for new versions; 0: search once")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "allow a new label for a version that is not loaded"
    )
    enable_batching: bool = _flag(False, "join requests into batches")
    batching_parameters_file: str = _flag("", "text BatchingParameters")
    enable_per_model_batching_parameters: bool = _flag(False, "batch only models with batching_params.pbtxt")
    monitoring_config_file: str = _flag("", "text MonitoringConfig: Prometheus page on the HTTP port")
    ssl_config_file: str = _flag("", "text SSLConfig: TLS for gRPC; HTTP stays plain")
    enable_model_warmup: bool = _flag(True, "replay a version's warm-up requests before it serves")
    num_request_iterations_for_warmup: int = _flag(0, "number of replays; 0: once")
    enable_signature_method_name_check: bool = _flag(False, "require that a signature is for the called method")
    num_load_threads: int = _flag(0, "threads that load versions; 0: one version after the other")
    num_unload_threads: int = _flag(0, "threads that unload versions; 0: one version after the other")
    max_num_load_retries: int = _flag(5, "retries of a failed load")
    load_retry_interval_micros: int = _flag(60_000_000, "pause before each retry; less than 0: none")
    grpc_max_threads: int = _flag(max(64, 4 * (os.cpu_count() or 1)), "concurrent requests; here at least 64")
    enable_grpc_healthcheck_service: bool = _flag(False, "answer grpc.health.v1")
    enable_serialization_as_tensor_content: bool = _flag(False, "answer with tensor_content, not with typed values")


# Flags of tensorflow_model_server without a meaning here: accepted only with its default.
_OTHERS = {
    "enable_profiler": "true",
    "flush_filesystem_caches": "true",
    "grpc_channel_arguments": "",
    "mixed_precision": "",
    "num_tflite_interpreters_per_pool": "1",
    "num_tflite_pools": "1",
    "per_process_gpu_memory_fraction": "0",
    "platform_config_file": "",
    "prefer_tflite_model": "false",
    "remove_unused_fields_from_bundle_metagraph": "true",
    "saved_model_tags": "serve",
    "skip_initialize_tpu": "false",
    "tensorflow_inter_op_parallelism": "0",
    "tensorflow_intra_op_parallelism": "0",
    "tensorflow_session_config_file": "",
    "tensorflow_session_parallelism": "0",
    "thread_pool_factory_config_file": "",
    "use_alts_credentials": "false",
    "xla_cpu_compilation_enabled": "false",
    "xla_gpu_compilation_enabled": "false",
}


# Flags of which TensorFlow Serving reads a negative number as none.
_MAY_BE_NEGATIVE = {
    "load_retry_interval_micros",
    "model_config_file_poll_wait_seconds",
    "num_request_iterations_for_warmup",
    "rest_api_timeout_in_ms",
}
_WHOLE = re.compile(r"-?[0-9]+")


def parse(arguments: list[str]) -> Flags:
    """Read `--name=value` arguments (and `--name` for a bool that is true). Raises BadFlags."""
    kinds = {each.name: type(each.default) for each in fields(Flags)}
    given = {}
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            raise BadFlags(
                f"{argument!r} is not a flag; TensorFlow Serving would ignore it: write --name=value, with ="
            )
        if name in given:
            raise BadFlags(f"--{name} is given twice")
        if name in _OTHERS:
            if (text if equals else "true") != _OTHERS[name]:
                raise BadFlags(
                    f"--{name} works in TensorFlow Serving only; this local server has {_OTHERS[name] or 'none'!s}"
                )
        elif name not in kinds:
            raise BadFlags(f"unknown flag --{name}, which TensorFlow Serving would ignore; see --help")
        else:
            given[name] = _value(name, kinds[name], text if equals else None)
    if "rest_api_port" not in given and os.environ.get("AIP_HTTP_PORT"):
        given["rest_api_port"] = _value("rest_api_port", int, os.environ["AIP_HTTP_PORT"])
    flags = Flags(**given)
    _check_together(flags, given)
    return flags


def usage() -> str:
    """The help text: how to start the server, and every flag with its default."""
    lines = [
        "usage: python -m serving.server --name=value ...",
        "",
        "Serves exported models as TensorFlow Serving does, for development and tests.",
        "In production run tensorflow_model_server, with the same flags.",
        "",
        "Examples:",
        "  python -m serving.server --model_config_file=$PWD/runs/demo/export/models.config --rest_api_port=8501",
        "  python -m serving.server --model_name=shoes --model_base_path=$PWD/models/shoes --enable_batching",
        "",
    ]
    for each in fields(Flags):
        default = str(each.default).lower() if isinstance(each.default, bool) else each.default
        lines.append(f"  --{each.name}={default}\n      {each.metadata['help']}")
    lines.append("  --version\n      print the version of TensorFlow and exit")
    lines.append(f"\nAccepted only with the default of TensorFlow Serving: {', '.join(_OTHERS)}.")
    return "\n".join(lines)


def _value(name, kind, text):
    if kind is bool:
        if text not in (None, "true", "false"):
            raise BadFlags(f"--{name} takes true or false, not {text!r}")
        return text != "false"
    if text is None:
        raise BadFlags(f"--{name} needs a value: write --{name}=VALUE, with =")
    if kind is str:
        return text
    if not _WHOLE.fullmatch(text):
        raise BadFlags(f"--{name} takes a whole number, not {text!r}")
    number = int(text)
    least = -(2**31) if name in _MAY_BE_NEGATIVE else 0
    most = 65535 if name.endswith("port") else 2**63 - 1 if name.endswith("micros") else 2**31 - 1
    if not least <= number <= most:
        raise BadFlags(f"--{name}={text} is out of range: {least} to {most}")
    return number


def _check_together(flags, given):
    """Refuse flags that TensorFlow Serving would refuse, or ignore because of another flag."""
    if not flags.model_config_file and not flags.model_base_path:
        raise BadFlags(
            "Both server_options.model_base_path and server_options.model_config_file are empty! "
            "Give --model_base_path or --model_config_file"
        )
    if flags.model_config_file and given.keys() & {"model_name", "model_base_path"}:
        raise BadFlags(
            "--model_name and --model_base_path have no effect with --model_config_file; put the model there"
        )
    if flags.model_base_path and not (flags.model_base_path.startswith("/") or "://" in flags.model_base_path):
        raise BadFlags(
            f"Expected model {flags.model_name} to have an absolute path or URI; got base_path()={flags.model_base_path}"
        )
    if not flags.port and not flags.grpc_socket_path:
        raise BadFlags(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set: "
            "give --port or --grpc_socket_path"
        )
    if flags.port and flags.port == flags.rest_api_port:
        raise BadFlags(
            f"--rest_api_port={flags.rest_api_port} is the gRPC port; TensorFlow Serving would serve no HTTP"
        )
    if not flags.rest_api_port:
        idle = [
            "monitoring_config_file",
            "rest_api_enable_cors_support",
            "rest_api_num_threads",
            "rest_api_timeout_in_ms",
        ]
        _refuse_idle(given, idle, "--rest_api_port")
    if not flags.model_config_file:
        _refuse_idle(given, ["model_config_file_poll_wait_seconds"], "--model_config_file")
    if flags.batching_parameters_file and not flags.enable_batching:
        raise BadFlags(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true. "
            "Add --enable_batching"
        )
    if not flags.enable_batching:
        _refuse_idle(given, ["batching_parameters_file", "enable_per_model_batching_parameters"], "--enable_batching")


def _refuse_idle(given, names, needed):
    for name in names:
        if name in given:
            raise BadFlags(f"--{name} has no effect without {needed}")
