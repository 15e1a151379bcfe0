"""Names, numbers and version folders mean here what they mean to a server."""

import pytest

from serving.export import layout
from serving.export.layout import BadName


def place(folder, *versions):
    for version in versions:
        (folder / version).mkdir(parents=True)
        (folder / version / "saved_model.pb").touch()


@pytest.mark.parametrize("name", ["r3gan", "mlp_gan2", "A.b-c", "7", "x" * 128])
def test_names_that_can_stand_in_a_url_and_in_a_path(name):
    assert layout.check_name(name) == name


BAD = ["my model", "../up", "a/b", "a:b", ".hid", "r3gan ", "", "-x", "_x", "a\n", "schuhe-größe", "a%41", "x" * 129]


@pytest.mark.parametrize("name", [*BAD, "models.config", "batching.config", "monitoring.config"])
def test_other_names_are_refused(name):
    with pytest.raises(BadName, match="^the name "):
        layout.check_name(name)


@pytest.mark.parametrize(
    "name, number",
    [("7", 7), ("00000007", 7), ("0", 0), (f"{2**63 - 1}", 2**63 - 1), ("0" * 30 + "12", 12)]
    + [(name, None) for name in ("", "v7", "7 ", "-7", "+7", "7.0", "٧", "²", f"{2**63}", "9" * 20, "9" * 5000)],
)
def test_a_folder_is_the_version_that_a_server_takes_it_for(name, number):
    assert layout.number(name) == number


@pytest.mark.parametrize("version", [0, -1, 2**63, 10**30])
def test_versions_are_those_a_request_can_ask_for(version):
    with pytest.raises(BadName, match="from 1 to 9223372036854775807"):
        layout.check_version(version)


def test_versions_are_found_by_number_and_only_with_a_model_in_them(tmp_path):
    place(tmp_path / "m", "2", "00000007", ".export-12", "tmp-11")
    (tmp_path / "m" / "9").mkdir()
    (tmp_path / "m" / "notes.txt").touch()
    assert layout.versions(f"{tmp_path}/m") == {2: f"{tmp_path}/m/2", 7: f"{tmp_path}/m/00000007"}
    assert list(layout.versions(f"{tmp_path}/m")) == [2, 7]
    assert layout.taken(f"{tmp_path}/m") == [2, 7, 9]  # a server would try to load it, so nothing below can follow
    newest = f"{tmp_path}/m/00000007"
    assert layout.latest(tmp_path) == layout.latest(tmp_path / "m") == layout.latest(f"{newest}/") == newest


def test_models_are_folders_with_a_version(tmp_path):
    place(tmp_path / "b", "1")
    place(tmp_path / "a", "1")
    place(tmp_path / ".trash", "1")
    (tmp_path / "empty" / "1").mkdir(parents=True)
    (tmp_path / "models.config").touch()
    assert layout.models(str(tmp_path)) == ["a", "b"]
    assert layout.models(str(tmp_path / "nowhere")) == [] and layout.versions(str(tmp_path / "models.config")) == {}
