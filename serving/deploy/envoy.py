"""Envoy, the only entrance: TLS, a token for every request, and nothing but predictions.

TensorFlow Serving does not authenticate. A client of its gRPC port may load any path that the process can read
(ModelService/HandleReloadConfigRequest), and every unknown model that it names stays in the metrics.

Sources: Envoy 1.40, configuration/best_practices/edge, http_filters/jwt_authn_filter, buffer_filter.
"""

import re

from serving.deploy import command
from serving.deploy.documents import yaml_text
from serving.deploy.spec import BundleSpec

FILE = "envoy/envoy.yaml"
PORT, METRICS_PORT, ADMIN_PORT = 8443, 9902, 9901
METRICS_PATH = "/stats/prometheus"
CONFIG, SECRETS = "/etc/envoy", "/etc/envoy/secrets"
PREDICT = "/tensorflow.serving.PredictionService/Predict"
AUDIENCE = "packshot"
SERVER = "tfs"  # the host name of the server, in compose and in Kubernetes
REQUEST_BYTES = 16 << 20
MEMORY_MIB = 512
_TYPES = "type.googleapis.com/envoy.extensions"

COMMENT = f"""\
The way in: TLS on {PORT}, a JWT on every request, and no more than predictions pass.

From {SECRETS}: tls.crt and tls.key (PEM), jwks.json (the public keys that sign tokens). A token needs
"aud": "{AUDIENCE}" and an "exp"; to pin who issues it, add `issuer` to the provider `callers`.
Passes: gRPC PredictionService/Predict and REST POST :predict of the models below. Everything else is answered with
403, ModelService and ProfilerService among it. {METRICS_PORT} has metrics and /ready, and nothing else."""


def files(spec: BundleSpec) -> dict[str, str]:
    """envoy.yaml by its path."""
    document = {
        "admin": {"address": _address("127.0.0.1", ADMIN_PORT)},
        "static_resources": {
            "listeners": [_entrance(spec), _metrics()],
            "clusters": [
                _cluster("grpc", SERVER, command.GRPC_PORT, http2=True),
                _cluster("rest", SERVER, command.REST_PORT),
                _cluster("admin", "127.0.0.1", ADMIN_PORT),
            ],
        },
        # Refuses work before the kernel ends the process.
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.fixed_heap",
                    "typed_config": {
                        "@type": f"{_TYPES}.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                        "max_heap_size_bytes": MEMORY_MIB * 3 // 4 << 20,
                    },
                }
            ],
            "actions": [
                {
                    "name": "envoy.overload_actions.stop_accepting_requests",
                    "triggers": [
                        {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": 0.95}},
                    ],
                }
            ],
        },
    }
    return {FILE: yaml_text(COMMENT, document)}


def rest_pattern(spec: BundleSpec) -> str:
    """The RE2 pattern of the allowed POST paths: `:predict` of the bundle's models, their versions and their labels."""
    names = "|".join(re.escape(model.name) for model in spec.models)
    return rf"/v1/models/({names})(/versions/[0-9]+|/labels/[A-Za-z0-9_.-]+)?:predict"


def _entrance(spec):
    timeout = {"timeout": f"{command.REST_TIMEOUT_SECONDS}s"}
    routes = [
        {
            "match": {"path": PREDICT, "grpc": {}},
            "route": {"cluster": "grpc", **timeout, "retry_policy": _retries("resource-exhausted,unavailable")},
        },
        {
            "match": {
                "safe_regex": {"regex": rest_pattern(spec)},
                "headers": [{"name": ":method", "string_match": {"exact": "POST"}}],
            },
            "route": {"cluster": "rest", **timeout, "retry_policy": _retries("connect-failure,refused-stream")},
        },
        {
            "match": {"prefix": "/"},
            "direct_response": {"status": 403, "body": {"inline_string": "only predictions pass here\n"}},
        },
    ]
    filters = [
        {
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": f"{_TYPES}.filters.http.jwt_authn.v3.JwtAuthentication",
                "providers": {
                    "callers": {
                        "audiences": [AUDIENCE],
                        "require_expiration": True,
                        "local_jwks": {"filename": f"{SECRETS}/jwks.json"},
                    }
                },
                "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "callers"}}],
            },
        },
        {
            "name": "envoy.filters.http.buffer",
            "typed_config": {
                "@type": f"{_TYPES}.filters.http.buffer.v3.Buffer",
                "max_request_bytes": REQUEST_BYTES,
            },
        },
    ]
    manager = _manager("entrance", routes, filters) | {
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {
            "idle_timeout": "300s",
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 1 << 16,
            "initial_connection_window_size": 1 << 20,
        },
        "stream_idle_timeout": "60s",
        "request_timeout": "60s",
        "request_headers_timeout": "10s",
        "access_log": [
            {
                "name": "envoy.access_loggers.stdout",
                "typed_config": {"@type": f"{_TYPES}.access_loggers.stream.v3.StdoutAccessLog"},
            }
        ],
    }
    tls = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": f"{SECRETS}/tls.crt"},
                    "private_key": {"filename": f"{SECRETS}/tls.key"},
                }
            ],
        },
    }
    chain = _chain(manager) | {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls}}
    return {
        "name": "entrance",
        "address": _address("0.0.0.0", PORT),
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [chain],
    }


def _metrics():
    routes = [{"match": {"path": path}, "route": {"cluster": "admin"}} for path in (METRICS_PATH, "/ready")]
    return {
        "name": "metrics",
        "address": _address("0.0.0.0", METRICS_PORT),
        "filter_chains": [_chain(_manager("metrics", routes, []))],
    }


def _manager(name, routes, filters):
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
    }
    hosts = [{"name": name, "domains": ["*"], "routes": routes}]
    return {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": [*filters, router],
        "route_config": {"name": name, "virtual_hosts": hosts},
    }


def _chain(manager):
    return {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}


def _retries(on):
    """Predictions change nothing, so they may be retried; clusters allow retries for a fifth of their requests."""
    return {
        "retry_on": on,
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.5s"},
    }


def _cluster(name, host, port, http2=False):
    options = {
        "explicit_http_config": {
            "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
        }
    }
    protocol = {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
                **options,
            }
        }
    }
    return {
        "name": name,
        "type": "STRICT_DNS" if host == SERVER else "STATIC",
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [{"retry_budget": {"budget_percent": {"value": 20.0}}}]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}],
        },
        **(protocol if http2 else {}),
    }


def _address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}
