"""KServe, instead of the manifests for plain Kubernetes: an InferenceService for each model, on KServe's own runtime.

Source: kserve config/runtimes/kserve-tensorflow-serving.yaml: REST on 8080, gRPC on 9000. The model has the name
of the InferenceService, and its version folders are read from /mnt/models.
"""

from serving.deploy import command, kubernetes
from serving.deploy.documents import yaml_text
from serving.deploy.spec import BundleSpec

NAMESPACE = "packshot-kserve"  # KServe's pods do not meet the standard of the bundle's other namespace


def files(spec: BundleSpec) -> dict[str, str]:
    """kserve/<name>.yaml for each model."""
    return {
        f"kserve/{model.kubernetes_name}.yaml": yaml_text(_comment(model), _service(spec, model))
        for model in spec.models
    }


def _comment(model):
    lines = [
        f"kubectl apply -n {NAMESPACE} -f {model.kubernetes_name}.yaml",
        "",
        "storageUri may as well be a bucket (gs://, s3://) with the folder of the model. Batching is off: KServe's",
        "runtime mounts no settings. Its annotation has Prometheus look at /metrics, where TensorFlow Serving has",
        "nothing; requests are counted by KServe's own proxy.",
    ]
    if model.kubernetes_name != model.name:
        lines.append(f"Here the model is called {model.kubernetes_name}: Kubernetes does not allow {model.name}.")
    return "\n".join(lines)


def _service(spec, model):
    memory = f"{spec.memory_mib([model], batched=False)}Mi"
    server = {
        "modelFormat": {"name": "tensorflow", "version": "2"},
        "protocolVersion": "v1",
        "image": spec.image,
        "storageUri": f"pvc://{kubernetes.CLAIM}/{model.name}",
        "args": [f"--tensorflow_session_parallelism={spec.cpus}", "--enable_profiler=false"],
        "env": [{"name": name, "value": value} for name, value in command.ENVIRONMENT.items()],
        "resources": {
            "requests": {"cpu": str(spec.cpus), "memory": memory},
            "limits": {"cpu": str(spec.cpus), "memory": memory},
        },
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": model.kubernetes_name},
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": kubernetes.MAXIMUM,
                "model": server,
            }
        },
    }
