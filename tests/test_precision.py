"""What this machine cannot do in low precision is a sentence before anything is written, and what it can do is measured."""

import dataclasses
import importlib.metadata
import json
import subprocess

import pytest
import tensorflow as tf
from click.testing import CliRunner
from families import LABEL
from running import lines, train

from data.facts import Facts
from models import catalogue
from trainer import cli, task
from trainer.commands import doctor
from trainer.runs import record
from trainer.runs.config import RunConfig
from trainer.training import memory, precision

TINY = dataclasses.asdict(catalogue.load("mlp_gan").PRESETS["tiny"])


def described(policy, **settings):
    return RunConfig(
        model="mlp_gan", preset="tiny", data="studio:8", fit="crop", view="auto", seed=5, strategy="one",
        precision=policy, conditional=False, augment="none", settings=TINY | settings,
    )  # fmt: skip


def test_float32_is_not_asked(monkeypatch):
    monkeypatch.setattr(precision, "step_seconds", lambda *_: pytest.fail("asked"))
    precision.check(described("float32"))


def test_steps_take_turns_and_time():
    (seconds,) = precision.step_seconds([described("float32")], facts=Facts((LABEL,)), rounds=2)
    assert len(seconds) == 2 and min(seconds) > 0


@pytest.fixture
def lacking(monkeypatch):
    """Gives a machine on which a family's step ends as told: an exception is raised, a number is the exit code of the process."""

    def give(end):
        def run(command, *, input, **_):
            if isinstance(end, int):
                return subprocess.CompletedProcess(command, end, "", "\n  what():  no primitive.\n\n")
            monkeypatch.setattr(precision, "_step", lambda *_: (_ for _ in ()).throw(end))
            return subprocess.CompletedProcess(
                command, 0, f"noise\n{json.dumps(precision._answer(json.loads(input)))}\n", ""
            )

        monkeypatch.setattr(precision.subprocess, "run", run)
        precision._once.cache_clear()

    yield give
    precision._once.cache_clear()


GRAPH = """Graph execution error:

Detected at node critic/Conv2DBackpropInput defined at (most recent call last):
  File "/a/b.py", line 11, in <module>

Gradients of this kind are not supported on CPU.
\t [[{{node critic/Conv2DBackpropInput}}]] [Op:__inference_train_step_7]"""


@pytest.mark.parametrize(
    "end, why",
    [
        (tf.errors.InvalidArgumentError(None, None, GRAPH), "Gradients of this kind are not supported on CPU"),
        (tf.errors.UnimplementedError(None, None, "{{function_node __x}} no half here [Op:Conv2D]"), "no half here"),
        (-6, r"TensorFlow ended with signal 6: what\(\):  no primitive"),
    ],
)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_what_the_machine_cannot_do_is_a_sentence_and_no_run(lacking, end, why, policy, tmp_path):
    lacking(end)
    words = ["--model", "mlp_gan", "--preset", "tiny", "--data", "studio:8", "--precision", policy]
    result = CliRunner().invoke(task.main, [*words, "--job-dir", str(tmp_path / "run")])
    assert result.exit_code == 2 and not (tmp_path / "run").exists()
    sentence = result.output.splitlines()[-1]
    assert sentence == (
        f"Error: this machine cannot train mlp_gan in {policy}: {why.replace(chr(92), '')};"
        " --precision float32 works everywhere"
    )


def test_a_fault_of_ours_is_left_to_the_run_itself(lacking):
    lacking(1)
    precision.check(described("mixed_bfloat16", learning_rate=0.1))


def test_a_batch_beyond_the_memory_is_not_tried(monkeypatch):
    monkeypatch.setattr(memory, "total", lambda: 1)
    with pytest.raises(ValueError, match="this machine has 0 GB of memory"):
        precision._step(described("float32"), Facts())


# auto


@pytest.mark.parametrize(
    "plain, half, chosen, ratio",
    [
        ([0.2] * 3, [0.1] * 3, "mixed_bfloat16", 2.0),
        ([0.222] * 3, [0.2] * 3, "mixed_bfloat16", 1.11),
        ([0.218] * 3, [0.2] * 3, "float32", 1.09),
        ([0.1] * 3, [0.1] * 3, "float32", 1.0),
        ([0.1] * 3, [0.2] * 3, "float32", 0.5),
        ([0.1, 0.3, 0.1], [0.2, 0.2, 0.9], "float32", 0.5),
    ],
)
def test_bfloat16_is_chosen_where_it_is_clearly_faster(plain, half, chosen, ratio):
    choice = precision.faster(plain, half)
    assert choice.chosen == chosen and choice.ratio == pytest.approx(ratio)
    assert choice.seconds == {"float32": sorted(plain)[1], "mixed_bfloat16": sorted(half)[1]}
    assert f"a step in mixed_bfloat16 is {ratio:.2f} times as fast as in float32" in choice.why


@pytest.fixture
def machine(monkeypatch):
    """Gives a machine on which a step takes so many seconds in float32 and in mixed_bfloat16; returns what it was asked to compare."""

    def give(plain, half):
        asked = []

        def step_seconds(runs, facts=Facts(), **options):
            if len(runs) == 1:  # whether it works at all
                return [[]]
            asked.append((runs, facts, options))
            return [[plain] * 3, [half] * 3]

        monkeypatch.setattr(precision, "step_seconds", step_seconds)
        precision._once.cache_clear()
        return asked

    yield give
    precision._once.cache_clear()


AUTO = ["--model", "mlp_gan", "--preset", "tiny", "--data", "studio:8", "--precision=auto"]


def test_auto_compares_the_very_run_and_a_dry_run_shows_what_it_takes(machine, tmp_path):
    asked = machine(0.3, 0.2)
    words = ["--model", "r3gan", "--batch_size=4", "--penalty_every=3", "--conditional", "--job-dir", tmp_path / "run"]
    result = train(*AUTO, *words, "--dry-run")
    assert result.exit_code == 0 and not (tmp_path / "run").exists()
    sentence = "takes mixed_bfloat16: a step in mixed_bfloat16 is 1.50 times as fast as in float32"
    assert f"--precision auto {sentence}\n" in result.stderr
    run = json.loads(result.stdout)["run"]
    assert run["precision"] == "mixed_bfloat16"
    ((runs, facts, options),) = asked
    assert [json.loads(each.to_json()) for each in runs] == [run | {"precision": "float32"}, run]
    assert facts.get("label").count == 10 and options["steps"] == 3 and options["rounds"] >= 3


def begun(folder):
    """(precision in config.json, choice in record.json) of a run."""
    return json.loads((folder / "config.json").read_text())["precision"], record.read(
        str(folder / "record.json")
    ).precision


@pytest.mark.low_precision
def test_a_run_keeps_what_auto_took(machine, tmp_path):
    machine(0.3, 0.2)
    words = [*AUTO, "--job-dir", tmp_path, "--no-export"]
    assert train(*words, "--images", 16).exit_code == 0
    chosen, measured = begun(tmp_path)
    assert chosen == measured["chosen"] == "mixed_bfloat16" and measured["processor"]
    assert measured["seconds"] == {"float32": 0.3, "mixed_bfloat16": 0.2} and measured["ratio"] == pytest.approx(1.5)
    asked = machine(0.2, 0.3)  # another machine
    for more in (["--images", 16, "--dry-run"], ["--images", 32], ["--images", 48, "--precision", "mixed_bfloat16"]):
        result = train(*words, *more)
        assert result.exit_code == 0, result.output
    assert lines(tmp_path)[-1]["images"] == 48
    (tmp_path / "config.json").unlink()
    result = train(*words, "--images", 64)
    assert "--precision auto: mixed_bfloat16, in which this run was begun" in result.output
    assert begun(tmp_path) == (chosen, measured) and not asked
    result = train(*words, "--images", 64, "--precision", "float32")
    assert result.exit_code == 2 and "precision: mixed_bfloat16 -> float32" in result.output


def test_auto_goes_on_in_a_named_precision(machine, tmp_path):
    asked = machine(0.3, 0.2)
    words = [*AUTO, "--job-dir", tmp_path, "--no-export", "--images"]
    assert train(*words, 16, "--precision", "float32").exit_code == 0
    assert train(*words, 32).exit_code == 0
    assert begun(tmp_path) == ("float32", None) and not asked


@pytest.mark.parametrize(
    "end, why",
    [
        (
            -6,
            "this machine cannot train mlp_gan in mixed_bfloat16: TensorFlow ended with signal 6: what():  no primitive",
        ),
        (1, "steps could not be measured"),
    ],
)
def test_auto_takes_float32_where_bfloat16_does_not_work(lacking, end, why, tmp_path):
    lacking(end)
    result = train(*AUTO, "--job-dir", tmp_path, "--no-export", "--images", 16)
    assert result.exit_code == 0 and f"--precision auto takes float32: {why}\n" in result.output
    nothing = {"seconds": None, "ratio": None, "processor": None}
    assert begun(tmp_path) == ("float32", {"chosen": "float32", "why": why} | nothing)


def test_accelerators_are_not_measured(machine, monkeypatch):
    asked, run = machine(0.3, 0.2), described("float32")
    monkeypatch.setattr(precision, "_only_cpu", lambda: False)
    choice = precision.choose(run, Facts(), strategy=tf.distribute.get_strategy(), say=pytest.fail)
    assert choice.chosen == "float32" and "nothing is measured on a machine with a GPU" in choice.why
    tpu = object.__new__(tf.distribute.TPUStrategy)
    assert precision.choose(run, Facts(), strategy=tpu, say=pytest.fail).chosen == "mixed_bfloat16"
    assert not asked


def test_several_workers_take_auto_only_for_a_run_that_has_begun(machine, tmp_path):
    asked = machine(0.3, 0.2)
    two = {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 1}}
    words = [*AUTO, "--job-dir", tmp_path / "run"]
    for more in ([], ["--dry-run"]):
        result = train(*words, *more, TF_CONFIG=json.dumps(two))
        assert result.exit_code == 2 and "TF_CONFIG names 2 workers, which must use the same" in result.output
    assert not (tmp_path / "run").exists()
    assert train(*words, "--precision", "float32", "--images", 16, "--no-export").exit_code == 0
    result = train(*words, "--images", 16, "--dry-run", TF_CONFIG=json.dumps(two))
    assert result.exit_code == 0 and json.loads(result.stdout)["run"]["precision"] == "float32" and not asked


def test_other_precisions_are_refused():
    result = train(*AUTO[:-1], "--precision", "half")
    assert result.exit_code == 2
    assert "'half' is not one of 'float32', 'mixed_bfloat16', 'mixed_float16', 'auto'" in result.output


# doctor


def test_doctor_reads_what_is_needed_from_the_distribution(monkeypatch):
    lines = ["tensorflow<2.22,>=2.20", "numpy>=99", "no-such-thing>=1.0", 'pytest>=8; extra == "test"', "pillow"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    monkeypatch.setattr(doctor, "_bfloat16", lambda: pytest.fail("measured what cannot run"))
    result = CliRunner().invoke(cli.main, ["doctor"])
    assert result.exit_code == 1
    assert f"  ok       tensorflow {tf.__version__}\n" in result.output and "  ok       pillow " in result.output
    assert f"  missing  numpy {importlib.metadata.version('numpy')} -> pip install 'numpy>=99'\n" in result.output
    assert "  missing  no-such-thing  -> pip install 'no-such-thing>=1.0'\n" in result.output
    assert "pytest" not in result.output and "  device   " in result.output


def test_doctor_without_the_distribution_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    result = CliRunner().invoke(cli.main, ["doctor"])
    assert result.exit_code == 1 and "missing  packshot -> pip install -e ." in result.output


@pytest.mark.parametrize(
    "version, limits, expected",
    [
        ("2.21.0", "<2.22,>=2.20", True),
        ("2.22.0", "<2.22,>=2.20", False),
        ("2.9.1", ">=2.20", False),
        ("3.13", ">=3.13", True),
        ("1.0", "", True),
    ],
)
def test_versions_fit_their_limits(version, limits, expected):
    assert doctor.fits(version, limits) is expected


def test_doctor_says_what_auto_takes_for_the_default_run(machine, monkeypatch):
    asked = machine(0.2, 0.1)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["tensorflow"])
    result = CliRunner().invoke(cli.main, ["doctor"])
    assert result.exit_code == 0
    (((plain, half), facts, _),) = asked
    assert result.output.endswith(
        f"  bfloat16 {plain.model} {plain.preset}: a step in mixed_bfloat16 is 2.00 times as fast as in float32"
        " -> --precision mixed_bfloat16\n"
    )
    assert (plain.precision, half.precision, facts) == ("float32", "mixed_bfloat16", Facts())
    assert plain.settings == half.settings and plain.preset != "tiny"
