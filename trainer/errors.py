"""What a user is told when something of theirs is wrong: one sentence and exit code 2, never a traceback."""

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
    """Work ended before its time, with the cause named; exit code 1. Of a training the last good checkpoint is kept."""

    exit_code = 1


class Interrupted(click.ClickException):
    """The process was asked to stop (SIGTERM, SIGINT) and has saved; exit code 128 + the signal's number, as shells have it."""

    def __init__(self, message, signal_number):
        super().__init__(message)
        self.exit_code = 128 + signal_number


@contextlib.contextmanager
def refusing():
    """Turn what the code inside says of the user's input, files and disk into one sentence: `Refused`, or `Stopped` when a disk is full.

    That is a UserError, an OSError, and TensorFlow's error about a file; any other error is one of the program, and keeps its traceback.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # nobody reads on; click ends in silence
    except OSError as error:
        raise of_file(error) from error
    except UserError as error:
        raise Refused(str(error)) from error
    except Exception as error:
        if (meant := files.as_os_error(error)) is None:
            raise
        raise of_file(meant) from error


def of_file(error: OSError) -> click.ClickException:
    """What to raise for an error of the file system: `Stopped` when a disk is full, `Refused` for any other."""
    if error.errno in _FULL:
        where = os.path.dirname(os.path.abspath(error.filename)) if isinstance(error.filename, str) else "the disk"
        return Stopped(f"no space left in {where}")
    return Refused(sentence(error))


def sentence(error: Exception) -> str:
    """What an error says, for people: of a file first which, then what is wrong with it."""
    if isinstance(error, OSError) and isinstance(error.filename, str) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


class Printing:
    """A click command whose output never fails at a name that the terminal's encoding does not know: it is shown as an escape."""

    def main(self, *args, **options):
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **options)
