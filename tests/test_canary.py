"""The two steps of a canary, and the way back: what the server is told, in what order, and what the file says then."""

import contextlib

import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from serving_double import Double, Refusal, Version, running

from serving import canary, errors, protocol
from serving.canary import Canary, CannotMove
from serving.client import Client
from trainer.cli import main

OTHER = """
  config {
    name: "arrays" base_path: "gs://bucket/arrays" model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } }
    version_labels { key: "pinned" value: 1 }
    logging_config { log_collector_config { type: "" filename_prefix: "/logs/a" } sampling_config { sampling_rate: 0.1 } }
  }
"""


def _text(inside="", other=OTHER):
    return f"""
# what a person wrote
model_config_list {{
  config {{ name: "gan" base_path: "/models/gan" model_platform: "tensorflow" {inside} }}
  {other}
}}
"""


def _specific(*versions, **labels):
    listed = " ".join(f"versions: {version}" for version in versions)
    labelled = " ".join(f'version_labels {{ key: "{label}" value: {number} }}' for label, number in labels.items())
    return f"model_version_policy {{ specific {{ {listed} }} }} {labelled}"


def _entry(config, name="gan"):
    """(versions, labels) of a model in a config: a message, or the path of its text."""
    if not isinstance(config, protocol.ModelServerConfig):
        config = text_format.Parse(config.read_text(), protocol.ModelServerConfig())
    (entry,) = [entry for entry in config.model_config_list.config if entry.name == name]
    return list(entry.model_version_policy.specific.versions), dict(entry.version_labels)


class Scene:
    """A running double with `gan` 1 loaded and 2 to 4 on disk, its models.config, which lists 1, and a way to move."""

    def __init__(self, server, path):
        self.double, self.address, self.path = server.double, server.grpc, path
        self.client = Client(server.grpc)

    def move(self):
        return Canary(self.client, self.path, "gan")

    def told(self):
        """What the server was told of `gan`, config by config, and forget it."""
        entries = [_entry(config) for config in self.double.configs]
        self.double.configs.clear()
        return entries

    def states(self):
        return {number: version.state for number, version in self.double.versions["gan"].items()}


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "models.config"
    path.write_text(_text(_specific(1)))
    double = Double({"gan": {1: Version()}, "arrays": {1: Version()}})
    double.disk = {"gan": {number: Version("END", looks=2) for number in (2, 3, 4)}}
    with running(double) as server:
        made = Scene(server, path)
        with made.client:
            yield made


def test_the_version_is_loaded_first_and_labelled_then(scene):
    assert scene.move().start(2, timeout=30) == 1
    assert scene.told() == [([1, 2], {"stable": 1}), ([1, 2], {"stable": 1, "canary": 2})]
    assert scene.double.labels["gan"] == {"stable": 1, "canary": 2}
    assert scene.states() == {1: "AVAILABLE", 2: "AVAILABLE"}
    assert _entry(scene.path) == ([1, 2], {"stable": 1, "canary": 2})


def test_every_other_model_keeps_its_entry(scene):
    before = text_format.Parse(_text(), protocol.ModelServerConfig()).model_config_list.config[1]
    scene.move().start(2, timeout=30)
    for config in (*scene.double.configs, text_format.Parse(scene.path.read_text(), protocol.ModelServerConfig())):
        assert config.model_config_list.config[1] == before
    assert before.logging_config.sampling_config.sampling_rate == 0.1


def test_promote_moves_stable_and_leaves_the_old_version_for_a_rollback(scene):
    scene.move().start(2, timeout=30)
    scene.told()
    assert scene.move().promote() == (1, 2)
    assert scene.told() == [([1, 2], {"stable": 2, "canary": 2, "previous": 1})]
    assert scene.states() == {1: "AVAILABLE", 2: "AVAILABLE"}
    assert scene.move().rollback() == (2, 1)
    # The labels first: nobody is sent to a version that is on its way out.
    assert scene.told() == [([1, 2], {"stable": 1, "canary": 1}), ([1], {"stable": 1, "canary": 1})]
    assert scene.states() == {1: "AVAILABLE", 2: "END"}
    assert _entry(scene.path) == ([1], {"stable": 1, "canary": 1})


def test_a_canary_that_is_not_promoted_is_rolled_back_to_stable(scene):
    scene.move().start(2, timeout=30)
    scene.told()
    assert scene.move().rollback() == (2, 1)
    assert scene.told() == [([1, 2], {"stable": 1, "canary": 1}), ([1], {"stable": 1, "canary": 1})]
    with pytest.raises(CannotMove, match="nothing to roll back"):
        scene.move().rollback()


def test_the_next_start_unloads_what_promote_left(scene):
    scene.move().start(2, timeout=30)
    scene.move().promote(2)
    scene.told()
    assert scene.move().start(3, timeout=30) == 2
    assert scene.told() == [([2, 3], {"stable": 2, "canary": 2}), ([2, 3], {"stable": 2, "canary": 3})]
    assert scene.states() == {1: "END", 2: "AVAILABLE", 3: "AVAILABLE"}


def test_versions_and_labels_of_others_stay(scene):
    scene.double.versions["gan"] |= {3: Version(), 4: Version()}
    scene.path.write_text(_text(_specific(1, 3, 4, pinned=4, stable=3)))
    assert scene.move().start(2, timeout=30) == 3
    assert scene.told()[-1] == ([1, 2, 3, 4], {"pinned": 4, "stable": 3, "canary": 2})
    scene.move().rollback()
    assert _entry(scene.path) == ([1, 3, 4], {"pinned": 4, "stable": 3, "canary": 3})


def test_prepare_lets_clients_ask_for_labels_before_there_is_a_choice(scene):
    assert scene.move().prepare() == 1
    assert scene.told() == [([1], {"stable": 1, "canary": 1})]
    assert scene.client.predict("gan", {"seed": [1], "truncation": [1]}, label="canary")["images"].shape[0] == 1
    scene.move().start(2, timeout=30)
    assert scene.move().prepare() == 1  # changes nothing
    assert _entry(scene.path) == ([1, 2], {"stable": 1, "canary": 2})


def test_the_policy_latest_becomes_a_list(scene):
    """Else the server would take the next version by itself, and unload the stable one."""
    scene.path.write_text(_text("model_version_policy { latest { num_versions: 1 } }"))
    scene.double.disk["gan"].clear()
    scene.move().prepare()
    assert scene.told() == [([1], {"stable": 1, "canary": 1})]


def test_a_version_that_does_not_load_gives_server_and_file_their_old_config_back(scene):
    scene.double.disk["gan"][2].broken = "Could not find variable conv2d/bias"
    with pytest.raises(errors.NotFound, match="gan 2: Could not find variable conv2d/bias"):
        scene.move().start(2, timeout=30)
    assert scene.told() == [([1, 2], {"stable": 1}), ([1], {})]
    assert _entry(scene.path) == ([1], {})
    assert scene.states() == {1: "AVAILABLE", 2: "END"}


def test_the_failure_of_an_earlier_time_is_not_taken_for_news(scene):
    """The server still tells of it when the version is loaded again, mended."""
    scene.double.versions["gan"][2] = Version("END", broken="half a copy")
    assert scene.move().start(2, timeout=30) == 1
    assert scene.states()[2] == "AVAILABLE"


def test_a_version_that_is_not_there_is_given_up_in_time(scene):
    with pytest.raises(errors.DeadlineExceeded, match="version 9 of gan has not become available in time"):
        scene.move().start(9, timeout=0.3)
    assert _entry(scene.path) == ([1], {})


def test_what_the_server_refuses_changes_nothing(scene):
    scene.move().start(2, timeout=30)
    before = scene.path.read_text()
    scene.told()
    move = scene.move()
    move._require = lambda version: None  # the version goes between the look and the move
    scene.double.versions["gan"][2].state = "END"
    with pytest.raises(errors.FailedPrecondition, match="label to version 2 of model gan"):
        move.promote()
    assert scene.path.read_text() == before and scene.told() == []


def test_the_server_is_told_before_the_file_is_written(scene):
    before = scene.path.read_text()
    scene.double.faults.extend([0.0, 0.0, Refusal("PERMISSION_DENIED", "RBAC: access denied")])
    with pytest.raises(errors.PermissionDenied, match="RBAC"):
        scene.move().start(2, timeout=30)
    assert scene.path.read_text() == before


@pytest.mark.parametrize(
    "inside, act, words",
    [
        (_specific(1), lambda move: move.promote(), "has no canary; start one first"),
        (_specific(1), lambda move: move.rollback(), "nothing to roll back"),
        ("", lambda move: move.start(1, 1), "no version of gan loaded besides 1, which it took by itself"),
        (_specific(1, stable=1), lambda move: move.start(1, 1), "version 1 of gan is the stable one"),
        (_specific(1, stable=1, canary=1), lambda move: move.start(1, 1), "version 1 of gan is the stable one"),
        (_specific(1, 2, stable=1, canary=2), lambda move: move.start(3, 1), "version 2 of gan is the canary now"),
        (_specific(1, 2, stable=1, canary=2), lambda move: move.promote(3), "canary of gan is version 2, not 3"),
        (_specific(1, 2, stable=1, canary=2), lambda move: move.promote(), "2 of gan is not known to the server"),
        (_specific(1, 2, stable=2, canary=1), lambda move: move.rollback(), "needs an AVAILABLE version, and 2 of gan"),
    ],
)
def test_a_move_that_cannot_be_made_is_refused_before_anything_happens(scene, inside, act, words):
    scene.path.write_text(_text(inside))
    before = scene.path.read_text()
    with pytest.raises(CannotMove, match=words):
        act(scene.move())
    assert scene.double.configs == [] and scene.path.read_text() == before


@pytest.mark.parametrize(
    "text, words",
    [
        ("models: 3", "is no models.config"),
        ("\ufffe", "is no models.config"),
        ("model_config_list {}", "lists no models"),
        (_text(other='config { name: "gan" base_path: "/m" model_platform: "tensorflow" }'), "'gan' twice"),
        (_text(other='config { name: "hats" base_path: "/m" }'), "hats .* needs a model_platform"),
        (_text(other='config { name: "hats" base_path: "m" model_platform: "tensorflow" }'), "not absolute: 'm'"),
        (_text().replace('"gan"', '"dog"'), "has no model gan; it has: dog, arrays"),
    ],
)
def test_a_file_the_server_would_refuse_is_refused(tmp_path, text, words):
    path = tmp_path / "models.config"
    path.write_text(text)
    with Client("localhost:1") as client, pytest.raises(CannotMove, match=words):
        Canary(client, path, "gan")


def test_a_file_that_cannot_be_written_is_told_with_what_the_server_knows(scene, monkeypatch):
    def full(path, content):
        raise OSError("No space left on device")

    monkeypatch.setattr(canary.files, "write", full)
    with pytest.raises(
        OSError, match="the server has taken the change, but .*models.config could not be written: No sp"
    ):
        scene.move().prepare()


# The command


def _run(scene, command, *more, model="gan"):
    words = ["canary", command, "--server", scene.address, "--model", model, "--config", str(scene.path), *more]
    return CliRunner().invoke(main, words)


def test_the_command_says_where_the_labels_are(scene):
    assert _run(scene, "prepare").output == "stable and canary: version 1\n"
    assert _run(scene, "start", "--version", "2").output == "stable: version 1; canary: version 2\n"
    assert _run(scene, "status").output == "version 2  AVAILABLE  canary\nversion 1  AVAILABLE  stable\n"
    assert _run(scene, "promote", "--version", "2").output == "stable and canary: version 2; version 1 stays loaded\n"
    assert _run(scene, "status").output == "version 2  AVAILABLE  canary, stable\nversion 1  AVAILABLE  previous\n"
    assert _run(scene, "rollback").output == "stable and canary: version 1; version 2 is being unloaded\n"
    assert _run(scene, "status").output == "version 2  END\nversion 1  AVAILABLE  canary, stable\n"


def test_the_command_refuses_in_one_sentence(scene, tmp_path):
    done = _run(scene, "promote")
    assert (done.exit_code, done.output) == (2, "Error: gan has no canary; start one first\n")
    done = _run(scene, "status", model="hats")
    assert done.exit_code == 2 and "has no model hats; it has: gan, arrays" in done.output
    scene.double.disk["gan"][2].broken = "half a copy"
    done = _run(scene, "start", "--version", "2")
    assert (done.exit_code, done.output) == (2, "Error: gan 2: half a copy\n")
    scene.path.unlink()
    done = _run(scene, "status")
    assert done.exit_code == 2 and "No such file" in done.output
    scene.path.write_text(_text(_specific(1)))
    with contextlib.closing(scene.client):
        scene.address = "localhost:1"
        done = _run(scene, "prepare")
    assert done.exit_code == 2 and done.output.startswith("Error: no gRPC server can be reached at localhost:1")


def test_rest_has_no_reload(scene, tmp_path):
    with running(scene.double) as again:
        scene.address = again.rest
        done = _run(scene, "prepare")
    assert done.exit_code == 2 and "REST interface has no HandleReloadConfigRequest; ask the gRPC port" in done.output
