"""The server as an object, for `python -m serving.server`, tests and notebooks."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import waitress
import waitress.trigger
import waitress.wasyncore
from google.protobuf import text_format

from data.errors import UserError
from serving.export.session import SessionError
from serving.server import over_grpc, over_http
from serving.server.addresses import addresses, check_socket_path
from serving.server.batching import Parameters
from serving.server.calls import Calls
from serving.server.flags import Flags
from serving.server.loading import Loader
from serving.server.metrics import Metrics
from serving.server.repository import PLATFORM, Repository, RepositoryOptions, code_name
from serving.wire.messages import BatchingParameters, ModelServerConfig, MonitoringConfig


class CannotStart(Exception):
    """The models cannot be served; the message is TensorFlow Serving's."""


class Server:
    """A server with the settings `flags`; `start` it, and `stop` it.

    `say` is called with notices; `calls` makes the `Calls`, which a test may replace.
    Raises UserError or OSError for a file that cannot be used, and CannotListen, an OSError, for such an address.
    """

    def __init__(
        self,
        flags: Flags,
        say: Callable[[str], None] = lambda words: None,
        *,
        calls: Callable[[Repository, Metrics], Calls] = Calls,
    ):
        self._flags = flags
        self._say = say
        self._config = _read_config(flags)
        self._tls = _text(flags.ssl_config_file)
        monitoring = _message(flags.monitoring_config_file, MonitoringConfig).prometheus_config
        self._metrics = Metrics()
        self._pool = ThreadPoolExecutor(flags.grpc_max_threads, thread_name_prefix="call")
        loader = Loader(
            self._pool,
            self._metrics,
            batching=_batching(flags),
            per_model=flags.enable_per_model_batching_parameters,
            warmup_rounds=max(1, flags.num_request_iterations_for_warmup) * flags.enable_model_warmup,
            check_method_names=flags.enable_signature_method_name_check,
        )
        options = RepositoryOptions(
            poll=flags.file_system_poll_wait_seconds,
            load_threads=flags.num_load_threads,
            unload_threads=flags.num_unload_threads,
            retries=flags.max_num_load_retries,
            retry_pause=max(0, flags.load_retry_interval_micros) / 1e6,
            labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
        )
        self._repository = Repository(loader, options, say)
        self._calls = calls(self._repository, self._metrics)
        self._application = over_http.Application(
            self._calls,
            self._metrics,
            metrics_path=(monitoring.path or "/monitoring/prometheus/metrics") if monitoring.enable else "",
            timeout=flags.rest_api_timeout_in_ms / 1000 if flags.rest_api_timeout_in_ms > 0 else None,
            cors=flags.rest_api_enable_cors_support,
        )
        self._http_at = addresses(flags.bind_address, flags.rest_api_port) if flags.rest_api_port else []
        self._grpc_at = [str(each) for each in addresses(flags.bind_address, flags.port)] if flags.port else []
        if flags.grpc_socket_path:
            check_socket_path(flags.grpc_socket_path)
            self._grpc_at.append(f"unix:{flags.grpc_socket_path}")
        self._grpc = over_grpc.GrpcServer(
            self._calls,
            self._grpc_at,
            self._pool,
            tls=self._tls,
            health=flags.enable_grpc_healthcheck_service,
            tensor_content=flags.enable_serialization_as_tensor_content,
        )
        self._http = None
        self._sockets = {}  # of the HTTP server
        self._stopping = threading.Event()

    def start(self) -> None:
        """Load the models, then open the ports. Raises CannotStart for the models, CannotListen for a port taken meanwhile."""
        try:
            self._repository.configure(self._config)
        except SessionError as error:
            raise CannotStart(f"{code_name(error.code)}: {error.message}") from error
        flags = self._flags
        if flags.rest_api_port:
            self._http = waitress.create_server(
                self._application,
                map=self._sockets,
                sockets=[address.bound() for address in self._http_at],
                threads=max(1, flags.rest_api_num_threads),
                max_request_body_size=over_http.LARGEST_BODY,
                ident=None,
                clear_untrusted_proxy_headers=True,
            )
            self._http_thread = threading.Thread(target=self._http.run, daemon=True)
            self._http_thread.start()
        self._grpc.start()
        if flags.model_config_file and flags.model_config_file_poll_wait_seconds > 0:
            threading.Thread(target=self._reread, daemon=True).start()
        for entry in self._config.model_config_list.config:
            self._say(f"serving {entry.name} from {entry.base_path}")
        secure = " with TLS" if self._tls else ""
        web = ", HTTP at " + " and ".join(f"http://{address}/v1/models" for address in self._http_at)
        self._say(f"gRPC at {' and '.join(self._grpc_at)}{secure}{web if self._http_at else ''}")
        self._say("this server is for development; in production run TensorFlow Serving on the same folder")

    def stop(self, grace: float) -> None:
        """Refuse new requests, wait up to `grace` seconds for those in progress, free the models."""
        self._stopping.set()
        if self._http:
            self._http.task_dispatcher.shutdown(cancel_pending=False, timeout=grace)
            # Runs in the thread of `run`, which ends when no socket is left.
            waker = next(each for each in self._sockets.values() if isinstance(each, waitress.trigger.trigger))
            waker.pull_trigger(lambda: waitress.wasyncore.close_all(self._sockets))
            self._http_thread.join()
        self._grpc.stop(grace)
        self._repository.close()
        self._pool.shutdown()

    def _reread(self):
        last = self._config
        while not self._stopping.wait(self._flags.model_config_file_poll_wait_seconds):
            try:
                config = _read_config(self._flags)
                if config != last:
                    self._repository.configure(config)
                    last = config
            except (UserError, OSError, SessionError) as error:
                self._say(f"{self._flags.model_config_file} is not followed: {error}")


def _read_config(flags):
    if flags.model_config_file:
        return _message(flags.model_config_file, ModelServerConfig)
    config = ModelServerConfig()
    config.model_config_list.config.add(name=flags.model_name, base_path=flags.model_base_path, model_platform=PLATFORM)
    return config


def _batching(flags):
    if not flags.enable_batching:
        return None
    if flags.batching_parameters_file:
        return Parameters.of_file(flags.batching_parameters_file)
    # On a CPU two concurrent batches share the same cores, and the second is often a single row.
    named = {"value": "model_server_batch_threads"}
    return Parameters(BatchingParameters(num_batch_threads={"value": 1}, thread_pool_name=named))


def _text(path):
    if not path:
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def _message(path, kind):
    try:
        return text_format.Parse(_text(path), kind())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(f"Invalid protobuf file: '{path}': {error}") from error
