"""What a command may write over: nothing but what it made itself, told by the file and not by its name."""

import io
import json
import os

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data import files, outputs
from data.images import decode, encode_jpeg, encode_png

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
BY = "packshot sample"


def check(*targets, **options):
    outputs.check(map(str, targets), BY, **options)


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.png", encode_png(PICTURE)),
        ("a.jpg", encode_jpeg(PICTURE)),
        ("a.html", b"<!doctype html>\n<title>x</title>"),
    ],
)
def test_a_file_says_who_made_it_and_only_that_command_may_replace_it(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(outputs.OutputRefused, match=f"{name} is there and was not made by `packshot sample`"):
        check(path)
    outputs.write(str(path), content, BY)
    assert path.read_bytes() != content and outputs.made_by(str(path), BY)
    assert outputs.marked(path.read_bytes(), BY) == path.read_bytes()
    check(path)
    with pytest.raises(outputs.OutputRefused, match="not made by `packshot apply`"):
        outputs.check([str(path)], "packshot apply")


@pytest.mark.parametrize("encode", [encode_png, encode_jpeg])
def test_the_mark_changes_no_pixel_and_is_where_programs_look_for_it(encode):
    plain = encode(PICTURE)
    marked = outputs.marked(plain, BY)
    np.testing.assert_array_equal(decode(marked), decode(plain))
    said = Image.open(io.BytesIO(marked)).info
    assert BY == said.get("Software") or said.get("comment") == f"Made by {BY}".encode()


LINKS = {"symbolic": os.symlink, "hard": os.link, "none": lambda old, new: None}


@pytest.mark.parametrize("kind", LINKS)
def test_no_target_is_one_of_the_files_that_are_read(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    photo, target = tmp_path / "photo.png", tmp_path / "target.png"
    outputs.write(str(photo), encode_png(PICTURE), BY)  # made by the same command, and still an input
    LINKS[kind](photo, target)
    spelt = os.path.join("..", tmp_path.name, "photo.png" if kind == "none" else "target.png")
    with pytest.raises(outputs.OutputRefused, match="is read here and would be written over"):
        check(spelt, inputs=[str(photo)])


def test_two_results_are_two_files(tmp_path, monkeypatch):
    with pytest.raises(outputs.OutputRefused, match="would be one file"):
        check(tmp_path / "a.html", f"{tmp_path}/x/../a.html")
    check(tmp_path / "A.png", tmp_path / "a.png")
    exists = os.path.exists
    monkeypatch.setattr(
        os.path, "exists", lambda path: exists(path) or ".WRITING" in str(path)
    )  # a disk that folds case
    with pytest.raises(outputs.OutputRefused, match="would be one file"):
        check(tmp_path / "A.png", tmp_path / "a.png")


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("folder", "is a folder"),
        ("folder/", "is a folder"),
        ("new/", "is no name of a file"),
        ("file/x.png", "file is a file, and a folder is needed there"),
        ("file/deep/x.png", "file is a file, and a folder is needed there"),
        (f"{'n' * 252}.png", "File name too long"),
        (f"new/{'n' * 252}.png", "File name too long"),
        (f"{'n' * 256}/x.png", "File name too long"),
    ],
)
def test_what_cannot_be_written_is_found_before_the_work_and_nothing_is_made(tmp_path, name, sentence):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((outputs.OutputRefused, OSError), match=sentence):
        check(f"{tmp_path}/{name}")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_place_that_nobody_can_write_to_is_found_before_the_work():
    with pytest.raises(OSError, match="/proc"):  # where even root makes no file
        check("/proc/new/x.png")


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", os.devnull):
        with pytest.raises(outputs.OutputRefused, match="is no ordinary file"):
            check(path)


def test_of_many_files_one_bad_place_does_not_stop_the_others(tmp_path):
    (tmp_path / "a.png").mkdir()
    check(tmp_path / "a.png", tmp_path / ("n" * 300), folder=str(tmp_path))


def test_a_folder_to_be_filled_is_new_or_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    outputs.check_folder(str(tmp_path / "empty"))
    outputs.check_folder(str(tmp_path / "new" / "deep"))
    assert not (tmp_path / "new").exists()
    with pytest.raises(outputs.OutputRefused, match="is not empty"):
        outputs.check_folder(str(tmp_path))
    for name in ("file", "file/new"):
        with pytest.raises(NotADirectoryError):
            outputs.check_folder(str(tmp_path / name))


def test_remote_places_keep_the_same_rule():
    folder = "ram://packshot-test-outputs"
    files.write(f"{folder}/photo.png", encode_png(PICTURE))
    outputs.write(f"{folder}/old.png", encode_png(PICTURE), BY)
    check(f"{folder}/old.png", f"{folder}/new.png")
    with pytest.raises(outputs.OutputRefused, match="was not made by"):
        check(f"{folder}/photo.png")
    with pytest.raises(outputs.OutputRefused, match="is read here"):
        check(f"{folder}/old.png", inputs=[f"{folder}/old.png"])


def test_the_mark_of_a_page_stands_behind_its_doctype():
    page = b"\n<!doctype html>\n<html>"
    assert outputs.marked(page, BY) == b"\n<!doctype html>\n<!-- packshot sample -->\n<html>"
    assert outputs.marked(b"unknown", BY) == b"unknown"


def test_a_script_that_calls_the_command_was_not_made_by_it(tmp_path):
    (tmp_path / "run.sh").write_text(f"#!/bin/sh\n{BY} runs/a --out a.png  # Software: {BY}\n")
    assert not outputs.made_by(str(tmp_path / "run.sh"), BY)


def test_json_says_who_made_it_and_holds_names_that_are_no_unicode(tmp_path):
    path = str(tmp_path / "a.json")
    outputs.write_json(path, {"name": "caf\udce9 靴"}, BY)
    assert json.loads(files.read(path)) == {"made_by": BY, "name": "caf\udce9 靴"}
    check(path)
    outputs.write(path, "caf\udce9 靴", BY)
    assert files.read(path) == "caf\\udce9 靴".encode()
    with pytest.raises(outputs.OutputRefused):
        check(path)


WRITERS = {
    "evaluate": ["evaluate", "{model}", "--out", "photo.jpg"],
    "evaluate, its numbers": ["evaluate", "{model}", "--out", "new.html", "--json", "notes.json"],
    "evaluate, numbers beside the page": ["evaluate", "{model}", "--out", "notes.html"],
    "evaluate, both in one": ["evaluate", "{model}", "--out", "new.json"],
    "compare": ["compare", "{model}", "{other}", "--out", "photo.jpg"],
    "compare, its numbers": ["compare", "{model}", "{other}", "--out", "notes.html"],
    "compare, over the ratings": ["compare", "{model}", "{other}", "--ratings", "notes.json", "--json", "notes.json"],
    "rate page": ["rate", "page", "{model}", "{other}", "--out", "photo.jpg"],
    "rate page, its key": ["rate", "page", "{model}", "{other}", "--out", "other.html"],
    "rate score": ["rate", "score", "other.key.json", "notes.json", "--out", "notes.json"],
    "inspect": ["inspect", "folder:.", "--out", "photo.jpg"],
    "inspect, a list": ["inspect", "folder:.", "--fix", "notes.json"],
    "prepare": ["prepare", "folder:.", "--out", ".", "--size", "16"],
    "prepare, a file": ["prepare", "folder:.", "--out", "photo.jpg", "--size", "16"],
    "a place nobody can write to": ["evaluate", "{model}", "--out", "/proc/x.html"],
    "below a file": ["compare", "{model}", "{other}", "--out", "photo.jpg/x.html"],
}


@pytest.mark.parametrize("words", WRITERS.values(), ids=WRITERS)
def test_every_command_refuses_before_the_work_and_leaves_everything_as_it_is(models, tmp_path, monkeypatch, words):
    from trainer.cli import main

    monkeypatch.chdir(tmp_path)
    files.write("photo.jpg", encode_jpeg(PICTURE))
    for name in ("notes.json", "other.key.json"):
        files.write(name, b'{"mine": "packshot evaluate"}')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    paths = {"model": models / "gan" / "1", "other": models / "conditional" / "1"}
    done = CliRunner().invoke(main, [word.format(**paths) for word in words])
    assert done.exit_code == 2 and done.output.startswith("Error: ") and done.output.count("\n") == 1, done.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
