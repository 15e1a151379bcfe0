"""What this machine cannot do in low precision is a sentence before anything is written, and what it can do is measured."""

import dataclasses
import importlib.metadata
import json
import subprocess

import pytest
import tensorflow as tf
from click.testing import CliRunner
from families import LABEL

from data.facts import Facts
from models import catalogue
from trainer import cli, task
from trainer.commands import doctor
from trainer.runs.config import RunConfig
from trainer.training import precision

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


def test_doctor_measures_the_default_run(monkeypatch):
    asked = []

    def seconds(runs, **_):
        asked.extend(runs)
        return [[0.1, 0.2, 0.4], [0.05, 0.1, 0.1]]

    monkeypatch.setattr(precision, "step_seconds", seconds)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["tensorflow"])
    result = CliRunner().invoke(cli.main, ["doctor"])
    assert result.exit_code == 0
    what = f"{asked[0].model} {asked[0].preset}"
    assert result.output.endswith(
        f"  bfloat16 a step of {what} is 2.00 times as fast as in float32 on this machine: use --precision mixed_bfloat16\n"
    )
    assert [run.precision for run in asked] == ["float32", "mixed_bfloat16"]
    assert asked[0].settings == asked[1].settings and asked[0].preset != "tiny"


@pytest.mark.parametrize(
    "half, expected",
    [
        (2.0, "0.50 times as fast as in float32 on this machine: stay"),
        (1.01, "is as fast as in float32 on this machine: stay"),
    ],
)
def test_doctor_advises_bfloat16_only_where_it_is_faster(half, expected):
    assert expected in doctor.verdict("x", [1.0] * 5, [half] * 5)
