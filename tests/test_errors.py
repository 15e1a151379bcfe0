"""What a user is told of errors: a sentence for what is theirs, a traceback for what is ours, in any encoding."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import tensorflow as tf

from data.errors import UserError
from trainer.cli import main
from trainer.errors import Refused, Stopped, refusing

ROOT = Path(__file__).parent.parent


def raised(error):
    with pytest.raises(BaseException) as caught, refusing():
        raise error
    return caught.value


@pytest.mark.parametrize(
    "error, kind, sentence",
    [
        (UserError("too small"), Refused, "too small"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b"),
            Refused,
            "a/b: No such file or directory",
        ),
        (FileNotFoundError("no export in a"), Refused, "no export in a"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b/c.png"), Stopped, "no space left in /a/b"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/a/b/c.png"), Stopped, "no space left in /a/b"),
        (OSError(errno.ENOSPC, "No space left on device"), Stopped, "no space left in the disk"),
        (
            tf.errors.NotFoundError(None, None, "a/b; No such file or directory"),
            Refused,
            "a/b: No such file or directory",
        ),
        (tf.errors.ResourceExhaustedError(None, None, "/a/b; No space left on device"), Stopped, "no space left in /a"),
    ],
)
def test_what_the_user_can_put_right_is_a_sentence(error, kind, sentence):
    told = raised(error)
    assert type(told) is kind and sentence in told.message and told.exit_code == (1 if kind is Stopped else 2)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("shapes differ"),
        KeyError("x"),
        RuntimeError("x"),
        tf.errors.InvalidArgumentError(None, None, "shapes differ"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        click.UsageError("x"),
        click.exceptions.Exit(3),
        KeyboardInterrupt(),
    ],
)
def test_any_other_error_stays_as_it_is(error):
    assert raised(error) is error


@pytest.mark.parametrize("module", ["trainer.cli", "trainer.task"])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_names_that_the_terminal_cannot_show_are_told_all_the_same(module, encoding):
    words = ["inspect", "folder:靴"] if module == "trainer.cli" else ["--data", "folder:靴", "--model", "靴"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 2 and b"Traceback" not in done.stderr and b"\\u9774" in done.stderr


def test_class_names_are_printed_in_any_encoding(tmp_path):
    from PIL import Image

    for name in ("靴", "鞄", "caf\udce9"):  # the last as a folder in Latin-1 on a disk in UTF-8
        os.mkdir(tmp_path / name)
        Image.new("RGB", (64, 64), "red").save(os.fsencode(tmp_path / name / "a.png").decode(errors="surrogateescape"))
    out = tmp_path / "out"
    words = ["inspect", tmp_path, "--json", out / "i.json", "--out", out / "i.html", "--fix", out / "i.txt"]
    for encoding in ("latin-1", "utf-8"):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(
            [sys.executable, "-m", "trainer.cli", *map(str, words)], cwd=ROOT, env=environment, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        assert ("\\u9774" if encoding == "latin-1" else "靴").encode() in done.stdout


def parameters(command, path=()):
    """(words, parameter) of every command there is."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from parameters(inner, (*path, name))
    for parameter in command.params:
        yield " ".join((*path, parameter.name)), parameter


NAMES_A_PLACE = {"FILE", "DIR", "HTML", "PATH", "RUN", "MODELS_DIR", "RUN_OR_EXPORT..."}
ARGUMENTS = {"export_or_run", "run_or_export", "exports_or_runs", "photos", "key", "answers"}


def test_every_path_is_understood_alike():
    """~ and schemes mean the same wherever a path is asked for: in each command, option and argument."""
    asked = dict(parameters(main))
    of_paths = {
        words: type(parameter.type).__name__
        for words, parameter in asked.items()
        if parameter.metavar in NAMES_A_PLACE or parameter.name in ARGUMENTS
    }
    assert len(of_paths) > 25
    assert {words: kind for words, kind in of_paths.items() if kind != "ResolvedPath"} == {}
