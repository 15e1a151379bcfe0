"""What a user is told when something of theirs is wrong: one sentence and exit code 2, never a traceback."""

import contextlib

import click


class Refused(click.ClickException):
    """Bad input: shown as "Error: <sentence>", exit code 2."""

    exit_code = 2


class Stopped(click.ClickException):
    """Training ended before its time, with the cause named; exit code 1. The last good checkpoint is kept."""

    exit_code = 1


class Interrupted(click.ClickException):
    """The process was asked to stop (SIGTERM, SIGINT) and has saved; exit code 128 + the signal's number, as shells have it."""

    def __init__(self, message, signal_number):
        super().__init__(message)
        self.exit_code = 128 + signal_number


@contextlib.contextmanager
def refusing():
    """Turn a ValueError or OSError of the code inside, which judges what the user gave, into `Refused`."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise Refused(str(error)) from error
