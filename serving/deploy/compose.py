"""Docker Compose files for one host: the server behind Envoy, with Prometheus and Grafana.

Source: the Compose specification; tensorflow/serving's image (Ubuntu, runs as root by default).
"""

import re

from serving.deploy import command, envoy, monitoring
from serving.deploy.documents import yaml_text
from serving.deploy.spec import ENVOY_IMAGE, GRAFANA_IMAGE, PROMETHEUS_IMAGE, BundleSpec

FILE, DEBUG_FILE = "docker-compose.yml", "docker-compose.debug.yml"

COMMENT = """\
docker compose up -d

The server has no way out and no port on this host: callers come through Envoy, on the loopback address. `.env` says
where the models and the secrets lie and who the containers run as. When the bundle was written anew, add
--force-recreate: a container keeps the files it was started with. New versions of a model are found without it."""

DEBUG_COMMENT = """\
docker compose -f docker-compose.yml -f docker-compose.debug.yml up -d

Puts the server itself on the loopback ports 8500 and 8501: without TLS, without tokens, with ModelService. For a
laptop."""

_SERVING, _EDGE = "serving", "edge"


def files(spec: BundleSpec) -> dict[str, str]:
    """docker-compose.yml, an addition that exposes the server itself, and .env, by their paths."""
    services = {
        envoy.SERVER: _server(spec),
        "envoy": _envoy(),
        "prometheus": _prometheus(),
        "grafana": _grafana(),
    }
    document = {
        "name": "packshot",
        "services": services,
        "networks": {_SERVING: {"internal": True}, _EDGE: {}},
        "volumes": {"prometheus": {}, "grafana": {}},
    }
    debug = {
        "services": {
            envoy.SERVER: {
                "networks": [_SERVING, _EDGE],
                "ports": [_loopback(command.GRPC_PORT), _loopback(command.REST_PORT)],
            }
        }
    }
    settings = (
        "# Read by docker compose; variables of the shell go before these.\n"
        f"MODELS={_quoted(spec.models_folder)}\nSECRETS={_quoted(spec.secrets_folder)}\nRUN_AS={spec.user}\n"
    )
    return {
        FILE: yaml_text(COMMENT, document),
        DEBUG_FILE: yaml_text(DEBUG_COMMENT, debug),
        ".env": settings,
    }


def _server(spec):
    return _service(
        spec.image,
        command=command.command(spec)[1:],
        entrypoint=[command.BINARY],
        user="${RUN_AS}",
        memory_mib=spec.memory_mib(spec.models),
        cpus=spec.cpus,
        networks=[_SERVING],
        volumes=[_mount("${MODELS}", command.MODELS), _mount("./serving", command.CONFIG)],
        environment=command.ENVIRONMENT,
        init=True,  # process 1, which forwards SIGTERM: the server has no handler, and process 1 needs one
        healthcheck={
            # In compose "$" starts a variable.
            "test": ["CMD", *(word.replace("$", "$$") for word in command.all_available(spec))],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "300s",
            "start_interval": "2s",
        },
    )


def _envoy():
    return _service(
        ENVOY_IMAGE,
        command=["-c", f"{envoy.CONFIG}/envoy.yaml"],
        entrypoint=["envoy"],
        user="${RUN_AS}",
        memory_mib=envoy.MEMORY_MIB,
        cpus=1,
        networks=[_SERVING, _EDGE],
        ports=[_loopback(envoy.PORT)],
        volumes=[
            _mount("./envoy/envoy.yaml", f"{envoy.CONFIG}/envoy.yaml"),
            *(
                _mount(f"${{SECRETS}}/{name}", f"{envoy.SECRETS}/{name}")
                for name in ("tls.crt", "tls.key", "jwks.json")
            ),
        ],
        depends_on={envoy.SERVER: {"condition": "service_healthy"}},
    )


def _prometheus():
    return _service(
        PROMETHEUS_IMAGE,
        command=[
            f"--config.file={monitoring.PROMETHEUS_CONFIG}/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            "--storage.tsdb.retention.time=15d",
        ],
        user="65534:65534",
        memory_mib=512,
        cpus=1,
        networks=[_SERVING, _EDGE],
        ports=[_loopback(monitoring.PROMETHEUS_PORT)],
        volumes=[
            _mount("./monitoring/prometheus", monitoring.PROMETHEUS_CONFIG),
            {"type": "volume", "source": "prometheus", "target": "/prometheus"},
        ],
    )


def _grafana():
    return _service(
        GRAFANA_IMAGE,
        user="472:0",
        memory_mib=512,
        cpus=1,
        networks=[_EDGE],
        ports=[_loopback(monitoring.GRAFANA_PORT)],
        volumes=[
            _mount("./monitoring/grafana/provisioning", "/etc/grafana/provisioning"),
            _mount("./monitoring/grafana/dashboards", monitoring.GRAFANA_BOARDS),
            {"type": "volume", "source": "grafana", "target": "/var/lib/grafana"},
        ],
        # Nobody can log in, so there is no password to leak; everybody on the loopback port may read.
        environment={
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_AUTH_BASIC_ENABLED": "false",
            "GF_AUTH_DISABLE_LOGIN_FORM": "true",
            "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        },
    )


def _service(image, *, memory_mib, cpus, **settings):
    """A service that is not root, writes only to /tmp and its volume, and has limits of memory and CPU."""
    return {
        "image": image,
        **settings,
        "read_only": True,
        "tmpfs": ["/tmp:size=64m,mode=1777"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": f"{memory_mib}m",
        "memswap_limit": f"{memory_mib}m",
        "cpus": cpus,
        "restart": "unless-stopped",
        "stop_grace_period": "30s",
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
    }


def _quoted(value):
    """A quoted value for .env; compose expands nothing in single quotes."""
    return value if re.fullmatch(r"[\w./-]+", value) else "'" + value.replace("'", "\\'") + "'"


def _mount(source, target):
    return {
        "type": "bind",
        "source": source,
        "target": target,
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def _loopback(port):
    return f"127.0.0.1:{port}:{port}"
