"""The door for paths and files: what a typed path means, and errors of one form whatever the file system is."""

import errno
import os

import click
import pytest
import tensorflow as tf

from data import files
from trainer.commands.options import PATH


def test_a_tilde_is_the_home_and_a_known_scheme_stays(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert files.resolve("~/models") == "/home/me/models"
    assert files.resolve("gs://bucket/~x") == "gs://bucket/~x"
    assert files.resolve("plain/a~b") == "plain/a~b"


def test_a_home_that_nobody_knows_is_no_folder_called_tilde(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(files.UnknownHome, match="~nobody-here/models: no home folder is known for ~nobody-here"):
        files.resolve("~nobody-here/models")
    (tmp_path / "~nobody-here").mkdir()
    assert files.resolve("~nobody-here/models") == "~nobody-here/models"


@pytest.mark.parametrize("path", ["", "~nobody-here/x", "s3://bucket/x"])
def test_an_option_refuses_a_path_that_means_nothing(path):
    with pytest.raises(click.BadParameter):
        PATH.convert(path, None, None)


def test_a_tilde_without_a_home_is_no_folder_of_that_name(monkeypatch):
    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    for path in ("~", "~/models"):
        with pytest.raises(files.UnknownHome, match="no home folder is known for ~;"):
            files.resolve(path)


@pytest.mark.parametrize("path", ["s3://bucket/photos", "https://example.org/a.jpg"])
def test_an_unknown_scheme_is_named_with_those_that_are_known(path):
    with pytest.raises(files.UnknownScheme, match=r"is not known to this TensorFlow; local paths and .*gs://"):
        files.resolve(path)


@pytest.mark.parametrize(
    "kind, message, number",
    [
        ("ResourceExhaustedError", "x; No space left on device", errno.ENOSPC),
        ("NotFoundError", "x; No such file or directory", errno.ENOENT),
        ("PermissionDeniedError", "x; Permission denied", errno.EACCES),
        ("UnknownError", "x; Read-only file system", errno.EROFS),
        ("UnknownError", "something else", errno.EIO),
    ],
)
def test_errors_of_tensorflow_are_those_of_the_operating_system(kind, message, number):
    with pytest.raises(OSError) as caught, files.os_errors("the/file"):
        raise getattr(tf.errors, kind)(None, None, message)
    assert (caught.value.errno, caught.value.filename) == (number, "the/file")


def test_a_name_as_long_as_names_can_be_is_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".png")
    files.write(str(path), b"content")
    assert path.read_bytes() == b"content" and os.listdir(tmp_path) == [path.name]


def test_remote_files_are_appended_listed_and_removed():
    folder = "ram://packshot-test-files"
    files.write(f"{folder}/a", b"one")
    files.append(f"{folder}/a", b"two")
    assert files.read(f"{folder}/a") == b"onetwo" and files.names(folder) == ["a"] and files.size(f"{folder}/a") == 6
    files.remove(folder)
    with pytest.raises(OSError):
        files.read(f"{folder}/a")


def test_a_file_in_the_way_of_a_folder_is_called_that(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        files.make_folder(str(tmp_path / "file"))


@pytest.mark.parametrize(
    "error, number, path",
    [
        (
            tf.errors.NotFoundError(None, None, "run/config.json; No such file or directory"),
            errno.ENOENT,
            "run/config.json",
        ),
        (
            tf.errors.UnknownError(None, None, "{{function_node save}} run/step; No space left on device [Op:SaveV2]"),
            errno.ENOSPC,
            "run/step",
        ),
        (
            tf.errors.FailedPreconditionError(None, None, "Error executing an HTTP request\n\t when reading gs://b/x"),
            errno.EIO,
            "gs://b/x",
        ),
    ],
)
def test_an_error_about_a_file_is_told_by_its_words(error, number, path):
    meant = files.as_os_error(error)
    assert (meant.errno, meant.filename) == (number, path)


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.InvalidArgumentError(None, None, "shapes differ"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        tf.errors.NotFoundError(None, None, "Container localhost does not exist"),
        RuntimeError("x; No such file or directory"),
    ],
)
def test_any_other_error_is_none_about_a_file(error):
    assert files.as_os_error(error) is None


def test_file_urls_are_local_paths():
    assert files.resolve("file:///photos/a.jpg") == "/photos/a.jpg"


def test_a_walk_leaves_out_what_is_hidden_and_raises_what_it_cannot_read(tmp_path, monkeypatch):
    for name in ("a/x.jpg", "b/y.jpg", ".hidden/z.jpg", "a/.z.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    scandir, locked = os.scandir, {".hidden"}

    def guarded(path):
        if os.path.basename(path) in locked:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert list(files.walk(str(tmp_path))) == ["a/x.jpg", "b/y.jpg"]
    locked.add("b")
    with pytest.raises(PermissionError):
        files.walk(str(tmp_path))
