"""A model of words, asked through its export, over gRPC and over REST."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from families import CONDITIONS, batch, tiny, told
from PIL import Image
from watching import watched

from serving.export import offline
from serving.export.export import export, report
from trainer.cli import main

TEXT = "A red, striped ZEPPELIN hat"
COMMON = ["--label", "hats", "--attribute", "colour=red", "--text", TEXT]


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """An export of a model that has learnt a little, told words, a class and a colour."""
    model = tiny("text_gan", facts=told("text_gan", CONDITIONS["two"]))
    for number in range(3):
        model.train_step(batch(model, number))
    metadata = {"task": model.task, "classes": list(model.facts.classes)}
    return export(model, str(tmp_path_factory.mktemp("models")), "words", metadata=metadata)


@pytest.fixture(scope="module")
def wordless(tmp_path_factory):
    model = tiny("mlp_gan")
    return export(model, str(tmp_path_factory.mktemp("models")), "plain", metadata={"task": model.task})


def run(*words):
    return CliRunner().invoke(main, list(map(str, words)))


def test_the_export_holds_the_vocabulary(version):
    port = report(version)["interface"]["generate"]["inputs"]["text"]
    assert port == {"kind": "text", "words": ["a", "red", "blue", "hat", "shoe", "striped"], "optional": True}
    assert offline.unknown_words(version, TEXT) == ["zeppelin"] and offline.unknown_words(version, "") == []


def test_words_change_the_picture_and_unknown_ones_do_not(version):
    def drawn(text):
        return offline.sample(version, 2, 5, conditions={"label": "hats"}, text=text)

    assert np.abs(drawn("a red hat").astype(int) - drawn("blue shoe")).max() > 0
    np.testing.assert_array_equal(drawn("zeppelin"), drawn(""))
    np.testing.assert_array_equal(drawn(["a red hat", "blue shoe"])[1], drawn("blue shoe")[1])
    np.testing.assert_array_equal(drawn("A RED hat!"), drawn("a red hat"))


def test_sample_and_requests_give_the_same_picture_and_say_which_words_are_unknown(version, tmp_path):
    grid = tmp_path / "grid.png"
    done = run("sample", version, "--n", 1, "--seed", 3, *COMMON, "--out", grid)
    assert done.exit_code == 0 and "warning: the model does not know, and passes over: zeppelin" in done.output
    expected = offline.sample(version, 1, 3, conditions={"label": 1, "colour": 0}, text="a red striped x hat")[0]
    assert np.array_equal(np.asarray(Image.open(grid))[:16, :16], expected)
    with watched(Path(version).parent.parent, "words") as server:
        for target in (server.grpc, server.rest):
            out = tmp_path / target.replace("/", "")
            asked = ("request", "--server", target, "--model", "words", "generate", "--seed", 3)
            done = run(*asked, *COMMON, "--out", out)
            assert done.exit_code == 0, done.output
            assert "warning: the model does not know, and passes over: zeppelin" in done.output
            (picture,) = out.iterdir()
            assert picture.name == "seed-3-hats-red-A-red%2C-striped-ZEPPELIN-hat.png" or "ZEPPELIN" in picture.name
            np.testing.assert_array_equal(np.asarray(Image.open(picture)), expected)
            assert run(*asked, "--label", "hats", "--out", out / "silent").exit_code == 0
            silent = np.asarray(Image.open(next((out / "silent").iterdir())))
            np.testing.assert_array_equal(silent, offline.sample(version, 1, 3, conditions={"label": 1}, text="")[0])


def test_a_model_without_words_is_not_told_any(wordless, tmp_path):
    done = run("sample", wordless, "--text", "a hat", "--out", tmp_path / "grid.png")
    assert done.exit_code == 2 and "is told no words; leave the text out" in done.output
    with watched(Path(wordless).parent.parent, "plain") as server:
        done = run("request", "--server", server.grpc, "--model", "plain", "generate", "--text", "a", "--out", tmp_path)
        assert done.exit_code == 2 and "the model plain is told no words; leave --text out" in done.output
