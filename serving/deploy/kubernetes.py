"""Kubernetes manifests, by kustomize: servers that only Envoy reaches, Envoy, and what keeps both running.

They share the configuration files of the other targets, so kustomization.yaml is at the top of the bundle.
Written for the Pod Security Standard "restricted".
"""

from serving.deploy import command, envoy
from serving.deploy.documents import yaml_text
from serving.deploy.spec import ENVOY_IMAGE, BundleSpec
from serving.export import config

NAMESPACE = "packshot"
CLAIM = "models"
ENVOY_SECRETS = "envoy-secrets"
MODELS_CONFIG, SERVER_CONFIG, ENVOY_CONFIG = "tfs-models", "tfs-settings", "envoy-config"
MINIMUM, MAXIMUM = 2, 8
DRAIN_SECONDS = 10
USER = 10001

COMMENT = """\
kubectl apply -k .

models.config keeps its name, so that a server that runs reads a changed one (within a minute or two): labels move
without a restart. The other settings are read once; their names carry a hash, and a change rolls the servers."""


def files(spec: BundleSpec) -> dict[str, str]:
    """kustomization.yaml, its manifests, and the pod that fills the models' volume, by their paths."""
    manifests = {
        "namespace.yaml": yaml_text("Admits only pods that may do next to nothing.", _namespace()),
        "models.yaml": yaml_text(
            "Where the models lie: every server reads it, so the storage class has to allow many readers. A bucket\n"
            "mounted by the cluster's own driver (Cloud Storage FUSE, Mountpoint for S3) is as good.",
            _claim(spec),
        ),
        "tfs.yaml": yaml_text(
            "TensorFlow Serving. No `replicas`: the autoscaler has the say.\n"
            "The process namespace is shared so that the server is not process 1, which SIGTERM would not end; it\n"
            f"drops what it works on when it ends, hence the {DRAIN_SECONDS} seconds in which nothing new arrives.\n"
            "The service has no address of its own: Envoy sees every pod and spreads requests, not connections.",
            _account("tfs"),
            _server(spec),
            _service("tfs", {"grpc": command.GRPC_PORT, "rest": command.REST_PORT}, headless=True),
            _budget("tfs"),
            _autoscaler(),
        ),
        "envoy.yaml": yaml_text(
            f"The way in. The secret {ENVOY_SECRETS} has tls.crt, tls.key and jwks.json; see README.md.",
            _account("envoy"),
            _envoy(),
            _service("envoy", {"https": envoy.PORT}),
            _budget("envoy"),
        ),
        "network.yaml": yaml_text(
            "Only Envoy, and Prometheus for the metrics, reach the servers; the servers reach nobody. A policy knows\n"
            "ports, not paths: what is labelled Prometheus could ask the REST port for predictions too.",
            *_policies(),
        ),
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "labels": [{"pairs": {"app.kubernetes.io/part-of": "packshot"}}],
        "resources": [f"kubernetes/{name}" for name in manifests],
        "configMapGenerator": [
            {
                "name": MODELS_CONFIG,
                "files": ["serving/models.config"],
                "options": {"disableNameSuffixHash": True},
            },
            {
                "name": SERVER_CONFIG,
                "files": [f"serving/{name}" for name in _settings(spec)],
            },
            {"name": ENVOY_CONFIG, "files": [envoy.FILE]},
        ],
    }
    loader = yaml_text(
        "A pod that has the models' volume to write to, while it is filled; see README.md.", _loader(spec)
    )
    return {
        "kustomization.yaml": yaml_text(COMMENT, kustomization),
        **{f"kubernetes/{name}": text for name, text in manifests.items()},
        "kubernetes/loader.yaml": loader,
    }


def _settings(spec):
    return [*(["batching.config"] if spec.batching_config else []), "monitoring.config"]


def _namespace():
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _claim(spec):
    gibibytes = max(1, -(-4 * sum(model.file_bytes for model in spec.models) // (1 << 30)))
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": f"{gibibytes}Gi"}},
        },
    }


def _server(spec):
    sources = [{"configMap": {"name": MODELS_CONFIG}}, {"configMap": {"name": SERVER_CONFIG}}]
    memory = f"{spec.memory_mib(spec.models)}Mi"
    started = {"exec": {"command": command.all_available(spec)}, "timeoutSeconds": 5}
    ready = {"exec": {"command": command.any_available(spec)}, "timeoutSeconds": 5}
    container = {
        "name": "tfs",
        "image": spec.image,
        "command": command.command(spec)[:1],
        "args": command.command(spec)[1:],
        "env": [{"name": name, "value": value} for name, value in command.ENVIRONMENT.items()],
        "ports": _ports({"grpc": command.GRPC_PORT, "rest": command.REST_PORT}),
        "resources": {
            "requests": {"cpu": str(spec.cpus), "memory": memory},
            "limits": {"memory": memory},
        },
        "startupProbe": {**started, "periodSeconds": 5, "failureThreshold": 120},
        "readinessProbe": {**ready, "periodSeconds": 10, "failureThreshold": 2},
        "livenessProbe": {"tcpSocket": {"port": "grpc"}, "periodSeconds": 10, "failureThreshold": 3},
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sleep", str(DRAIN_SECONDS)]}}},
        "securityContext": _confined(),
        "volumeMounts": [
            {"name": "models", "mountPath": command.MODELS, "readOnly": True},
            {"name": "config", "mountPath": command.CONFIG, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    pod = {
        "shareProcessNamespace": True,
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "containers": [container],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": CLAIM, "readOnly": True}},
            {"name": "config", "projected": {"sources": sources}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
    return _deployment("tfs", pod, _scraped(command.REST_PORT, config.METRICS_PATH))


def _envoy():
    container = {
        "name": "envoy",
        "image": ENVOY_IMAGE,
        "command": ["envoy"],
        "args": ["-c", f"{envoy.CONFIG}/envoy.yaml"],
        "ports": _ports({"https": envoy.PORT, "metrics": envoy.METRICS_PORT}),
        "resources": {
            "requests": {"cpu": "250m", "memory": f"{envoy.MEMORY_MIB}Mi"},
            "limits": {"memory": f"{envoy.MEMORY_MIB}Mi"},
        },
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "metrics"}, "periodSeconds": 5},
        "livenessProbe": {"tcpSocket": {"port": "https"}, "periodSeconds": 10},
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sleep", str(DRAIN_SECONDS)]}}},
        "securityContext": _confined(),
        "volumeMounts": [
            {"name": "config", "mountPath": f"{envoy.CONFIG}/envoy.yaml", "subPath": "envoy.yaml", "readOnly": True},
            {"name": "secrets", "mountPath": envoy.SECRETS, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    pod = {
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": ENVOY_CONFIG}},
            {"name": "secrets", "secret": {"secretName": ENVOY_SECRETS, "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
    deployment = _deployment("envoy", pod, _scraped(envoy.METRICS_PORT, envoy.METRICS_PATH))
    deployment["spec"] = {"replicas": MINIMUM, **deployment["spec"]}
    return deployment


def _deployment(name, pod, annotations):
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _app(name)},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": _app(name)},
        "spec": {
            "selector": {"matchLabels": _app(name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": _app(name), "annotations": annotations},
                "spec": {
                    "serviceAccountName": name,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 60,
                    "securityContext": _nobody(),
                    "topologySpreadConstraints": [spread],
                    **pod,
                },
            },
        },
    }


def _loader(spec):
    container = {
        "name": "loader",
        "image": spec.image,
        "command": ["/bin/sleep", "infinity"],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": _confined(),
        "volumeMounts": [{"name": "models", "mountPath": command.MODELS}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "loader"},
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": _nobody(),
            "containers": [container],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": CLAIM}}],
        },
    }


def _service(name, ports, headless=False):
    spec = {
        "selector": _app(name),
        "ports": [{"name": port, "port": number, "targetPort": port} for port, number in ports.items()],
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": _app(name)},
        "spec": {"clusterIP": "None", **spec} if headless else spec,
    }


def _account(name):
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name},
        "automountServiceAccountToken": False,
    }


def _budget(name):
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _app(name)}},
    }


def _autoscaler():
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "tfs"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "tfs"},
            "minReplicas": MINIMUM,
            "maxReplicas": MAXIMUM,
            "metrics": [{"type": "Resource", "resource": cpu}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }


def _policies():
    prometheus = {"namespaceSelector": {}, "podSelector": {"matchLabels": _app("prometheus")}}

    def policy(name, ingress, egress):
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name},
            "spec": {
                "podSelector": {"matchLabels": _app(name)},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": ingress,
                "egress": egress,
            },
        }

    def tcp(*ports):
        return [{"protocol": "TCP", "port": port} for port in ports]

    both = tcp(command.GRPC_PORT, command.REST_PORT)
    names = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return (
        policy(
            "tfs",
            ingress=[
                {"from": [{"podSelector": {"matchLabels": _app("envoy")}}], "ports": both},
                {"from": [prometheus], "ports": tcp(command.REST_PORT)},
            ],
            egress=[],
        ),
        policy(
            "envoy",
            ingress=[{"ports": tcp(envoy.PORT)}, {"from": [prometheus], "ports": tcp(envoy.METRICS_PORT)}],
            egress=[{"to": [{"podSelector": {"matchLabels": _app("tfs")}}], "ports": both}, {"ports": names}],
        ),
    )


def _app(name):
    return {"app.kubernetes.io/name": name}


def _ports(ports):
    return [{"name": name, "containerPort": number} for name, number in ports.items()]


def _scraped(port, path):
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": path}


def _nobody():
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _confined():
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
