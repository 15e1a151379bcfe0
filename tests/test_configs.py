"""Configurations of runs: what is written, compared and refused, and that those of every earlier version open and go on."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from running import lines, train

from data.errors import UserError
from models import catalogue
from models.settings import check_numbers
from serving.export.export import REPORT
from trainer.evaluation.evaluated_model import open_model
from trainer.runs.config import SCHEMA, Damaged, RunConfig, differences
from trainer.runs.folder import RunDir

OLD = (
    Path(__file__).parent / "configs"
)  # config.json as earlier versions wrote it, each named for how it differs from today's
GONE = {
    "r3gan-one-number-of-blocks": "has blocks=1, and blocks takes another kind of value here",
    "r3gan-with-stem": "has the setting stem, which is not known here",
}
NAMES = sorted(path.stem for path in OLD.glob("*.json"))
OPEN = [name for name in NAMES if name not in GONE]


def values(name="r3gan-without-schema"):
    return json.loads((OLD / f"{name}.json").read_text())


def command(run, folder, *more):
    """Train the run of `values` again, as its user would."""
    options = [f"--{name}={run[name]}" for name in ("model", "preset", "data", "fit", "view", "seed", "augment")]
    settings = [
        f"--set={name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in run["settings"].items()
    ]
    return train(*options, *settings, "--job-dir", folder, "--no-export", *more)


@pytest.fixture
def extended(monkeypatch):
    """A function (default) that gives mlp_gan's config one more field, `extra`, as a later version may."""
    family = catalogue.load("mlp_gan")
    presets, config = family.PRESETS, family.Config

    def extend(default):
        made = dataclasses.make_dataclass("Config", [("extra", float, default)], bases=(config,), frozen=True)
        monkeypatch.setattr(family, "Config", made)
        monkeypatch.setattr(
            family, "PRESETS", {name: made(**dataclasses.asdict(preset)) for name, preset in presets.items()}
        )

    return extend


def test_a_configuration_survives_json():
    run = RunConfig.from_values(values(), "a")
    assert json.loads(run.to_json())["schema"] == SCHEMA
    assert RunConfig.from_json(run.to_json(), "a") == run and isinstance(run.settings["channels"], tuple)


def test_differences_are_named_and_the_length_is_none():
    one = RunConfig.from_values(values(), "a")
    other = dataclasses.replace(one, seed=2, settings=one.settings | {"gamma": 3.0, "images": 6})
    assert differences(one, other) == ["seed: 0 -> 2", "gamma: 1.0 -> 3.0"] and differences(one, one) == []


@pytest.mark.parametrize("name", OPEN)
def test_configurations_of_earlier_versions_open(name):
    run = RunConfig.from_values(values(name), name)
    assert run.mirror is values(name).get("mirror", True)
    fields = {field.name: field.default for field in dataclasses.fields(catalogue.load(run.model).Config)}
    assert json.loads(json.dumps(run.settings)) == json.loads(json.dumps(fields)) | values(name)["settings"]


@pytest.mark.parametrize("name", OPEN)
def test_runs_of_earlier_versions_are_known_again(name, tmp_path):
    old = values(name)
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert command(old, tmp_path, "--dry-run").exit_code == 0
    other = command(old, tmp_path, "--dry-run", "--seed", old["seed"] + 1)
    assert other.exit_code == 2 and f"seed: {old['seed']} -> {old['seed'] + 1}" in other.output


@pytest.mark.parametrize("name", ["espcn-without-mirror", "mlp_gan-without-mirror"])
def test_runs_of_earlier_versions_go_on(name, tmp_path):
    old = values(name) | {"settings": values(name)["settings"] | {"images": 16}}
    for images in (16, 24):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / "config.json").write_text(json.dumps(old))
        result = command(old, tmp_path / "run", "--images", images)
        assert result.exit_code == 0, result.output
    assert "going on at 16 of 24 pictures" in result.output and lines(tmp_path / "run")[-1]["images"] == 24
    assert json.loads((tmp_path / "run" / "config.json").read_text())["schema"] == SCHEMA


@pytest.mark.parametrize("name", GONE)
def test_what_has_changed_its_meaning_is_refused_by_name(name, tmp_path):
    shutil.copy(OLD / f"{name}.json", tmp_path / "config.json")
    with pytest.raises(UserError, match=f"{tmp_path}/config.json {GONE[name]}; it was written by a newer version, or"):
        RunDir(str(tmp_path)).read_config()
    result = train("--preset", "tiny", "--job-dir", tmp_path, "--data", "studio:40")
    assert result.exit_code == 2 and GONE[name] in result.output and "Traceback" not in result.output


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"schema": SCHEMA + 1}, f"^here has schema {SCHEMA + 1}, and this packshot knows 0 to {SCHEMA}; it was written by a newer"),
        ({"schema": "x"}, "^here has schema 'x'"),
        ({"colour": "red"}, "^here has the setting colour, which is not known here; it was written"),
        ({"model": "nogan"}, "^here is of the model 'nogan', which this packshot does not have; it was written"),
        ({"seed": "one"}, '^here has seed="one", and seed takes another kind of value here'),
        ({"seed": True}, "^here has seed=true, and seed takes"),
        ({"settings": {"batch_size": 0}}, "^here: batch_size must be 1 or more, not 0$"),
        ({"settings": {"channels": [8, 0]}}, "^here: channels must be 1 or more, not 0$"),
        ({"settings": {"channels": [8, 0.5]}}, r"^here has channels=\[8, 0.5\], and channels takes"),
    ],
)  # fmt: skip
def test_a_foreign_setting_is_named(change, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        RunConfig.from_values(values() | change, "here")
    assert not isinstance(caught.value, Damaged)


@pytest.mark.parametrize("text, why", [
    ("{", "it is not JSON"), ("[]", "no run configuration"), ('{"model": 1}', "no run configuration"),
    ('{"settings": {}}', "it has no model"),
])  # fmt: skip
def test_what_is_no_configuration_is_damaged(text, why):
    with pytest.raises(Damaged, match=why):
        RunConfig.from_json(text, "here")


def test_a_hyperparameter_that_is_added_leaves_old_runs_resumable(tmp_path, extended):
    asked = ["--model", "mlp_gan", "--preset", "tiny", "--data", "studio:40", "--job-dir", tmp_path, "--no-export"]
    assert train(*asked, "--images", 16).exit_code == 0
    extended(0.5)
    result = train(*asked, "--images", 24)
    assert result.exit_code == 0 and "going on at 16 of 24 pictures" in result.output
    assert json.loads((tmp_path / "config.json").read_text())["settings"]["extra"] == 0.5
    result = train(*asked, "--images", 24, "--set", "extra=0.7")
    assert result.exit_code == 2 and "undo: extra: 0.5 -> 0.7" in result.output


def test_an_export_is_read_through_the_same_door(tmp_path, extended):
    asked = ["--model", "mlp_gan", "--preset", "tiny", "--data", "studio:40", "--images", 16]
    assert train(*asked, "--job-dir", tmp_path / "run").exit_code == 0
    version = tmp_path / "run" / "export" / "mlp_gan" / "1"
    extended(0.5)
    subject = open_model(str(version), print)
    assert subject.run.settings["extra"] == 0.5 and subject.as_values()["run"]["schema"] == SCHEMA
    written = json.loads((version / REPORT).read_text())
    written["metadata"]["configuration"]["settings"]["colour"] = "red"
    (version / REPORT).write_text(json.dumps(written))
    with pytest.raises(UserError, match=f"the export.json of {version} has the setting colour, which is not known"):
        open_model(str(version), print)


def test_numbers_are_checked_by_name():
    @dataclasses.dataclass
    class Config:
        images: int = 1
        share: float = 0.0
        widths: tuple[int, ...] = (1,)
        word: str = "-1"

        def __post_init__(self):
            check_numbers(self, "widths")

    Config()
    for wrong in ({"images": 0}, {"share": -0.1}, {"share": float("nan")}, {"widths": (1, 0)}):
        (name,) = wrong
        with pytest.raises(UserError, match=f"^{name} must be [01] or more, not "):
            Config(**wrong)


@pytest.mark.parametrize("name", catalogue.names())
def test_every_family_checks_its_numbers(name):
    tiny = catalogue.load(name).PRESETS["tiny"]
    for field in dataclasses.fields(tiny):
        if isinstance(getattr(tiny, field.name), float):
            with pytest.raises(UserError, match=f"^{field.name} must be 0 or more, not -1.0"):
                dataclasses.replace(tiny, **{field.name: -1.0})
    for field in ("resolution", "batch_size", "images"):
        with pytest.raises(UserError, match=f"^{field} must be 1 or more, not 0"):
            dataclasses.replace(tiny, **{field: 0})
