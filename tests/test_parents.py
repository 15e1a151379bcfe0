"""Runs that begin with the weights of another run, or work with its networks."""

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import test_conformance as promises
import toy_codec
import toy_prior
from families import batch, tiny, values
from running import checkpoint, invoke, train

from data.errors import UserError
from data.facts import Facts
from models import catalogue
from models.features.catalogue import open_network
from trainer import cli
from trainer.runs.checkpoints import Checkpoints, prefix, read
from trainer.runs.folder import RunDir
from trainer.runs.parents import initialise, open_parent
from trainer.training import precision


@pytest.fixture
def run(tmp_path):
    """A folder (with the checkpoint of step 2) and the model that was saved there."""
    model = tiny("mlp_gan")
    for number in range(2):
        model.train_step(batch(model, number))
    Checkpoints(str(tmp_path / "run" / "checkpoints"), model.state()).save(2)
    return str(tmp_path / "run"), model


def of_parts(model):
    return {name: value for name, value in values(model).items() if name.partition("/")[0] in model.parts()}


def equal(found, expected):
    assert found.keys() == expected.keys()
    return [name for name in found if not np.array_equal(found[name], expected[name])]


def test_all_parts_are_copied_and_nothing_else(run):
    root, parent = run
    told, child = [], tiny("mlp_gan", seed=9)
    before = values(child)
    initialise(child, root, told.append)
    assert not equal(of_parts(child), of_parts(parent))
    assert set(equal(values(child), before)) <= of_parts(child).keys()
    assert told == [f"begins with network and ema and critic of {root} at step 2"]


def test_a_run_begun_with_itself_is_itself(run):
    root, parent = run
    before = values(parent)
    initialise(parent, root, print)
    assert not equal(values(parent), before)


def test_one_part_is_copied_where_it_is_named(run):
    root, parent = run
    child = tiny("mlp_gan", seed=9)
    before = values(child)
    initialise(child, f"{root}#network", print)
    changed = equal(values(child), before)
    assert changed and all(name.startswith("network/") for name in changed)


def test_parts_that_the_other_run_has_not_got_stay(run, tmp_path):
    """As a GAN begins with a network that was trained without a critic."""
    _, parent = run
    state = {name: value for name, value in parent.state().items() if not name.startswith("critic/")}
    Checkpoints(str(tmp_path / "alone" / "checkpoints"), state).save(1)
    child = tiny("mlp_gan", seed=9)
    before = values(child)
    initialise(child, str(tmp_path / "alone"), print)
    assert {name.partition("/")[0] for name in equal(values(child), before)} == {"network", "ema"}


def test_what_does_not_fit_is_named_and_changes_nothing(run, tmp_path):
    root, _ = run
    wider, other = tiny("mlp_gan", generator_widths=(40,)), tiny("espcn")
    refused = {
        "another network: network/0000 is of shape": (wider, root),
        "has no part 'encoder'; have: network, ema, critic": (wider, f"{root}#encoder"),
        "its network is another network": (other, root),
        "holds no checkpoint": (wider, str(tmp_path / "nowhere")),
    }
    for sentence, (model, source) in refused.items():
        before = values(model)
        with pytest.raises(UserError, match=sentence):
            initialise(model, source, print)
        assert not equal(values(model), before)


def test_a_command_begins_with_another_run_and_goes_on_without_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["--model", "mlp_gan", "--preset", "tiny", "--data", "studio:40", "--no-export"]
    assert train(*common, "--images", 16, "--job-dir", "first").exit_code == 0
    still = ["--init", "first", "--learning-rate", 1e-30, "--job-dir", "second"]
    result = train(*common, *still, "--images", 8)
    assert result.exit_code == 0 and "begins with network and ema and critic of first at step 2" in result.output
    assert json.loads((tmp_path / "second" / "config.json").read_text())["init"] == "first"
    first, second = checkpoint("first"), checkpoint("second")
    generator = [name for name in first if name.startswith("network/")]
    assert generator and all(np.allclose(first[name], second[name]) for name in generator)
    shutil.rmtree("first")
    result = train(*common, *still, "--images", 16)
    assert result.exit_code == 0 and "going on at 8" in result.output and "begins with" not in result.output
    result = train(*common, "--init", "first", "--job-dir", "third")
    assert result.exit_code == 2 and "--init first: it holds no checkpoint" in result.output
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize("name", ["mlp_gan", "r3gan", "dcgan"])
def test_a_frozen_start_of_the_critic_stays_and_all_else_moves(name):
    model = tiny(name)
    first, second = [layer for layer in model.critic.layers if layer.weights][:2]
    model.freeze_critic(1)
    before, names = values(model), {id(variable): key for key, variable in model.state().items()}
    for number in range(2):
        model.train_step(batch(model, number))
    moved = set(equal(values(model), before))
    assert not moved & {names[id(weight.value)] for weight in first.weights}
    assert {names[id(weight.value)] for weight in second.trainable_weights} <= moved
    assert {names[id(weight.value)] for weight in model.network.trainable_weights} <= moved


def test_a_critic_is_not_frozen_as_a_whole():
    model = tiny("mlp_gan")
    layers = sum(bool(layer.weights) for layer in model.critic.layers)
    with pytest.raises(UserError, match=f"at most {layers - 1} here: the critic has {layers} layers"):
        model.freeze_critic(layers)


def test_a_command_freezes_the_critic_of_another_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["--model", "mlp_gan", "--preset", "tiny", "--data", "studio:40", "--no-export"]
    assert train(*common, "--images", 16, "--job-dir", "first").exit_code == 0
    second = [*common, "--init", "first", "--freeze-critic", 1, "--job-dir", "second"]
    assert train(*second, "--images", 16).exit_code == 0 and train(*second, "--images", 32).exit_code == 0
    before, after = checkpoint("first"), checkpoint("second")
    critic = sorted(name for name in before if name.startswith("critic/"))
    moved = [not np.array_equal(before[name], after[name]) for name in critic]
    assert not any(moved[:2]) and all(moved[2:])


# Runs that work with the networks of another run


@pytest.fixture
def toys(monkeypatch):
    """Two more families: `toy_codec` gives tokens, `toy_prior` wants them, and gives them on. No other gives any."""
    known = {name: task for name, task in catalogue.names().items() if name != "vqgan"}
    known |= dict.fromkeys(TOYS, "generation")
    for name, module in TOYS.items():
        monkeypatch.setitem(sys.modules, f"models.generation.{name}", module)
        monkeypatch.setitem(promises.FAMILIES, name, "generation")
    monkeypatch.setattr(catalogue, "names", lambda: known)


TOYS = {"toy_codec": toy_codec, "toy_prior": toy_prior}
PROMISES = [
    promises.test_one_step_is_finite_and_moves_every_weight,
    promises.test_a_generator_draws_by_the_row_and_by_one_function,
    promises.test_parts_cover_the_state_once,
    promises.test_a_seed_decides_where_a_model_starts,
    promises.test_traced_equals_eager,
    promises.test_xla_equals_no_xla,
]


@pytest.mark.slow
@pytest.mark.parametrize("name", TOYS)
def test_families_with_a_parent_keep_the_promises(name, toys, tmp_path, strategy):
    for kept in PROMISES:
        kept(name, **({"conditions": "none"} if "every_weight" in kept.__name__ else {}))
    promises.test_two_replicas_equal_one(name, strategy=strategy)
    promises.test_saving_and_restoring_goes_on_exactly(name, tmp_path=tmp_path)


def test_a_parent_is_frozen_and_known_by_its_weights(toys):
    model = tiny("toy_prior")
    (name,) = model.borrowed()
    assert re.fullmatch("parent-[0-9a-f]{8}", name) and not model.parent.trainable_weights
    weight = model.parent.network.weights[0]
    weight.assign(weight + 1)
    assert model.borrowed() != (name,)
    with pytest.raises(ValueError, match="wants tokens of a parent, and was given None"):
        type(model)(model.config)


def test_feature_networks_are_borrowed_by_name():
    model = tiny("espcn")
    saved = model.state().keys()
    features = model.frozen(open_network("packshot"))
    assert model.borrowed() == (features.name,) and model.state().keys() == saved


COMMON = ["--preset", "tiny", "--data", "studio:40", "--images", 8]


def prior(folder, parent, *more):
    return train("--model", "toy_prior", *COMMON, "--parent", parent, "--job-dir", folder, *more)


def record_of(folder):
    return json.loads((Path(folder) / "record.json").read_text())


def unchanged(result, folder):
    assert result.exit_code == 2 and "Traceback" not in result.output and not Path(folder).exists()
    return " ".join(result.output.split())


@pytest.fixture
def codec(toys, tmp_path, monkeypatch):
    """The folder of a trained run that gives tokens."""
    monkeypatch.chdir(tmp_path)
    result = train("--model", "toy_codec", *COMMON, "--job-dir", "codec", "--no-export")
    assert result.exit_code == 0, result.output
    return "codec"


def test_a_run_with_a_parent_is_whole_without_it(codec):
    """It goes on, is exported and answers as before when the parent has gone; its checkpoints hold no weight of the parent."""
    straight = prior("straight", codec, "--images", 16, "--no-export")
    assert straight.exit_code == 0 and "works with the tokens of codec at step 2" in straight.output
    assert prior("run", codec, "--no-export").exit_code == 0
    there = record_of("run")
    assert there["parent"] == {"run": "codec", "step": 2} and there["frozen"][0].startswith("parent-")
    assert json.loads(Path("run/config.json").read_text())["parent"] == "codec"
    assert {name.partition("/")[0] for name in checkpoint("run")} == {"network", "ema", "adam", "step"}
    assert {name.partition("/")[0] for name in checkpoint("run/parent")} == {"network", "ema", "step"}
    expected = {name: value for name, value in checkpoint("codec").items() if not name.startswith("adam")}
    assert not equal(checkpoint("run/parent"), expected)

    shutil.rmtree("codec")
    result = prior("run", codec, "--images", 16)
    assert result.exit_code == 0 and "going on at 8 of 16" in result.output, result.output
    assert not equal(checkpoint("run"), checkpoint("straight")) and record_of("run") == there | {"saved": True}
    result = invoke(cli.main, "export", "straight", "--to", "models")
    assert result.exit_code == 0, result.output
    for source in ("run", "models/toy_prior/1"):
        assert invoke(cli.main, "sample", source, "--n", 4, "--out", f"{Path(source).name}.png").exit_code == 0
    assert Path("run.png").read_bytes() == Path("1.png").read_bytes()


def test_a_parent_that_has_trained_on_is_another(codec):
    """The run goes on with its copy; a new one takes the parent as it is now."""
    assert prior("run", codec, "--no-export").exit_code == 0
    assert train("--model", "toy_codec", *COMMON, "--images", 16, "--job-dir", codec, "--no-export").exit_code == 0
    assert prior("run", codec, "--images", 16, "--no-export").exit_code == 0
    assert prior("new", codec, "--no-export").exit_code == 0
    one, other = record_of("run"), record_of("new")
    assert (one["parent"]["step"], other["parent"]["step"]) == (2, 4) and one["frozen"] != other["frozen"]
    shutil.rmtree("run/parent")
    for result in (prior("run", codec, "--images", 24), invoke(cli.main, "export", "run", "--to", "models")):
        assert result.exit_code == 2
        said = " ".join(result.output.split())
        assert f"borrows the networks {one['frozen'][0]}, and what is there now is {other['frozen'][0]}" in said


def test_the_best_of_a_parent_is_lent(codec):
    model = tiny("toy_codec")
    checkpoints = Checkpoints("codec/checkpoints", model.state())
    checkpoints.keep_best({"step": 1, "metric": "kid", "value": 0.1, "images": 4})
    assert "tokens of codec at step 1" in prior("run", codec, "--no-export").output
    best = {name: value for name, value in values(model).items() if not name.startswith("adam")}
    assert not equal(read(prefix("run/parent/checkpoints", 1)), best)


def test_a_parent_may_have_a_parent(codec):
    """The copy holds both."""
    assert prior("first", codec, "--no-export").exit_code == 0
    assert prior("second", "first", "--no-export").exit_code == 0
    first = record_of("first")
    shutil.rmtree("codec")
    shutil.rmtree("first")
    assert prior("second", "first", "--images", 16).exit_code == 0
    assert json.loads(Path("second/parent/parent/config.json").read_text())["model"] == "toy_codec"
    assert record_of("second/parent") == first


def test_a_copy_that_was_not_finished_is_made_again(codec):
    folder = Path("run/parent/checkpoints")
    folder.mkdir(parents=True)
    (folder / "step-9.index").write_bytes(b"half")
    assert prior("run", codec, "--no-export").exit_code == 0
    assert not (folder / "step-9.index").exists() and (folder / "step-2.index").exists()


def test_a_parent_computes_in_float32(codec):
    keras.config.set_dtype_policy("mixed_bfloat16")
    parent = open_parent(RunDir(codec)).model
    assert parent.network.layers[-1].compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_a_precision_is_tried_with_the_parent(codec):
    """In a process apart, which is told where the parent lies."""
    assert prior("run", codec, "--no-export").exit_code == 0
    copied = dataclasses.replace(RunDir("run").read_config(), parent="run/parent")
    shutil.rmtree("codec")
    assert np.isfinite(precision._step(copied, Facts())()).all()


def test_a_parent_that_does_not_fit_gets_a_sentence(codec, tmp_path, monkeypatch):
    assert train("--model", "espcn", *COMMON, "--job-dir", "enlarger", "--no-export").exit_code == 0
    refused = {
        "--parent enlarger: toy_prior wants tokens, and espcn gives nothing": prior("run", "enlarger"),
        "nowhere is not a run folder": prior("run", "nowhere"),
        "--parent codec: espcn takes nothing from another run": train(
            "--model", "espcn", *COMMON, "--parent", codec, "--job-dir", "run"
        ),
        "toy_prior works with the tokens of another run: --parent RUN, of a model that gives them; have: toy_codec, toy_prior": train(
            "--model", "toy_prior", *COMMON, "--job-dir", "run"
        ),
    }
    for sentence, result in refused.items():
        assert sentence in unchanged(result, "run")
    for more in ([], ["--dry-run"]):
        shutil.rmtree("codec/checkpoints", ignore_errors=True)
        assert "codec has no checkpoint that can be read, and so no weights to give" in unchanged(
            prior("run", codec, *more), "run"
        )


def test_a_dry_run_reads_the_parent_and_leaves_nothing(codec):
    result = prior("run", codec, "--dry-run")
    assert result.exit_code == 0 and '"parent": "codec"' in result.output and not Path("run").exists()


def test_other_runs_are_not_looked_for_where_the_environment_puts_this_one(codec):
    options = ["--model", "toy_codec", *COMMON, "--init", codec, "--job-dir", "child", "--no-export"]
    result = train(*options, AIP_CHECKPOINT_DIR="elsewhere")
    assert result.exit_code == 0 and "begins with network and ema of codec at step 2" in result.output
    assert record_of("child")["init"] == {"run": "codec", "parts": ["network", "ema"], "step": 2}
