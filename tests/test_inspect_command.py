"""`packshot inspect` on the command line: what it says and writes, what it refuses, and that it touches no picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from shelf import of_kind, product, put

from benchmarks import plant
from benchmarks.defects import saved
from data.catalogue import open_source
from data.inspection import inventory, verdict
from data.inspection.exposure import Exposure
from data.inspection.findings import Finding, find_defects
from data.inspection.inventory import Entry
from data.inspection.kinds import KINDS
from data.inspection.survey import Record, survey
from data.quarantine import Quarantine
from trainer.cli import main


def inspect(*words):
    return CliRunner().invoke(main, ["inspect", *map(str, words)])


@pytest.fixture
def shop(tmp_path):
    """Two classes in two splits, with a picture in both splits, one twice, one damaged and one dark."""
    root = tmp_path / "shop"
    for number in range(4):
        put(root / f"train/{('hat', 'mug')[number % 2]}/{number}.jpg", product(number))
        put(root / f"validation/{('hat', 'mug')[number % 2]}/{number}.jpg", product(4 + number))
    put(root / "train/hat/leaked.jpg", saved(product(4), quality=50))
    put(root / "train/mug/again.jpg", product(1))
    put(root / "train/mug/cut.jpg", saved(product(9))[:3000])
    put(root / "train/hat/dark.jpg", product(10).point(lambda value: value // 4))
    return root


def contents(root):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(root.rglob("*")) if path.is_file()}


def test_it_says_what_is_wrong_and_what_to_do(shop):
    done = inspect(shop)
    assert done.exit_code == 0, done.output
    for sentence in (
        "11 pictures (7 in train, 4 in validation) of 2 classes; the smallest class is mug with 3, the largest hat with 4.",
        "2 pictures in 1 group of copies lie in more than one split: what is measured there is too good.",
        "1 picture repeats another of the same split.",
        "1 file cannot be read.",
        "A cleaned list keeps 9 of 12 (`--fix`).",
        "Train at 64 px with `--augment ada`: 7 pictures to train on are too few for more.",
        "Too rare to be learnt as a class (below 100): hat, mug.",
        "Worth a look: 1 picture (9.1%): 1 dark.",
        "error: Unreadable (1)\n  train/mug/cut.jpg: truncated or damaged JPEG picture",
        "error: Copies across splits (1)\n  validation/hat/0.jpg, train/hat/leaked.jpg: the same picture in validation and train",
    ):
        assert sentence in done.output, done.output


def test_json_holds_everything(shop, tmp_path):
    assert inspect(shop, "--json", tmp_path / "out.json").exit_code == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert list(report) == [
        "made_by",
        "schema",
        "data",
        "verdict",
        "pictures",
        "splits",
        "sizes",
        "formats",
        "modes",
        "backgrounds",
        "counts",
        "findings",
        "thresholds",
    ]
    assert report["schema"] == 1 and report["data"] == str(shop)
    assert report["pictures"] == {"total": 12, "readable": 11, "kept": 9}
    assert report["splits"] == {"train": {"hat": 4, "mug": 3}, "validation": {"hat": 2, "mug": 2}}
    assert report["sizes"]["median"] == {"width": 240, "height": 240}
    assert report["formats"] == {"JPEG": 11} and report["modes"] == {"RGB": 11}
    assert sum(report["backgrounds"].values()) == pytest.approx(1, abs=1e-3)
    assert list(report["counts"]) == list(KINDS) and sum(report["counts"].values()) == len(report["findings"])
    assert report["findings"][0] | {"reason": ""} == {
        "kind": "unreadable",
        "severity": "error",
        "pictures": ["train/mug/cut.jpg"],
        "reason": "",
        "score": 0.0,
        "box": None,
    }
    assert report["thresholds"]["DARK"] == {
        "value": 0.4,
        "unit": "of white",
        "reason": "the brightest channel of 19 pixels in 20 stays below this",
    }


def test_a_cleaned_list_trains_and_no_original_is_touched(shop, tmp_path):
    before = contents(shop)
    done = inspect(shop, "--fix", tmp_path / "good.txt", "--drop", "dark", "--out", tmp_path / "page.html")
    assert done.exit_code == 0 and contents(shop) == before
    lines = (tmp_path / "good.txt").read_text().splitlines()
    assert lines[0] == f"# 8 of 12 pictures of {shop}, chosen by packshot inspect"
    gone = {"train/hat/leaked.jpg", "train/mug/again.jpg", "train/mug/cut.jpg", "train/hat/dark.jpg"}
    assert set(map(Path, lines[1:])) == {path for path in before if str(path.relative_to(shop)) not in gone}
    for split, count in (("", 4), ("#validation", 4)):
        source = open_source(f"list:{tmp_path / 'good.txt'}{split}")
        examples = list(source.examples(16, "crop", quarantine := Quarantine()))
        assert len(examples) == source.count == count and source.classes == ("hat", "mug") and not len(quarantine)
    again = inspect(f"list:{tmp_path / 'good.txt'}", "--json", tmp_path / "again.json")
    assert again.exit_code == 0
    report = json.loads((tmp_path / "again.json").read_text())
    assert report["pictures"] == {"total": 8, "readable": 8, "kept": 8}
    assert not [f for f in report["findings"] if f["kind"] in ("leakage", "exact_duplicate", "unreadable", "dark")]


def test_its_own_reports_may_be_written_again(shop, tmp_path):
    words = (shop, "--fix", tmp_path / "good.txt", "--out", tmp_path / "page.html", "--json", tmp_path / "out.json")
    assert [inspect(*words).exit_code for _ in range(2)] == [0, 0]


def test_one_split_alone_has_no_leak(shop, tmp_path):
    assert inspect(f"folder:{shop}#validation", "--json", tmp_path / "out.json").exit_code == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["pictures"]["total"] == 4 and report["counts"]["leakage"] == 0


def test_a_name_with_a_line_break_is_kept_out_of_the_list(tmp_path):
    put(tmp_path / "photos" / "two\nlines.jpg", product(0))
    put(tmp_path / "photos" / "one.jpg", product(1))
    done = inspect(tmp_path / "photos", "--fix", tmp_path / "good.txt")
    assert "1 picture could not be listed: the names hold line breaks" in done.output
    assert (tmp_path / "good.txt").read_text().splitlines()[1:] == [str(tmp_path / "photos" / "one.jpg")]


def test_strict_is_for_machines(shop, tmp_path):
    assert inspect(shop, "--strict").exit_code == 1
    put(tmp_path / "clean" / "a.jpg", product(0))
    put(tmp_path / "clean" / "b.gif", saved(product(1), "GIF"))
    done = inspect(tmp_path / "clean", "--strict")
    assert done.exit_code == 0 and "note: Palette (1)" in done.output and "Nothing else stands out." in done.output


REFUSALS = {
    "no such folder": (["{root}/nowhere"], "is neither an existing folder nor one of"),
    "nothing in it": (["folder:{root}/empty"], "empty is empty"),
    "no list": (["list:{root}/none.txt"], "cannot be read: No such file or directory"),
    "fix of drawings": (["studio:4", "--fix", "{root}/a.txt"], "--fix lists files, and studio:4 has none of its own"),
    "drop alone": (["{root}/photos", "--drop", "blurry"], "--drop needs --fix"),
    "drop of nothing": (["{root}/photos", "--fix", "{root}/a.txt", "--drop", "ugly"], "'ugly' is not one of"),
    "over a picture": (
        ["{root}/photos", "--out", "{root}/photos/a.jpg"],
        "a.jpg is read here and would be written over",
    ),
    "over a picture by a link": (["{root}/photos", "--json", "{root}/link"], "would be written over"),
    "over another file": (["{root}/photos", "--out", "{root}/notes.txt"], "notes.txt is there and was not made by"),
    "two in one file": (["{root}/photos", "--out", "{root}/x", "--json", "{root}/./x"], "would be one file"),
    "over the list": (["list:{root}/list.txt", "--fix", "{root}/list.txt"], "list.txt is read here"),
    "over a folder": (["{root}/photos", "--out", "{root}/empty"], "empty is a folder; the name of a file is needed"),
    "in a file": (["{root}/photos", "--out", "{root}/photos/a.jpg/x.html"], "a.jpg"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_done_is_refused_in_one_sentence(tmp_path, case):
    (tmp_path / "empty").mkdir()
    photo = put(tmp_path / "photos" / "a.jpg", product(0))
    (tmp_path / "link").symlink_to(photo)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "list.txt").write_text(f"# 1 of 1 pictures, chosen by packshot inspect\n{photo}\n")
    before = photo.read_bytes()
    words, sentence = REFUSALS[case]
    done = inspect(*(word.format(root=tmp_path) for word in words))
    assert done.exit_code == 2 and sentence in done.output.replace("\n", " "), done.output
    assert isinstance(done.exception, SystemExit) and photo.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link", "list.txt", "notes.txt", "photos"]


def test_a_folder_of_damaged_files_is_said_to_be_one(tmp_path):
    put(tmp_path / "a.jpg", b"")
    put(tmp_path / "b.jpg", b"no picture")
    done = inspect(tmp_path)
    assert done.exit_code == 0 and "None of the pictures can be read." in done.output


def record(name, side, background="busy", label=""):
    light = Exposure(1.0, 1.0, 0.0, 0.0, 0.0, background, "#808080", False)
    return Record(Entry(name, "", label, name), digest=name, width=side, height=side, exposure=light)


@pytest.mark.parametrize(
    "count, side, sentence",
    [
        (500, 300, "Train at 64 px with `--augment ada`: 500 pictures to train on are too few for more."),
        (500, 50, "Train at 32 px with `--augment ada`: one picture in ten has a shorter side below 50 px."),
        (3000, 300, "Train at 64 or 128 px with `--augment ada`: 3,000 pictures to train on are too few for more."),
        (20000, 300, "Train at 128 or 256 px with `--augment ada`."),
        (60000, 300, "Train at 128 or 256 px."),
    ],
)
def test_the_size_to_train_at(count, side, sentence):
    assert sentence in verdict.sentences([record("a", side)] * count, [], count)


def test_what_is_said_of_backgrounds_and_classes():
    def said(kinds, found=()):
        records = [record(str(n), 300, kind, "ab"[n % 2]) for n, kind in enumerate(kinds)]
        return " ".join(verdict.sentences(records, found, len(records)))

    assert "Backgrounds: 100% white, 0% plain, 0% busy." in said(["white"] * 4)
    assert "50% busy: mixed, which a model will mix too." in said(["white", "plain", "busy", "busy"])
    assert "100% busy: a model must learn the rooms as well as the products." in said(["busy"] * 3)
    odd = [Finding("background", ("3",), "a busy background"), Finding("imbalance", (), "")]
    assert "25% busy; 1 picture differs from the rest." in said(["white"] * 3 + ["busy"], odd)
    assert "The classes are uneven: train with `--conditional`" in said(["white"] * 4, odd)
    conflict = [Finding("label_conflict", ("0", "1"), "")]
    assert "1 picture can be found in more than one class: at least one is wrong." in said(["white"] * 4, conflict)


def test_what_is_said_of_variants_and_lettering():
    records = [record(str(number), 300) for number in range(20)]
    found = [
        Finding("colour_variant", ("0", "1", "2"), ""),
        Finding("colour_variant", ("3", "4"), ""),
        Finding("lettering", ("5",), ""),
    ]
    said = " ".join(verdict.sentences(records, found, 20))
    assert "5 pictures show 2 products in several colours: 4 pairs to train recolouring with" in said
    assert "Lettering on 1 picture: train with `--no-mirror`, or it is learnt in mirror writing." in said
    assert "Nothing else stands out." in said
    assert "--no-mirror" not in " ".join(verdict.sentences(records + records[:1], found, 21))  # below 1 in 20


def test_a_picture_that_vanishes_meanwhile_is_unreadable(tmp_path):
    put(tmp_path / "a.jpg", product(0))
    gone = put(tmp_path / "b.jpg", product(1))
    taken = inventory.take(str(tmp_path))
    gone.unlink()
    assert [record.reason for record in survey(taken)] == ["", "cannot be read: No such file or directory"]


def test_planting_leaves_the_catalogue_alone_and_counts_what_is_found(tmp_path, monkeypatch):
    """Of two dark pictures and two copies across splits all are found; a defect nobody reports counts as missed."""
    names = ("3 stops too dark", "exact copy in another split", "exact copy in another class", "grey")
    monkeypatch.setattr(plant, "DEFECTS", [one for one in plant.DEFECTS if one.title in names])
    for number in range(16):
        split, label = ("train", "validation")[number % 2], ("hat", "mug")[number // 2 % 2]
        put(tmp_path / "shop" / split / label / f"{number}.jpg", product(number))
    before = contents(tmp_path / "shop")
    (copy := tmp_path / "copy").mkdir()
    planted = plant.plant(inventory.take(str(tmp_path / "shop")), copy, each=2, seed=0)
    assert contents(tmp_path / "shop") == before and len({one.name for one in planted}) == 8
    taken = inventory.take(str(copy))
    findings = find_defects(taken, records := survey(taken))
    lines = plant.tables(planted, findings, len(records))
    for line in (
        "| 3 stops too dark | `dark` | 2 | 2 | 1.00 |",
        "| exact copy in another split | `leakage` | 2 | 2 | 1.00 |",
    ):
        assert line in lines
    assert of_kind(findings, "leakage") and "| 3 stops too dark | `dark` | 2 | 0 | 0.00 |" in plant.tables(
        planted, [], 20
    )
    assert np.unique([one.original for one in planted if one.original]).size == 4
    assert [line for line in lines if line.startswith("| any but notes | ")]


def test_a_flat_catalogue_gets_no_copies_across_splits_and_classes(tmp_path, monkeypatch):
    names = ("exact copy", "exact copy in another split", "exact copy in another class", "grey")
    monkeypatch.setattr(plant, "DEFECTS", [one for one in plant.DEFECTS if one.title in names])
    for number in range(8):
        put(tmp_path / "shop" / f"{number}.jpg", product(number))
    (copy := tmp_path / "copy").mkdir()
    planted = plant.plant(inventory.take(str(tmp_path / "shop")), copy, each=2, seed=0)
    assert {one.defect.title for one in planted} == {"exact copy", "grey"} and len(list(copy.iterdir())) == 10
