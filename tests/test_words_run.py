"""A run that is told words: its record, its resumption, and whether its pictures show what was asked for."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data.errors import UserError
from data.progress import silent
from serving.export.export import report
from serving.export.layout import latest
from trainer import cli, task, tasks
from trainer.evaluation.request import Request
from trainer.features import attributes, catalogue
from trainer.features.extractor import Extractor

SIDE = 16


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    extractor = Extractor("mean-1", SIDE, lambda images: images.mean(axis=(1, 2)) / 255)
    monkeypatch.setattr(catalogue, "open_features", {"packshot": extractor}.__getitem__)
    monkeypatch.setattr(attributes, "SHOWN", 1_280)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A red or blue square or stripe on white, with captions, and the colour as an attribute."""
    root = tmp_path_factory.mktemp("photos")
    lines, colours = ["file,caption"], ["file,colour"]
    for number in range(96):
        kind, colour = ("stripe", "square")[number % 2], ("red", "blue")[number // 2 % 2]
        (root / kind).mkdir(exist_ok=True)
        picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
        where = np.s_[4:12, 7:9] if kind == "stripe" else np.s_[4:12, 4:12]
        picture[where] = (200, 20, 20) if colour == "red" else (20, 20, 200)
        Image.fromarray(picture).save(root / kind / f"{number}.png")
        lines.append(f"{kind}/{number}.png,a {colour} {kind}")
        colours.append(f"{kind}/{number}.png,{colour}")
    (root / "captions.csv").write_text("\n".join(lines))
    (root / "attributes.csv").write_text("\n".join(colours))
    return root


def train(photos, run, *words):
    arguments = ["--model", "text_gan", "--preset", "tiny", "--data", f"folder:{photos}", "--job-dir", run, *words]
    return CliRunner().invoke(task.main, list(map(str, arguments)))


def evaluate(*words):
    return CliRunner().invoke(cli.main, ["evaluate", *map(str, words)])


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "words"
    done = train(photos, run, "--images", 16)
    assert done.exit_code == 0, done.output
    return run


def test_the_record_and_the_export_hold_the_words(run):
    words = {"vocabulary": ["a", "blue", "red", "square", "stripe"], "length": 3}
    assert json.loads((run / "record.json").read_text())["data"]["words"] == words
    metadata = report(latest(str(run / "export")))["metadata"]
    assert metadata["conditions"] == [{"name": "caption"} | words]


def test_a_resumed_run_keeps_its_words(run, photos, tmp_path_factory):
    """Captions that have changed are other data; accepted, they are read by the words of then."""
    written = (photos / "captions.csv").read_text()
    try:
        (photos / "captions.csv").write_text(written.replace("a red", "a crimson"))
        done = train(photos, run, "--images", 32)
        assert (
            done.exit_code == 2
            and "was trained on other data: 96 pictures then as now, but not the same ones" in done.output
        )
        done = train(photos, run, "--images", 32, "--accept-new-data", "--no-export")
        assert done.exit_code == 0, done.output
    finally:
        (photos / "captions.csv").write_text(written)
    known = json.loads((run / "record.json").read_text())
    assert (
        known["data"]["words"]["vocabulary"] == ["a", "blue", "red", "square", "stripe"] and len(known["changes"]) == 1
    )
    assert train(photos, run, "--images", 32, "--accept-new-data").exit_code == 0


def test_whether_pictures_show_what_was_asked_for(run, tmp_path):
    done = evaluate(run, "--attributes", "--n", 80, "--out", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "page.json").read_text())
    for name in ("label", "colour"):
        full = f"attribute_accuracy_{name}_{attributes.VERSION}"
        assert 0 <= found["metrics"][full]["value"] <= 1
        assert found["beside"]["real, by the classifier of attributes, held out from it"][full]["value"] == 1.0
        assert (
            f"of the made pictures show the {name} that was asked for; the classifier is right about 100.0% of real"
            in done.output
        )
    # 80 of 96 captions, in turn: 40 red ones, and as many of each kind
    assert {name: value["made"] for name, value in found["categories"].items() if ":" in name} == {
        "label: square": 40, "label: stripe": 40, "colour: blue": 40, "colour: red": 40,
    }  # fmt: skip
    right = [found["categories"][f"colour: {value}"][full]["value"] for value in ("blue", "red")]
    assert np.mean(right) == pytest.approx(found["metrics"][full]["value"])
    assert "kid_mean-1_n40" in found["categories"]["colour: red"]


def test_captions_that_name_no_value_are_told(run, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    lines = (photos / "captions.csv").read_text().splitlines()
    silent_lines = [lines[0], *(line.split(",")[0] + ",a thing" for line in lines[1:])]
    (tmp_path / "photos/captions.csv").write_text("\n".join(silent_lines))
    data = f"folder:{tmp_path / 'photos'}"
    done = evaluate(run, "--attributes", "--n", 80, "--data", data, "--out", tmp_path / "page.html")
    said = " ".join(done.output.split())
    assert done.exit_code == 2, said
    assert f"--attributes: no caption of {data} names a value of label, colour, and " in said and "is told none" in said
    assert not (tmp_path / "page.html").exists()


def test_data_without_captions_are_refused(run, tmp_path):
    for number in range(2):
        Image.new("RGB", (SIDE, SIDE)).save(tmp_path / f"{number}.png")
    done = train(tmp_path, tmp_path / "run", "--images", 16)
    assert done.exit_code == 2 and "has no captions (it has: image), and text_gan is told their words" in done.output
    done = CliRunner().invoke(
        task.main, ["--model", "vae", "--preset", "tiny", "--condition", "caption", "--job-dir", str(tmp_path / "run")]
    )
    assert (
        done.exit_code == 2
        and "--condition caption: vae cannot be told words; flow, maskgit, text_gan can" in done.output
    )
    assert not (tmp_path / "run").exists()


def test_attributes_are_not_asked_of_pictures_made_of_pictures():
    model, request = SimpleNamespace(name="runs/x4", task="enhancement", EVALUATOR=None), Request(attributes=True)
    with pytest.raises(UserError, match="--attributes asks .*; runs/x4 was told nothing but a picture"):
        tasks.of(model).gather(model, request, None, silent)
