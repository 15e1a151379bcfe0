"""Maps outcomes to sentences and exit codes: an error of the user is one sentence and exit code 2, never a traceback."""

import contextlib
import errno
import os
import sys

import click

from data import files
from data.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Refused(click.ClickException):
    """Bad input: shown as "Error: <sentence>", exit code 2."""

    exit_code = 2


class Stopped(click.ClickException):
    """Early end of a command, with its cause; exit code 1. The last good checkpoint of a training is kept."""

    exit_code = 1


class Interrupted(click.ClickException):
    """End by SIGTERM or SIGINT, after saving; exit code 128 + the signal's number, as in shells."""

    def __init__(self, message, signal_number):
        super().__init__(message)
        self.exit_code = 128 + signal_number


@contextlib.contextmanager
def refusing():
    """Turns errors of the user's input, files and disk into one sentence: `Refused`, or `Stopped` when a disk is full.

    These are UserError, OSError and TensorFlow's errors about files. Any other error is a fault of the program and keeps its traceback.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader is gone; click exits silently
    except OSError as error:
        raise of_file(error) from error
    except UserError as error:
        raise Refused(str(error)) from error
    except Exception as error:
        if (meant := files.as_os_error(error)) is None:
            raise
        raise of_file(meant) from error


def of_file(error: OSError) -> click.ClickException:
    """Returns the exception for an error of the file system: `Stopped` for a full disk, else `Refused`."""
    if error.errno in _FULL:
        where = os.path.dirname(os.path.abspath(error.filename)) if isinstance(error.filename, str) else "the disk"
        return Stopped(f"no space left in {where}")
    return Refused(sentence(error))


def sentence(error: Exception) -> str:
    """Returns the text of an error for people: for a file "<path>: <reason>"."""
    if isinstance(error, OSError) and isinstance(error.filename, str) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


class Printing:
    """Mixin for click commands: characters that the terminal's encoding lacks are shown as escapes."""

    def main(self, *args, **options):
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **options)
