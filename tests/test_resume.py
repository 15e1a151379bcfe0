"""A run that goes on: with the data it was trained on, from what was saved, alone in its folder, whatever the disk does."""

import errno
import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from running import TINY, checkpoint, invoke, lines, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data import files
from trainer import cli
from trainer.runs import cluster, record
from trainer.runs.config import RunConfig
from trainer.runs.lock import Lock
from trainer.training.memory import step_bytes


def noise(folder, count, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng([seed, number]).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}-{number}.png")


def resume(root, images, *more, data=None):
    source = ["--data", data] if data else TINY[4:]
    return train(*TINY[:4], *source, "--images", images, "--job-dir", root, "--no-export", *more)


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


# What it was trained on


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with data/bags and data/shoes, a list of them, and a run of each: told the categories, of the list, and of flat/."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        for seed, name in enumerate(("bags", "shoes")):
            noise(folder / "data" / name, 6, seed)
        noise(folder / "flat", 6)
        (folder / "list.txt").write_text("".join(f"flat/0-{number}.png\n" for number in range(6)))
        for root, data, *more in (
            ("told", "folder:data", "--conditional"),
            ("flatly", "folder:flat"),
            ("listed", "list:list.txt"),
        ):
            result = resume(root, 16, *more, data=data)
            assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def shop(trained, tmp_path, monkeypatch):
    """A copy of `trained` to change, in which the paths of its runs mean what they meant."""
    shutil.copytree(trained, tmp_path / "shop")
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


CLASSES = {
    "renamed": (lambda data: (data / "bags").rename(data / "totes"), "the data have shoes, totes"),
    "added": (lambda data: noise(data / "aprons", 2, 7), "the data have aprons, bags, shoes"),
    "emptied": (lambda data: [file.unlink() for file in (data / "bags").iterdir()], "the data have shoes"),
}


@pytest.mark.parametrize("change", CLASSES)
def test_other_classes_are_refused_with_the_old_and_the_new_names(change, shop):
    alter, sentence = CLASSES[change]
    alter(shop / "data")
    before = snapshot(shop / "told")
    for more in ([], ["--accept-new-data"], ["--dry-run"]):
        result = resume("told", 32, "--conditional", *more, data="folder:data")
        assert (
            result.exit_code == 2 and f"the run was trained with the classes bags, shoes; {sentence}:" in result.output
        )
    assert snapshot(shop / "told") == before


def test_a_run_is_exported_by_what_it_was_trained_on_when_the_data_have_changed_or_gone(shop):
    CLASSES["renamed"][0](shop / "data")
    fingerprint = record.read("told/record.json").data.fingerprint
    for version in ("1", "2"):
        result = invoke(cli.main, "export", "told", "--to", "models")
        assert result.exit_code == 0, result.output
        facts = json.loads(Path("models", "mlp_gan", version, "export.json").read_text())["metadata"]
        assert facts["classes"] == ["bags", "shoes"] and facts["data"]["fingerprint"] == fingerprint
        shutil.rmtree(shop / "data", ignore_errors=True)
    result = invoke(cli.main, "sample", "told", "--label", "bags", "--n", 2, "--out", "x.png")
    assert result.exit_code == 0, result.output


def remove(count, kind):
    if kind == "flat":
        for number in range(count):
            Path(f"flat/0-{number}.png").unlink()
    else:
        Path("list.txt").write_text("".join(Path("list.txt").read_text().splitlines(True)[count:]))


def exchange():
    Path("flat/0-0.png").rename("flat/1-0.png")


def sort():
    Path("flat").rename("hats")
    Path("flat").mkdir()
    Path("hats").rename("flat/hats")


PICTURES = {
    "removed": (lambda: remove(2, "flat"), "flatly", "folder:flat", "6 pictures then, 4 pictures now"),
    "added": (lambda: noise(Path("flat"), 3, 1), "flatly", "folder:flat", "6 pictures then, 9 pictures now"),
    "exchanged": (exchange, "flatly", "folder:flat", "6 pictures then as now, but not the same ones"),
    "list edited": (lambda: remove(5, "list"), "listed", "list:list.txt", "6 pictures then, 1 picture now"),
    "sorted": (
        lambda: (Path("flat").rename("hats"), Path("flat").mkdir(), Path("hats").rename("flat/hats")),
        "flatly",
        "folder:flat",
        "classes (none) then, hats now",
    ),
}


@pytest.mark.parametrize("change", PICTURES)
def test_other_pictures_are_told_and_taken_only_when_that_is_wanted(change, shop):
    alter, root, data, sentence = PICTURES[change]
    old = record.read(f"{root}/record.json").data
    alter()
    before = snapshot(root)
    for more in ([], ["--dry-run"]):
        result = resume(root, 32, *more, data=data)
        assert result.exit_code == 2 and sentence in result.output and "--accept-new-data" in result.output
    assert snapshot(root) == before
    result = resume(root, 32, "--accept-new-data", data=data)
    assert result.exit_code == 0 and sentence in result.output, result.output
    written = json.loads(Path(root, "record.json").read_text())
    (noted,) = written["changes"]
    assert noted["step"] == 2 and noted["from"]["fingerprint"] == old.fingerprint
    assert noted["to"] == written["data"] and noted["to"]["fingerprint"] != old.fingerprint
    result = resume(root, 48, data=data)
    assert result.exit_code == 0 and "going on at 32" in result.output
    assert len(json.loads(Path(root, "record.json").read_text())["changes"]) == 1


def test_a_relative_path_from_elsewhere_is_not_silently_another_folder(shop, monkeypatch):
    noise(shop / "elsewhere" / "flat", 6, 3)
    monkeypatch.chdir(shop / "elsewhere")
    result = resume(shop / "flatly", 32, data="folder:flat")
    assert result.exit_code == 2 and "was trained on other data" in result.output


def test_the_same_pictures_are_the_same_data_wherever_they_lie(shop):
    shutil.copytree("flat", "moved/flat")
    Path("link").symlink_to("flat")
    places = (f"folder:{shop}/flat", "folder:link", "folder:moved/flat")
    for images, place in enumerate(places, 2):
        result = resume("flatly", 16 * images, data=place)
        assert result.exit_code == 0 and "holds the same pictures" in result.output, result.output
        assert f"going on at {16 * (images - 1)}" in result.output
        known = record.read("flatly/record.json")
        assert known.data.spec == json.loads(Path("flatly/config.json").read_text())["data"] and known.saved
        assert not known.changes
    noise(shop / "others", 6, 3)
    result = resume("flatly", 80, data="folder:others")
    assert result.exit_code == 2 and "6 pictures then as now, but not the same ones" in result.output


def test_names_that_are_no_utf_8_are_kept_as_they_are(shop):
    os.rename("data/bags", b"data/b\xe4gs")
    os.rename("data", b"d\xe4ta")
    data = "folder:" + os.fsdecode(b"d\xe4ta")
    result = resume("told", 32, "--conditional", data=data)
    assert result.exit_code == 2 and "'b\\udce4gs' has a name that is not UTF-8" in result.output
    for images in (16, 32):
        result = resume("odd", images, data=data)
        assert result.exit_code == 0, result.output
    assert "going on at 16" in result.output
    assert record.read("odd/record.json").data.classes == (os.fsdecode(b"b\xe4gs"), "shoes")
    for command in (["prepare", data, "--out", "shards", "--size", 16], ["export", "odd", "--to", "models"]):
        result = invoke(cli.main, *command)
        assert result.exit_code == 0, result.output


def test_a_run_older_than_records_goes_on_and_has_one_then(shop):
    Path("flatly/record.json").unlink()
    values = json.loads(Path("flatly/config.json").read_text())
    del values["mirror"]
    Path("flatly/config.json").write_text(json.dumps(values))
    result = invoke(cli.main, "export", "flatly", "--to", "models")
    assert result.exit_code == 0, result.output
    result = resume("flatly", 32, data="folder:flat")
    assert result.exit_code == 0 and "record.json is missing" in result.output and "going on at 16" in result.output
    assert record.read("flatly/record.json").data.count == 6 and record.read("flatly/record.json").saved


# What was saved


def test_the_same_images_from_a_damaged_checkpoint_as_from_a_whole_one(shop):
    for images in (32, 48):
        assert resume("flatly", images, data="folder:flat").exit_code == 0
    whole = checkpoint("flatly")
    os.truncate("flatly/checkpoints/step-6.data-00000-of-00001", 1000)
    for command in (["sample", "flatly", "--n", 2, "--out", "x.png"], ["export", "flatly", "--to", "models"]):
        result = invoke(cli.main, *command)
        assert result.exit_code == 0 and "step-6 cannot be read" in result.output, result.output
    assert json.loads(Path("models/mlp_gan/1/export.json").read_text())["metadata"]["step"] == 4
    assert invoke(cli.main, "sample", "flatly", "--n", 2, "--out", "x.png").exit_code == 0
    assert os.listdir("flatly/export/mlp_gan") == ["1"]  # and no version a sample
    result = resume("flatly", 48, data="folder:flat")
    assert result.exit_code == 0 and "step-6 cannot be read" in result.output and "going on at 32" in result.output
    assert [line["step"] for line in lines("flatly")] == [1, 2, 3, 4, 5, 6]
    again = checkpoint("flatly")
    for name, value in whole.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


def lose(*patterns):
    for pattern in patterns:
        for path in Path("flatly").glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def cut(pattern, size):
    for path in Path("flatly").glob(pattern):
        os.truncate(path, size)


LOST = {
    "checkpoints": (lambda: lose("checkpoints"), "holds no checkpoint any more"),
    "steps": (lambda: lose("checkpoints/step-*"), "holds no checkpoint any more"),
    "steps and metrics": (lambda: lose("checkpoints/step-*", "metrics.jsonl"), "holds no checkpoint any more"),
    "steps of an old run": (lambda: lose("checkpoints/*", "record.json"), "holds no checkpoint any more"),
    "all indices": (lambda: lose("checkpoints/*.index"), "its .index file is missing"),
    "all data": (lambda: cut("checkpoints/*.data*", 50), "no checkpoint in flatly/checkpoints can be read"),
    "config empty": (lambda: cut("config.json", 0), "flatly/config.json is damaged (it is empty)"),
    "config cut": (lambda: cut("config.json", 40), "flatly/config.json is damaged"),
    "record empty": (lambda: cut("record.json", 0), "flatly/record.json is damaged"),
}


@pytest.mark.parametrize("lost", LOST)
def test_a_training_is_never_begun_over_what_is_left_of_another(lost, shop):
    lose_it, sentence = LOST[lost]
    lose_it()
    before = snapshot("flatly")
    result = resume("flatly", 32, data="folder:flat")
    assert result.exit_code == 2 and sentence in result.output, result.output
    assert snapshot("flatly") == before


def half_a_line(path):
    with open(path, "a") as file:
        file.write('{"step": 3, "ima')


SPARE = {
    "pointer": lambda: lose("checkpoints/checkpoint"),
    "samples": lambda: lose("samples"),
    "tensorboard": lambda: lose("tensorboard"),
    "metrics": lambda: lose("metrics.jsonl"),
    "half a line": lambda: half_a_line("flatly/metrics.jsonl"),
    "config": lambda: lose("config.json"),
    "half written": lambda: Path("flatly/checkpoints/step-9_temp").mkdir(),
    "lock of a killed process": lambda: Path("flatly/.lock").write_text('{"process": 1, "host": "x", "since": "y"}'),
}


@pytest.mark.parametrize("spare", SPARE)
def test_what_can_be_spared_is_spared(spare, shop):
    SPARE[spare]()
    result = resume("flatly", 32, data="folder:flat")
    assert result.exit_code == 0 and "going on at 16 of 32" in result.output, result.output
    assert [line["step"] for line in lines("flatly")][-2:] == [3, 4]
    assert not list(Path("flatly").rglob("*_temp")) and not Path("flatly/.lock").exists()


def test_a_run_killed_before_its_first_checkpoint_begins_anew_and_says_so(shop):
    lose("checkpoints/*")
    known = json.loads(Path("flatly/record.json").read_text())
    Path("flatly/record.json").write_text(json.dumps(known | {"saved": False}))
    result = resume("flatly", 16, data="folder:flat")
    assert result.exit_code == 0 and "nothing was saved before this run stopped at 16 pictures" in result.output
    assert [line["step"] for line in lines("flatly")] == [1, 2]


@pytest.mark.parametrize("damage", [lambda path: os.truncate(path, 30), os.unlink], ids=["cut", "missing"])
def test_a_damaged_report_of_an_export_costs_a_version_only(damage, shop):
    assert invoke(cli.main, "sample", "flatly", "--n", 2, "--out", "x.png").exit_code == 0
    damage("flatly/export/mlp_gan/1/export.json")
    result = invoke(cli.main, "sample", "flatly", "--n", 2, "--out", "x.png")
    assert result.exit_code == 0 and "export.json of flatly/export/mlp_gan/1 is missing or damaged" in result.output
    assert sorted(os.listdir("flatly/export/mlp_gan")) == ["1", "2"]


# The disk


def disk_full(path, *_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def tensorflow_full(self, prefix):
    raise tf.errors.ResourceExhaustedError(None, None, f"{prefix}; No space left on device")


DOORS = {
    "metrics": (files, "append", disk_full),
    "sheets": (files, "write", lambda path, content: disk_full(path) if path.endswith(".png") else real_write(path, content)),
    "checkpoints": (tf.train.Checkpoint, "write", tensorflow_full),
    "tensorboard": (tf.summary, "scalar", lambda tag, value: tensorflow_full(None, tag)),
}  # fmt: skip
real_write = files.write


@pytest.mark.parametrize("door", DOORS)
def test_a_full_disk_is_named_and_the_same_command_goes_on(door, shop):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*DOORS[door])
        result = resume("flatly", 48, data="folder:flat")
    assert result.exit_code == 1, result.output
    sentence = "the last good checkpoint is step 2; the same command goes on"
    assert "no space left in flatly" in result.output and sentence in " ".join(result.output.split())
    result = resume("flatly", 48, data="folder:flat")
    assert result.exit_code == 0 and "going on at 16 of 48" in result.output
    assert [line["step"] for line in lines("flatly")] == [1, 2, 3, 4, 5, 6]


def test_a_place_where_nothing_can_be_written_is_refused_and_not_called_a_stop(shop, monkeypatch):
    def read_only(path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(files, "make_folder", read_only)
    result = resume("new", 16, data="folder:flat")
    assert result.exit_code == 2 and result.output.endswith(f"new: {os.strerror(errno.EROFS)}\n"), result.output


def test_memory_that_runs_out_is_named(shop, monkeypatch):
    def no_memory(*_, **__):
        raise tf.errors.ResourceExhaustedError(
            None, None, "{{function_node x}} OOM when allocating tensor with shape[9] on /job [Op:Mul]\nmore"
        )

    monkeypatch.setattr("keras.Model.fit", no_memory)
    result = resume("flatly", 48, data="folder:flat")
    assert result.exit_code == 1 and "out of memory; use a smaller --batch-size" in result.output
    assert "smaller network (OOM when allocating tensor with shape[9])" in result.output


# Alone in its folder


def test_a_second_training_in_the_folder_is_refused_with_who_works_there(shop):
    before = snapshot("flatly")
    with Lock("flatly") as lock:
        lock.take()
        lock.take()
        result = resume("flatly", 32, data="folder:flat")
        assert result.exit_code == 2 and f"flatly is in use by process {os.getpid()} on " in result.output
    assert snapshot("flatly") == before
    assert resume("flatly", 32, data="folder:flat").exit_code == 0


# TensorBoard


def points(folder):
    """{tag: steps} of all records in TensorBoard's files."""
    found = {}
    for path in sorted(Path(folder).glob("tensorboard/events*")):
        for raw in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(raw.numpy())
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    return found


def test_tensorboard_shows_each_step_once_after_a_crash(tmp_path):
    options = ["--log-steps", 1, "--sample-images", 8]
    assert resume(tmp_path / "run", 24, *options).exit_code == 0
    shutil.copytree(tmp_path / "run" / "checkpoints", tmp_path / "kept")
    assert resume(tmp_path / "run", 64, *options).exit_code == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "kept").rename(tmp_path / "run" / "checkpoints")  # as if it had been killed behind step 3
    newest = max((tmp_path / "run" / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime)
    newest.write_bytes(newest.read_bytes()[:-5])
    result = resume(tmp_path / "run", 64, *options)
    assert result.exit_code == 0 and "going on at 24" in result.output
    images = [line["images"] for line in lines(tmp_path / "run")]
    assert images == [8, 16, 24, 32, 40, 48, 56, 64]
    found = points(tmp_path / "run")
    assert sorted(found["critic/loss"]) == images and sorted(found["samples"]) == [0, *images]
    shown = EventAccumulator(str(tmp_path / "run" / "tensorboard"), {"tensors": 0}).Reload()
    assert [event.step for event in shown.Tensors("critic/loss")] == images


# Other workers


TWO = {"worker": ["localhost:1", "localhost:2"]}
CLUSTERS = {
    "not JSON": ("{cluster", "TF_CONFIG is not JSON"),
    "a list": ("[]", "TF_CONFIG is not a cluster"),
    "a word": ('"x"', "TF_CONFIG is not a cluster"),
    "no lists": ('{"cluster": {"worker": "localhost:1"}}', "TF_CONFIG is not a cluster"),
    "no ports": ('{"cluster": {"worker": ["a", "b"]}}', "TF_CONFIG is not a cluster"),
    "no task": (json.dumps({"cluster": TWO}), "does not say which worker this is"),
    "no index": (json.dumps({"cluster": TWO, "task": {"type": "worker"}}), "does not say which worker this is"),
    "another task": (
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": 2}}),
        "this is worker 2, and its cluster has worker 0, worker 1",
    ),
    "another job": (json.dumps({"cluster": TWO, "task": {"type": "ps", "index": 0}}), "this is ps 0, and its cluster"),
}


@pytest.mark.parametrize("wrong", CLUSTERS)
def test_a_wrong_tf_config_is_named(wrong, tmp_path):
    text, sentence = CLUSTERS[wrong]
    result = train(*TINY, "--job-dir", tmp_path / "run", TF_CONFIG=text)
    assert result.exit_code == 2 and sentence in result.output, result.output


def test_a_worker_alone_says_for_whom_it_waits_and_ends(tmp_path, unused_port):
    there = json.dumps(
        {
            "cluster": {"worker": [f"localhost:{unused_port()}" for _ in range(2)]},
            "task": {"type": "worker", "index": 0},
        }
    )
    result = train(*TINY, "--job-dir", tmp_path / "run", TF_CONFIG=there, PACKSHOT_WAIT_MINUTES="0")
    assert result.exit_code == 1 and "worker 0 waits for worker 1 at localhost:" in result.output
    assert "did not come within 0 minutes" in result.output and not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"environment": "cloud"}', '{"cluster": {"chief": ["a:1"]}}'])
def test_one_worker_needs_no_other(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster.workers() < 2
    cluster.wait_for_others(print)


# What is refused before anything is made


@pytest.fixture
def unused_port():
    import socket

    def find():
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            return probe.getsockname()[1]

    return find


REFUSED = {
    "resolution": (["--resolution", 20], "not resolution=20"),
    "dcgan's resolution": (["--model", "dcgan", "--resolution", 100], "resolution"),
    "categories of espcn": (["--model", "espcn", "--conditional"], "--conditional is for conditional models"),
    "categories of pix2pix": (
        ["--model", "pix2pix", "--conditional"],
        "--conditional is for conditional models",
    ),
    "no critic": (["--model", "espcn", "--augment", "ada"], "changes what a critic sees, and espcn has none"),
    "no critic to freeze": (
        ["--model", "espcn", "--freeze-critic", 1],
        "is for families with a critic, and espcn has none",
    ),
    "nothing learnt": (["--freeze-critic", 1], "needs --init RUN"),
    "no view": (["--view", "edges"], "--view edges is for translation"),
    "a pair": (["--model", "pix2pix", "--view", "pair"], "has no 'source'"),
    "memory": (["--batch-size", 10**7, "--images", 10**7], "a batch of 10,000,000 takes"),
    "no evaluations": (["--eval-every", 0, "--best", "kid"], "--eval-every is 0"),
    "export": (["--export-to", "s3://bucket/models"], "s3:// is not known"),
    "job folder": (["--job-dir", "s3://bucket/run"], "s3:// is not known"),
}


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry"])
@pytest.mark.parametrize("wrong", REFUSED)
def test_a_dry_run_refuses_what_the_run_refuses(wrong, dry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, sentence = REFUSED[wrong]
    result = train(*TINY[2:], *arguments, *dry)
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.output.replace("│", " ").split()) and not list(tmp_path.iterdir())


def test_a_dry_run_of_data_without_a_usable_picture(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jpg").write_bytes(b"not a picture")
    result = train("--preset", "tiny", "--data", tmp_path / "data", "--job-dir", tmp_path / "run", "--dry-run")
    assert result.exit_code == 2 and "nothing usable was found" in result.output and "a.jpg" in result.output


def test_the_bytes_of_a_step_grow_with_its_rows():
    from models.generation import mlp_gan

    model = mlp_gan.Model(mlp_gan.PRESETS["tiny"])
    assert step_bytes(model, 30) == pytest.approx(3 * step_bytes(model, 10), abs=3)
    assert step_bytes(model, 1) > 4 * 2 * 16 * 16 * 3  # the pictures of both networks at least
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = mlp_gan.Model(mlp_gan.PRESETS["tiny"])
    assert 2 * step_bytes(half, 10) == pytest.approx(step_bytes(model, 10), abs=3)


PLACES = {
    "the data": ("folder:photos", "photos", "is the folder of the data"),
    "the data by another name": ("folder:photos", "photos/../photos", "is the folder of the data"),
    "a link to the data": ("folder:photos", "link", "is the folder of the data"),
    "a class": ("folder:photos", "photos/bags", "holds pictures of the data"),
    "folder of its samples": ("folder:run/samples", "run", "where this run writes"),
    "a file": ("folder:photos", "file", "is a file"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_run_folder_holds_no_data(place, tmp_path, monkeypatch):
    data, root, sentence = PLACES[place]
    monkeypatch.chdir(tmp_path)
    noise(tmp_path / "photos" / "bags", 2)
    noise(tmp_path / "photos" / "shoes", 2)
    noise(tmp_path / "run" / "samples", 2)
    os.symlink("photos", tmp_path / "link")
    (tmp_path / "file").write_text("x")
    before = snapshot(tmp_path)
    for dry in ([], ["--dry-run"]):
        result = resume(root, 16, *dry, data=data)
        assert result.exit_code == 2 and sentence in result.output, result.output
    assert snapshot(tmp_path) == before


def test_a_new_run_folder_inside_the_data_is_none_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise(tmp_path, 4)
    for images in (16, 32):
        result = train(*TINY[:4], "--data", "folder:.", "--images", images, "--no-export")
        assert result.exit_code == 0 and "4 pictures to train on" in result.output, result.output


# Numbers and words as Vertex AI writes them


def described(*arguments, **environment):
    result = train(*TINY[2:], "--job-dir", "x", "--dry-run", *arguments, **environment)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["run"]


def test_hyperparameters_as_vertex_ai_passes_them():
    run = described("--batch_size=8.0", "--images=1e3", "--seed=3.0", "--conditional=True", "--mirror=false",
                    "--learning_rate=0.001", "--latent-size=4e1", "--gamma", "2", "--eval_every=0.0")  # fmt: skip
    settings = run["settings"]
    assert (settings["batch_size"], settings["images"], run["seed"], settings["latent_size"]) == (8, 1000, 3, 40)
    assert run["conditional"] is True and run["mirror"] is False
    assert settings["learning_rate"] == 0.001 and settings["gamma"] == 2.0
    run = described("--conditional=False", "--no-export=true", "--mirror=1", "--batch-size", "1_6")
    assert run["conditional"] is False and run["mirror"] is True and run["settings"]["batch_size"] == 16


WORDS = {
    "no whole number": (["--batch_size=8.5"], "takes a whole number, not '8.5'"),
    "no number": (["--images=many"], "takes a whole number, not 'many'"),
    "infinite": (["--set", "learning_rate=inf"], "learning_rate takes a number"),
    "nan": (["--checkpoint-minutes", "nan"], "not a number"),
    "out of range": (["--batch_size=0.0"], "0"),
    "no flag": (["--conditional=perhaps"], "--conditional takes true or false, not 'perhaps'"),
    "no setting": (["--lerning_rate=1"], "--learning-rate"),
    "no option": (["--job_dri=x"], "--job-dir"),
    "no value": (["--learning-rate"], "--learning-rate"),
}


@pytest.mark.parametrize("wrong", WORDS)
def test_wrong_words_get_a_sentence(wrong):
    arguments, sentence = WORDS[wrong]
    result = train(*TINY, "--dry-run", *arguments)
    assert result.exit_code == 2 and sentence in result.output, result.output


def test_home_is_understood_in_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = train(*TINY, "--images", 16, "--job-dir=~/run", "--export-to=~/models")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "models" / "mlp_gan" / "1").is_dir() and (tmp_path / "run" / "config.json").exists()
    assert sorted(os.listdir(tmp_path)) == ["models", "run"]


# Mirrored pictures


@pytest.mark.parametrize("model", ["r3gan", "pix2pix", "espcn"])
@pytest.mark.parametrize("mirror", [True, False])
def test_pictures_are_mirrored_unless_the_user_says_no(model, mirror, tmp_path, monkeypatch):
    from data import pipeline

    asked = []

    def training(*arguments, augment, **options):
        asked.append(augment)
        raise SystemExit

    monkeypatch.setattr(pipeline, "training", training)
    train(*TINY, "--model", model, "--job-dir", tmp_path / "run", "--mirror" if mirror else "--no-mirror")
    assert bool({"flip", "dihedral"} & set(asked[0])) is mirror
    config = RunConfig.from_json((tmp_path / "run" / "config.json").read_text(), "config.json")
    assert config.mirror is mirror
    result = train(*TINY, "--model", model, "--job-dir", tmp_path / "run", "--no-mirror" if mirror else "--mirror")
    assert result.exit_code == 2 and f"mirror: {mirror} -> {not mirror}" in result.output
