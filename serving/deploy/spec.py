"""Specification of a bundle: models, batches, CPUs and memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serving.deploy import sizing
from serving.deploy.sizing import Measurement

# Images of the manifests. Envoy's version is the one that validates its configuration.
SERVER_IMAGE = "tensorflow/serving:2.20.0"
ENVOY_IMAGE = "envoyproxy/envoy:v1.40.0"
PROMETHEUS_IMAGE = "prom/prometheus:v3.5.0"
GRAFANA_IMAGE = "grafana/grafana:12.3.1"


@dataclass(frozen=True)
class Model:
    """One model: the loaded versions, rising, with the names of their folders (7 may be `00000007`), the bytes of its
    files, and the measurement of the newest loaded version.
    """

    name: str
    folders: Mapping[int, str]
    file_bytes: int
    measurement: Measurement

    @property
    def loaded(self) -> tuple[int, ...]:
        return tuple(self.folders)

    @property
    def kubernetes_name(self) -> str:
        return kubernetes_name(self.name)


def kubernetes_name(model: str) -> str:
    """The name of a model in Kubernetes: lower case, with dashes."""
    return model.lower().replace("_", "-").replace(".", "-").rstrip("-")


@dataclass(frozen=True)
class BundleSpec:
    """Everything that the files of a bundle are made from.

    `models_config` and `batching_config` are texts (the latter "" when batching is off, for the reason `unbatched`);
    `latency_limit` is in seconds; `models_folder` and `secrets_folder` are paths as seen from the bundle; `user` is the
    "uid:gid" that containers run as on one host.
    """

    models: tuple[Model, ...]
    models_config: str
    batching_config: str
    batch_sizes: tuple[int, ...]
    unbatched: str
    latency_limit: float
    cpus: int
    image: str
    models_folder: str
    secrets_folder: str
    user: str

    def memory_mib(self, models: Iterable[Model], *, batched: bool = True) -> int:
        """Memory in MiB of a server of `models`: with batches one run for each CPU, without one row for each thread."""
        sizes = self.batch_sizes if batched else (1,)
        runs = self.cpus if len(sizes) > 1 else sizing.threads(sizes, self.cpus)
        needs = [
            (len(model.loaded), max(model.measurement.load_bytes, 0), model.measurement.run_bytes.get(sizes[-1]))
            for model in models
        ]
        return sizing.memory(needs, runs) >> 20
