"""A bundle agrees with itself, with the schemas of those who read it, and with what was measured."""

import http.server
import json
import os
import re
import socket
import subprocess
import threading
import types
from pathlib import Path

import bundles
import pytest
import tensorflow as tf
import yaml
from bundles import ENHANCER, GENERATOR, tool
from click.testing import CliRunner
from google.protobuf import text_format

from models import signatures
from serving.deploy import bundle, command, envoy, kubernetes, vertex
from serving.deploy.bundle import BundleRefused
from serving.export import config
from serving.export.export import export
from serving.wire.messages import BatchingParameters, ModelServerConfig, MonitoringConfig, SSLConfig
from trainer import cli

# tensorflow_model_server --help, 2.20
FLAGS = frozenset(
    "port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms rest_api_enable_cors_support "
    "model_name model_base_path model_config_file model_config_file_poll_wait_seconds file_system_poll_wait_seconds "
    "allow_version_labels_for_unavailable_models enable_batching batching_parameters_file "
    "enable_per_model_batching_parameters monitoring_config_file ssl_config_file enable_model_warmup "
    "num_request_iterations_for_warmup enable_signature_method_name_check num_load_threads num_unload_threads "
    "max_num_load_retries load_retry_interval_micros flush_filesystem_caches saved_model_tags "
    "tensorflow_session_parallelism tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism "
    "tensorflow_session_config_file platform_config_file per_process_gpu_memory_fraction grpc_channel_arguments "
    "grpc_max_threads enable_grpc_healthcheck_service enable_profiler enable_serialization_as_tensor_content "
    "xla_cpu_compilation_enabled mixed_precision prefer_tflite_model num_tflite_pools".split()
)
SECRETS = ("tls.crt", "tls.key", "jwks.json")


class Made:
    """A bundle on disk, with its plan; files by path, YAML as data."""

    def __init__(self, folder, spec):
        self.folder, self.spec, self.parsed = folder, spec, {}

    def text(self, path):
        return (self.folder / path).read_text()

    def yaml(self, path):
        if path not in self.parsed:
            self.parsed[path] = list(yaml.safe_load_all(self.text(path)))
        return self.parsed[path]

    def paths(self):
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    @property
    def compose(self):
        return self.yaml("docker-compose.yml")[0]["services"]

    def kinds(self, kind):
        """The Kubernetes objects of a kind, by name."""
        every = [object for path in self.paths() if path.startswith("kubernetes/") for object in self.yaml(path)]
        return {object["metadata"]["name"]: object for object in every if object["kind"] == kind}


def make(tmp_path, measured, **options):
    folder = bundles.models(tmp_path / "models", **{name: [1, 2, 3] for name in measured})
    return Made(tmp_path / "deploy", bundles.make(folder, tmp_path / "deploy", measured, cpus=2, **options))


@pytest.fixture(scope="module")
def batched(tmp_path_factory):
    """Two generators, which may share batches."""
    return make(tmp_path_factory.mktemp("batched"), {"shoes": GENERATOR, "mlp_gan2": GENERATOR}, timed=True)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A generator and a model of pictures of any size, which may not."""
    return make(tmp_path_factory.mktemp("mixed"), {"shoes": GENERATOR, "larger": ENHANCER}, timed=True)


@pytest.fixture(params=["batched", "mixed"])
def made(request):
    return request.getfixturevalue(request.param)


# What the server reads


def test_the_server_reads_its_texts(made):
    stock = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    for message in (ModelServerConfig(), stock.ModelServerConfig()):
        text_format.Parse(made.text("serving/models.config"), message)
        entries = {entry.name: entry for entry in message.model_config_list.config}
        assert {name: entry.base_path for name, entry in entries.items()} == {
            model.name: f"/models/{model.name}" for model in made.spec.models
        }
        assert {entry.model_platform for entry in entries.values()} == {"tensorflow"}
    monitoring = text_format.Parse(made.text("serving/monitoring.config"), MonitoringConfig())
    assert monitoring.prometheus_config.enable


def test_batches_are_those_of_the_rule(batched):
    # Under 100 ms up to 16 rows; 16 gives 1.7 % more rows a second than 8, which is noise.
    assert batched.spec.batch_sizes == (1, 2, 4, 8)
    parameters = text_format.Parse(batched.text("serving/batching.config"), BatchingParameters())
    assert list(parameters.allowed_batch_sizes) == [1, 2, 4, 8]
    assert parameters.max_batch_size.value == 8
    assert parameters.batch_timeout_micros.value == 0
    assert parameters.num_batch_threads.value == 2


def test_a_model_of_pictures_of_any_size_turns_batches_off_for_its_server(mixed, tmp_path):
    assert "serving/batching.config" not in mixed.paths()
    assert not [flag for flag in command.command(mixed.spec) if "batching" in flag]
    assert "larger (apply, serving_default)" in mixed.spec.unbatched and "--model shoes" in mixed.spec.unbatched
    folder = bundles.models(tmp_path / "models", shoes=[1], larger=[1])
    alone = bundles.make(folder, tmp_path / "out", {"shoes": GENERATOR, "larger": ENHANCER}, only=["shoes"], cpus=2)
    assert [model.name for model in alone.models] == ["shoes"] and alone.batch_sizes == (1, 2, 4, 8)


def test_batches_that_give_nothing_are_left_out(tmp_path):
    made = make(tmp_path, {"shoes": GENERATOR}, latency_limit=0.011)
    assert made.spec.batch_sizes == (1,) and "serving/batching.config" not in made.paths()
    assert "11 ms" in made.spec.unbatched


def test_without_timing_batches_are_what_somebody_wrote_beside_the_models(tmp_path):
    folder = bundles.models(tmp_path / "models", shoes=[1])
    written = config.batching((1, 5), threads=7)
    (folder / "batching.config").write_text(written)
    spec = bundles.make(folder, tmp_path / "out", {"shoes": GENERATOR}, timed=False)
    assert (tmp_path / "out/serving/batching.config").read_text() == written and spec.batch_sizes == (1, 5)
    assert "Nothing was timed" in (tmp_path / "out/README.md").read_text()
    (folder / "batching.config").write_text("max_batch_size { value: 8 } allowed_batch_sizes: 4")
    with pytest.raises(BundleRefused, match="must rise up to max_batch_size"):
        bundles.make(folder, tmp_path / "out", {"shoes": GENERATOR}, timed=False)


def test_entries_somebody_wrote_keep_their_policy_and_labels(tmp_path):
    folder = bundles.models(tmp_path / "models", shoes=[1, 2, 3], hats=[1])
    (folder / "models.config").write_text(
        'model_config_list { config { name: "shoes" base_path: "/home/me/models/shoes" model_platform: "tensorflow" '
        'model_version_policy { specific { versions: 1 versions: 3 } } version_labels { key: "stable" value: 1 } } '
        'config { name: "gone" base_path: "/home/me/models/gone" } }'
    )
    spec = bundles.make(folder, tmp_path / "out", {"shoes": GENERATOR, "hats": GENERATOR})
    shoes = text_format.Parse(spec.models_config, ModelServerConfig()).model_config_list.config[1]
    assert (shoes.name, shoes.base_path) == ("shoes", "/models/shoes")
    assert list(shoes.model_version_policy.specific.versions) == [1, 3] and shoes.version_labels["stable"] == 1
    assert {model.name: model.loaded for model in spec.models} == {"hats": (1,), "shoes": (1, 3)}


def test_a_version_lies_where_its_folder_is_whatever_its_number(tmp_path):
    folder = bundles.models(tmp_path / "models", shoes=["00000007", 3])
    spec = bundles.make(folder, tmp_path / "out", {"shoes": GENERATOR})
    assert spec.models[0].loaded == (7,)
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "cp ../models/shoes/00000007 loader:" in readme and "/models/shoes/7\n" in readme
    assert "shoes) version=7 folder=00000007 ;;" in (tmp_path / "out" / "vertex" / "upload.sh").read_text()
    (folder / "shoes" / "9").mkdir()
    with pytest.raises(BundleRefused, match="version 9 in .*models/shoes has no saved_model.pb"):
        bundles.make(folder, tmp_path / "out", {"shoes": GENERATOR})
    (folder / "hats" / "1").mkdir(parents=True)  # no version at all is no model
    (folder / "shoes" / "9").rmdir()
    assert [model.name for model in bundles.make(folder, tmp_path / "out", {"shoes": GENERATOR}).models] == ["shoes"]


def test_versions_follow_the_policy_and_what_a_server_would_wait_for_is_refused():
    def loaded(text):
        return bundle.loaded_versions(text_format.Parse('name: "shoes" ' + text, entry()), (1, 4, 9))

    def entry():
        return ModelServerConfig().model_config_list.config.add()

    assert loaded("") == (9,)
    assert loaded("model_version_policy { latest { num_versions: 2 } }") == (4, 9)
    assert loaded("model_version_policy { latest { num_versions: 0 } }") == (9,)
    assert loaded("model_version_policy { all {} }") == (1, 4, 9)
    assert loaded("model_version_policy { specific { versions: 4 versions: 1 } }") == (1, 4)
    with pytest.raises(BundleRefused, match="version 5 of shoes, and there is only 1, 4, 9"):
        loaded("model_version_policy { specific { versions: 5 } }")
    with pytest.raises(BundleRefused, match="label 'stable' of shoes on version 4, and serves only 9"):
        loaded('version_labels { key: "stable" value: 4 }')
    with pytest.raises(BundleRefused, match="no version"):
        loaded("model_version_policy { specific {} }")


# The command line of the server, wherever it stands


def command_lines(made):
    pods = made.kinds("Deployment")["tfs"]["spec"]["template"]["spec"]["containers"][0]
    yield made.compose["tfs"]["entrypoint"] + made.compose["tfs"]["command"]
    yield pods["command"] + pods["args"]
    yield [command.BINARY, *vertex.arguments(made.spec)]
    for model in made.spec.models:
        server = made.yaml(f"kserve/{model.kubernetes_name}.yaml")[0]["spec"]["predictor"]["model"]
        yield [command.BINARY, *server["args"]]


def test_every_flag_is_one_the_server_has(made):
    for binary, *flags in command_lines(made):
        assert binary == "/usr/bin/tensorflow_model_server"
        parts = [re.fullmatch(r"--([a-z_]+)=(\S+)", flag).groups() for flag in flags]
        names = [name for name, _ in parts]
        assert set(names) <= FLAGS and len(set(names)) == len(names)
        assert all(value in ("true", "false") for name, value in parts if name.startswith(("enable", "allow")))


def test_every_file_on_the_command_line_is_mounted_where_it_says(made):
    pod = made.kinds("Deployment")["tfs"]["spec"]["template"]["spec"]
    generated = {entry["name"]: entry for entry in made.yaml("kustomization.yaml")[0]["configMapGenerator"]}
    projected = next(volume["projected"] for volume in pod["volumes"] if volume["name"] == "config")
    in_pod = [file for source in projected["sources"] for file in generated[source["configMap"]["name"]]["files"]]
    mount = next(mount for mount in made.compose["tfs"]["volumes"] if mount["target"] == "/config")
    wanted = {flag.partition("=/config/")[2] for flag in command.command(made.spec) if "=/config/" in flag}
    assert mount["source"] == "./serving"
    assert wanted == {path.removeprefix("serving/") for path in in_pod}
    assert wanted == {path.removeprefix("serving/") for path in made.paths() if path.startswith("serving/")}
    assert any(mount["mountPath"] == "/config" for mount in pod["containers"][0]["volumeMounts"])


def test_threads_suffice_to_fill_batches_and_the_session_has_no_more_than_its_cpus(batched):
    flags = dict(flag.removeprefix("--").split("=") for flag in command.command(batched.spec)[1:])
    assert int(flags["grpc_max_threads"]) >= 8 * 2  # two batches of eight run
    assert flags["tensorflow_session_parallelism"] == "2"


# Ready or not


class Status(http.server.BaseHTTPRequestHandler):
    """The server's answer to GET /v1/models/<name>: HTTP 200 whatever the state."""

    states: dict = {}

    def do_GET(self):
        state, code = self.states[self.path.removeprefix("/v1/models/")]
        body = {"model_version_status": [{"version": "1", "state": state, "status": {"error_code": code}}]}
        content = json.dumps(body, indent=1).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def succeeds(probe, port):
    words = [word.replace("/8501", f"/{port}") for word in probe]
    return subprocess.run(words, capture_output=True, timeout=20).returncode == 0


@pytest.mark.parametrize(
    "first, second, every, some",
    [
        (("AVAILABLE", "OK"), ("AVAILABLE", "OK"), True, True),
        (("AVAILABLE", "OK"), ("LOADING", "OK"), False, True),
        (("END", "UNAVAILABLE"), ("AVAILABLE", "OK"), False, True),
        (("END", "UNAVAILABLE"), ("LOADING", "OK"), False, False),
    ],
)
def test_the_probes_read_the_state_of_the_models(batched, first, second, every, some):
    Status.states = {"shoes": first, "mlp_gan2": second}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Status) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        assert succeeds(command.all_available(batched.spec), server.server_port) is every
        assert succeeds(command.any_available(batched.spec), server.server_port) is some
        server.shutdown()


def test_the_probes_fail_where_nobody_listens(batched):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for probe in (command.all_available, command.any_available):
            assert not succeeds(probe(batched.spec), unused.getsockname()[1])


# Docker compose


def test_services_can_do_no_more_than_they_must(made):
    for name, service in made.compose.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service
        assert service["user"] != "0" and service["mem_limit"] == service["memswap_limit"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert all(mount["read_only"] for mount in service["volumes"] if mount["type"] == "bind")
        assert not service["image"].endswith(":latest") and ":" in service["image"]


def test_the_server_has_no_way_out_and_ends_when_asked(made):
    document = made.yaml("docker-compose.yml")[0]
    server = made.compose["tfs"]
    assert server["networks"] == ["serving"] and document["networks"]["serving"] == {"internal": True}
    assert "ports" not in server
    assert server["init"]  # process 1 gets SIGTERM only if it has a handler, and the server has none
    assert server["mem_limit"] == f"{made.spec.memory_mib(made.spec.models)}m"
    debug = made.yaml("docker-compose.debug.yml")[0]["services"]["tfs"]
    assert debug["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]


def test_what_is_mounted_is_there(made):
    variables = dict(line.split("=") for line in made.text(".env").splitlines() if not line.startswith("#"))
    assert (made.folder / variables["MODELS"]).samefile(made.folder.parent / "models")
    assert variables["SECRETS"] == "../deploy-secrets"
    sources = {mount["source"] for service in made.compose.values() for mount in service["volumes"]}
    for source in sources - {"${MODELS}", "prometheus", "grafana"} - {f"${{SECRETS}}/{name}" for name in SECRETS}:
        assert (made.folder / source).exists(), source


def test_compose_reads_its_files(made):
    for files in (["docker-compose.yml"], ["docker-compose.yml", "docker-compose.debug.yml"]):
        words = [word for file in files for word in ("-f", file)]
        done = subprocess.run(
            [tool("docker-compose"), *words, "config", "--format", "json"],
            cwd=made.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        server = json.loads(done.stdout)["services"]["tfs"]
        # As Docker gets it: "$" is itself again.
        assert server["healthcheck"]["test"] == [
            "CMD",
            *(word.replace("$", "$$") for word in command.all_available(made.spec)),
        ]
        assert {port["host_ip"] for port in server.get("ports", [])} <= {"127.0.0.1"}
        assert set(server["networks"]) == ({"serving"} if len(files) == 1 else {"serving", "edge"})


# Kubernetes


def test_kubernetes_takes_every_manifest(made):
    validate = pytest.importorskip("kubernetes_validate")
    manifests = [path for path in made.paths() if path.startswith("kubernetes/")]
    assert len(manifests) == 6
    for path in manifests:
        for document in made.yaml(path):
            for release in ("1.30", "1.34"):
                validate.validate(document, release, strict=True)


def test_kustomize_puts_them_together(made):
    done = subprocess.run(
        [tool("kubectl"), "kustomize", "."], cwd=made.folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    maps = {object["metadata"]["name"]: object for object in objects if object["kind"] == "ConfigMap"}
    pod = next(o for o in objects if o["kind"] == "Deployment" and o["metadata"]["name"] == "tfs")["spec"]["template"][
        "spec"
    ]
    sources = next(volume["projected"]["sources"] for volume in pod["volumes"] if "projected" in volume)
    names = [source["configMap"]["name"] for source in sources]
    assert names[0] == "tfs-models" and re.fullmatch(r"tfs-settings-\w{10}", names[1])
    assert maps["tfs-models"]["data"] == {"models.config": made.text("serving/models.config")}
    assert maps[names[1]]["data"].keys() | {"models.config"} == {
        path.removeprefix("serving/") for path in made.paths() if path.startswith("serving/")
    }
    assert {object["metadata"].get("namespace") for object in objects} == {None, "packshot"}


def test_resources_of_the_kustomization_are_there_and_complete(made):
    resources = made.yaml("kustomization.yaml")[0]["resources"]
    there = {path for path in made.paths() if path.startswith("kubernetes/")} - {"kubernetes/loader.yaml"}
    assert set(resources) == there


def test_pods_meet_the_restricted_standard(made):
    pods = [deployment["spec"]["template"]["spec"] for deployment in made.kinds("Deployment").values()]
    pods.append(made.kinds("Pod")["loader"]["spec"])
    assert len(pods) == 3
    for pod in pods:
        allowed = {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim"}
        assert all(volume.keys() - {"name"} <= allowed for volume in pod["volumes"])
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            context = container["securityContext"]
            assert not context["allowPrivilegeEscalation"] and context["readOnlyRootFilesystem"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            resources = container["resources"]
            assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_selectors_find_their_pods_and_ports_their_containers(made):
    deployments = made.kinds("Deployment")
    for name, deployment in deployments.items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        ports = {
            port["name"]: port["containerPort"]
            for container in deployment["spec"]["template"]["spec"]["containers"]
            for port in container["ports"]
        }
        service = made.kinds("Service")[name]["spec"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels == service["selector"]
        assert made.kinds("PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"] == labels
        assert made.kinds("NetworkPolicy")[name]["spec"]["podSelector"]["matchLabels"] == labels
        assert all(ports[port["targetPort"]] == port["port"] for port in service["ports"])
        assert deployment["spec"]["template"]["spec"]["serviceAccountName"] in made.kinds("ServiceAccount")
    assert "replicas" not in deployments["tfs"]["spec"]  # or every `apply` would undo the autoscaler
    assert made.kinds("HorizontalPodAutoscaler")["tfs"]["spec"]["scaleTargetRef"]["name"] == "tfs"


def test_only_envoy_and_prometheus_reach_the_servers_which_reach_nobody(made):
    policy = made.kinds("NetworkPolicy")["tfs"]["spec"]
    assert policy["egress"] == [] and "Egress" in policy["policyTypes"]
    reach = {
        rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]: [
            port["port"] for port in rule["ports"]
        ]
        for rule in policy["ingress"]
    }
    assert reach == {"envoy": [8500, 8501], "prometheus": [8501]}


def test_pods_are_probed_drained_and_ended(made):
    pod = made.kinds("Deployment")["tfs"]["spec"]["template"]["spec"]
    server = pod["containers"][0]
    assert pod["shareProcessNamespace"]  # so that the server is not process 1, see compose's init
    assert server["startupProbe"]["exec"]["command"] == command.all_available(made.spec)
    assert server["readinessProbe"]["exec"]["command"] == command.any_available(made.spec)
    assert server["livenessProbe"]["tcpSocket"]["port"] == "grpc"
    assert pod["terminationGracePeriodSeconds"] > int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert server["resources"]["limits"] == {"memory": f"{made.spec.memory_mib(made.spec.models)}Mi"}
    claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    assert claims == set(made.kinds("PersistentVolumeClaim"))


def test_a_service_of_kserve_a_model(batched):
    services = [batched.yaml(path)[0] for path in batched.paths() if path.startswith("kserve/")]
    assert [service["metadata"]["name"] for service in services] == ["mlp-gan2", "shoes"]
    assert {service["apiVersion"] for service in services} == {"serving.kserve.io/v1beta1"}
    for service, name in zip(services, ["mlp_gan2", "shoes"], strict=True):
        server = service["spec"]["predictor"]["model"]
        assert server["modelFormat"]["name"] == "tensorflow" and server["protocolVersion"] == "v1"
        assert server["storageUri"] == f"pvc://models/{name}"
        assert server["image"] == batched.compose["tfs"]["image"]
        # One model of 50 MiB and its successor, eight rows of 4 MiB: 512 + 120 + 32 = 664, up to 768.
        assert server["resources"]["limits"]["memory"] == "768Mi"


# Monitoring


def test_prometheus_asks_where_the_metrics_are(made):
    monitoring = text_format.Parse(made.text("serving/monitoring.config"), MonitoringConfig())
    jobs = {job["job_name"]: job for job in made.yaml("monitoring/prometheus/prometheus.yml")[0]["scrape_configs"]}
    server = jobs["tensorflow-serving"]
    assert server["metrics_path"] == monitoring.prometheus_config.path
    host, port = server["static_configs"][0]["targets"][0].split(":")
    assert host in made.compose and f"--rest_api_port={port}" in made.compose[host]["command"]
    annotations = made.kinds("Deployment")["tfs"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == server["metrics_path"] and annotations["prometheus.io/port"] == port


ALERTS = """
rule_files: [alerts.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'up{job="tensorflow-serving", instance="tfs:8501"}', values: '0x20'}
      - {series: ':tensorflow:serving:request_count{model_name="shoes", status="OK"}', values: '0+90x20'}
      - {series: ':tensorflow:serving:request_count{model_name="shoes", status="INTERNAL"}', values: '0+10x20'}
      - {series: ':tensorflow:serving:request_count{model_name="hats", status="OK"}', values: '0+10x20'}
      - {series: ':tensorflow:serving:request_count{model_name="hats", status="INVALID_ARGUMENT"}', values: '0+90x20'}
      - {series: ':tensorflow:serving:request_latency_bucket{model_name="shoes", le="100000"}', values: '0+10x20'}
      - {series: ':tensorflow:serving:request_latency_bucket{model_name="shoes", le="400000"}', values: '0+100x20'}
      - {series: ':tensorflow:serving:request_latency_bucket{model_name="shoes", le="+Inf"}', values: '0+100x20'}
      - {series: ':tensorflow:serving:request_latency_bucket{model_name="hats", le="100000"}', values: '0+100x20'}
      - {series: ':tensorflow:serving:request_latency_bucket{model_name="hats", le="+Inf"}', values: '0+100x20'}
      - {series: ':tensorflow:cc:saved_model:load_attempt_count{model_path="/models/shoes/2", status="fail"}', values: '_x10 1x10'}
    promql_expr_test:
      - {expr: 'count by (alertname, model_name) (ALERTS{alertstate="firing"})', eval_time: 18m, exp_samples: [
          {labels: '{alertname="ServerDown"}', value: 1}, {labels: '{alertname="LoadFailed"}', value: 1},
          {labels: '{alertname="RequestsFail", model_name="shoes"}', value: 1},
          {labels: '{alertname="RequestsSlow", model_name="shoes"}', value: 1}]}
"""


def test_alerts_ring_for_the_servers_faults_and_not_for_the_callers(batched, tmp_path):
    promtool = tool("promtool")
    for path in ("prometheus.yml", "alerts.yml"):
        (tmp_path / path).write_text(batched.text(f"monitoring/prometheus/{path}"))
    (tmp_path / "test.yml").write_text(ALERTS)
    for words in (["check", "config", "prometheus.yml"], ["test", "rules", "test.yml"]):
        done = subprocess.run([promtool, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


# The metrics of TensorFlow Serving 2.20 that have to do with serving, and Envoy's of its front door.
METRICS = frozenset(
    ":tensorflow:serving:request_count :tensorflow:serving:request_latency_bucket "
    ":tensorflow:serving:runtime_latency_bucket :tensorflow:serving:batching_session:queuing_latency_bucket "
    ":tensorflow:serving:batching_session:wrapped_run_count :tensorflow:cc:saved_model:load_attempt_count "
    "envoy_http_downstream_rq_xx up".split()
)


def expressions(made):
    board = json.loads(made.text("monitoring/grafana/dashboards/serving.json"))
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])
    rules = made.yaml("monitoring/prometheus/alerts.yml")[0]["groups"][0]["rules"]
    yield from (rule["expr"] for rule in rules)


def test_queries_name_metrics_there_are(made):
    every = list(expressions(made))
    for expression in every:
        named = re.findall(r"(?::tensorflow[a-z:_]+|envoy_[a-z_]+(?=\{envoy_http)|\bup\b)", expression)
        assert named and set(named) <= METRICS, expression
    assert any("queuing" in expression for expression in every) is bool(made.spec.batching_config)


def test_queries_are_promql(made, tmp_path):
    promtool = tool("promtool")
    rules = [
        {"record": f"q{i}", "expr": expression.replace("$__rate_interval", "5m")}
        for i, expression in enumerate(expressions(made))
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_board_finds_its_source_and_its_panels_do_not_overlap(made):
    source = made.yaml("monitoring/grafana/provisioning/datasources/prometheus.yml")[0]["datasources"][0]
    provider = made.yaml("monitoring/grafana/provisioning/dashboards/packshot.yml")[0]["providers"][0]
    targets = {mount["target"]: mount["source"] for mount in made.compose["grafana"]["volumes"]}
    assert targets[provider["options"]["path"]] == "./monitoring/grafana/dashboards"
    assert source["url"] == "http://prometheus:9090" and "prometheus" in made.compose
    panels = json.loads(made.text("monitoring/grafana/dashboards/serving.json"))["panels"]
    squares = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(squares)) == len(squares) and max(x for x, _ in squares) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {target["datasource"]["uid"] for panel in panels for target in panel["targets"]} == {source["uid"]}


# Envoy, as far as it can be read; tests/test_bundle_envoy.py runs it


def test_envoy_sends_requests_where_the_server_listens(made):
    document = made.yaml(envoy.FILE)[0]
    clusters = {cluster["name"]: cluster for cluster in document["static_resources"]["clusters"]}

    def address(cluster):
        where = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
        return where["address"], where["port_value"]

    assert address(clusters["grpc"]) == ("tfs", 8500) and address(clusters["rest"]) == ("tfs", 8501)
    assert "tfs" in made.compose and "tfs" in made.kinds("Service")
    assert made.kinds("Service")["tfs"]["spec"]["clusterIP"] == "None"  # so that the name gives every pod
    assert document["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    ports = {
        listener["address"]["socket_address"]["port_value"] for listener in document["static_resources"]["listeners"]
    }
    assert made.compose["envoy"]["ports"] == ["127.0.0.1:8443:8443"] and ports == {8443, 9902}


def test_envoy_finds_the_secrets_in_compose_and_in_kubernetes(made):
    text = made.text(envoy.FILE)
    wanted = set(re.findall(r"filename: (\S+)", text))
    assert wanted == {f"/etc/envoy/secrets/{name}" for name in SECRETS}
    assert wanted <= {mount["target"] for mount in made.compose["envoy"]["volumes"]}
    pod = made.kinds("Deployment")["envoy"]["spec"]["template"]["spec"]
    assert {"name": "secrets", "mountPath": "/etc/envoy/secrets", "readOnly": True} in pod["containers"][0][
        "volumeMounts"
    ]
    readme = made.text("README.md")
    assert f"create secret generic {kubernetes.ENVOY_SECRETS}" in readme
    assert all(f"--from-file=../deploy-secrets/{name}" in readme for name in SECRETS)


@pytest.mark.parametrize(
    "path, passes",
    [
        ("/v1/models/shoes:predict", True),
        ("/v1/models/shoes/versions/3:predict", True),
        ("/v1/models/mlp_gan2/labels/stable:predict", True),
        ("/v1/models/boots:predict", False),
        ("/v1/models/shoesx:predict", False),
        ("/v1/models/shoes:classify", False),
        ("/v1/models/shoes", False),
        ("/v1/models/shoes/metadata", False),
        ("/v1/models/shoes/versions/3/labels/stable:predict", False),
    ],
)
def test_predictions_of_known_models_pass_and_nothing_else(batched, path, passes):
    assert bool(re.fullmatch(envoy.rest_pattern(batched.spec), path)) is passes


# Keys


def test_no_key_is_in_the_bundle(made):
    assert not [path for path in made.paths() if "-----BEGIN" in made.text(path)]


def test_ssl_config_holds_the_texts_of_the_files(batched, tmp_path):
    pems = {name: f"-----BEGIN {name}-----\nab+/cd==\nef\n-----END {name}-----\n" for name in ("KEY", "CERT", "CA")}
    for name, pem in pems.items():
        (tmp_path / name).write_bytes(pem.replace("\n", "\r\n" if name == "CA" else "\n").encode())
    script = batched.folder / "keys/ssl_config.sh"

    def run(*names):
        done = subprocess.run(
            [script, *(tmp_path / name for name in names)], capture_output=True, text=True, timeout=20
        )
        return text_format.Parse(done.stdout, SSLConfig()), done

    with_clients, _ = run("KEY", "CERT", "CA")
    assert (with_clients.server_key, with_clients.server_cert) == (pems["KEY"], pems["CERT"])
    assert with_clients.custom_ca == pems["CA"] and with_clients.client_verify
    without, _ = run("KEY", "CERT")
    assert not without.custom_ca and not without.client_verify
    assert run("KEY")[1].returncode == 2


# Vertex AI


def test_a_model_goes_to_vertex_with_its_routes_and_settings(batched, tmp_path):
    """The script runs with programs in place of gcloud that write down what they were asked."""
    (tmp_path / "gcloud").write_text('#!/bin/sh\nprintf "%s\\n" "$@" END >> "$LOG"\n')
    (tmp_path / "gcloud").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        **{"PROJECT": "p", "REGION": "europe-west4", "BUCKET": "gs://b", "REPOSITORY": "r"},
    }
    script = batched.folder / "vertex/upload.sh"
    done = subprocess.run([script, "mlp_gan2"], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    calls = [call.split("\n")[:-1] for call in (tmp_path / "log").read_text().split("END\n")[:-1]]
    assert [call[:3] for call in calls] == [
        ["storage", "rsync", "--recursive"], ["builds", "submit", calls[1][2]], ["ai", "models", "upload"],
    ]  # fmt: skip
    source, target = calls[0][3:]
    assert Path(source).samefile(batched.folder.parent / "models/mlp_gan2/3") and target == "gs://b/mlp_gan2-3/3"
    flags = dict(word.removeprefix("--").split("=", 1) for word in calls[2][3:])
    assert flags["artifact-uri"] == "gs://b/mlp_gan2-3"
    assert flags["container-command"] == command.BINARY
    given = flags["container-args"].split(",")
    assert "--rest_api_port=$(AIP_HTTP_PORT)" in given and "--model_base_path=$(AIP_STORAGE_URI)" in given
    assert "--model_name=mlp_gan2" in given and "--batching_parameters_file=/config/batching.config" in given
    assert flags["container-ports"] == "8080"
    assert flags["container-health-route"] == "/v1/models/mlp_gan2"
    assert flags["container-predict-route"] == "/v1/models/mlp_gan2:predict"
    assert "COPY *.config /config/" in batched.text("vertex/Dockerfile")
    refused = subprocess.run([script, "boots"], env=environment, capture_output=True, text=True, timeout=20)
    assert refused.returncode == 2 and "mlp_gan2 shoes" in refused.stderr


@pytest.mark.parametrize(
    "cpus, machine", [(1, "n1-standard-2"), (2, "n1-standard-2"), (3, "n1-standard-4"), (8, "n1-standard-8")]
)
def test_machines_have_the_cpus_of_the_plan(tmp_path, cpus, machine):
    folder = bundles.models(tmp_path / "models", shoes=[1])
    spec = bundles.make(folder, tmp_path / "out", {"shoes": GENERATOR}, cpus=cpus, timed=False)
    assert vertex.machine(spec) == machine


# The folder


@pytest.mark.parametrize("name", ["a $x `id` b", "#1; echo $HOME", '"quoted" & more', "50% [v2] *", "größe"])
def test_every_shell_takes_the_names_of_folders_as_they_are(name, tmp_path):
    folder = bundles.models(tmp_path / name / "models", shoes=[1])
    out = tmp_path / f"{name} out"
    bundles.make(folder, out, {"shoes": GENERATOR})

    def shell(script):
        done = subprocess.run(["sh", "-euc", script], cwd=out, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # Between single quotes compose expands as little as a shell does.
    said = shell('. ./.env; printf "%s\n" "$MODELS" "$SECRETS"').splitlines()
    assert (out / said[0]).samefile(folder) and said[1] == f"../{name} out-secrets"
    readme = (out / "README.md").read_text()
    told = f'curl() {{ printf "%s\n" "$@"; }}; cat() {{ echo "$1"; }}\n{re.search(r"curl --cacert [^|]*?predict", readme)[0]}'
    words = shell(told).splitlines()
    assert words[1] == f"{said[1]}/tls.crt" and words[3] == f"Authorization: Bearer {said[1]}/token"
    copied = shell(f'cp() {{ echo "$1"; }}\n{re.search(r"cp .* loader:", readme)[0]}x').strip()
    assert (out / copied).samefile(folder / "shoes" / "1")
    upload = (out / "vertex" / "upload.sh").read_text()
    lines = "\n".join(line for line in upload.splitlines() if line.startswith("models="))
    assert (out / shell(f'here=.\n{lines}\nprintf %s "$models"')).samefile(folder)


def test_the_readme_goes_from_a_laptop_to_the_cloud_and_names_files_there_are(made):
    readme = made.text("README.md")
    places = [
        readme.index(f"## {heading}")
        for heading in ("1. A laptop", "2. One host", "3. Kub", "4. Or KS", "5. Or V", "What has not")
    ]
    assert places == sorted(places)
    for path in re.findall(r"(?:kubernetes|keys|vertex|monitoring|serving|envoy|kserve)/[\w./-]+\.\w+", readme):
        assert path in made.paths(), path


def test_the_tables_say_what_was_measured(batched):
    measured = json.loads(batched.text("measurements.json"))
    assert measured["models"]["shoes"]["milliseconds"]["4"] == 16.0
    assert measured["models"]["shoes"]["rows a second"]["4"] == 250.0
    assert measured["models"]["shoes"]["largest size under the limit"] == 16
    assert measured["models"]["shoes"]["sizes that raise rows a second"] == [1, 2, 4, 8]
    assert measured["chosen"]["batch sizes"] == [1, 2, 4, 8]
    assert "| 4 | 16.0 | 250 | 16 |" in batched.text("README.md")
    # 512, two models of 50 MiB in two versions each with a fifth more, two batches of 32 MiB: 816, up to 896.
    assert measured["chosen"]["memory MiB"] == 896


def test_nothing_of_this_machine_is_in_the_files(made):
    for path in made.paths():
        assert str(made.folder.parent) not in made.text(path), path
    assert bundle.texts(made.spec) == bundle.texts(made.spec)


def test_a_bundle_is_replaced_when_it_is_as_it_was_written_and_left_alone_otherwise(tmp_path):
    folder = bundles.models(tmp_path / "models", shoes=[1])
    out = tmp_path / "deploy"

    def write():
        bundles.make(folder, out, {"shoes": GENERATOR})

    out.mkdir()
    write()
    marker = json.loads((out / "bundle.json").read_text())
    assert marker["models"] == {"shoes": {"served": [1], "weights sha256": "shoes1"}}
    assert os.access(out / "keys/laptop.sh", os.X_OK)
    bundles.models(folder, shoes=[2])
    write()
    assert json.loads((out / "bundle.json").read_text())["models"]["shoes"]["served"] == [2]
    for spoil in (
        lambda: (out / "envoy/envoy.yaml").write_text("mine"),
        lambda: (out / "notes.txt").write_text("mine"),
        lambda: (out / "kubernetes/tfs.yaml").unlink(),
    ):
        spoil()
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        with pytest.raises(BundleRefused, match="was changed since the bundle was written"):
            write()
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deploy", "models"]


def test_what_no_bundle_wrote_is_left_alone(tmp_path):
    folder = bundles.models(tmp_path / "models", shoes=[1])
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "forged").mkdir()
    (tmp_path / "forged/bundle.json").write_text('{"format": "another"}')
    for place, sentence in [
        ("models", "other files"),
        ("file", "not a folder"),
        ("link", "not a folder"),
        ("forged", "other files"),
    ]:
        with pytest.raises(BundleRefused, match=sentence):
            bundles.make(folder, tmp_path / place, {"shoes": GENERATOR})


def test_a_bundle_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    folder = bundles.models(tmp_path / "models", shoes=[1])
    bundles.make(folder, tmp_path / "deploy", {"shoes": GENERATOR})
    before = (tmp_path / "deploy/bundle.json").read_text()
    rename, calls = os.rename, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(bundle.os, "rename", failing)
    with pytest.raises(OSError):
        bundles.make(folder, tmp_path / "deploy", {"shoes": GENERATOR})
    assert (tmp_path / "deploy/bundle.json").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deploy", "models"]


# The command


def packshot(*arguments):
    return CliRunner().invoke(cli.main, ["bundle", *map(str, arguments)])


def test_what_will_not_do_is_refused_in_a_sentence(tmp_path):
    folder = bundles.models(tmp_path / "models", shoes=[1])
    odd = bundles.models(tmp_path / "odd", **{"my shoes": [1]})
    peers = bundles.models(tmp_path / "twins", **{"a_b": [1], "a-b": [1]})
    (tmp_path / "empty").mkdir()
    for arguments, sentence in [
        ([tmp_path / "nowhere"], "there is no folder"),
        ([tmp_path / "empty"], "no exported model in"),
        ([folder / "shoes"], "is the folder of one model"),
        ([folder, "--model", "boots"], "has no model boots; it has: shoes"),
        ([folder, "--cpus", 1000], "CPUs here to measure on, not 1000"),
        ([odd], "cannot stand in a URL"),
        ([peers], "cannot tell these names apart"),
        (["gs://bucket/models"], "from a local folder"),
        ([folder, "--image", "tensorflow/serving"], "not an image with a tag"),
    ]:
        result = packshot(*arguments, "--out", tmp_path / "out")
        assert result.exit_code == 2, result.output
        assert re.search(sentence, result.output) and "Traceback" not in result.output
        assert not (tmp_path / "out").exists()


def test_a_real_export_is_measured_and_bundled(tmp_path):
    factor = tf.Variable(2.0)
    signature = signatures.Signature(
        lambda x: {"y": tf.ensure_shape(x, [None, 4]) * factor},
        {"x": tf.TensorSpec([None, 4], tf.float32)},
        lambda rng, n: {"x": rng.uniform(size=[n, 4]).astype("float32")},
    )
    model = types.SimpleNamespace(signatures=lambda: {"serving_default": signature})
    export(model, tmp_path / "models", "twice", metadata={})
    result = packshot(tmp_path / "models", "--out", tmp_path / "deploy", "--cpus", 1, "--latency-ms", 1000)
    assert result.exit_code == 0, result.output
    measured = json.loads((tmp_path / "deploy/measurements.json").read_text())
    assert measured["models"]["twice"]["request"] == {"x": "float32 [4]"}
    assert sorted(map(int, measured["models"]["twice"]["milliseconds"])) == [1, 2, 4, 8, 16, 32]
    assert measured["models"]["twice"]["largest size under the limit"] == 32
