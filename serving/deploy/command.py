"""Command line, paths and readiness probes of tensorflow_model_server in a container.

Sources: tensorflow_serving/model_servers/main.cc of tensorflow/serving 2.20 for the flags and their defaults;
tensorflow/serving issues 1853 (SIGTERM), 671 (readiness) and 1099 (retries that block other models).
"""

import shlex

from serving.deploy.sizing import threads
from serving.deploy.spec import BundleSpec

BINARY = "/usr/bin/tensorflow_model_server"
GRPC_PORT, REST_PORT = 8500, 8501
MODELS = "/models"
CONFIG = "/config"
POLL_SECONDS = 30
REST_TIMEOUT_SECONDS = 30

# glibc keeps an arena for each thread: memory freed with an old version would not be returned to the system.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}


def command(spec: BundleSpec) -> list[str]:
    """The binary and its flags for the models of a bundle.

    The image's entrypoint is a shell script that does not forward signals, so the binary is named. It has no handler for
    SIGTERM, and the kernel does not deliver such a signal to process 1: another program must be process 1 (`init` in
    compose, a shared process namespace in Kubernetes).
    """
    return [
        BINARY,
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--model_config_file={CONFIG}/models.config",
        f"--model_config_file_poll_wait_seconds={POLL_SECONDS}",
        f"--file_system_poll_wait_seconds={POLL_SECONDS}",
        # Labels in models.config are checked when the server starts, before any version is loaded.
        "--allow_version_labels_for_unavailable_models=true",
        *limits(spec),
    ]


def limits(spec: BundleSpec) -> list[str]:
    """The flags that do not depend on the paths of models: batches, threads, metrics, and retries of broken versions."""
    # In a container the server's defaults count the CPUs of the whole machine.
    at_once = threads(spec.batch_sizes, spec.cpus)
    batching = ["--enable_batching=true", f"--batching_parameters_file={CONFIG}/batching.config"]
    return [
        *(batching if spec.batching_config else []),
        f"--monitoring_config_file={CONFIG}/monitoring.config",
        f"--tensorflow_session_parallelism={spec.cpus}",
        f"--grpc_max_threads={at_once}",
        f"--rest_api_num_threads={at_once}",
        f"--rest_api_timeout_in_ms={1000 * REST_TIMEOUT_SECONDS}",
        # Retries sleep in the loading thread: without separate threads a broken version blocks all others.
        "--num_load_threads=2",
        "--max_num_load_retries=1",
        "--enable_grpc_healthcheck_service=true",
        "--enable_profiler=false",
    ]


def all_available(spec: BundleSpec) -> list[str]:
    """A command that succeeds if every model has an available version: the server has started."""
    return _probe(spec, '  available "$name" || exit 1\ndone\n')


def any_available(spec: BundleSpec) -> list[str]:
    """A command that succeeds if any model has an available version: the server is ready.

    One missing model must not make the others unreachable.
    """
    return _probe(spec, '  available "$name" && exit 0\ndone\nexit 1\n')


def _probe(spec, body):
    """A probe in bash, as the image has no curl.

    It reads the body: the status of a model is HTTP 200 also while it loads and after it failed.
    """
    names = " ".join(shlex.quote(model.name) for model in spec.models)
    script = (
        "available() {\n"
        f"  exec 3<>/dev/tcp/127.0.0.1/{REST_PORT} || return 1\n"
        '  printf "GET /v1/models/%s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n" "$1" >&3\n'
        "  grep -q '\"AVAILABLE\"' <&3\n"
        "}\n"
        f"for name in {names}; do\n"
    )
    return ["/bin/bash", "-c", script + body]
