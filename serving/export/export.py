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
from tensorflow.core.protobuf import saved_model_pb2

from data import files
from data.errors import UserError
from serving.export import config, gate, layout, warmup
from serving.export.gate import ExportRefused
from serving.export.patterns import plain

REPORT = "export.json"


def export(model, to: str, name: str, version: int | None = None, *, facts: Mapping) -> str:
    """Write `model` as `<to>/<name>/<version>` and return that path; `to` may be a folder or a URI such as gs://bucket/models.

    `model` has `signatures()` and `serving_variables()`. `version` defaults to the newest one plus 1. `facts` go into
    export.json as they are: task, classes, configuration, fingerprint of the data. Raises ExportRefused when no server
    could serve the name or the version, the version exists or is not larger than the newest, the model cannot be saved,
    and when the gate finds a fault; OSError, with the path, for what cannot be written; UnknownScheme for `to`.
    """
    to = files.resolve(to).rstrip("/")
    if not files.is_remote(to):
        to = os.path.abspath(to)
    version = _next_version(f"{to}/{name}", name, version)
    path = f"{to}/{name}/{version}"
    _models_config(to)  # one that cannot be kept is better found before the work than after
    with _staging(f"{to}/{name}") as staged:
        signatures, variables = model.signatures(), model.serving_variables()
        with _errors_of(path):
            _save(signatures, variables, staged)
        figures, exchanges = gate.inspect(staged, signatures, np.random.default_rng(version))
        with _errors_of(path):
            warmup.write(staged, name, exchanges)
            _write_report(staged, name, version, facts, variables, figures)
            if files.is_remote(path):
                _upload(staged, path)
            else:
                _settle(staged, path)
    try:
        _write_configs(to)
    except OSError as error:
        words = f"{path} is exported, but what belongs beside the models cannot be written: {error.strerror}"
        raise OSError(error.errno, words, error.filename) from error
    return path


def report(version: str) -> dict:
    """What export.json of an exported version says. Raises OSError, and UserError for what is no JSON."""
    path = f"{version}/{REPORT}"
    try:
        return json.loads(files.read(path))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _next_version(folder, name, version):
    try:
        layout.check_name(name)
        newest = max(layout.taken(folder), default=0)
        if version is None:
            return layout.check_version(newest + 1)
        layout.check_version(version)
    except layout.BadName as error:
        raise ExportRefused(str(error)) from error
    if version <= newest:
        raise ExportRefused(f"version: {version} is not larger than {newest}, the newest version in {folder}")
    return version


@contextlib.contextmanager
def _staging(folder):
    """A folder to build in, gone afterwards; within the local `folder` the last step is a rename, and servers ignore its name.

    Folders that were made for it go too, if nothing else has come into them: an empty folder of a model keeps a server
    waiting for ever.
    """
    if files.is_remote(folder):
        with tempfile.TemporaryDirectory() as elsewhere:
            yield elsewhere
        return
    made = [folder]
    while not os.path.exists(os.path.dirname(made[-1])):
        made.append(os.path.dirname(made[-1]))
    staged = os.path.join(folder, f".export-{uuid.uuid4().hex[:8]}")
    try:
        files.make_folder(folder)
        with _errors_of(folder):
            os.mkdir(staged)
        files.sweep(folder, ".export-")
        with plain(folder) as way:
            yield os.path.join(way, os.path.basename(staged))
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        with contextlib.suppress(OSError):
            for empty in made:
                os.rmdir(empty)


@contextlib.contextmanager
def _errors_of(path):
    """What cannot be written, by Python or TensorFlow, is told of `path`: nobody knows the folder it is built in."""
    try:
        with files.os_errors(path):
            yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


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
        if os.path.lexists(path):
            raise ExportRefused(f"version: {path} appeared while this export ran") from error
        raise


def _upload(staged, path):
    """Copy, saved_model.pb last: an object store has no rename, and without that file a server loads nothing."""
    names = [file.relative_to(staged).as_posix() for file in pathlib.Path(staged).rglob("*") if file.is_file()]
    for file in sorted(names, key=lambda file: (file == "saved_model.pb", file)):
        tf.io.gfile.makedirs(os.path.dirname(f"{path}/{file}"))
        tf.io.gfile.copy(os.path.join(staged, file), f"{path}/{file}")


def _write_configs(to):
    """models.config lists every model there is; the others stand as people have changed them."""
    while (text := _models_config(to)) != _text(f"{to}/models.config"):  # again, if another export came between
        files.write(f"{to}/models.config", text.encode())
    ours = {any_size: config.batching(*([(1,)] if any_size else [])) for any_size in (False, True)}
    if _text(f"{to}/batching.config") in (None, *ours.values()):
        any_size = any(_takes_any_size(layout.latest(f"{to}/{name}")) for name in layout.models(to))
        files.write(f"{to}/batching.config", ours[any_size].encode())
    if _text(f"{to}/monitoring.config") is None:
        files.write(f"{to}/monitoring.config", config.monitoring().encode())


def _models_config(to):
    kept = _text(f"{to}/models.config") or ""
    try:
        here = {name: f"{to}/{name}" for name in layout.models(to)}
        return config.models(here, kept, is_there=lambda path: files.is_remote(path) or bool(layout.versions(path)))
    except UserError as error:
        raise ExportRefused(f"models.config: {error}") from error


def _text(path):
    """What a file holds, None when there is none."""
    return files.read(path).decode("utf-8", "replace") if files.exists(path) else None


def _takes_any_size(version):
    """Whether rows of a request to the version may differ in shape, so that requests must not share batches."""
    graph = saved_model_pb2.SavedModel.FromString(files.read(f"{version}/saved_model.pb")).meta_graphs[0]
    shapes = [tensor.tensor_shape for signature in graph.signature_def.values() for tensor in signature.inputs.values()]
    return any(shape.unknown_rank or any(dim.size < 0 for dim in shape.dim[1:]) for shape in shapes)
