"""`packshot apply` and `packshot sample` on the command line: which photos are taken, what is written where, and what never is."""

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data import files, outputs
from trainer import photos
from trainer.cli import main

LONG = "包" * 76  # 228 bytes


def packshot(*words):
    return CliRunner().invoke(main, list(map(str, words)))


def photo(path, value=0, kind=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (value, 100, 200)).save(path, kind)
    return path


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder):
    return sorted(contents(folder))


def red(path):
    return np.asarray(Image.open(path))[0, 0, 0]


@pytest.fixture
def apply(models, tmp_path, monkeypatch):
    """`packshot apply` with a model that makes negatives, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: packshot("apply", models / "negative" / "1", *words)


def refused(done, sentence):
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit), done.output
    assert sentence in done.output.replace("\n", " ") and done.output.splitlines()[-1].startswith("Error: "), (
        done.output
    )
    return True


def test_no_photo_is_written_over_and_nothing_is_written_at_all(apply, tmp_path):
    photo(tmp_path / "a" / "one.jpg"), photo(tmp_path / "a" / "two.png"), photo(tmp_path / "shot.png")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "o").mkdir()
    os.link(tmp_path / "shot.png", tmp_path / "o" / "shot.png")
    before = contents(tmp_path)
    for words in (
        ("a", "--out", "a"),
        ("a", "--out", "a/../a"),
        ("a", "--out", "link"),
        ("link", "--out", tmp_path / "a"),
        ("shot.png", "--out", "."),
        ("shot.png", "--out", "o"),
    ):
        assert refused(apply(*words), "is read here and would be written over")
    photo(tmp_path / "b" / "shot.jpg")
    before = contents(tmp_path)
    assert refused(apply("b", "--out", "."), "shot.png is there and was not made by `packshot apply`")
    assert contents(tmp_path) == before


def test_the_same_command_again_makes_the_same(apply, tmp_path):
    photo(tmp_path / "a" / "one.jpg", 10), photo(tmp_path / "a" / "in" / "two.jpg", 20)
    for out in ("new", "a/out", "a"):
        assert apply("a", "--out", out).output.endswith(f"2 of 2 pictures: {out}\n")
        first = names(tmp_path)
        assert apply("a", "--out", out).output.endswith(f"2 of 2 pictures: {out}\n")
        assert names(tmp_path) == first
    assert apply("a/one.jpg", "--out", "a").exit_code == 0


def test_results_are_photos_for_the_next_model(apply, tmp_path):
    photo(tmp_path / "a" / "one.png", 10)
    assert apply("a", "--out", "b").exit_code == apply("b", "--out", "c").exit_code == 0
    assert (red("b/one.png"), red("c/one.png")) == (245, 10)
    assert refused(apply("b", "--out", "b"), "b holds only earlier results of packshot apply")


def test_two_photos_are_two_results(apply, tmp_path):
    for value, name in enumerate(["a.jpg.png", "a.png", "a.webp", "b.png", "x/a.png", "x/B.png", "x/b.gif"]):
        photo(tmp_path / "p" / name, 10 * value)
    assert apply("p", "--out", "o").output.endswith("7 of 7 pictures: o\n")
    made = ["a.jpg.png", "a.png.png", "a.webp.png", "b.png", "x/B.png.png", "x/a.png", "x/b.gif.png"]
    assert names(tmp_path / "o") == sorted(made)


@pytest.mark.parametrize(
    "found, made",
    [
        (["a.jpg", "a.jpg.png", "a.webp"], ["a.jpg.png", "a.jpg.png.png", "a.webp.png"]),
        (["A.jpg", "a.png"], ["A.jpg.png", "a.png.png"]),
        (["é.jpg", "é.png"], ["é.jpg.png", "é.png.png"]),  # composed and not, which macOS takes for one
        (["a.jpg", "a.png/b.jpg"], ["a.jpg.png", "a.png/b.png"]),
        (["a.b.jpg", "a.b.c.jpg"], ["a.b.png", "a.b.c.png"]),
        (["1/a.jpg", "2/a.png"], ["1/a.png", "2/a.png"]),
    ],
)
def test_what_is_made_is_named_for_the_photo(tmp_path, found, made):
    for name in found:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    work = photos.pairs(str(tmp_path), "out", print)
    assert {os.path.relpath(source, tmp_path): target for source, target in work} == {
        name: f"out/{target}" for name, target in zip(found, made, strict=True)
    }


def test_what_is_wrong_with_one_place_does_not_stop_the_others(apply, tmp_path, monkeypatch):
    long = "n" * 251
    for name in (
        "a.png",
        f"{LONG}.png",
        "folder.png",
        "in/file.png",
        "locked.png",
        f"{long}.gif",
        f"{long}.png",
        "z.png",
    ):
        photo(tmp_path / "p" / name)
    (tmp_path / "o" / "folder.png").mkdir(parents=True)
    (tmp_path / "o" / "in").write_bytes(b"mine")
    write = files.write

    def locked(path, content):
        if path.endswith("locked.png"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        write(path, content)

    monkeypatch.setattr(files, "write", locked)
    done = apply("p", "--out", "o")
    assert done.exit_code == 0 and done.output.endswith("3 of 8 pictures: o\n"), done.output
    for line in (
        "p/folder.png: o/folder.png: Is a directory",
        "p/in/file.png: o/in: Not a directory",
        f"p/{long}.gif: o/{long}.gif.png: File name too long",
        f"p/{long}.png: o/{long}.png.png: File name too long",
        "p/locked.png: o/locked.png: Permission denied",
    ):
        assert line in done.output.splitlines()
    assert names(tmp_path / "o") == sorted(["a.png", "in", f"{LONG}.png", "z.png"])
    assert (tmp_path / "o" / "in").read_bytes() == b"mine"


def test_what_is_wrong_with_one_photo_does_not_stop_the_others(apply, tmp_path, monkeypatch):
    photo(tmp_path / "p" / "a.jpg"), photo(tmp_path / "p" / "locked.jpg"), photo(tmp_path / "p" / "z" / "z.jpg")
    (tmp_path / "p" / "notes.txt").write_text("no picture")
    (tmp_path / "p" / "web.jpg").write_text("<html>")
    (tmp_path / "p" / "dangling.jpg").symlink_to("/nowhere/x.jpg")
    (tmp_path / "p" / "z" / "round").symlink_to(tmp_path / "p")
    os.mkfifo(tmp_path / "p" / "pipe.jpg")
    read = files.read

    def locked(path, *count):
        if path.endswith("locked.jpg"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return read(path, *count)

    monkeypatch.setattr(files, "read", locked)
    done = apply("p", "--out", "o")
    assert done.exit_code == 0 and done.output.endswith("2 of 4 pictures: o\n"), done.output
    assert names(tmp_path / "o") == ["a.png", "z/z.png"]
    assert "p/locked.jpg: Permission denied" in done.output.splitlines() and "p/web.jpg: " in done.output
    for left_out in (
        "dangling.jpg (a link to what is not there)",
        "pipe.jpg (not a file)",
        "z/round/ (a link to a folder above it)",
        "1 other file was passed over (1 .txt)",
    ):
        assert left_out in done.output


def test_a_folder_that_cannot_be_read_is_refused_and_named(apply, tmp_path, monkeypatch):
    photo(tmp_path / "p" / "a.png"), photo(tmp_path / "p" / "private" / "b.png")
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("private"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert refused(apply("p", "--out", "o"), "the folder p/private cannot be read: Permission denied")


def test_when_nothing_is_made_the_command_fails(apply, tmp_path):
    photo(tmp_path / "p" / "a.png")
    (tmp_path / "o" / "a.png").mkdir(parents=True)
    assert refused(apply("p", "--out", "o"), "none of the files could be used")


def test_a_full_disk_ends_the_work_with_exit_code_1(apply, tmp_path, monkeypatch):
    photo(tmp_path / "p" / "a.png"), photo(tmp_path / "p" / "b.png")

    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(files, "write", full)
    done = apply("p", "--out", "o")
    assert (done.exit_code, done.output.splitlines()[-1]) == (1, f"Error: no space left in {tmp_path / 'o'}")


PLACES = {
    "no photos": (("nowhere", "--out", "o"), "there is no file or folder nowhere"),
    "empty": (("empty", "--out", "o"), "empty is empty"),
    "a file as the folder": (("p", "--out", "p/a.png"), "p/a.png is a file, and a folder is needed there"),
    "in a file": (("p", "--out", "p/a.png/x"), "p/a.png is a file, and a folder is needed there"),
    "where nobody writes": (("p", "--out", "/proc/o"), "/proc/o: "),
    "from a scheme": (("s3://b/p", "--out", "o"), "s3:// is not known to this TensorFlow; local paths and gs:// are"),
    "to a scheme": (("p", "--out", "https://example.org/o"), "https:// is not known to this TensorFlow"),
}


@pytest.mark.parametrize("case", PLACES)
def test_places_that_cannot_be_are_refused_before_the_work(apply, tmp_path, case):
    photo(tmp_path / "p" / "a.png")
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    words, sentence = PLACES[case]
    assert refused(apply(*words), sentence)
    assert contents(tmp_path) == before and not (tmp_path / "o").exists()


def test_photos_and_results_may_be_remote(apply, tmp_path):
    content = photo(tmp_path / "a.png", 10).read_bytes()
    files.write("ram://packshot-photos/p/a.png", content)
    for _ in range(2):
        done = apply("ram://packshot-photos/p", "--out", "ram://packshot-photos/p/o")
        assert done.output.endswith("1 of 1 pictures: ram://packshot-photos/p/o\n"), done.output
    assert red(io.BytesIO(files.read("ram://packshot-photos/p/o/a.png"))) == 245
    assert refused(apply("ram://packshot-photos/p/a.png", "--out", "ram://packshot-photos/p"), "is read here")


def test_a_tilde_is_the_home_in_every_argument(models, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "home" / "p" / "a.png")
    (tmp_path / "home" / "m").symlink_to(models)
    assert packshot("apply", "~/m/negative/1", "~/p", "--out=~/o").exit_code == 0
    assert packshot("sample", "~/m/gan/1", "--n", 1, "--out=~/x.png").exit_code == 0
    assert {"o/a.png", "x.png"} <= set(contents(tmp_path / "home")) and not (tmp_path / "~").exists()


@pytest.mark.parametrize("name, kind", [("a.png", "PNG"), ("b/a.JPG", "JPEG"), ("a.jpeg", "JPEG")])
def test_a_sample_grid_is_what_its_name_says_and_may_be_made_again(models, tmp_path, name, kind):
    for n in (1, 4):
        done = packshot("sample", models / "gan" / "1", "--n", n, "--out", tmp_path / name)
        assert done.exit_code == 0, done.output
    with Image.open(tmp_path / name) as image:
        assert image.format == kind and image.size == (18, 18)


GRIDS = {
    "no picture's ending": ("grid.txt", "grid.txt: a picture is written as .png, .jpg, .jpeg"),
    "no ending": ("grid", "grid: a picture is written as"),
    "over a photo": ("photo.png", "photo.png is there and was not made by `packshot sample`"),
    "over an applied photo": ("applied.png", "applied.png is there and was not made by `packshot sample`"),
    "over a folder": ("folder.png", "folder.png is a folder"),
    "in a file": ("photo.png/x.png", "is a file, and a folder is needed there"),
    "a name too long": ("n" * 252 + ".png", "File name too long"),
    "a scheme": ("s3://b/x.png", "s3:// is not known to this TensorFlow"),
}


@pytest.mark.parametrize("case", GRIDS)
def test_a_sample_grid_goes_nowhere_else(models, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    outputs.write("applied.png", photo(tmp_path / "photo.png").read_bytes(), photos.BY)
    (tmp_path / "folder.png").mkdir()
    before = contents(tmp_path)
    name, sentence = GRIDS[case]
    assert refused(packshot("sample", models / "gan" / "1", "--n", 1, "--out", name), sentence)
    assert contents(tmp_path) == before


ROWS = {
    "both": (("--between", 3, 9, "--n", 4), "--n does not go with --between"),
    "a number": (("--between", 3, 9, "--truncation", 0.5), "--truncation does not go with --between"),
    "steps of nothing": (("--steps", 4), "--steps is of rows: give --between too"),
    "no z": (("--between", 3, 9), "makes no pictures from z; it has: generate"),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_between_seeds_are_refused_in_a_sentence(models, tmp_path, case):
    words, sentence = ROWS[case]
    assert refused(packshot("sample", models / "gan" / "1", *words, "--out", tmp_path / "x.png"), sentence)
    assert names(tmp_path) == []


def test_a_grid_with_the_longest_name_is_written(models, tmp_path):
    name = "n" * 251 + ".png"
    assert packshot("sample", models / "gan" / "1", "--n", 1, "--out", tmp_path / name).exit_code == 0
    assert names(tmp_path) == [name] and Path(tmp_path / name).stat().st_size > 0
