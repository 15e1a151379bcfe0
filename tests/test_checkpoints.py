"""Checkpoints: found by their names, the newest good one taken, whatever became of the others."""

import errno
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import tiny, told

from data import files
from trainer.runs.checkpoints import Checkpoints, best_facts, newest_step, steps

FACTS = {"step": 4, "metric": "kid", "value": 0.5, "error": 0.1, "images": 32}


def state(value=0.0, size=2000):
    return {"weights/0000": tf.Variable(tf.fill([size], value)), "step": tf.Variable(tf.cast(value, tf.int64))}


def saved(folder, *at):
    """A folder with a checkpoint for each step, whose values are the step."""
    for step in at:
        Checkpoints(str(folder), state(float(step))).save(step)
    return str(folder)


def restored(folder):
    """(step, value of the weights, sentences)"""
    told, variables = [], state(-1.0)
    step = Checkpoints(folder, variables).restore(told.append)
    assert len(set(variables["weights/0000"].numpy())) == 1
    return step, float(variables["weights/0000"][0]), told


DATA, INDEX = "step-4.data-00000-of-00001", "step-4.index"
DAMAGE = {
    "data cut short": lambda folder: os.truncate(folder / DATA, 1000),
    "data empty": lambda folder: os.truncate(folder / DATA, 0),
    "data missing": lambda folder: os.remove(folder / DATA),
    "data changed": lambda folder: (folder / DATA).write_bytes(bytes(os.path.getsize(folder / DATA))),
    "index empty": lambda folder: os.truncate(folder / INDEX, 0),
    "index cut short": lambda folder: os.truncate(folder / INDEX, 60),
    "index missing": lambda folder: os.remove(folder / INDEX),
    "index changed": lambda folder: (folder / INDEX).write_bytes(bytes(os.path.getsize(folder / INDEX))),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_newest_that_can_be_read_is_taken_and_the_others_named(damage, tmp_path):
    folder = saved(tmp_path, 2, 4)
    DAMAGE[damage](tmp_path)
    step, value, told = restored(folder)
    assert (step, value) == (2, 2.0) and newest_step(folder) == 2
    assert len(told) == 1 and "step-4 cannot be read" in told[0] and "step-2" in told[0]
    for name in ("step-2.data-00000-of-00001", "step-2.index"):
        os.truncate(tmp_path / name, 10)
    with pytest.raises(ValueError, match="no checkpoint in .* can be read.*step-4.*step-2"):
        restored(folder)


def test_the_pointer_of_tensorflow_decides_nothing_and_is_kept_for_its_tools(tmp_path):
    folder = saved(tmp_path, 2, 4)
    assert tf.train.latest_checkpoint(folder) == f"{folder}/step-4"
    for content in ('model_checkpoint_path: "step-2"\n', "", None):
        if content is None:
            (tmp_path / "checkpoint").unlink()
        else:
            (tmp_path / "checkpoint").write_text(content)
        assert restored(folder) == (4, 4.0, [])


def test_what_tensorflows_manager_saved_is_restored(tmp_path):
    values = state(6.0)
    values = tf.train.Checkpoint(weights={"0000": values["weights/0000"]}, step=values["step"])
    manager = tf.train.CheckpointManager(values, str(tmp_path), 3, checkpoint_name="step")
    manager.save(checkpoint_number=6)
    assert restored(str(tmp_path)) == (6, 6.0, [])


@pytest.mark.parametrize("name", ["exp [v2]", "a[b", "[ab]", "what?", "all *", "back\\slash", "{a,b}", "ü %41"])
def test_a_folder_of_any_name_is_no_pattern(name, tmp_path):
    saved(tmp_path / "a", 9)  # which [ab] would match
    folder = saved(tmp_path / name / "checkpoints", 2, 4)
    assert restored(folder) == (4, 4.0, [])
    kept = Checkpoints(folder, state(7.0))
    kept.keep_best(FACTS)
    variables = state()
    assert Checkpoints(folder, variables).restore_best() == FACTS and variables["weights/0000"][0] == 7.0


def test_three_are_kept_and_half_written_ones_swept(tmp_path):
    folder = saved(tmp_path, 2, 4, 6)
    (tmp_path / "step-8_temp").mkdir()
    (tmp_path / "step-8_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"x")
    (tmp_path / "step-8.index.tempstate123").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("of the user")
    assert restored(folder)[0] == 6
    saved(tmp_path, 8, 10)
    assert steps(folder) == [6, 8, 10] and newest_step(folder) == 10
    assert {name for name in os.listdir(folder) if not name.startswith("step-")} == {"checkpoint", "notes.txt"}
    assert not list(tmp_path.glob("*temp*"))


def test_a_damaged_one_takes_no_place_among_the_three(tmp_path):
    folder = saved(tmp_path, 2, 4, 6)
    os.truncate(tmp_path / "step-6.index", 0)
    variables = state()
    checkpoints = Checkpoints(folder, variables)
    assert checkpoints.restore() == 4
    checkpoints.save(5)
    assert steps(folder) == [2, 4, 5, 6]
    checkpoints.save(7)
    assert steps(folder) == [4, 5, 7] and restored(folder)[0] == 7


def test_a_checkpoint_of_another_model_is_refused_by_name_and_changes_nothing(tmp_path):
    folder = saved(tmp_path, 2)
    for other, sentence in ((state(-1.0, size=3), r"weights/0000 is of shape \[2000\] in it, and \[3\] in the model"),
                            (state(-1.0) | {"extra/0000": tf.Variable(-1.0)}, "extra/0000 is not in it")):  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            Checkpoints(folder, other).restore()
        assert all(np.all(variable.numpy() == -1) for variable in other.values())


@pytest.mark.parametrize("folder, policy", [("numbered", "float32"), ("numbered_float16", "mixed_float16")])
def test_a_checkpoint_whose_variables_are_numbered_is_read(folder, policy):
    """As they were written before variables were named by network; `sums.json` says what is where."""
    keras.config.set_dtype_policy(policy)
    small = {"latent_size": 2, "generator_widths": (2,), "critic_widths": (2,), "embedding_size": 2}
    model = tiny("mlp_gan", facts=told("mlp_gan"), augment="ada", resolution=8, batch_size=2, **small)
    keras.config.set_dtype_policy("float32")
    there = Path(__file__).parent / "checkpoints" / folder
    assert Checkpoints(str(there), model.state()).restore() == 2
    expected = json.loads((there / "sums.json").read_text())
    assert model.state().keys() == expected.keys() and float(model.ada_strength.value) == 0.25
    for name, variable in model.state().items():
        value = np.float64(variable.numpy())
        shape, total = expected[name]
        assert list(value.shape) == shape and float(np.sum(value * (1 + np.arange(value.size).reshape(shape)))) == total


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"step": 4}'])
def test_a_damaged_best_json_is_named(damage, tmp_path):
    checkpoints = Checkpoints(str(tmp_path), state(4.0))
    checkpoints.keep_best(FACTS)
    assert json.loads((tmp_path / "best" / "best.json").read_text()) == FACTS == best_facts(str(tmp_path))
    (tmp_path / "best" / "best.json").write_text(damage)
    with pytest.raises(ValueError, match="best.json is damaged"):
        best_facts(str(tmp_path))


def test_a_damaged_best_leaves_the_state_as_it_is(tmp_path):
    Checkpoints(str(tmp_path), state(4.0)).keep_best(FACTS)
    os.truncate(tmp_path / "best" / DATA, 100)
    variables = state(9.0)
    with pytest.raises(ValueError, match="best checkpoint .* is damaged: step-4 cannot be read"):
        Checkpoints(str(tmp_path), variables).restore_best()
    assert variables["weights/0000"][0] == 9.0 and variables["step"] == 9


def test_a_write_that_fails_leaves_the_ones_before_and_nothing_else(tmp_path, monkeypatch):
    folder = saved(tmp_path, 2)
    before = sorted(os.listdir(folder))

    def full(self, prefix):
        os.makedirs(f"{prefix}_temp")
        for end in ("_temp/part-00000-of-00001.index", ".data-00000-of-00001"):
            with open(prefix + end, "w") as file:
                file.write("half")
        raise tf.errors.ResourceExhaustedError(None, None, f"{prefix}_temp/part; No space left on device")

    monkeypatch.setattr(tf.train.Checkpoint, "write", full)
    with pytest.raises(OSError, match="No space left"):
        Checkpoints(folder, state(4.0)).save(4)
    assert sorted(os.listdir(folder)) == before and restored(folder) == (2, 2.0, [])


def test_a_checkpoint_that_may_not_be_read_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    """Going on from an older one would lose steps that are whole."""
    folder = saved(tmp_path, 2, 4)
    read = files.read

    def locked(path, count=-1):
        if "step-4.data" in path:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return read(path, count)

    def refuse(path):
        raise tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied")

    monkeypatch.setattr(files, "read", locked)
    monkeypatch.setattr(tf.train, "load_checkpoint", refuse)
    with pytest.raises(PermissionError, match="step-4.data"):
        Checkpoints(folder, state(-1.0)).restore()
