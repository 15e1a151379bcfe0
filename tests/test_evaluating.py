"""Evaluations in a training: when they come, what they leave, and that the training does not notice them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from families import FAMILIES, LABEL, batch, tiny, told
from PIL import Image
from test_run import TWO_DEVICES, checkpoint, free_ports, invoke, lines, train, wait_for
from toy_features import Toy, ToyWithLayers, open_toy

from data.cache import Rows
from data.facts import Facts
from data.images import to_float, to_uint8
from trainer import cli, tasks
from trainer.metrics.distribution import kid
from trainer.metrics.estimate import Estimate
from trainer.metrics.table import measure_of
from trainer.runs.checkpoints import Checkpoints
from trainer.runs.config import EvaluationOptions
from trainer.runs.history import LoggedEvaluation
from trainer.training import best, evaluation_schedule

ROOT = Path(__file__).parent.parent
TINY = ["--preset", "tiny", "--data", "studio:40", "--model", "mlp_gan", "--features", "toy", "--eval-count", 30]
KID, PRECISION = "kid_toy-1_n40x30", "precision_toy-1_k3_n40x30"
EVALUATED = [*TINY, "--images", 64, "--eval-every", 16]  # steps of 8 pictures
FIRST = ["--best", "precision"]  # 0 in each evaluation of so short a training, so that the first is the best


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setattr(evaluation_schedule, "open_extractor", open_toy)


def good(*arguments):
    result = train(*arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def evaluations(folder):
    return [line for line in lines(folder) if "evaluation" in line]


def measures(line):
    """{name: (value, error)} of an evaluation's line."""
    return {name: (value, line[f"{name}_error"]) for name, value in line.items() if f"{name}_error" in line}


def best_json(folder):
    return json.loads((Path(folder) / "checkpoints" / "best" / "best.json").read_text())


def best_state(folder):
    reader = tf.train.load_checkpoint(f"{folder}/checkpoints/best/step-{best_json(folder)['step']}")
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if "ATTRIBUTES" in name}


def assert_same(found, expected):
    assert found.keys() == expected.keys() and len(found) > 10
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A run that ended early, with its best at the first of three evaluations; shared by tests that only look."""
    folder = tmp_path_factory.mktemp("runs") / "patient"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_schedule, "open_extractor", open_toy)
        said = good(*EVALUATED, *FIRST, "--patience", 2, "--job-dir", folder)
    return SimpleNamespace(folder=folder, said=said)


def test_patience_ends_the_run_and_says_so(patient):
    assert [line["step"] for line in evaluations(patient.folder)] == [2, 4, 6]
    assert "ended early at 48 pictures" in patient.said and "its best is 0 at 16 pictures" in patient.said
    saved = tf.train.latest_checkpoint(f"{patient.folder}/checkpoints")
    assert saved.endswith("step-6") and (patient.folder / "samples" / "000000048.png").exists()


def test_an_evaluation_has_its_own_line_with_every_measure_and_its_error(patient):
    line = evaluations(patient.folder)[0]
    assert line["images"] == 16 and line["evaluation_seconds"] > 0
    assert "30 made pictures against 40" in line["evaluation"]
    assert list(measures(line))[0] == KID and len(measures(line)) == 8
    assert np.isfinite(list(measures(line).values())).all()
    assert line[f"{KID}_error"] > 0


def test_periodic_artifacts_stand_beside_those_of_the_training_pictures(patient):
    grids = [
        (line["periodic_artifacts_p4"], line["real_periodic_artifacts_p4"]) for line in evaluations(patient.folder)
    ]
    assert len({made for made, _ in grids}) == 3 and len({real for _, real in grids}) == 1
    made, real = grids[0]
    assert f"periodic_artifacts_p4 {made:.3g}, of real pictures {real:.3g}" in patient.said


def test_the_best_is_kept_with_what_was_measured_of_it(patient):
    kept = best_json(patient.folder)
    measured = evaluations(patient.folder)[0]
    assert (kept["metric"], kept["step"], kept["images"]) == (PRECISION, 2, 16)
    assert (kept["value"], kept["error"]) == measures(measured)[PRECISION]
    files = os.listdir(patient.folder / "checkpoints" / "best")
    assert sorted(files) == ["best.json", "step-2.data-00000-of-00001", "step-2.index"]


def test_evaluations_change_no_weight_and_the_best_is_what_was_measured(patient, tmp_path):
    """A run that is not measured, of the length at which the best was found: the same weights and optimisers."""
    good(*TINY[:6], "--images", 16, "--no-export", "--job-dir", tmp_path)
    assert not evaluations(tmp_path)
    assert_same(best_state(patient.folder), checkpoint(tmp_path))


def test_a_run_that_looks_for_the_best_exports_it(patient):
    report = json.loads((patient.folder / "export" / "mlp_gan" / "1" / "export.json").read_text())
    assert report["metadata"]["step"] == 2 and report["metadata"]["images_seen"] == 16
    assert report["metadata"]["of_run_at_step"] == 6 and report["metadata"]["best"]["metric"] == PRECISION


def test_repeating_the_command_of_a_run_that_ended_early_trains_no_more(patient):
    before = lines(patient.folder)
    said = good(*EVALUATED, *FIRST, "--patience", 2, "--no-export", "--job-dir", patient.folder)
    assert "ended early at 48 pictures" in said and lines(patient.folder) == before


def test_tensorboard_shows_values_errors_and_cost(patient):
    tags = set()
    for path in (patient.folder / "tensorboard").glob("events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            tags |= {value.tag for value in event.summary.value}
    assert {
        f"evaluation/{KID}",
        f"evaluation_error/{KID}",
        "evaluation/real_periodic_artifacts_p4",
        "run/evaluation_seconds",
        "run/sample_spread",
    } <= tags


def test_sample_and_export_take_the_best_when_asked(tmp_path):
    good(*EVALUATED, "--eval-every", 32, "--job-dir", tmp_path / "run", "--no-export")
    kept = best_json(tmp_path / "run")
    assert kept["metric"] == KID and kept["step"] == 8
    Checkpoints(f"{tmp_path}/run/checkpoints", {"x": tf.Variable(1.0)}).keep_best(kept | {"step": 4})
    result = invoke(cli.main, "export", tmp_path / "run", "--best", "--to", tmp_path / "models")
    assert result.exit_code == 2 and "best/step-4 is a checkpoint of another model" in result.output
    good(*EVALUATED, "--eval-every", 32, "--images", 96, "--job-dir", tmp_path / "run", "--no-export")
    for options, steps in ((["--best"], [12]), ([], [12]), (["--best"], [12])):
        result = invoke(
            cli.main, "sample", tmp_path / "run", *options, "--n", 2, "--seed", 1, "--out", tmp_path / "x.png"
        )
        assert result.exit_code == 0, result.output
        reports = sorted((tmp_path / "run" / "export" / "mlp_gan").glob("*/export.json"))
        assert [json.loads(path.read_text())["metadata"]["step"] for path in reports] == steps


def test_steps_taken_together_are_measured_after_the_execution_that_was_due(tmp_path):
    good(*EVALUATED, "--images", 80, "--steps-per-execution", 4, "--no-export", "--job-dir", tmp_path)
    assert [line["step"] for line in evaluations(tmp_path)] == [4, 8, 10]


START = [sys.executable, "tests/toy_features.py"]


def start(folder, *arguments):
    there = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    command = [*START, "--job-dir", folder, "--no-export", *arguments]
    return subprocess.Popen([str(word) for word in command], cwd=ROOT, env=there, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_kill_9_and_the_same_command_give_the_same_evaluations_and_the_same_best(tmp_path):
    options = [*TINY, "--images", 4800, "--eval-every", 80, "--checkpoint-minutes", 0.005]
    straight = start(tmp_path / "straight", *options)
    process = start(tmp_path / "killed", *options)
    wait_for((tmp_path / "killed" / "checkpoints" / "best" / "best.json").exists, process)
    wait_for(lambda: len(evaluations(tmp_path / "killed")) > 3, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reached = evaluations(tmp_path / "killed")[-1]["step"]
    again = start(tmp_path / "killed", *options)
    for run in (again, straight):
        _, said = run.communicate(timeout=300)
        assert run.returncode == 0, said
    found, expected = (
        [(line["step"], line["evaluation"], measures(line)) for line in evaluations(tmp_path / name)]
        for name in ("killed", "straight")
    )
    assert reached < 600 and [step for step, *_ in expected] == list(range(10, 601, 10))
    assert found == expected
    assert best_json(tmp_path / "killed") == best_json(tmp_path / "straight")
    assert_same(checkpoint(tmp_path / "killed"), checkpoint(tmp_path / "straight"))
    assert_same(best_state(tmp_path / "killed"), best_state(tmp_path / "straight"))


PAIRED = ["--features", "layers", "--eval-every", 16, "--eval-count", 12, "--images", 32, "--no-export"]
MEASURES = {"pix2pix": ["psnr_y", "ssim_y", "feature_distance_toy-1"],
            "espcn": ["psnr_y_shave2", "ssim_y_shave2", "feature_distance_toy-1"]}  # fmt: skip
RANKED = {"pix2pix": "feature_distance_toy-1", "espcn": "psnr_y_shave2"}


@pytest.mark.parametrize("model", MEASURES)
def test_pictures_made_of_others_are_measured_beside_their_targets(model, tmp_path):
    options = ["--model", model, *TINY[:4], *PAIRED]
    good(*options, "--eval-data", "studio:12", "--job-dir", tmp_path / "apart")
    good(*options, "--job-dir", tmp_path / "same")
    good(*options[:6], *PAIRED[-3:], "--job-dir", tmp_path / "unmeasured")
    apart, same = (evaluations(tmp_path / name)[-1] for name in ("apart", "same"))
    assert set(MEASURES[model]) <= set(measures(apart)) and "12 held-out pairs" in apart["evaluation"]
    real = "real_periodic_artifacts_p4"
    assert {f"train_{name}" for name in measures(apart) if name != real} | {real} == set(measures(same))
    assert best_json(tmp_path / "apart")["metric"] == RANKED[model]
    assert best_json(tmp_path / "same")["metric"] == f"train_{RANKED[model]}"
    assert_same(checkpoint(tmp_path / "apart"), checkpoint(tmp_path / "unmeasured"))


MIRRORED = TWO_DEVICES.replace(
    "from trainer.task",
    "from toy_features import open_toy\nfrom trainer.training import evaluation_schedule as schedule\nschedule.open_extractor = open_toy\n"
    "from trainer.task",
)


@pytest.mark.slow
def test_only_the_first_of_two_workers_evaluates_and_two_replicas_measure_as_one(tmp_path):
    options = ["--model", "espcn", *TINY[:4], *PAIRED, "--steps-per-execution", 1]
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    tasks = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(2)]
    worker = [*START, *options, "--job-dir", tmp_path / "workers"]
    mirrored = [sys.executable, "-c", MIRRORED, *options, "--strategy", "mirrored", "--job-dir", tmp_path / "mirrored"]
    there = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/tests", "CUDA_VISIBLE_DEVICES": ""}
    processes = [
        subprocess.Popen([str(word) for word in words], cwd=ROOT, env=there | more, stderr=subprocess.PIPE, text=True)
        for words, more in [(worker, {"TF_CONFIG": tasks[0]}), (worker, {"TF_CONFIG": tasks[1]}), (mirrored, {})]
    ]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert "12 training pairs" in said[0] and "train_psnr_y" not in said[1]
    good(*options, "--job-dir", tmp_path / "one", "--strategy", "one")
    expected = evaluations(tmp_path / "one")
    for name in ("workers", "mirrored"):
        found = evaluations(tmp_path / name)
        assert [line["step"] for line in found] == [line["step"] for line in expected] == [4, 8]
        for line, other in zip(found, expected, strict=True):
            values = [[value for value, _ in measures(each).values()] for each in (line, other)]
            np.testing.assert_allclose(*values, rtol=0.01)


def rows_of(name):
    """A family's tiny model and 24 rows for it."""
    model = tiny(name, facts=told(name))
    arrays = {
        key: value.numpy() if value.dtype.is_integer else to_uint8(value).numpy()
        for key, value in batch(model, 0, 24).items()
    }
    return model, Rows(arrays, (), in_memory=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_evaluation_of_every_family(name):
    """A promise of every family: it can be measured, the same twice, and every number is finite."""
    model, rows = rows_of(name)
    task = tasks.of(model)
    evaluator = task.evaluator(model, rows, ToyWithLayers(), held_out=rows, count=22)
    found = evaluator.measure()
    assert tuple(found) == evaluator.names and len(found) > 3
    assert np.isfinite(list(found.values())).all()
    assert evaluator.measure() == found
    assert measure_of(evaluator.names[0]) is task.measure and task.measure.better
    assert best.choose(evaluator.names, task.measure.name) == evaluator.names[0]
    assert found["real_periodic_artifacts_p4"].value > 0 and "periodic_artifacts_p4" in found


@pytest.mark.parametrize("name", ["espcn", "pix2pix"])
def test_a_family_may_be_measured_as_a_set(name, monkeypatch):
    model, rows = rows_of(name)
    task = tasks.of(model)
    monkeypatch.setattr(type(model), "EVALUATOR", "set")
    as_set = tasks.of(model)
    assert as_set is not task and as_set.name == task.name
    evaluator = as_set.evaluator(model, rows, Toy(), held_out=rows, count=1_000)
    found = evaluator.measure()
    assert tuple(found) == evaluator.names and "24 made pictures" in evaluator.of
    assert np.isfinite(list(found.values())).all() and not any("psnr" in measure for measure in found)
    made = to_uint8(model.sample({task.source: to_float(rows.arrays[task.source])})).numpy()
    expected = kid(Toy().vectors(rows.arrays[task.target]), Toy().vectors(made))
    assert found[evaluator.names[0]].value == pytest.approx(expected.value)
    monkeypatch.setattr(type(model), "EVALUATOR", None)
    assert tasks.of(model) is task


@pytest.mark.parametrize("name", FAMILIES)
def test_a_sample_grid_of_every_family(name):
    """A promise of every family: its grid can be drawn, the same twice, and another one once it has learnt something."""
    model, rows = rows_of(name)
    draw = tasks.of(model).sample_grid(model, rows, seed=3)
    drawn, spread = draw()
    assert drawn.dtype == np.uint8 and drawn.ndim == 3 and (spread is None or np.isfinite(spread))
    np.testing.assert_array_equal(draw()[0], drawn)
    np.testing.assert_array_equal(tasks.of(model).sample_grid(model, rows, seed=3)()[0], drawn)
    for weight in model.ema.weights:
        weight.assign(weight + 0.1)
    assert not np.array_equal(draw()[0], drawn)


def test_labels_of_fakes_are_the_training_sets_mix():
    asked = []
    network = SimpleNamespace(task="generation", facts=Facts((LABEL,)))
    network.sample = lambda given: asked.append(given["label"]) or tf.zeros([len(given["label"]), 6, 6, 3])
    labels = np.repeat([0, 1, 2], [40, 15, 5]).astype(np.int32)
    pictures = np.random.default_rng(0).integers(0, 255, (60, 6, 6, 3), np.uint8)
    rows = Rows({"image": pictures, "label": labels}, ("a", "b", "c"), in_memory=True)
    tf.config.run_functions_eagerly(True)
    try:
        tasks.of(network).evaluator(network, rows, Toy(), count=120).measure()
    finally:
        tf.config.run_functions_eagerly(False)
    assert np.bincount(np.concatenate(asked)).tolist() == [80, 30, 10]


def test_a_name_that_is_no_task_is_refused():
    with pytest.raises(ValueError, match="unknown task 'sorting'; have: generation, translation, enhancement"):
        tasks.of("sorting")


def shop(root, *splits, count=24):
    random = np.random.default_rng(3)
    for split in splits:
        folder = root / split / "hat"
        folder.mkdir(parents=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.mark.parametrize("spec", ["folder:{}", "folder:{}#train", "folder:{}/train", "{}/train"])
def test_the_split_beside_is_held_out(spec, tmp_path):
    shop(tmp_path / "shop", "train", "val", "test")
    options = ["--preset", "tiny", "--data", spec.format(tmp_path / "shop"), "--features", "toy", "--images", 8]
    good(*options, "--eval-every", 8, "--no-export", "--job-dir", tmp_path / "run")
    (line,) = evaluations(tmp_path / "run")
    assert "24 held-out ones beside them" in line["evaluation"]
    assert line["memorisation_toy-1_n24"] < 1


WRONG = {
    "unknown measure": (
        ["--best", "quality"],
        f"--best quality is not measured here; have: {KID}, fid_toy-1",
    ),
    "several measures": (["--model", "pix2pix", "--best", "psnr"], "psnr may be train_psnr_y or train_psnr_rgb"),
    "no direction": (
        ["--eval-data", "studio:24", "--best", "memorisation"],
        "--best memorisation is not measured here",
    ),
    "never": (["--eval-every", 0, "--patience", 3], "--best and --patience need evaluations, and --eval-every is 0"),
    "held out of nothing": (["--eval-data", "folder:/nowhere"], "/nowhere"),
    "too few": (["--eval-count", 5], "5 made pictures are too few"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_options_get_a_sentence(wrong, tmp_path):
    arguments, sentence = WRONG[wrong]
    result = train(*EVALUATED, *arguments, "--job-dir", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.output.split()) and not (tmp_path / "run").exists()


def test_what_is_trained_on_is_not_held_out(tmp_path):
    data = ["--data", f"folder:{shop(tmp_path / 'shop', 'train')}"]
    result = train(*EVALUATED, *data, "--eval-data", data[1], "--job-dir", tmp_path / "run")
    assert result.exit_code == 2 and "holds the training pictures" in result.output


def test_what_nobody_asked_for_never_stops_a_training(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation_schedule, "SHORT", 0)
    data = ["--data", f"folder:{shop(tmp_path / 'shop', 'train', count=3)}", "--features", "toy"]
    options = [*data, "--model", "mlp_gan", "--set", "resolution=16", "--batch-size", 4, "--images", 4, "--no-export"]
    said = good(*options, "--job-dir", tmp_path / "run")
    assert "no evaluations during this training: 3 real pictures are too few" in said
    assert [line["step"] for line in lines(tmp_path / "run")] == [1]


@pytest.mark.parametrize(
    ("preset", "images", "count", "every"),
    [("cpu-64", 100_000, 1000, 25_000), ("cpu-64", 1_000_000, 1000, 100_000), ("tiny", 100_000, 1000, 0),
     ("cpu-64", 19_999, 1000, 0), ("x4", 1_000_000, 200, 100_000), ("cpu-64", 30_000, 200, 5_000)],
)  # fmt: skip
def test_how_often_when_nobody_says(preset, images, count, every):
    assert evaluation_schedule.usual_every(EvaluationOptions(), preset, images, 25 * count) == every


def test_asking_for_something_turns_evaluations_on():
    assert evaluation_schedule.usual_every(EvaluationOptions(patience=3), "tiny", 64, 30) == 7


def series(*values, name="kid_toy", error=0.01):
    return [LoggedEvaluation(i, i, "toy", {name: Estimate(value, error)}) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "passed"),
    [([0.5], 0), ([0.5, 0.48], 0), ([0.5, 0.495], 1), ([0.5, 0.495, 0.489], 0), ([0.5, 0.6, 0.495], 2), ([], 0)],
)
def test_passed_without_improvement_beyond_the_error_bar(values, passed):
    assert best.stale(series(*values), "kid_toy") == passed


def test_the_best_is_the_least_or_the_most_and_the_earliest_of_equals():
    assert best.best(series(0.3, 0.2, 0.2), "kid_toy").step == 1
    assert best.best(series(20, 31, 30, name="train_psnr_y"), "train_psnr_y").step == 1
    assert best.best([], "kid_toy") is None
    found = best.comparable(series(np.nan, 0.2) + series(3, name="fid_toy"), "kid_toy")
    assert [evaluation.step for evaluation in found] == [1]


def test_what_is_kept_is_beaten_by_what_is_better_or_of_another_kind():
    (one,), (other,) = series(0.3), series(0.3, name="fid_toy")
    kept = best.facts(one, "kid_toy")
    assert (kept["value"], kept["error"], kept["of"]) == (0.3, 0.01, "toy")
    assert [best.beats(e, kept, "kid_toy") for e in series(0.4, 0.3, 0.2, np.nan)] == [False, False, True, False]
    assert best.beats(one, None, "kid_toy") and best.beats(one._replace(of="others"), kept, "kid_toy")
    assert best.beats(other, kept, "fid_toy") and not best.beats(series(np.nan)[0], None, "kid_toy")


def test_a_training_that_blows_up_is_recorded_by_name(tmp_path):
    options = [*TINY[:4], "--model", "espcn", "--set", "learning_rate=1e30", "--images", 16, "--log-steps", 1]
    result = train(*options, "--no-export", "--job-dir", tmp_path)
    assert result.exit_code == 1 and "training has diverged" in result.output
    last = lines(tmp_path)[-1]
    assert last["warning"] == "divergence" and last["sentence"] in " ".join(result.output.split())


def test_nothing_is_said_of_a_training_that_goes_well(patient):
    assert not [line for line in lines(patient.folder) if "warning" in line]
