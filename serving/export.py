"""Writes a model as a numbered version that TensorFlow Serving loads, or refuses and leaves nothing behind.

    <to>/models.config batching.config monitoring.config
    <to>/<name>/<version>/saved_model.pb variables/ assets.extra/tf_serving_warmup_requests export.json

The SavedModel tracks the raw tf.Variables alone: whatever holds a Keras 3 model saves weights a server does not find,
or saves them twice. It is written beside the versions under a name a server ignores, passes the gate, and is then
renamed.
"""

import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from data import files
from serving import config, gate, warmup
from serving.gate import ExportRefused

REPORT = "export.json"


def export(model, to: str, name: str, version: int | None = None, *, facts: Mapping) -> str:
    """Write `model` as `<to>/<name>/<version>` and return that path; `to` may be a folder or a URI such as gs://bucket/models.

    `model` has `signatures()` and `serving_variables()`. `version` defaults to the newest one plus 1. `facts` go into
    export.json as they are: task, classes, configuration, fingerprint of the data. Raises ExportRefused when the
    version exists or is not larger than the newest, when the model cannot be saved, and when the gate finds a fault.
    """
    to, remote = os.fspath(to).rstrip("/"), _is_remote(to)
    if not remote:
        to = os.path.abspath(to)
    version = _next_version(f"{to}/{name}", version)
    _models_config(to)  # one that cannot be kept is better found before the work than after
    with _staging(None if remote else f"{to}/{name}") as staged:
        signatures, variables = model.signatures(), model.serving_variables()
        _save(signatures, variables, staged)
        figures, exchanges = gate.inspect(staged, signatures, np.random.default_rng(version))
        warmup.write(staged, name, exchanges)
        _write_report(staged, name, version, facts, variables, figures)
        path = f"{to}/{name}/{version}"
        if remote:
            _upload(staged, path)
        else:
            _settle(staged, path)
    _write_configs(to)
    return path


def versions(folder: str) -> list[int]:
    """The versions of the model in `folder`, rising; [] when there is none. Names that are no numbers do not count."""
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    return sorted(int(name.rstrip("/")) for name in names if name.rstrip("/").isdecimal())


def latest(path: str) -> str:
    """The newest version under `path`: a version itself, the folder of a model, or a folder of one model.

    Raises FileNotFoundError with a sentence when there is no version, or more than one model.
    """
    path = os.fspath(path).rstrip("/")
    if tf.io.gfile.exists(f"{path}/saved_model.pb"):
        return path
    if found := versions(path):
        return f"{path}/{found[-1]}"
    models = _models(path)
    if len(models) == 1:
        return latest(f"{path}/{models[0]}")
    if models:
        raise FileNotFoundError(f"{path} holds several models; name one of: {', '.join(models)}")
    raise FileNotFoundError(f"no exported model in {path}")


def report(version: str) -> dict:
    """What export.json of an exported version says."""
    with tf.io.gfile.GFile(f"{version}/{REPORT}") as file:
        return json.loads(file.read())


def _is_remote(path):
    return "://" in os.fspath(path)


def _models(folder):
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    return sorted(name for name in (name.rstrip("/") for name in names) if versions(f"{folder}/{name}"))


def _next_version(folder, version):
    newest = max(versions(folder), default=0)
    if version is None:
        return newest + 1
    if version < 1:
        raise ExportRefused(f"version: a version is a whole number from 1, not {version}")
    if version <= newest:
        raise ExportRefused(f"version: {version} is not larger than {newest}, the newest version in {folder}")
    return version


@contextlib.contextmanager
def _staging(beside):
    """A folder to build in, gone afterwards; within `beside` the last step is a rename, and servers ignore its name."""
    if beside is None:
        with tempfile.TemporaryDirectory() as folder:
            yield folder
        return
    folder = os.path.join(beside, f".export-{uuid.uuid4().hex[:8]}")
    os.makedirs(folder)
    files.sweep(beside, ".export-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        # An empty folder of a model keeps a server waiting for ever.
        with contextlib.suppress(OSError):
            os.rmdir(beside)


def _save(signatures, variables, folder):
    module = tf.Module()
    module.variables_to_serve = list(variables)
    traced, functions = {}, {}
    for name, signature in signatures.items():
        if id(signature) not in traced:
            specs = {alias: tf.TensorSpec(spec.shape, spec.dtype, alias) for alias, spec in signature.inputs.items()}
            traced[id(signature)] = tf.function(signature.function).get_concrete_function(**specs)
        functions[name] = traced[id(signature)]
    try:
        tf.saved_model.save(module, folder, signatures=functions)
    except (AssertionError, ValueError, KeyError) as error:
        raise ExportRefused(f"saving: {str(error).splitlines()[0]}") from error


def _write_report(folder, name, version, facts, variables, figures):
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(variable.numpy().tobytes())
    paths = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    written = {
        "name": name,
        "version": version,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": _revision(),
        "facts": dict(facts),
        "parameters": sum(variable.shape.num_elements() for variable in variables),
        "weights sha256": digest.hexdigest(),
        "bytes": {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(paths)},
        "checks": figures,
        "libraries": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }
    pathlib.Path(folder, REPORT).write_text(json.dumps(written, indent=2, default=str) + "\n", encoding="utf-8")


def _revision():
    """The commit of the code, marked when it was changed since; None outside a git working tree."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        done = subprocess.run(command, cwd=os.path.dirname(__file__), capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _settle(staged, path):
    for file in pathlib.Path(staged).rglob("*"):
        if file.is_file():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
    try:
        os.rename(staged, path)
    except OSError as error:
        raise ExportRefused(f"version: {path} appeared while this export ran") from error


def _upload(staged, path):
    """Copy, saved_model.pb last: an object store has no rename, and without that file a server loads nothing."""
    names = [file.relative_to(staged).as_posix() for file in pathlib.Path(staged).rglob("*") if file.is_file()]
    for file in sorted(names, key=lambda file: (file == "saved_model.pb", file)):
        tf.io.gfile.makedirs(os.path.dirname(f"{path}/{file}"))
        tf.io.gfile.copy(os.path.join(staged, file), f"{path}/{file}")


def _write_configs(to):
    """models.config lists every model there is; the others are written once, and then are for people to change."""
    _replace(f"{to}/models.config", _models_config(to))
    for file, text in (("batching.config", config.batching()), ("monitoring.config", config.monitoring())):
        if not tf.io.gfile.exists(f"{to}/{file}"):
            _replace(f"{to}/{file}", text)


def _models_config(to):
    kept = ""
    if tf.io.gfile.exists(f"{to}/models.config"):
        with tf.io.gfile.GFile(f"{to}/models.config") as file:
            kept = file.read()
    try:
        return config.models({name: f"{to}/{name}" for name in _models(to)}, kept)
    except ValueError as error:
        raise ExportRefused(f"models.config: {error}") from error


def _replace(path, text):
    with tf.io.gfile.GFile(f"{path}.new", "w") as file:
        file.write(text)
    tf.io.gfile.rename(f"{path}.new", path, overwrite=True)
