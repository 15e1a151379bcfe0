"""Runs that begin with the weights of another run."""

import json
import shutil

import numpy as np
import pytest
from families import batch, tiny, values
from running import checkpoint, train

from data.errors import UserError
from trainer.runs.checkpoints import Checkpoints
from trainer.runs.parents import initialise


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
