"""The two steps of a canary, and the way back: what the server is told, in what order, and what the file says then."""

import pytest
import served
from click.testing import CliRunner
from google.protobuf import text_format
from served import entry, listed, specific, until
from watching import watched

from serving.client.client import Client
from serving.deploy import canary
from serving.deploy.canary import Canary, CannotMove
from serving.export.session import SessionError
from serving.wire import errors, messages
from trainer.cli import main

# Of another model, which no move is about.
OTHERS = """
  model_version_policy { latest { num_versions: 2 } }
  version_labels { key: "pinned" value: 1 }
  logging_config { log_collector_config { type: "" filename_prefix: "/logs/a" } sampling_config { sampling_rate: 0.1 } }
"""


def _entry(config, name="gan"):
    """(versions, labels) of a model in a config: a message, or the path of its text."""
    if not isinstance(config, messages.ModelServerConfig):
        config = text_format.Parse(config.read_text(), messages.ModelServerConfig())
    (found,) = [one for one in config.model_config_list.config if one.name == name]
    return list(found.model_version_policy.specific.versions), dict(found.version_labels)


class Scene:
    """A server with `gan` 1 loaded and 2 to 4 in its folder, its models.config, which lists 1, and a way to move."""

    def __init__(self, server, client, folder):
        self.server, self.client, self.folder = server, client, folder
        self.address, self.path = server.grpc, folder / "models.config"

    def write(self, inside=""):
        """The models.config, with this in the entry of `gan`."""
        both = entry(self.folder / "gan", inside, "gan"), entry(self.folder / "arrays", OTHERS, "arrays")
        self.path.write_text("# what a person wrote\n" + listed(*both))

    def move(self):
        return Canary(self.client, self.path, "gan")

    def load(self, *versions):
        """Let the server have these versions of `gan`, and no others, whatever the file says."""
        arrays = entry(self.folder / "arrays", name="arrays")
        self.client.reload(listed(entry(self.folder / "gan", specific(*versions), "gan"), arrays))
        self.wait({number: "AVAILABLE" for number in versions})
        self.told()

    def told(self):
        """What the server was told of `gan` and took, config by config, and forget it."""
        entries = [_entry(config) for config in self.configs()]
        self.server.done.clear()
        return entries

    def configs(self):
        return [request.config for name, request in self.server.done if name == "handle_reload_config_request"]

    def wait(self, states):
        """Wait until the versions of `gan` that are not at their end are in these states, and no others are."""
        until(lambda: {one.version: one.state for one in self.client.status("gan") if one.state != "END"} == states)


@pytest.fixture
def scene(models, tmp_path):
    for name, number in (("arrays", 1), ("gan", 1), ("gan", 2), ("gan", 3), ("gan", 4)):
        served.place(models / name / "1", tmp_path / name, number)
    start = listed(entry(tmp_path / "gan", specific(1), "gan"), entry(tmp_path / "arrays", name="arrays"))
    with watched(tmp_path, config=start) as server, Client(server.grpc) as client:
        made = Scene(server, client, tmp_path)
        made.write(specific(1))
        yield made


def test_the_version_is_loaded_first_and_labelled_then(scene):
    assert scene.move().start(2, timeout=30) == 1
    assert scene.told() == [([1, 2], {"stable": 1}), ([1, 2], {"stable": 1, "canary": 2})]
    assert [scene.client.metadata("gan", label=label).version for label in ("stable", "canary")] == [1, 2]
    scene.wait({1: "AVAILABLE", 2: "AVAILABLE"})
    assert _entry(scene.path) == ([1, 2], {"stable": 1, "canary": 2})


def test_every_other_model_keeps_its_entry(scene):
    before = text_format.Parse(scene.path.read_text(), messages.ModelServerConfig()).model_config_list.config[1]
    scene.move().start(2, timeout=30)
    assert len(scene.configs()) == 2
    for config in (*scene.configs(), text_format.Parse(scene.path.read_text(), messages.ModelServerConfig())):
        assert config.model_config_list.config[1] == before
    assert before.logging_config.sampling_config.sampling_rate == 0.1


def test_promote_moves_stable_and_leaves_the_old_version_for_a_rollback(scene):
    scene.move().start(2, timeout=30)
    scene.told()
    assert scene.move().promote() == (1, 2)
    assert scene.told() == [([1, 2], {"stable": 2, "canary": 2, "previous": 1})]
    scene.wait({1: "AVAILABLE", 2: "AVAILABLE"})
    assert scene.move().rollback() == (2, 1)
    # The labels first: nobody is sent to a version that is on its way out.
    assert scene.told() == [([1, 2], {"stable": 1, "canary": 1}), ([1], {"stable": 1, "canary": 1})]
    scene.wait({1: "AVAILABLE"})
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
    scene.wait({2: "AVAILABLE", 3: "AVAILABLE"})


def test_versions_and_labels_of_others_stay(scene):
    scene.load(1, 3, 4)
    scene.write(specific(1, 3, 4, pinned=4, stable=3))
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
    scene.write("model_version_policy { latest { num_versions: 1 } }")
    scene.move().prepare()
    assert scene.told() == [([1], {"stable": 1, "canary": 1})]
    scene.wait({1: "AVAILABLE"})


def test_a_version_that_does_not_load_gives_server_and_file_their_old_config_back(scene):
    served.damage(scene.folder / "gan" / "2")
    with pytest.raises(errors.OutOfRange, match="gan 2: "):
        scene.move().start(2, timeout=30)
    assert scene.told() == [([1, 2], {"stable": 1}), ([1], {})]
    assert _entry(scene.path) == ([1], {})
    scene.wait({1: "AVAILABLE"})


def test_the_failure_of_an_earlier_time_is_not_taken_for_news(scene):
    """The server still tells of it when the version is loaded again, mended."""
    version = scene.folder / "gan" / "2"
    good = (version / "saved_model.pb").read_bytes()
    served.damage(version)
    with pytest.raises(errors.OutOfRange):
        scene.move().start(2, timeout=30)
    (version / "saved_model.pb").write_bytes(good)
    for versions in ((1, 3), (1,)):  # so that it has looked while version 2 was not asked for
        scene.load(*versions)
    assert scene.client.status("gan", version=2)[0].code == "OUT_OF_RANGE"
    assert scene.move().start(2, timeout=30) == 1
    scene.wait({1: "AVAILABLE", 2: "AVAILABLE"})


def test_a_version_that_is_not_there_is_given_up_in_time(scene):
    with pytest.raises(errors.DeadlineExceeded, match="version 9 of gan has not become available in time"):
        scene.move().start(9, timeout=0.3)
    assert _entry(scene.path) == ([1], {})


def test_a_wait_that_is_interrupted_gives_server_and_file_their_old_config_back(scene, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(scene.client, "wait_available", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scene.move().start(9, timeout=30)
    assert scene.told() == [([1, 9], {"stable": 1}), ([1], {})]
    assert _entry(scene.path) == ([1], {})


def test_what_the_server_refuses_changes_nothing(scene):
    scene.move().start(2, timeout=30)
    before = scene.path.read_text()
    scene.told()
    move = scene.move()
    move._require = lambda version: None  # the version goes between the look and the move
    scene.load(1)
    with pytest.raises(errors.FailedPrecondition, match="label to version 2 of model gan"):
        move.promote()
    assert scene.path.read_text() == before and scene.told() == []


def test_the_server_is_told_before_the_file_is_written(scene):
    before = scene.path.read_text()
    denied = SessionError(messages.CODES["PERMISSION_DENIED"], "RBAC: access denied")
    scene.server.faults.extend([0.0, 0.0, denied])
    with pytest.raises(errors.PermissionDenied, match="RBAC"):
        scene.move().start(2, timeout=30)
    assert scene.path.read_text() == before


@pytest.mark.parametrize(
    "inside, act, words",
    [
        (specific(1), lambda move: move.promote(), "has no canary; start one first"),
        (specific(1), lambda move: move.rollback(), "nothing to roll back"),
        ("", lambda move: move.start(1, 1), "no version of gan loaded besides 1, which it took by itself"),
        (specific(1, stable=1), lambda move: move.start(1, 1), "version 1 of gan is the stable one"),
        (specific(1, stable=1, canary=1), lambda move: move.start(1, 1), "version 1 of gan is the stable one"),
        (specific(1, 2, stable=1, canary=2), lambda move: move.start(3, 1), "version 2 of gan is the canary now"),
        (specific(1, 2, stable=1, canary=2), lambda move: move.promote(3), "canary of gan is version 2, not 3"),
        (specific(1, 2, stable=1, canary=2), lambda move: move.promote(), "2 of gan is not known to the server"),
        (specific(1, 2, stable=2, canary=1), lambda move: move.rollback(), "needs an AVAILABLE version, and 2 of gan"),
    ],
)
def test_a_move_that_cannot_be_made_is_refused_before_anything_happens(scene, inside, act, words):
    scene.write(inside)
    before = scene.path.read_text()
    with pytest.raises(CannotMove, match=words):
        act(scene.move())
    assert scene.told() == [] and scene.path.read_text() == before


GAN = entry("/m", name="gan")


@pytest.mark.parametrize(
    "text, words",
    [
        ("models: 3", "is not a valid models.config"),
        ("\ufffe", "is not a valid models.config"),
        ("model_config_list {}", "lists no models"),
        (listed(GAN, GAN), "'gan' twice"),
        (listed(GAN, entry("/m", name="hats", platform="")), "hats .* needs a model_platform"),
        (listed(GAN, entry("m", name="hats")), "not absolute: 'm'"),
        (listed(entry("/m", name="dog"), entry("/m", name="hats")), "has no model gan; it has: dog, hats"),
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
    scene.wait({1: "AVAILABLE"})
    assert _run(scene, "status").output == "version 2  END\nversion 1  AVAILABLE  canary, stable\n"


def test_the_command_refuses_in_one_sentence(scene):
    done = _run(scene, "promote")
    assert (done.exit_code, done.output) == (2, "Error: gan has no canary; start one first\n")
    done = _run(scene, "status", model="hats")
    assert done.exit_code == 2 and "has no model hats; it has: gan, arrays" in done.output
    served.damage(scene.folder / "gan" / "2")
    done = _run(scene, "start", "--version", "2")
    assert done.exit_code == 2 and done.output.startswith("Error: gan 2: ") and done.output.count("\n") == 1
    scene.path.unlink()
    done = _run(scene, "status")
    assert done.exit_code == 2 and "No such file" in done.output
    scene.write(specific(1))
    scene.address = "localhost:1"
    done = _run(scene, "prepare")
    assert done.exit_code == 2 and done.output.startswith("Error: no gRPC server can be reached at localhost:1")


def test_rest_has_no_reload(scene):
    scene.address = scene.server.rest
    done = _run(scene, "prepare")
    assert done.exit_code == 2 and "REST interface has no HandleReloadConfigRequest; ask the gRPC port" in done.output
