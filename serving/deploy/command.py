"""How tensorflow_model_server is started in a container, where its files lie there, and how it says that it is ready.

Sources: tensorflow_serving/model_servers/main.cc of tensorflow/serving 2.20 for the flags and their defaults;
tensorflow/serving issues 1853 (SIGTERM), 671 (readiness) and 1099 (retries that hold up other models).
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

# glibc keeps an arena for each thread, so that memory freed with an old version would never go back.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}


def command(spec: BundleSpec) -> list[str]:
    """The binary and its flags for the models of a bundle.

    The image's own entrypoint is a shell script that a signal stops at, so the binary is named. It has no handler for
    SIGTERM, which the kernel then keeps from process 1: something else has to be process 1 (`init` in compose, a
    shared process namespace in Kubernetes).
    """
    return [
        BINARY,
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--model_config_file={CONFIG}/models.config",
        f"--model_config_file_poll_wait_seconds={POLL_SECONDS}",
        f"--file_system_poll_wait_seconds={POLL_SECONDS}",
        # Labels in models.config have to hold when the server starts, and then nothing is loaded yet.
        "--allow_version_labels_for_unavailable_models=true",
        *limits(spec),
    ]


def limits(spec: BundleSpec) -> list[str]:
    """The flags that do not depend on where the models are: batches, threads, metrics, and what a broken version may do."""
    # In a container the server's own defaults would count the CPUs of the whole machine.
    at_once = threads(spec.batch_sizes, spec.cpus)
    batching = ["--enable_batching=true", f"--batching_parameters_file={CONFIG}/batching.config"]
    return [
        *(batching if spec.batching_config else []),
        f"--monitoring_config_file={CONFIG}/monitoring.config",
        f"--tensorflow_session_parallelism={spec.cpus}",
        f"--grpc_max_threads={at_once}",
        f"--rest_api_num_threads={at_once}",
        f"--rest_api_timeout_in_ms={1000 * REST_TIMEOUT_SECONDS}",
        # Retries sleep in the thread that loads: with none of its own, a broken version keeps all others waiting.
        "--num_load_threads=2",
        "--max_num_load_retries=1",
        "--enable_grpc_healthcheck_service=true",
        "--enable_profiler=false",
    ]


def all_available(spec: BundleSpec) -> list[str]:
    """A command that succeeds when every model has a version that answers: the server has started."""
    return _probe(spec, '  available "$name" || exit 1\ndone\n')


def any_available(spec: BundleSpec) -> list[str]:
    """A command that succeeds when some model has a version that answers: the server is up.

    One model that is gone must not take the others from their callers.
    """
    return _probe(spec, '  available "$name" && exit 0\ndone\nexit 1\n')


def _probe(spec, body):
    """The status of a model is HTTP 200 while it loads and when it failed, so what it says has to be read; and the
    image has bash, but no curl.
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
