"""An export passes the gate and serves the model's own pixels, or is refused by name and leaves nothing behind."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from google.protobuf import text_format
from toy_models import enhancer, generator

from data import files
from models import signatures
from serving.export import gate, layout, offline, warmup
from serving.export.export import ExportRefused, _save, export
from serving.export.layout import latest, versions
from serving.export.patterns import plain
from serving.export.session import Session
from serving.wire import messages
from trainer.cli import main
from trainer.runs.exporting import split_model_dir

SIZE, LATENT = 8, 4
METADATA = {"task": "generation", "classes": ["shoes", "hats"], "data": "ab12"}


def _variables(model):
    return [variable.value for variable in model.variables]


def _painter(dtype=None):
    """A generator of two classes with normalisation, dropout and a hidden layer: what Keras has trouble saving."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(2 * 2 * 16, dtype=dtype),
        keras.layers.Reshape((2, 2, 16), dtype=dtype),
        keras.layers.BatchNormalization(dtype=dtype),
        keras.layers.UpSampling2D(4, dtype=dtype),
        keras.layers.Dropout(0.5, dtype=dtype),
        keras.layers.Conv2D(3, 3, padding="same", activation="tanh", dtype=dtype),
    ]
    net = keras.Sequential([keras.Input((LATENT + 2,)), *layers])

    def generate(z, label):
        return net(tf.concat([z, tf.one_hot(label, 2)], 1), training=False)

    label = ("label", METADATA["classes"])
    painter = generator(generate, latent_size=LATENT, resolution=SIZE, conditions=[label])
    painter.net = net
    return painter


def _single(function, spec=None):
    """A model with one signature, `x` -> what `function` makes of it."""
    spec = tf.TensorSpec([None, 4], tf.float32) if spec is None else spec
    tail = [size or 1 for size in spec.shape[1:]]

    def samples(rng, n):
        return {"x": rng.uniform(0, 1, [n, *tail]).astype(spec.dtype.as_numpy_dtype)}

    signature = signatures.Signature(function, {"x": spec}, samples)
    return types.SimpleNamespace(signatures=lambda: {"serving_default": signature})


def _enhancer():
    return enhancer(lambda x: -x)


def _json(path):
    return json.loads(pathlib.Path(path, "export.json").read_text())


@pytest.fixture(scope="module")
def painter():
    return _painter()


@pytest.fixture(scope="module")
def exported(painter, tmp_path_factory):
    """(folder of the models, path of version 1)."""
    to = tmp_path_factory.mktemp("models")
    return to, export(painter, to, "painter", metadata=METADATA)


def test_the_version_serves_the_pixels_of_the_live_model(painter, exported):
    _, path = exported
    with Session(path) as session:
        assert set(session.signatures) == {"serving_default", "generate", "generate_png", "latents", "classes"}
        for name, signature in painter.signatures().items():
            request = signature.samples(np.random.default_rng(7), 2)
            live = signature.function(**{alias: tf.constant(value) for alias, value in request.items()})
            served = session.run(name, request)
            if "images" in live:
                np.testing.assert_allclose(served["images"].astype(int), live["images"].numpy().astype(int), atol=1)


def test_weights_are_stored_once_and_accounted_for(painter, exported):
    _, path = exported
    needed = sum(variable.nbytes for variable in painter.net.get_weights())
    report = _json(path)
    assert report["checks"]["bytes of weights stored"] == needed
    assert report["parameters"] == sum(variable.size for variable in painter.net.get_weights())
    assert os.path.getsize(f"{path}/variables/variables.data-00000-of-00001") < needed + 2000


def test_the_report_says_what_was_exported(exported):
    _, path = exported
    report = _json(path)
    assert (report["name"], report["version"], report["metadata"]) == ("painter", 1, METADATA)
    assert report["checks"]["largest difference from the live model"] <= 1 / 255
    assert report["libraries"]["tensorflow"] == tf.__version__
    assert len(report["weights sha256"]) == 64 and report["bytes"]["saved_model.pb"] > 0


def test_the_warm_up_file_holds_what_a_server_replays_and_what_it_should_answer(exported):
    _, path = exported
    records = list(tf.data.TFRecordDataset(f"{path}/{warmup.FILE}"))  # checks the checksums
    exchanges = list(warmup.read(path))
    assert len(exchanges) == len(records) == 10  # five signatures, one row and three
    with Session(path) as session:
        for signature, request, response in exchanges:
            assert len(next(iter(request.values()))) in (1, 3)
            answer = session.run(signature, request)
            for alias in response:
                np.testing.assert_array_equal(answer[alias], response[alias])


def test_the_configs_stand_beside_the_models(painter, exported, tmp_path):
    export(_enhancer(), tmp_path, "sharp", metadata={})
    (tmp_path / "batching.config").write_text("# mine\n")
    (tmp_path / "notes").mkdir()
    export(painter, tmp_path, "painter", metadata=METADATA)
    text = (tmp_path / "models.config").read_text()
    entries = text_format.Parse(text, messages.ModelServerConfig()).model_config_list.config
    assert [(entry.name, entry.base_path) for entry in entries] == [
        ("painter", str(tmp_path / "painter")),
        ("sharp", str(tmp_path / "sharp")),
    ]
    assert (tmp_path / "batching.config").read_text() == "# mine\n"
    assert "prometheus" in (tmp_path / "monitoring.config").read_text()


def test_a_models_config_that_cannot_be_kept_stops_the_export_before_it_starts(tmp_path):
    (tmp_path / "models.config").write_text("my notes")
    with pytest.raises(ExportRefused, match="existing models.config cannot be read"):
        export(_enhancer(), tmp_path, "sharp", metadata={})
    assert [path.name for path in tmp_path.iterdir()] == ["models.config"]


def test_versions_count_up_and_never_back(tmp_path):
    model = _enhancer()
    assert export(model, tmp_path, "sharp", metadata={}) == str(tmp_path / "sharp" / "1")
    assert export(model, tmp_path, "sharp", version=7, metadata={}).endswith("/7")
    for version in (7, 3, 0, -1):
        with pytest.raises(ExportRefused, match="version"):
            export(model, tmp_path, "sharp", version=version, metadata={})
    assert versions(tmp_path / "sharp") == {n: f"{tmp_path}/sharp/{n}" for n in (1, 7)}
    assert (
        latest(tmp_path) == latest(tmp_path / "sharp") == latest(tmp_path / "sharp" / "7") == str(tmp_path / "sharp/7")
    )


def test_latest_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="no exported model"):
        latest(tmp_path / "nothing")
    for name in ("a", "b"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "saved_model.pb").touch()
    with pytest.raises(FileNotFoundError, match="several models; name one of: a, b"):
        latest(tmp_path)


@pytest.mark.parametrize("name", ["my model", "../up", "a/b", "", ".hid", "models.config"])
def test_a_name_that_no_server_can_serve_is_refused_before_anything_is_made(name, tmp_path):
    with pytest.raises(ExportRefused, match="the name "):
        export(None, tmp_path / "models", name, metadata={})
    assert list(tmp_path.iterdir()) == []


def test_a_version_follows_all_numbers_that_a_server_would_look_at(tmp_path):
    for number in ("00000007", "9"):
        (tmp_path / "sharp" / number).mkdir(parents=True)
    with pytest.raises(ExportRefused, match="8 is not larger than 9"):
        export(None, tmp_path, "sharp", version=8, metadata={})
    assert export(_enhancer(), tmp_path, "sharp", metadata={}).endswith("/10")
    with pytest.raises(ExportRefused, match="from 1 to 9223372036854775807"):
        export(None, tmp_path, "sharp", version=2**63, metadata={})


@pytest.mark.parametrize("folder", ["models [v2]", "a[b]", "x*y", "what?", "back\\slash", "100 %41 ü"])
def test_a_folder_that_tensorflow_takes_for_a_pattern_will_do(folder, painter, tmp_path):
    path = export(painter, tmp_path / folder, "painter", metadata=METADATA)
    assert path == f"{tmp_path}/{folder}/painter/1"
    assert os.listdir(tmp_path / folder / "painter") == ["1"]
    text = (tmp_path / folder / "models.config").read_text()
    (entry,) = text_format.Parse(text, messages.ModelServerConfig()).model_config_list.config
    assert entry.base_path == f"{tmp_path}/{folder}/painter"
    assert offline.sample(tmp_path / folder, n=1, seed=0, conditions={"label": "hats"}).shape == (1, SIZE, SIZE, 3)
    with plain(path) as way, Session(way) as session:
        assert "classes" in session.signatures


def test_base_paths_follow_a_folder_that_was_moved_or_copied(tmp_path):
    export(_enhancer(), tmp_path / "old", "sharp", metadata={})
    text = (tmp_path / "old" / "models.config").read_text()
    kept = 'model_version_policy { specific { versions: 1 } } version_labels { key: "stable" value: 1 }'
    (tmp_path / "old" / "models.config").write_text(text.replace("base_path:", f"{kept} base_path:"))
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    os.rename(tmp_path / "old", tmp_path / "new")
    for place in ("new", "copy"):
        export(_enhancer(), tmp_path / place, "sharp", metadata={})
        text = (tmp_path / place / "models.config").read_text()
        (entry,) = text_format.Parse(text, messages.ModelServerConfig()).model_config_list.config
        assert entry.base_path == str(tmp_path / place / "sharp")
        assert list(entry.model_version_policy.specific.versions) == [1] and entry.version_labels["stable"] == 1


def test_an_entry_for_a_model_that_lies_elsewhere_stays_while_that_is_there(tmp_path):
    export(_enhancer(), tmp_path / "there", "far", metadata={})
    entry = 'config {{ name: "{}" base_path: "{}" version_labels {{ key: "stable" value: 1 }} }}'
    others = [("far", str(tmp_path / "there" / "far")), ("gone", str(tmp_path / "gone")), ("cloud", "s3://bucket/m")]
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "models.config").write_text(
        f"model_config_list {{ {' '.join(entry.format(*other) for other in others)} }}"
    )
    export(_enhancer(), tmp_path / "here", "sharp", metadata={})
    text = (tmp_path / "here" / "models.config").read_text()
    entries = text_format.Parse(text, messages.ModelServerConfig()).model_config_list.config
    assert [(entry.name, entry.base_path, dict(entry.version_labels)) for entry in entries] == [
        ("cloud", "s3://bucket/m", {"stable": 1}),
        ("far", str(tmp_path / "there" / "far"), {"stable": 1}),
        ("sharp", str(tmp_path / "here" / "sharp"), {}),
    ]


def _batches(folder):
    return list(
        text_format.Parse((folder / "batching.config").read_text(), messages.BatchingParameters()).allowed_batch_sizes
    )


def test_batches_suit_every_model_of_the_folder(painter, tmp_path):
    export(painter, tmp_path, "painter", metadata=METADATA)
    assert _batches(tmp_path) == [1, 2, 4, 8, 16]
    export(_enhancer(), tmp_path, "sharp", metadata={})  # whose requests may differ in size, and must not meet
    assert _batches(tmp_path) == [1]
    export(painter, tmp_path, "painter", metadata=METADATA)
    assert _batches(tmp_path) == [1]
    shutil.rmtree(tmp_path / "sharp")
    export(painter, tmp_path, "painter", metadata=METADATA)
    assert _batches(tmp_path) == [1, 2, 4, 8, 16]


def test_two_exports_at_once_are_both_listed(tmp_path, monkeypatch):
    write = files.write

    def written_before(path, content):
        monkeypatch.setattr(files, "write", write)
        if path.endswith("models.config"):
            export(_enhancer(), tmp_path, "other", metadata={})
        write(path, content)

    monkeypatch.setattr(files, "write", written_before)
    export(_enhancer(), tmp_path, "sharp", metadata={})
    text = (tmp_path / "models.config").read_text()
    names = [one.name for one in text_format.Parse(text, messages.ModelServerConfig()).model_config_list.config]
    assert names == ["other", "sharp"]


def test_the_same_version_twice_at_once_is_refused(tmp_path, monkeypatch):
    inspect = gate.inspect

    def inspected_late(*arguments):
        (tmp_path / "sharp" / "1").mkdir()
        (tmp_path / "sharp" / "1" / "saved_model.pb").touch()
        return inspect(*arguments)

    monkeypatch.setattr(gate, "inspect", inspected_late)
    with pytest.raises(ExportRefused, match="/sharp/1 appeared while this export ran"):
        export(_enhancer(), tmp_path, "sharp", metadata={})
    assert os.listdir(tmp_path / "sharp") == ["1"] and (tmp_path / "sharp" / "1" / "saved_model.pb").stat().st_size == 0


FULL = {
    "by TensorFlow": (
        "serving.export.export.tf.saved_model.save",
        tf.errors.ResourceExhaustedError(None, None, "/a/b; No space left on device"),
    ),
    "by Python": (
        "serving.export.warmup.write",
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere/.export-1/x"),
    ),
    "at the end": ("os.rename", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere/.export-1")),
}


@pytest.mark.parametrize("where", FULL)
def test_a_full_disk_is_told_of_the_version_and_leaves_nothing(where, tmp_path, monkeypatch):
    name, error = FULL[where]

    def full(*_, **__):
        raise error

    monkeypatch.setattr(name, full)
    (tmp_path / "kept").mkdir()
    with pytest.raises(OSError, match="No space left on device") as caught:
        export(_enhancer(), tmp_path / "kept" / "new" / "models", "sharp", metadata={})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, f"{tmp_path}/kept/new/models/sharp/1")
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_a_file_in_the_way_is_named_and_stays(tmp_path):
    (tmp_path / "file").write_text("mine")
    for to, name, way in [
        ("file", "sharp", "file/sharp"),
        ("file/models", "sharp", "file/models"),
        ("", "file", "file"),
    ]:
        with pytest.raises(NotADirectoryError) as caught:
            export(_enhancer(), tmp_path / to, name, metadata={})
        assert caught.value.filename == str(tmp_path / way)
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_configs_that_cannot_be_written_are_told_with_the_version_that_is_there(tmp_path):
    (tmp_path / "monitoring.config").symlink_to(tmp_path / "nowhere" / "else")
    (tmp_path / "nowhere").write_text("a file")
    (tmp_path / "batching.config").mkdir()
    with pytest.raises(IsADirectoryError, match="/sharp/1 is exported, but .* cannot be written"):
        export(_enhancer(), tmp_path, "sharp", metadata={})
    assert list(versions(str(tmp_path / "sharp"))) == [1]


def test_a_scheme_that_tensorflow_does_not_know_is_named(tmp_path):
    with pytest.raises(files.UnknownScheme, match="s3:// is not known to this TensorFlow"):
        export(_enhancer(), "s3://bucket/models", "sharp", metadata={})


def test_a_home_is_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert export(_enhancer(), "~/models", "sharp", metadata={}) == str(tmp_path / "models" / "sharp" / "1")


def test_an_export_to_an_object_store_is_the_same_export():
    path = export(_enhancer(), "ram://bucket/models", "sharp", metadata={})
    assert path == "ram://bucket/models/sharp/1"
    assert latest("ram://bucket/models") == path
    with tf.io.gfile.GFile("ram://bucket/models/models.config") as file:
        assert 'base_path: "ram://bucket/models/sharp"' in file.read()
    with Session(path) as session:
        assert "apply" in session.signatures


@pytest.mark.low_precision
def test_a_mixed_precision_model_has_a_plain_interface(tmp_path):
    model = _painter(keras.DTypePolicy("mixed_bfloat16"))
    with Session(export(model, tmp_path, "half", metadata=METADATA)) as session:
        dtypes = {
            tf.as_dtype(tensor.dtype) for s in session.signatures.values() for side in s for tensor in side.values()
        }
    assert dtypes == {tf.float32, tf.int64, tf.uint8, tf.string}


def _python():
    def function(x):
        return {"y": tf.ensure_shape(tf.numpy_function(lambda x: x, [x], tf.float32), [None, 4])}

    return _single(function)


@tf.function(jit_compile=True)
def _compiled(x):
    return 2 * x


def _counting():
    counter = tf.Variable(0.0)
    return _single(lambda x: {"y": x + 0 * counter.assign_add(1)})


def _other_when_traced(x):
    return {"y": x if tf.executing_eagerly() else x + 0.1}


def _reading_a_file(x):
    return {"y": x, "t_bytes": tf.fill([tf.shape(x)[0]], tf.io.read_file("/etc/hostname"))}


def _for_one_row_only(x):
    tf.debugging.Assert(tf.shape(x)[0] < 2, ["one at a time"])
    return {"y": x}


FAULTS = {
    "weights that move": (_counting, "operations: AssignAdd"),
    "Python in the graph": (_python, "operations: .*PyFunc"),
    "a file in the graph": (lambda: _single(_reading_a_file), "operations: ReadFile"),
    "a compiled function": (lambda: _single(lambda x: {"y": _compiled(x)}), "jit_compile"),
    "a fixed batch": (lambda: _single(lambda x: {"y": x}, tf.TensorSpec([1, 4])), "batch axis"),
    "an output without batch": (lambda: _single(lambda x: {"y": tf.reduce_sum(x)}), "batch axis"),
    "half floats": (lambda: _single(lambda x: {"y": tf.cast(x, tf.float16)}), "interface: y .* float16"),
    "rows that see each other": (lambda: _single(lambda x: {"y": x - tf.reduce_mean(x, 0, keepdims=True)}), "rows"),
    "other pixels than the model": (lambda: _single(_other_when_traced), "pixels: .* differ by 0.1"),
    "not a number": (lambda: _single(lambda x: {"y": x / 0.0 - x / 0.0}), "pixels: .* differ by nan"),
    "a signature that fails": (lambda: _single(_for_one_row_only), "running: .*one at a time"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_by_name_and_nothing_is_left(fault, tmp_path):
    make, words = FAULTS[fault]
    with pytest.raises(ExportRefused, match=words):
        export(make(), tmp_path, "bad", metadata={})
    assert list(tmp_path.iterdir()) == []


WEIGHTS = {
    "none": (lambda layer: [], "saving: "),
    "Keras' own": (lambda layer: layer.variables, "running: .*Could not find variable"),
    "both": (
        lambda layer: layer.variables + _variables(layer),
        "weights: 2560 bytes are stored where the signatures read 1280",
    ),
    "others beside them": (
        lambda layer: [*_variables(layer), tf.Variable(tf.ones([512, 4]))],
        "weights: 9472 bytes are stored where the signatures read 1280",
    ),
}


@pytest.mark.parametrize("tracked", WEIGHTS)
def test_the_gate_refuses_other_weights_than_those_read(tracked, tmp_path):
    """As SavedModels have them that Keras or a careless `tf.Module` writes."""
    layer = keras.layers.Dense(64)
    layer.build((None, 4))
    signatures = _single(lambda x: {"y": layer(x)}).signatures()
    choose, words = WEIGHTS[tracked]
    with pytest.raises(ExportRefused, match=words):
        _save({name: signature.traced for name, signature in signatures.items()}, choose(layer), str(tmp_path))
        gate.inspect(str(tmp_path), signatures, np.random.default_rng(0))


def test_an_export_that_is_killed_leaves_no_version(tmp_path):
    code = f"""
import os, signal
from serving.export import export, gate
from tests.toy_models import enhancer
gate.inspect = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
export.export(enhancer(lambda x: -x), {str(tmp_path)!r}, "sharp", metadata={{}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert versions(tmp_path / "sharp") == {} and os.listdir(tmp_path / "sharp")
    assert export(_enhancer(), tmp_path, "sharp", metadata={}).endswith("/1")


def test_a_folder_of_vertex_ai_is_a_model_with_a_name_that_can_be_served():
    assert split_model_dir("gs://bucket/job/model/") == ("gs://bucket/job", "model")
    with pytest.raises(layout.BadName, match="'my model'"):
        split_model_dir("/jobs/my model/")


@pytest.mark.parametrize("command", [["export", "runs/none", "--to", "models"], ["train"]])
def test_commands_refuse_a_name_at_once(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [*command, "--name", "my model"])
    assert done.exit_code == 2 and "the name 'my model' cannot stand in a URL" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--to", "s3://bucket/models"], "s3:// is not known to this TensorFlow"),
        (["--to", "m", "--version", "99999999999999999999"], "is not in the range"),
        (["--to", "m", "--version", "0"], "is not in the range"),
    ],
)
def test_the_command_refuses_what_no_server_could_have(options, sentence):
    done = CliRunner().invoke(main, ["export", "runs/none", *options])
    assert done.exit_code == 2 and sentence in done.output
