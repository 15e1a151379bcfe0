"""Writes a model as a numbered version for TensorFlow Serving, or refuses and leaves nothing behind.

    <to>/models.config batching.config monitoring.config
    <to>/<name>/<version>/saved_model.pb variables/ assets.extra/tf_serving_warmup_requests export.json

The SavedModel tracks only the raw tf.Variables: a SavedModel that tracks a Keras 3 model has weights that a server does
not find, or has them twice. It is written next to the versions under a name that a server ignores, passes the gate, and
is then renamed.
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
SCHEMA = 2  # of the report; 1 had `facts` for `metadata`, and no interface


def export(model, to: str, name: str, *, version: int | None = None, metadata: Mapping) -> str:
    """Write `model` as `<to>/<name>/<version>` and return that path; `to` may be a folder or a URI such as gs://bucket/models.

    `model` has `signatures()`, and `serving_tables()` if they read lookup tables. The weights are those that they read.
    `version` defaults to the newest one plus 1. `metadata` goes into export.json unchanged: task, classes,
    configuration, fingerprint of the data. Raises ExportRefused if no server could serve the name or the version, if
    the version is not larger than the newest, if the model cannot be saved, or if the gate finds a fault; OSError, with
    the path, for what cannot be written; UnknownScheme for `to`.
    """
    to = files.resolve(to).rstrip("/")
    if not files.is_remote(to):
        to = os.path.abspath(to)
    version = _next_version(f"{to}/{name}", name, version)
    path = f"{to}/{name}/{version}"
    _models_config(to)  # an unreadable one is reported before the work
    with _staging(f"{to}/{name}") as staged:
        signatures = model.signatures()
        traced = {name: signature.traced for name, signature in signatures.items()}
        variables = _read(traced.values())
        tables = model.serving_tables() if hasattr(model, "serving_tables") else []
        with _errors_of(path):
            _save(traced, variables, staged, tables=tables)
            _write_defaults(signatures, staged)
        figures, exchanges = gate.inspect(staged, signatures, np.random.default_rng(version))
        with _errors_of(path):
            warmup.write(staged, name, exchanges)
            _write_report(
                staged, name, version, metadata=metadata, signatures=signatures, variables=variables, figures=figures
            )
            if files.is_remote(path):
                _upload(staged, path)
            else:
                _settle(staged, path)
    try:
        _write_configs(to)
    except OSError as error:
        words = (
            f"{path} is exported, but the configuration files next to the models cannot be written: {error.strerror}"
        )
        raise OSError(error.errno, words, error.filename) from error
    return path


def report(version: str) -> dict:
    """Reads the export.json of an exported version. Raises OSError, and UserError if it is damaged.

    `metadata` was passed to `export`; `interface` describes the inputs and outputs of each signature (see
    `serving.wire.interface`). In an export of schema 1 it is None.
    """
    path = f"{version}/{REPORT}"
    try:
        written = json.loads(files.read(path))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(written, dict):
        raise UserError(f"{path} is damaged: it is not a JSON object")
    if "facts" in written:
        written["metadata"] = written.pop("facts")
    return {"interface": None} | written


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
    """A temporary folder to build in: inside a local `folder`, so that the last step is a rename; servers ignore its name.

    Parent folders that were made for it are removed too if they are empty: a server waits forever for a version in the
    empty folder of a model.
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
    """Gives errors of writing, from Python or TensorFlow, the name `path` in place of the temporary folder."""
    try:
        with files.os_errors(path):
            yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _read(functions):
    """The variables that traced functions read, each once, in the order in which they do."""
    found = {}
    for function in functions:
        known = {id(variable.handle): variable for variable in function.variables}  # in any order
        found |= {place: known[place] for place in map(id, function.captured_inputs) if place in known}
    return list(found.values())


def _save(traced, variables, folder, *, tables=()):
    module = tf.Module()
    module.variables_to_serve, module.tables_to_serve = list(variables), list(tables)
    try:
        tf.saved_model.save(module, folder, signatures=traced)
    except (AssertionError, ValueError, KeyError) as error:
        raise ExportRefused(f"saving: {str(error).splitlines()[0]}") from error


def _write_defaults(signatures, folder):
    """Write the defaults of inputs into the SignatureDefs; `tf.saved_model.save` has no argument for them."""
    path = pathlib.Path(folder, "saved_model.pb")
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for name, signature in signatures.items():
        for alias, value in signature.defaults.items():
            definition = saved.meta_graphs[0].signature_def[name]
            definition.defaults[alias].CopyFrom(tf.make_tensor_proto(value))
    path.write_bytes(saved.SerializeToString())


def _write_report(folder, name, version, *, metadata, signatures, variables, figures):
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(variable.numpy().tobytes())
    paths = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    written = {
        "schema": SCHEMA,
        "name": name,
        "version": version,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": _revision(),
        "metadata": dict(metadata),
        "interface": {key: signature.interface for key, signature in signatures.items() if key != "serving_default"}
        if all(signature.interface for signature in signatures.values())
        else None,
        "parameters": sum(variable.shape.num_elements() for variable in variables),
        "weights sha256": digest.hexdigest(),
        "bytes": {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(paths)},
        "checks": figures,
        "libraries": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }
    pathlib.Path(folder, REPORT).write_text(json.dumps(written, indent=2, default=str) + "\n", encoding="utf-8")


def _revision():
    """The commit of the code, marked if there are changes; None outside a git working tree."""
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
    """Copy, saved_model.pb last: an object store cannot rename, and a server loads no folder without that file."""
    names = [file.relative_to(staged).as_posix() for file in pathlib.Path(staged).rglob("*") if file.is_file()]
    for file in sorted(names, key=lambda file: (file == "saved_model.pb", file)):
        tf.io.gfile.makedirs(os.path.dirname(f"{path}/{file}"))
        tf.io.gfile.copy(os.path.join(staged, file), f"{path}/{file}")


def _write_configs(to):
    """Write models.config for all models, and the other two unless somebody has changed them."""
    while (text := _models_config(to)) != _text(f"{to}/models.config"):  # again if another export wrote in between
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
    """The text of a file; None if there is none."""
    return files.read(path).decode("utf-8", "replace") if files.exists(path) else None


def _takes_any_size(version):
    """True if requests to the version may have rows of different shapes, and so must not share batches."""
    graph = saved_model_pb2.SavedModel.FromString(files.read(f"{version}/saved_model.pb")).meta_graphs[0]
    shapes = [tensor.tensor_shape for signature in graph.signature_def.values() for tensor in signature.inputs.values()]
    return any(shape.unknown_rank or any(dim.size < 0 for dim in shape.dim[1:]) for shape in shapes)
