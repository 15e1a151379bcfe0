"""Versions between two runs."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from families import tiny
from running import invoke

from data.catalogue import open_source
from serving.export.session import Session
from trainer import cli
from trainer.runs import record
from trainer.runs.checkpoints import Checkpoints
from trainer.runs.config import RunConfig
from trainer.runs.exporting import export_checkpoint
from trainer.runs.folder import RunDir


def make_run(root, family, seed, *, step=1, **settings):
    """A folder as a training leaves it, with weights drawn by a seed."""
    model = tiny(family, **settings)
    random = np.random.default_rng(seed)
    for variable in model.state().values():
        if variable.dtype.is_floating:
            variable.assign(random.normal(0, 0.3, variable.shape))
    folder = RunDir(str(root))
    run = RunConfig(
        model=family,
        preset="tiny",
        data="studio:4",
        fit="crop",
        view="auto",
        seed=5,
        strategy="one",
        precision="float32",
        conditional=False,
        augment="none",
        settings=dataclasses.asdict(model.config),
    )
    folder.open(run)
    record.write(folder.record, record.Record(record.Data.of(open_source("studio:4", 5)), frozen=model.borrowed()))
    Checkpoints(folder.checkpoints, model.state()).save(step)
    return str(root)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run trained for fidelity, and one of another family with the same network that might have begun with it."""
    folder = tmp_path_factory.mktemp("runs")
    return make_run(folder / "fidelity", "rrdb", 1), make_run(folder / "detail", "esrgan", 2, step=7)


def blended(runs, folder, weight, *more):
    result = invoke(cli.main, "blend", *runs, "--weight", weight, "--out", folder / "between", *more)
    assert result.exit_code == 0, result.output
    return str(folder / "between" / "1"), result.output


def answer(version):
    pictures = np.random.default_rng(3).integers(0, 256, (2, 5, 6, 3)).astype(np.uint8)
    with Session(version) as session:
        return session.run("apply", {"images": pictures})["images"]


def metadata(version):
    with open(f"{version}/export.json") as file:
        return json.load(file)


@pytest.mark.parametrize("weight", [0, 1])
def test_the_ends_are_the_runs_bit_for_bit(runs, tmp_path, weight):
    own = export_checkpoint(runs[weight], str(tmp_path), name="own", say=lambda sentence: None)
    version, _ = blended(runs, tmp_path, weight)
    assert metadata(version)["weights sha256"] == metadata(own)["weights sha256"]
    np.testing.assert_array_equal(answer(version), answer(own))


def test_weights_lie_between(runs, tmp_path):
    version, told = blended(runs, tmp_path, 0.25)
    found, one, two = (
        {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if wanted in name}
        for reader, wanted in (
            (tf.train.load_checkpoint(f"{version}/variables/variables"), "variables_to_serve"),
            *((tf.train.load_checkpoint(f"{run}/checkpoints"), "ema/") for run in runs),
        )
    )
    between = [0.75 * one[name] + 0.25 * two[name] for name in one]
    assert len(found) == len(between) > 30
    for weight in found.values():
        assert any(
            weight.shape == other.shape and np.allclose(weight, other, rtol=1e-5, atol=1e-7) for other in between
        )
    assert f"0.75 of {runs[0]} at step 1 and 0.25 of {runs[1]} at step 7" in told


def test_the_report_names_both_runs_and_the_networks_they_were_trained_with(runs, tmp_path):
    written = metadata(blended(runs, tmp_path, 0.25)[0])["metadata"]
    known = [(one["run"], one["weight"], one["step"], one["configuration"]["model"]) for one in written["made_from"]]
    assert known == [(runs[0], 0.75, 1, "rrdb"), (runs[1], 0.25, 7, "esrgan")]
    assert written["borrowed"] == list(tiny("esrgan").borrowed())


@pytest.mark.parametrize(
    ("family", "settings", "words"),
    [
        ("rrdb", {"width": 6}, "their networks differ: width: 8 and 6"),
        ("espcn", {}, "their networks differ: model: rrdb and espcn"),
        ("dcgan", {}, "one is for enhancement, the other for generation"),
        ("rrdb", {"residual": False}, "they compute different things from the same weights: residual: True and False"),
    ],
)
def test_runs_that_do_not_fit_are_told(runs, tmp_path, family, settings, words):
    other = make_run(tmp_path / "other", family, 1, **settings)
    result = invoke(cli.main, "blend", runs[0], other, "--weight", 0.5, "--out", tmp_path / "between")
    assert result.exit_code == 2
    assert f"{runs[0]} and {other} do not blend: {words}" in " ".join(result.output.split())
    assert not (tmp_path / "between").exists()


def test_what_is_no_run_or_no_share_is_told(runs, tmp_path):
    for arguments, words in (
        ((runs[0], tmp_path, "--weight", 0.5), "is not a run folder"),
        ((*runs, "--weight", 1.5), "not in the range"),
    ):
        result = invoke(cli.main, "blend", *arguments, "--out", tmp_path / "between")
        assert result.exit_code == 2 and words in " ".join(result.output.split())
