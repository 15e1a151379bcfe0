"""Nothing is left out in silence, and a layout that can be read in two ways is refused."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data import files, views
from data.catalogue import open_source
from data.held_out import sibling_split
from data.images import BadPicture, grid, is_sheet, save_png
from data.progress import silent
from data.quarantine import Quarantine
from data.sources import listing
from data.sources.folder import Folder
from data.sources.pairs import Pairs
from data.sources.parallel import read_picture
from data.sources.protocol import SourceError
from trainer import cli
from trainer.evaluation import sets


def paint(path, value=7, height=8, width=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (value,) * 3).save(path, **({"format": "JPEG"} if "jpg" in path.name else {}))


def fill(root, *names, value=7):
    """Pictures in folders; "bags*3" is three of them."""
    for name in names:
        folder, _, count = name.partition("*")
        for index in range(int(count or 1)):
            paint(root / folder / f"{folder.replace('/', '_')}{index}.png", value)
    return root


def account(source):
    quarantine = Quarantine()
    quarantine.extend(source.left_out)
    return len(list(source.examples(4, "crop", quarantine))), quarantine


def run_folder(path):
    (path / "checkpoints").mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"model": "r3gan", "data": "studio", "settings": {}, "new": 1}))
    paint(path / "samples" / "000000064.png")


# What is passed over


@pytest.mark.parametrize(
    "name", ["@eaDir", "$RECYCLE.BIN", "__MACOSX", "lost+found", "Thumbs", "#recycle", "System Volume Information"]
)
@pytest.mark.parametrize("place", ["", "shoes"])
def test_folders_of_thumbnails_and_of_systems_are_no_pictures(tmp_path, name, place):
    fill(tmp_path, *(["bags*2", "shoes*2"] if place else ["*4"]))
    paint(tmp_path / place / name / "0.png" / "THUMB_M.jpg")
    source = Folder(str(tmp_path))
    assert source.classes == (("bags", "shoes") if place else ()) and source.count == 4
    folder = f"{place}/{name}/".lstrip("/")
    assert source.left_out.items == [(folder, "thumbnails or system files")]
    assert source.left_out.sentence() == f"1 folder was passed over: {folder} (thumbnails or system files)"


def test_links_that_lead_nowhere_and_other_odd_things_are_named(tmp_path):
    fill(tmp_path, "bags*2", "shoes*2")
    before = Folder(str(tmp_path)).fingerprint()
    (tmp_path / "bags" / "gone.jpg").symlink_to("/nowhere/x.jpg")
    (tmp_path / "bags" / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "shoes" / "above").symlink_to(tmp_path)
    (tmp_path / "shoes" / "empty.jpg").mkdir()
    os.mkfifo(tmp_path / "shoes" / "pipe.jpg")
    (tmp_path / ".lock").symlink_to("host:123")
    source = Folder(str(tmp_path))
    assert source.classes == ("bags", "shoes") and source.fingerprint() == before
    count, quarantine = account(source)
    reasons = dict(quarantine.items)
    assert count == 4 and reasons.pop("bags/self.jpg")
    assert reasons == {
        "bags/gone.jpg": "a link to what is not there",
        "shoes/above/": "a link to a folder above it",
        "shoes/pipe.jpg": "not a file",
    }


def test_a_linked_folder_is_a_folder(tmp_path):
    fill(tmp_path / "elsewhere", "*3")
    fill(tmp_path / "shop", "bags")
    (tmp_path / "shop" / "shoes").symlink_to(tmp_path / "elsewhere")
    assert account(Folder(str(tmp_path / "shop")))[0] == 4


def test_other_extensions_are_counted(tmp_path):
    fill(tmp_path, "*2")
    for index in range(3):
        for name in ("a.dng", "b.DNG", "c", "d.jpg?w=800"):
            (tmp_path / f"{index}{name}").write_bytes(b"x")
    left_out = Folder(str(tmp_path)).left_out
    assert left_out.others == {".dng": 6, "": 3, ".jpg?w=800": 3} and len(left_out) == 0 and left_out
    assert left_out.sentence() == "12 other files were passed over (6 .dng, 3 without an extension, 3 .jpg?w=800)"
    left_out.write(str(tmp_path / "left_out.json"))
    assert json.loads((tmp_path / "left_out.json").read_text())[0] == {
        "name": "*.dng",
        "reason": "not a picture by its name",
        "count": 6,
    }


def test_runs_and_sheets_of_packshot_are_no_pictures(tmp_path):
    fill(tmp_path, "*3")
    before = Folder(str(tmp_path)).fingerprint()
    run_folder(tmp_path / "runs" / "first")
    sheet = grid(np.zeros((4, 8, 8, 3), np.uint8))
    save_png(str(tmp_path / "grid.png"), sheet, sheet=True)
    save_png(str(tmp_path / "made.png"), np.zeros((8, 8, 3), np.uint8))
    source = Folder(str(tmp_path))
    assert source.classes == () and source.count == 4
    assert source.left_out.items == [
        ("grid.png", "a sheet of samples that packshot made"),
        ("runs/first/", "a run of packshot"),
    ]
    (tmp_path / "made.png").unlink()
    assert Folder(str(tmp_path)).fingerprint() == before
    assert is_sheet((tmp_path / "grid.png").read_bytes())
    with pytest.raises(BadPicture, match="a sheet of samples"):  # where the listing does not look, as at gs://
        read_picture(str(tmp_path / "grid.png"))
    with pytest.raises(SourceError, match="first is the folder of a packshot run"):
        Folder(str(tmp_path / "runs" / "first"))


@pytest.mark.parametrize("held", ["{}", "[1]", '{"model": 1}'])
def test_a_folder_with_another_config_is_no_run(tmp_path, held):
    fill(tmp_path, "bags/samples", "shoes")
    (tmp_path / "bags" / "config.json").write_text(held)
    assert Folder(str(tmp_path)).count == 2


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    """Simulated, because root may read everything."""
    fill(tmp_path, "bags*2", "shoes*2")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("shoes"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", refusing)
    for spec in (f"folder:{tmp_path}", f"pairs:{tmp_path}"):
        with pytest.raises(SourceError, match="the folder .*shoes cannot be read: Permission denied"):
            open_source(spec)


def test_pictures_that_vanish_after_they_were_listed_are_named(tmp_path):
    fill(tmp_path, "bags*2", "shoes*2")
    source = Folder(str(tmp_path))
    before = source.fingerprint()
    (tmp_path / "bags" / "bags0.png").unlink()
    assert source.fingerprint() != before
    assert account(source)[1].items == [("bags/bags0.png", "cannot be read: No such file or directory")]


def test_only_what_lies_in_the_split_is_told(tmp_path):
    fill(tmp_path, "train/bags*2", "train/shoes*2", "val/bags", "unlabeled*3", "")
    (tmp_path / "val" / "notes.txt").write_text("x")
    (tmp_path / "train" / "bags" / "a.heif.txt").write_text("x")
    (tmp_path / "train" / "bags" / "empty.png").write_bytes(b"")
    source = Folder(f"{tmp_path}#train")
    count, quarantine = account(source)
    assert count == 4 and quarantine.others == {".txt": 1}
    assert quarantine.items == [
        ("0.png", "lies beside the splits"),
        ("unlabeled/", "no split"),
        ("train/bags/empty.png", "the file is empty"),
    ]


def test_names_of_any_bytes_can_be_said_and_written(tmp_path):
    quarantine, said = Quarantine(), []
    quarantine.add("a\udcff\n.jpg", "empty")
    quarantine.tell(said.append, path=str(tmp_path / "left_out.json"))
    said[0].encode()
    assert said[0].startswith("1 picture was left out: 'a\\udcff\\n.jpg' (empty); the list is in ")
    assert json.loads((tmp_path / "left_out.json").read_bytes())[0]["name"] == "a\udcff\n.jpg"
    Quarantine().tell(said.append, path=str(tmp_path / "left_out.json"))
    assert len(said) == 1 and json.loads((tmp_path / "left_out.json").read_text()) == []


def test_a_list_may_hold_what_a_folder_would_pass_over(tmp_path):
    fill(tmp_path, "thumbs*2")
    (tmp_path / "l.txt").write_text("thumbs/thumbs0.png\nthumbs/thumbs1.png\n")
    assert account(open_source(f"list:{tmp_path}/l.txt"))[0] == 2


# Layouts that can be read in two ways


@pytest.mark.parametrize(
    "layout, words",
    [
        (["*20", "originals*5"], ["20 pictures", "5 in the folder originals", "originals or a list"]),
        (["*20", "backup*20"], ["20 pictures", "20 in the folder backup"]),
        (["*20", "originals*40"], ["20 pictures", "40 in the folder originals"]),
        (["*20", "originals*20", "backup*20"], ["20 pictures", "40 in the folders backup, originals"]),
        (["train/*20", "train/old*20"], ["20 pictures", "in the folder old"]),
        (
            ["train/bags", "val/bags", "unlabeled*3"],
            ["train, val, which are splits", "unlabeled, which is none", "#train"],
        ),
        (["train/bags", "train/shoes", "holdout/bags"], ["train, which is a split", "holdout, which is none"]),
        (["train*3", "extra*3"], ["train, which is a split", "extra, which is none"]),
        (["train*3", "val*3", "extra*3"], ["train, val, which are splits"]),
        (["train/bags", "Train/bags"], ["two folders of the split train: Train and train"]),
        (["val/bags", "validation/bags", "train/bags"], ["two folders of the split validation"]),
        (["bags/train", "bags/val", "shoes/train"], ["splits inside of class folders (bags/train)", "train/bags"]),
        (["bags/train", "shoes/Train"], ["splits inside of class folders"]),
        (["bags", "Bags"], ["'Bags' and 'bags'"]),
        (["train/bags", "val/bags "], ["'bags' and 'bags '"]),
        (["train/Schu\u0308rze", "val/Sch\u00fcrze"], ["would be two classes"]),
    ],
)
def test_two_readings_are_refused(tmp_path, layout, words):
    fill(tmp_path, *layout)
    if len(os.listdir(tmp_path)) < len({top for top in (name.split("/")[0].split("*")[0] for name in layout) if top}):
        pytest.skip("this file system does not tell these names apart")
    for spec in (f"folder:{tmp_path}", str(tmp_path)):
        with pytest.raises(SourceError) as caught:
            open_source(spec)
        assert all(word in str(caught.value) for word in words), str(caught.value)
    done = CliRunner().invoke(cli.main, ["inspect", str(tmp_path)])
    assert done.exit_code == 2 and str(caught.value) in done.output


@pytest.mark.parametrize("common, refused", [(4, True), (2, False), (0, False)])
def test_other_versions_inside_of_a_class_are_refused(tmp_path, common, refused):
    fill(tmp_path, "shoes*9")
    for index in range(4):
        paint(tmp_path / "bags" / f"{index}.jpg")
        paint(tmp_path / "bags" / "originals" / f"{index + 4 - common}.png")
    if refused:
        with pytest.raises(SourceError, match="4 pictures of the same names in bags and in bags/originals"):
            Folder(str(tmp_path))
    else:
        assert Folder(str(tmp_path)).count == 17


@pytest.mark.parametrize(
    "layout, classes, count, split",
    [
        (["bags*3", "shoes*3", ""], ("bags", "shoes"), 6, ""),
        (["car*2", "train*2"], ("car", "train"), 4, ""),
        (["Train/bags", "VAL/bags"], ("bags",), 1, ""),
        (["train/bags", "val/hats", "unlabeled*9"], ("bags", "hats"), 1, "#val"),
        (["toys/train*2", "bags*2"], ("bags", "toys"), 4, ""),
        (["bags/deep/er*2", "shoes*2"], ("bags", "shoes"), 4, ""),
    ],
)
def test_what_is_clear_is_read(tmp_path, layout, classes, count, split):
    source = Folder(f"{fill(tmp_path, *layout)}{split}")
    assert source.classes == classes and account(source)[0] == count


@pytest.mark.parametrize(
    "left, right", [("before", "after"), ("train/photo", "train/sketch"), ("deep/x", "deep/y"), ("", "edges")]
)
def test_two_folders_of_the_same_names_are_no_pictures_side_by_side(tmp_path, left, right):
    for index in range(4):
        for folder in (left, right):
            paint(tmp_path / folder / f"{index}.png", width=12)
    paint(tmp_path / right / "more.png", width=12)
    with pytest.raises(
        SourceError, match="has files of the same names in .*, but pairs: takes two folders .* called A and B, trainA"
    ):
        Pairs(str(tmp_path))


@pytest.mark.parametrize(
    "left, right",
    [("input", "output"), ("a", "b"), ("train/Input", "train/Output"), ("lr", "hr"), ("Source", "TARGET")],
)
def test_known_names_of_pairs_in_any_case(tmp_path, left, right):
    for index, folder in enumerate((left, right)):
        paint(tmp_path / folder / "1.png", 10 + index)
    (example,) = Pairs(str(tmp_path)).examples(8, "crop", Quarantine())
    assert (example["source"][0, 0, 0], example["target"][0, 0, 0]) == (10, 11)


def test_single_pictures_are_no_pairs(tmp_path):
    fill(tmp_path, "bags*3")
    source = Pairs(str(tmp_path))
    with pytest.raises(
        SourceError, match=r"8x8, and two pictures side by side .* pairs: takes two folders .* side by side$"
    ):
        list(source.examples(8, "crop", Quarantine()))


def test_pictures_beside_the_training_ones_are_found_in_any_case(tmp_path):
    fill(tmp_path, "Train/bags", "VAL/bags")
    assert sibling_split(f"folder:{tmp_path}/Train") == f"folder:{tmp_path}/VAL"
    assert Folder(sibling_split(f"folder:{tmp_path}").removeprefix("folder:")).count == 1
    assert sibling_split(f"folder:{tmp_path}/elsewhere#train") is None and sibling_split("s3://bucket/photos") is None


def test_inspect_tells_the_same(tmp_path):
    fill(tmp_path, "*2")
    (tmp_path / "gone.jpg").symlink_to("/nowhere/x.jpg")
    (tmp_path / "a.dng").write_bytes(b"%PDF-")
    paint(tmp_path / "@eaDir" / "x.jpg")
    report = tmp_path / "report.json"
    done = CliRunner().invoke(cli.main, ["inspect", str(tmp_path), "--json", str(report)])
    assert done.exit_code == 0, done.output
    found = {(f["kind"], *f["pictures"], f["reason"]) for f in json.loads(report.read_text())["findings"]}
    assert found >= {
        ("unreadable", "gone.jpg", "a link to what is not there"),
        ("not_a_picture", "a.dng", "PDF document"),
        ("not_a_picture", "@eaDir/", "thumbnails or system files"),
    }


# The commands


def test_an_evaluation_tells_what_was_left_out(tmp_path):
    fill(tmp_path, "*24")
    (tmp_path / "bad.jpg").write_bytes(b"")
    (tmp_path / "a.dng").write_bytes(b"x")
    run = SimpleNamespace(data=str(tmp_path), seed=0, fit="crop")
    request = SimpleNamespace(data=None, count=None, lpips=None, attributes=False, held_out_of=lambda run: None)
    extractor = SimpleNamespace(vectors=lambda pictures: pictures.reshape(len(pictures), -1))
    reference = sets.gather(run, views.generation(16), request, extractor=extractor, period=8, progress=silent)
    assert list(sets._left_out(reference)) == [
        f"{tmp_path}: 1 picture was left out: bad.jpg (the file is empty); 1 other file was passed over (1 .dng)."
    ]


def test_prepare_tells_and_writes_what_was_left_out(tmp_path):
    fill(tmp_path / "shop", "bags*3", "shoes*3", "")
    (tmp_path / "shop" / "bags" / "empty.jpg").write_bytes(b"")
    (tmp_path / "shop" / "bags" / "gone.jpg").symlink_to("/nowhere/x.jpg")
    (tmp_path / "shop" / "a.dng").write_bytes(b"x")
    out = tmp_path / "out"
    done = CliRunner().invoke(cli.main, ["prepare", str(tmp_path / "shop"), "--out", str(out), "--size", "8"])
    assert done.exit_code == 0 and "6 examples in 4 shards" in done.output
    assert (
        "3 pictures were left out: bags/gone.jpg" in done.output
        and "1 other file was passed over (1 .dng)" in done.output
    )
    names = [row["name"] for row in json.loads((out / "left_out.json").read_text())]
    assert names == ["bags/gone.jpg", "0.png", "bags/empty.jpg", "*.dng"]
    assert json.loads((out / "dataset.json").read_text())["left_out"] == 3


def test_prepare_that_cannot_write_leaves_nothing(tmp_path, monkeypatch):
    fill(tmp_path / "shop", "*3")
    write = files.write

    def full(path, content):
        if path.endswith("dataset.json"):
            raise OSError(28, "No space left on device", path)
        write(path, content)

    monkeypatch.setattr(files, "write", full)
    done = CliRunner().invoke(
        cli.main, ["prepare", str(tmp_path / "shop"), "--out", str(tmp_path / "out"), "--size", "8"]
    )
    assert done.exit_code == 1 and "no space left in" in done.output and os.listdir(tmp_path / "out") == []


TINY = ["train", "--model", "mlp_gan", "--preset", "tiny", "--images", "8", "--no-export"]


def test_a_class_without_a_usable_picture_is_not_taught(tmp_path):
    fill(tmp_path / "shop", "bags*3", "shoes*3")
    (tmp_path / "shop" / "hats").mkdir()
    (tmp_path / "shop" / "hats" / "a.jpg").write_bytes(b"")
    arguments = [*TINY, "--data", str(tmp_path / "shop"), "--job-dir", str(tmp_path / "run")]
    done = CliRunner().invoke(cli.main, [*arguments, "--conditional"])
    assert done.exit_code == 2 and not (tmp_path / "run").exists()
    assert "has no picture of hats to learn from" in done.output and "hats/a.jpg (the file is empty)" in done.output
    done = CliRunner().invoke(cli.main, arguments)
    assert done.exit_code == 0 and "6 pictures in 3 classes (bags, hats, shoes) to train on" in done.output


def test_training_tells_what_it_leaves_out_of_all_its_data(tmp_path):
    fill(tmp_path / "shop", "*24")
    fill(tmp_path / "held", "*24", value=9)
    run_folder(tmp_path / "shop" / "old")
    (tmp_path / "held" / "bad.jpg").write_bytes(b"<html>")
    arguments = [
        "--data",
        str(tmp_path / "shop"),
        "--eval-data",
        f"folder:{tmp_path}/held",
        "--job-dir",
        str(tmp_path / "run"),
    ]
    done = CliRunner().invoke(cli.main, [*TINY, *arguments])
    assert done.exit_code == 0, done.output
    assert "1 folder was passed over: old/ (a run of packshot); the list is in" in done.output
    sheets = list((tmp_path / "run" / "samples").glob("*.png"))
    assert sheets and all(is_sheet(path.read_bytes()) for path in sheets)
    assert "held: 1 picture was left out: bad.jpg (not a picture that can be read, but: web page)" in done.output
