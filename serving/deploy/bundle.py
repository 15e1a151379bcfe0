"""Writes the production bundle of a folder of models: settings, manifests and instructions, sized by measurements.

    <out>/README.md serving/ docker-compose.yml envoy/ monitoring/ kustomization.yaml kubernetes/ kserve/ vertex/ keys/

The models stay in their folder. The bundle is built in a temporary folder and renamed. It replaces an unchanged older
bundle, and nothing else.
"""

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from google.protobuf import text_format

from data import files as paths
from data.errors import UserError
from data.progress import Progress, silent
from serving.deploy import command, compose, envoy, keys, kserve, kubernetes, monitoring, readme, sizing, vertex
from serving.deploy.documents import json_text
from serving.deploy.spec import SERVER_IMAGE, BundleSpec, Model, kubernetes_name
from serving.export import config, layout
from serving.wire.messages import BatchingParameters, ModelServerConfig

MARKER, FORMAT = "bundle.json", "packshot bundle 1"
MEASUREMENTS = "measurements.json"
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*(:[\w.-]+|@sha256:[0-9a-f]{64})")
_TARGETS = (compose, envoy, monitoring, kubernetes, kserve, vertex, keys, readme)


class BundleRefused(UserError):
    """The models or the folder for the bundle cannot be used; the message says why."""


def bundle(
    models_dir: str,
    out: str,
    *,
    only: Iterable[str] = (),
    latency_limit: float = 0.1,
    cpus: int | None = None,
    pixels: int = 256,
    timed: bool = True,
    image: str = SERVER_IMAGE,
    progress: Progress = silent,
) -> BundleSpec:
    """Write the bundle of the models in the local folder `models_dir` into `out`, and return its BundleSpec.

    `only` names the models to take (default: all). `latency_limit` is what a batch may take, in seconds; `cpus` is how
    many a server will have (default: as many as this process); `pixels` is the side of the pictures sent to a model that
    takes any size. With `timed` False nothing is timed, and batch sizes are those of `models_dir`'s batching.config.
    `progress` is handed the runs of each model (`data.progress`). Raises BundleRefused and sizing.CannotMeasure.
    """
    out, models_dir = os.path.abspath(out), os.path.abspath(_local(models_dir))
    _check_place(out)
    if not _IMAGE.fullmatch(image):
        raise BundleRefused(f"{image!r} is not an image with a tag or a digest, such as {SERVER_IMAGE}")
    here = available_cpus()
    if timed and cpus is not None and cpus > here:
        raise BundleRefused(
            f"there are {here} CPUs here to measure on, not {cpus}; run this where there are, or measure nothing"
        )
    cpus = cpus or here
    found = _find_models(models_dir, list(only))
    models_config, loaded = _models_config(models_dir, found)
    models = tuple(
        Model(
            name,
            folders={number: os.path.basename(path) for number, path in loaded[name].items()},
            file_bytes=_size(Path(models_dir, name)),
            measurement=sizing.measure(
                _newest(loaded[name]),
                cpus=cpus,
                pixels=pixels,
                timed=timed,
                progress=progress,
            ),
        )
        for name in found
    )
    batching_config, sizes, unbatched = _batching(models_dir, models, latency_limit, cpus, timed)
    spec = BundleSpec(
        models=models,
        models_config=models_config,
        batching_config=batching_config,
        batch_sizes=sizes,
        unbatched=unbatched,
        latency_limit=latency_limit,
        cpus=cpus,
        image=image,
        models_folder=os.path.relpath(models_dir, out),
        secrets_folder=f"../{os.path.basename(out)}-secrets",
        user=f"{os.getuid()}:{os.getgid()}" if os.getuid() else "1000:1000",
    )
    facts = {name: _provenance(_newest(loaded[name]), list(loaded[name])) for name in found}
    write(out, texts(spec), facts)
    return spec


def texts(spec: BundleSpec) -> dict[str, str]:
    """All files of the bundle except its marker, by their paths in the bundle."""
    made = {
        "serving/models.config": spec.models_config,
        "serving/monitoring.config": config.monitoring(),
        MEASUREMENTS: json_text(_measurements(spec)),
    }
    if spec.batching_config:
        made["serving/batching.config"] = spec.batching_config
    for target in _TARGETS:
        made |= target.files(spec)
    return made


def write(out: str, made: dict[str, str], facts: dict) -> None:
    """Write the files `made` (path -> text), and a marker with their digests and `facts`, into `out` atomically.

    Raises BundleRefused if `out` holds other files.
    """
    out = os.path.abspath(out)
    _check_place(out)
    parent = os.path.dirname(out)
    paths.make_folder(parent)
    paths.sweep(parent, ".bundle-")
    staged, old = (os.path.join(parent, f".bundle-{uuid.uuid4().hex[:8]}") for _ in range(2))
    marker = {
        "format": FORMAT,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "models": facts,
        "files": {path: hashlib.sha256(text.encode()).hexdigest() for path, text in sorted(made.items())},
    }
    try:
        for path, text in (made | {MARKER: json_text(marker)}).items():
            target = Path(staged, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
            if path.endswith(".sh"):
                target.chmod(0o755)
        if os.path.isdir(out):
            os.rename(out, old)
        try:
            os.rename(staged, out)
        except OSError:
            os.rename(old, out)
            raise
    except OSError as error:  # the user does not know the temporary folder
        raise OSError(error.errno, error.strerror, out) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def loaded_versions(entry, versions: tuple[int, ...]) -> tuple[int, ...]:
    """The versions among the existing `versions` that a server loads for a ModelConfig, rising.

    Raises BundleRefused if it would wait for a missing version, or has a label for a version that it does not load.
    """
    policy = entry.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            loaded = versions
        case "specific":
            loaded = tuple(sorted(set(policy.specific.versions)))
        case _:
            loaded = versions[-max(1, policy.latest.num_versions) :]
    if missing := [version for version in loaded if version not in versions]:
        raise BundleRefused(
            f"models.config asks for version {missing[0]} of {entry.name}, and there is only {_list(versions)}"
        )
    for label, version in sorted(entry.version_labels.items()):
        if version not in loaded:
            raise BundleRefused(
                f"models.config has the label {label!r} of {entry.name} on version {version}, and serves only {_list(loaded)}"
            )
    if not loaded:
        raise BundleRefused(f"models.config serves no version of {entry.name}")
    return loaded


def available_cpus() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _local(folder):
    if paths.is_remote(folder):
        raise BundleRefused(f"{folder}: models are measured from a local folder; copy them first")
    if not os.path.isdir(folder):
        raise BundleRefused(f"there is no folder {folder}")
    return folder


def _find_models(models_dir, only):
    """{name of a model: {number of a version: path}} of a folder, rising."""
    if layout.is_version(models_dir) or layout.versions(models_dir):
        raise BundleRefused(f"{models_dir} is the folder of one model; give the folder above it")
    found = {name: layout.versions(f"{models_dir}/{name}") for name in layout.models(models_dir)}
    if unknown := [name for name in only if name not in found]:
        raise BundleRefused(f"{models_dir} has no model {unknown[0]}; it has: {', '.join(found) or 'none'}")
    if only:
        found = {name: found[name] for name in found if name in only}
    if not found:
        raise BundleRefused(f"no exported model in {models_dir}")
    for name in found:
        try:
            layout.check_name(name)
        except layout.BadName as error:
            raise BundleRefused(str(error)) from error
    tidied = [kubernetes_name(name) for name in found]
    if len(set(tidied)) < len(tidied):
        raise BundleRefused(f"Kubernetes cannot tell these names apart: {', '.join(found)}")
    return found


def _models_config(models_dir, found):
    """(text for the container, {name: {number: path}} of the loaded versions, rising).

    Policies and labels in the models.config next to the models are kept.
    """
    kept = Path(models_dir, "models.config")
    text = config.models(
        {name: f"{models_dir}/{name}" for name in found}, kept.read_text(encoding="utf-8") if kept.exists() else ""
    )
    parsed = text_format.Parse(text, ModelServerConfig())
    loaded = {}
    for entry in parsed.model_config_list.config:
        entry.base_path = f"{command.MODELS}/{entry.name}"
        entry.model_platform = "tensorflow"
        there, folder = found[entry.name], f"{models_dir}/{entry.name}"
        numbers = loaded_versions(entry, tuple(layout.taken(folder)))
        if empty := [number for number in numbers if number not in there]:
            raise BundleRefused(
                f"version {empty[0]} in {folder} has no saved_model.pb, and a server would wait for it; remove it"
            )
        loaded[entry.name] = {number: there[number] for number in numbers}
    return text_format.MessageToString(parsed), loaded


def _batching(models_dir, models, latency_limit, cpus, timed):
    """(text or "", allowed sizes, reason for no batches or "")."""
    free = [model for model in models if model.measurement.any_size]
    if free:
        # Rows of different shapes in one batch fail all of its requests, and padding would change pictures.
        names = ", ".join(f"{model.name} ({', '.join(model.measurement.any_size)})" for model in free)
        reason = f"{names} takes pictures of any size, and requests that differ in size fail together in one batch"
        if len(free) < len(models):
            others = " ".join(f"--model {model.name}" for model in models if model not in free)
            reason += f"; the other models can have batches in a bundle of their own ({others})"
        return "", (1,), reason
    if not timed:
        return _given_batching(Path(models_dir, "batching.config"))
    sizes = sizing.batch_sizes([model.measurement.seconds for model in models], latency_limit)
    if len(sizes) == 1:
        return "", sizes, f"none gives more rows a second than single rows and stays under {1000 * latency_limit:g} ms"
    return config.batching(sizes, timeout_micros=0, threads=cpus), sizes, ""


def _given_batching(path):
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else config.batching()
        parameters = text_format.Parse(text, BatchingParameters())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise BundleRefused(f"{path} cannot be read: {error}") from error
    sizes = tuple(parameters.allowed_batch_sizes) or (parameters.max_batch_size.value or 1000,)
    if list(sizes) != sorted(set(sizes)) or (parameters.max_batch_size.value or 1000) != sizes[-1]:
        raise BundleRefused(f"{path}: allowed_batch_sizes must rise up to max_batch_size, or no model would load")
    return text, sizes, ""


def _measurements(spec):
    def table(model):
        taken = model.measurement
        return {
            "version": model.loaded[-1],
            "signature": sizing.SIGNATURE,
            "request": taken.request,
            "milliseconds": {size: round(1000 * seconds, 3) for size, seconds in taken.seconds.items()},
            "rows a second": {size: round(size / seconds, 1) for size, seconds in taken.seconds.items()},
            "peak MiB while running": {size: round(rise / 2**20, 1) for size, rise in taken.run_bytes.items()},
            "peak MiB of loading": round(taken.load_bytes / 2**20, 1),
            "signatures of any size": taken.any_size,
            **(
                {
                    "largest size under the limit": sizing.under_limit(taken.seconds, spec.latency_limit),
                    "sizes that raise rows a second": sizing.useful(taken.seconds),
                }
                if taken.seconds
                else {}
            ),
        }

    return {
        "machine": {
            "processor": _processor(),
            "CPUs used": spec.cpus,
            "system": platform.platform(),
            "tensorflow": importlib.metadata.version("tensorflow"),
        },
        "limit of a batch in ms": 1000 * spec.latency_limit,
        "models": {model.name: table(model) for model in spec.models},
        "chosen": {
            "batch sizes": spec.batch_sizes,
            "no batches, because": spec.unbatched or None,
            "CPUs": spec.cpus,
            "memory MiB": spec.memory_mib(spec.models),
        },
    }


def _provenance(version, loaded):
    """The marker's entry of a model: the served versions, and the weights and the code of the newest one."""
    report = Path(version, "export.json")
    try:
        known = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    except ValueError as error:
        raise BundleRefused(f"{report} is damaged: {error}") from error
    return {"served": loaded} | {key: known[key] for key in ("weights sha256", "git") if key in known}


def _processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _check_place(out):
    """Raises BundleRefused unless `out` is new, empty, or an unchanged bundle."""
    if not os.path.lexists(out):
        return
    if not os.path.isdir(out) or os.path.islink(out):
        raise BundleRefused(f"{out} is not a folder")
    there = {path.relative_to(out).as_posix(): path for path in Path(out).rglob("*") if not path.is_dir()}
    if not there:
        return
    try:
        marker = json.loads(there.pop(MARKER).read_text(encoding="utf-8"))
        written = {FORMAT: marker["files"]}[marker["format"]]
    except (KeyError, TypeError, ValueError):
        raise BundleRefused(f"{out} holds other files than a bundle; give --out a new or an empty folder") from None
    changed = [
        path
        for path in sorted(there.keys() | written.keys())
        if path not in there or hashlib.sha256(there[path].read_bytes()).hexdigest() != written.get(path)
    ]
    if changed:
        raise BundleRefused(
            f"{out}/{changed[0]} was changed since the bundle was written; keep changes outside of it, or give another --out"
        )


def _newest(versions):
    return versions[max(versions)]


def _list(numbers):
    return ", ".join(map(str, numbers))
