"""A run from the command line: what it leaves, how it goes on, and what it says when something is wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from running import TINY, checkpoint, invoke, lines, photos, train
from tensorflow.core.protobuf import saved_model_pb2

from models import catalogue
from serving.export.export import export
from trainer import cli
from trainer.runs.config import parse_settings

ROOT = Path(__file__).parent.parent
DEFAULT = TINY[2:]  # and with it the default family


@pytest.fixture(autouse=True)
def float32():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One finished run of the default family, shared by the tests that only look."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    result = train(
        *DEFAULT, "--images", 64, "--sample-images", 24, "--log-steps", 2, "--job-dir", folder, "--conditional"
    )
    assert result.exit_code == 0, result.output
    return folder


def test_a_run_leaves_what_it_promises(run):
    config = json.loads((run / "config.json").read_text())
    assert config["model"] == "r3gan" and config["settings"]["images"] == 64 and config["conditional"] is True
    assert [line["step"] for line in lines(run)] == [2, 4, 6, 8]
    first = lines(run)[0]
    for name in ("critic_adversarial", "critic_r1", "critic_r2", "critic_loss", "generator_loss", "images_per_second",
                 "data_wait", "learning_rate_generator_adam"):  # fmt: skip
        assert np.isfinite(first[name])
    assert sorted(p.name for p in (run / "samples").iterdir()) == [f"{images:09d}.png" for images in (0, 24, 48, 64)]
    sheet = np.asarray(Image.open(run / "samples" / "000000064.png"))
    assert sheet.shape[0] > 10 * 16 and sheet.std() > 0  # a line a category
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    assert (run / "export" / "r3gan" / "1" / "saved_model.pb").exists()
    assert not list(run.rglob("*.writing"))


def test_tensorboard_holds_scalars_sheets_and_hyperparameters(run):
    events = tf.data.TFRecordDataset([str(path) for path in (run / "tensorboard").glob("events*")])
    tags = set()
    for record in events:
        event = tf.compat.v1.Event.FromString(record.numpy())
        tags |= {value.tag for value in event.summary.value}
    assert {"critic/r1", "generator/loss", "run/images_per_second", "run/data_wait", "samples"} <= tags
    assert any(tag.startswith("_hparams_") for tag in tags)


@pytest.mark.parametrize("images", [32, 64])
def test_repeating_the_command_of_a_finished_run_or_asking_for_less_trains_no_more(run, images):
    before = lines(run)
    more = ["--sample-images", 24, "--log-steps", 2, "--job-dir", run, "--conditional", "--no-export"]
    result = train(*DEFAULT, "--images", images, *more)
    assert result.exit_code == 0 and "trained on 64 pictures before: nothing is left to do" in result.output
    assert lines(run) == before


def test_sample_from_the_run_and_from_its_export(run, tmp_path):
    one, two = tmp_path / "a" / "grid.png", tmp_path / "grid.png"
    for target, source in ((one, run), (two, run / "export" / "r3gan" / "1")):
        result = invoke(cli.main, "sample", source, "--n", 6, "--seed", 7, "--label", "mug", "--out", target)
        assert result.exit_code == 0, result.output
    pixels = np.asarray(Image.open(one))
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(two)))
    assert pixels.std() > 0


def test_a_model_is_told_what_the_data_know_beside_the_category(tmp_path):
    options = ["--conditional", "--condition", "colour", "--job-dir", tmp_path / "run"]
    result = train("--model", "mlp_gan", "--preset", "tiny", "--data", "studio:300", "--images", 16, *options)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "run" / "config.json").read_text())["conditions"] == ["colour"]
    report = json.loads((tmp_path / "run/export/mlp_gan/1/export.json").read_text())
    assert [condition["name"] for condition in report["metadata"]["conditions"]] == ["label", "colour"]
    assert "navy" in report["interface"]["generate"]["inputs"]["colour"]["values"]
    words = ["sample", tmp_path / "run", "--n", 2, "--label", "mug", "--out", tmp_path / "x.png"]
    for value, code in (("navy", 0), ("nave", 2)):
        result = invoke(cli.main, *words, "--condition", f"colour={value}")
        assert result.exit_code == code, result.output
    assert "unknown colour 'nave'; have: " in result.output


def test_an_unknown_label_names_the_known(run, tmp_path):
    result = invoke(cli.main, "sample", run, "--label", "mugg", "--out", tmp_path / "x.png")
    assert result.exit_code == 2 and "mug" in result.output and "handbag" in result.output
    assert not (tmp_path / "x.png").exists()


def test_sampling_a_run_that_went_on_renews_its_export(tmp_path):
    for images, versions in ((16, ["1"]), (16, ["1"]), (32, ["1", "2"])):
        result = train(*TINY, "--images", images, "--job-dir", tmp_path / "run", "--no-export")
        assert result.exit_code == 0, result.output
        result = invoke(cli.main, "sample", tmp_path / "run", "--n", 2, "--out", tmp_path / "x.png")
        assert result.exit_code == 0, result.output
        assert sorted(os.listdir(tmp_path / "run" / "export" / "mlp_gan")) == versions


def test_export_again_gets_the_next_version(run, tmp_path):
    for version in (1, 2):
        result = invoke(cli.main, "export", run, "--to", tmp_path, "--name", "shop")
        assert result.exit_code == 0, result.output
        assert (tmp_path / "shop" / str(version) / "saved_model.pb").exists()
    result = invoke(cli.main, "export", run, "--to", tmp_path, "--name", "shop", "--version", 2)
    assert result.exit_code == 2 and "2" in result.output
    report = json.loads((tmp_path / "shop" / "1" / "export.json").read_text())
    assert report["metadata"]["images_seen"] == 64 and len(report["metadata"]["classes"]) == 10


def dtypes(version):
    """The types in the graphs of an exported version, by name."""
    nodes = []
    for graph in saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes()).meta_graphs:
        nodes += [*graph.graph_def.node, *(node for each in graph.graph_def.library.function for node in each.node_def)]
    found = {number for node in nodes for value in node.attr.values() for number in (value.type, *value.list.type)}
    return {tf.as_dtype(number).name for number in found if number}


@pytest.mark.low_precision
def test_an_export_trained_in_bfloat16_computes_in_float32(tmp_path):
    result = train(*TINY, "--images", 16, "--precision", "mixed_bfloat16", "--job-dir", tmp_path / "run")
    assert result.exit_code == 0, result.output
    found = dtypes(tmp_path / "run/export/mlp_gan/1")
    assert "float32" in found and not found & {"bfloat16", "float16"}, found
    keras.config.set_dtype_policy("mixed_bfloat16")  # and what is exported as it was trained is seen to be
    family = catalogue.load("mlp_gan")
    assert "bfloat16" in dtypes(Path(export(family.Model(family.PRESETS["tiny"]), str(tmp_path), "half", metadata={})))


def test_a_changed_configuration_is_refused_with_the_difference(run):
    result = train(*DEFAULT, "--images", 64, "--job-dir", run, "--set", "gamma=3", "--conditional")
    assert result.exit_code == 2 and "gamma: 1.0 -> 3.0" in result.output
    assert json.loads((run / "config.json").read_text())["settings"]["gamma"] == 1.0


def test_longer_training_goes_on_from_the_end(tmp_path):
    for images, straight in ((16, False), (32, False), (32, True)):
        folder = tmp_path / ("straight" if straight else "grown")
        result = train(*TINY, "--images", images, "--job-dir", folder, "--no-export", "--augment", "ada")
        assert result.exit_code == 0, result.output
    grown, straight = checkpoint(tmp_path / "grown"), checkpoint(tmp_path / "straight")
    assert grown.keys() == straight.keys() and len(grown) > 30
    for name, value in straight.items():
        np.testing.assert_array_equal(grown[name], value, err_msg=name)


def test_steps_taken_together_end_where_single_ones_do(tmp_path):
    for together in (1, 4):
        options = ["--steps-per-execution", together, "--no-export", "--job-dir", tmp_path / str(together)]
        result = train(*TINY, "--images", 80, "--log-steps", 1, *options)
        assert result.exit_code == 0, result.output
    assert [line["step"] for line in lines(tmp_path / "4")] == [4, 8, 9, 10]
    single, grouped = checkpoint(tmp_path / "1"), checkpoint(tmp_path / "4")
    for name, value in single.items():
        np.testing.assert_array_equal(grouped[name], value, err_msg=name)


def start(folder, *arguments):
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [
        sys.executable,
        "-m",
        "trainer.task",
        *TINY,
        "--job-dir",
        str(folder),
        "--no-export",
        *map(str, arguments),
    ]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_kill_9_and_the_same_command_equal_a_straight_run(tmp_path):
    options = ["--images", 1600, "--checkpoint-minutes", 0.01, "--log-steps", 20]
    process = start(tmp_path / "killed", *options)
    wait_for((tmp_path / "killed" / "checkpoints" / "checkpoint").exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    saved = tf.train.latest_checkpoint(str(tmp_path / "killed" / "checkpoints"))
    assert 0 < int(saved.rsplit("-", 1)[1]) < 200
    again = start(tmp_path / "killed", *options)
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert "going on at" in said
    straight = start(tmp_path / "straight", *options)
    straight.communicate(timeout=300)
    assert straight.returncode == 0
    killed, whole = checkpoint(tmp_path / "killed"), checkpoint(tmp_path / "straight")
    assert killed.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(killed[name], value, err_msg=name)
    steps = [line["step"] for line in lines(tmp_path / "killed")]
    assert steps == sorted(set(steps)) and steps[-1] == 200


def test_sigterm_saves_and_says_how_to_go_on(tmp_path):
    process = start(tmp_path, "--images", 80000)
    wait_for(lambda: (tmp_path / "metrics.jsonl").exists(), process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "SIGTERM" in said and "the same command goes on" in said and "Traceback" not in said
    saved = tf.train.latest_checkpoint(str(tmp_path / "checkpoints"))
    assert int(saved.rsplit("-", 1)[1]) >= lines(tmp_path)[-1]["step"] > 0


def test_divergence_stops_with_the_cause_and_keeps_the_good_checkpoint(tmp_path):
    arguments = [*TINY, "--job-dir", tmp_path, "--no-export", "--log-steps", 1]
    assert train(*arguments, "--images", 16, "--model", "espcn", "--set", "learning_rate=1e30").exit_code == 1
    assert tf.train.latest_checkpoint(str(tmp_path / "checkpoints")) is None
    result = train(*arguments, "--images", 16, "--model", "espcn", "--set", "learning_rate=1e30")
    assert "squared is" in result.output and "last good checkpoint is kept" in result.output


TRANSLATION = [*TINY, "--model", "pix2pix", "--images", 16]
ENHANCEMENT = [*TINY, "--model", "espcn", "--images", 16]


@pytest.mark.parametrize(("arguments", "size"), [(TRANSLATION, 16), (ENHANCEMENT, 40)], ids=["pix2pix", "espcn"])
def test_translation_and_enhancement_run_and_apply(arguments, size, tmp_path):
    result = train(*arguments, "--job-dir", tmp_path / "run")
    assert result.exit_code == 0, result.output
    photos = tmp_path / "photos" / "sub"
    photos.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
    Image.fromarray(noise).save(photos / "a.jpg")
    Image.fromarray(noise).convert("L").save(tmp_path / "photos" / "b.png")
    (photos / "notes.jpg").write_text("not a picture")
    result = invoke(cli.main, "apply", tmp_path / "run", tmp_path / "photos", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "notes.jpg" in result.output and "2 of 3 pictures" in result.output
    for name in ("sub/a.png", "b.png"):
        assert np.asarray(Image.open(tmp_path / "out" / name)).shape[:2] == (size, size)


TWO_DEVICES = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from trainer.task import main
main()
"""


def test_two_replicas_train_through_fit(tmp_path):
    """In a process of its own: a second MirroredStrategy in one process meets the first one's collective keys."""
    command = [sys.executable, "-c", TWO_DEVICES, *map(str, ENHANCEMENT), "--job-dir", str(tmp_path / "two")]
    done = subprocess.run(
        [*command, "--strategy", "mirrored", "--no-export"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert train(*ENHANCEMENT, "--job-dir", tmp_path / "one", "--strategy", "one", "--no-export").exit_code == 0
    two, one = checkpoint(tmp_path / "two"), checkpoint(tmp_path / "one")
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=5e-3, atol=2e-4, err_msg=name)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_two_workers_equal_one_and_only_the_chief_writes(tmp_path):
    """Two processes that know of each other through TF_CONFIG, as on a cluster."""
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    command = [
        sys.executable,
        "-m",
        "trainer.task",
        *map(str, ENHANCEMENT),
        "--job-dir",
        str(tmp_path / "two"),
        "--no-export",
    ]
    workers = []
    for index in range(2):
        there = {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})}
        workers.append(subprocess.Popen(command, cwd=ROOT, env=os.environ | there, stderr=subprocess.PIPE, text=True))
    said = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert "16 of 16 pictures" in said[0] and "of 16 pictures" not in said[1]
    assert train(*ENHANCEMENT, "--job-dir", tmp_path / "one", "--no-export").exit_code == 0
    two, one = checkpoint(tmp_path / "two"), checkpoint(tmp_path / "one")
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=5e-3, atol=2e-4, err_msg=name)


def test_dry_run_prints_and_leaves_nothing(tmp_path):
    result = train(*DEFAULT, "--job-dir", tmp_path / "run", "--dry-run", "--batch_size=4", "--set", "gamma=2")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["run"]["settings"]["batch_size"] == 4 and found["run"]["settings"]["gamma"] == 2.0
    assert found["data"]["examples"] == 40 and len(found["data"]["classes"]) == 10
    assert not (tmp_path / "run").exists()


def test_resolution_picks_its_preset():
    found = json.loads(train("--resolution", 32, "--dry-run").stdout)
    assert found["run"]["preset"] == "cpu-32"


def test_vertex_variables_are_defaults_and_flags_win(tmp_path):
    there = {"AIP_MODEL_DIR": f"{tmp_path}/base/model/", "AIP_CHECKPOINT_DIR": f"{tmp_path}/base/checkpoints/",
             "AIP_TENSORBOARD_LOG_DIR": f"{tmp_path}/base/logs/", "AIP_TRAINING_DATA_URI": f"{tmp_path}/photos"}  # fmt: skip
    photos = tmp_path / "photos" / "shoe"
    photos.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((20, 24, 3), 80 * number, np.uint8)).save(photos / f"{number}.png")
    result = train(*TINY[:4], "--images", 16, **there)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "base" / "model" / "1" / "saved_model.pb").exists()
    assert (tmp_path / "base" / "checkpoints" / "checkpoint").exists()
    assert list((tmp_path / "base" / "logs").glob("events*"))
    found = json.loads(train("--dry-run", "--data", "studio:7", "--preset", "tiny", "--job-dir", "x", **there).stdout)
    assert found["data"]["examples"] == 7 and found["job_dir"] == "x"


WRONG = {
    "model": (["--model", "r3gann"], "did you mean r3gan"),
    "preset": (["--preset", "cpu-65"], "did you mean cpu-64"),
    "setting": ([*DEFAULT, "--set", "gama=1"], "did you mean gamma"),
    "value": ([*DEFAULT, "--set", "gamma=much"], "gamma takes a number, not 'much'"),
    "whole number": ([*DEFAULT, "--set", "latent_size=1.5"], "latent_size takes a whole number"),
    "no equals": ([*DEFAULT, "--set", "gamma"], "name=value"),
    "negative": ([*DEFAULT, "--set", "learning_rate=-1"], "learning_rate must be 0 or more"),
    "not a number": ([*DEFAULT, "--set", "learning_rate=nan"], "learning_rate must be 0 or more"),
    "folder": ([*DEFAULT[:2], "--data", "folder:/nowhere"], "/nowhere"),
    "source": ([*DEFAULT[:2], "--data", "ftp:/x"], "folder:PATH"),
    "resolution": (["--preset", "tiny", "--resolution", "20"], "not resolution=20"),
    "objective": (["--model", "dcgan", "--preset", "tiny", "--set", "objective=hing"], "unknown objective 'hing'"),
    "tpu": ([*TINY, "--strategy", "tpu"], "--strategy tpu found no TPU"),
    "multiworker": ([*TINY, "--strategy", "multiworker"], "TF_CONFIG"),
    "view": ([*TINY, "--model", "pix2pix", "--view", "pair"], "has no 'source'"),
    "a condition": (
        ["--condition", "size", "--preset", "tiny"],
        "--condition size: studio has no such attribute; it has: label, colour, print",
    ),
    "categories": (["--conditional", "--preset", "tiny", "--data", "FLAT"], "--conditional needs classes"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_input_gets_a_sentence(wrong, tmp_path):
    arguments, sentence = WRONG[wrong]
    if "FLAT" in arguments:
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "a.png")
        arguments = [str(tmp_path) if word == "FLAT" else word for word in arguments]
    result = train(*arguments, "--job-dir", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.output.replace("│", " ").split()) and "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_bad_pictures_are_named_and_left_out(tmp_path):
    photos(tmp_path / "shop" / "hat", 10, b"not a picture", 200, b"")
    result = train(
        *TINY,
        "--images",
        16,
        "--data",
        f"folder:{tmp_path}/shop",
        "--job-dir",
        tmp_path / "run",
        "--no-export",
    )
    assert result.exit_code == 0, result.output
    assert "2 pictures were left out" in result.output and "1.jpg" in result.output
    left_out = json.loads((tmp_path / "run" / "left_out.json").read_text())
    assert [Path(row["name"]).name for row in left_out] == ["1.jpg", "3.jpg"]


def test_nothing_usable_is_said_and_leaves_no_run(tmp_path):
    photos(tmp_path / "shop" / "hat", b"not a picture", b"")
    result = train("--preset", "tiny", "--data", f"folder:{tmp_path}/shop", "--job-dir", tmp_path / "run")
    assert result.exit_code == 2 and "nothing usable" in result.output and "0.jpg" in result.output
    assert not (tmp_path / "run").exists()


def test_job_dir_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    result = train(*TINY, "--job-dir", tmp_path / "file")
    assert result.exit_code == 2 and "is a file" in result.output


def test_prepare_writes_shards_that_train(tmp_path):
    result = invoke(cli.main, "prepare", "studio:12", "--out", tmp_path / "shards", "--size", 16, "--shards", 2)
    assert result.exit_code == 0, result.output
    found = train(*TINY, "--images", 16, "--data", f"tfrecord:{tmp_path}/shards/*.tfrecord", "--job-dir",
                  tmp_path / "run", "--no-export")  # fmt: skip
    assert found.exit_code == 0, found.output


def test_families_table_lists_every_family():
    rows = json.loads(invoke(cli.main, "families", "--json").stdout)
    by_name = {row["name"]: row for row in rows}
    assert {"mlp_gan", "dcgan", "r3gan", "pix2pix", "espcn"} <= set(by_name)
    for row in rows:
        assert row["summary"] and "arXiv" in row["paper"] and "tiny" in row["presets"] and row["parameters"] > 10_000


def test_settings_are_read_by_type():
    family = __import__("models.generation.r3gan", fromlist=["Config"])
    found = parse_settings(["channels=(8, 16)", "gamma=2", "images=1e5", "beta-1=0.5"], family.Config)
    assert found == {"channels": (8, 16), "gamma": 2.0, "images": 100_000, "beta_1": 0.5}
    assert isinstance(found["gamma"], float) and isinstance(found["images"], int)
