"""Connections of commands to a server: shared options, the client built from them, and error texts."""

import contextlib
import os
import re

import click

from data.errors import UserError
from trainer.commands.options import PATH
from trainer.errors import Refused, refusing

# fmt: off
_OPTIONS = [
    click.option("--server",   help="host:port or unix:/path (gRPC), or http://host:port", metavar="TARGET", default="localhost:8500"),
    click.option("--timeout",  help="For a call and its retries", metavar="SECONDS", type=click.FloatRange(0, min_open=True), default=60.0),
    click.option("--tls",      help="Encrypt gRPC and trust the usual authorities", is_flag=True),
    click.option("--tls-ca",   help="Certificate of the authority to trust instead (PEM); implies --tls", metavar="FILE", type=PATH),
    click.option("--tls-cert", help="Client certificate, for servers that require one (PEM)", metavar="FILE", type=PATH),
    click.option("--tls-key",  help="Key of the client certificate (PEM)", metavar="FILE", type=PATH),
    click.option("--tls-name", help="Name in the server's certificate, when it is not the host", metavar="NAME"),
    click.option("--header",   help='"name: value", such as a token, sent with every call; repeatable', metavar="TEXT", multiple=True),
]
# fmt: on


def options(command):
    """Adds the options of a connection to a command, which passes them to `connect` by name."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def connect(server, timeout, tls, tls_ca, tls_cert, tls_key, tls_name, header):
    """Returns a `serving.client.client.Client`. Raises Refused for invalid options."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC logs failures that its errors repeat
    from serving.client.client import Client
    from serving.client.tls import TLS

    encrypted = tls or any((tls_ca, tls_cert, tls_key, tls_name))
    with answered():
        return Client(
            server,
            timeout=timeout,
            tls=TLS(tls_ca, tls_cert, tls_key, tls_name) if encrypted else None,
            headers=dict(_header(line) for line in header),
        )


@contextlib.contextmanager
def answered():
    """Turns errors of the input (UserError, OSError, BadCall) and of the server into a sentence.

    Exit code 2 for errors that the caller can fix; 1 for errors inside the server.
    """
    from serving.wire import errors

    broken = (errors.Aborted, errors.Cancelled, errors.DataLoss, errors.Internal, errors.Unknown)
    try:
        with refusing():
            yield
    except errors.BadCall as error:
        raise Refused(str(error)) from error
    except errors.ServingError as error:
        words = sentence(error.message) or f"the server answered {error.name} without a word"
        raise (click.ClickException if isinstance(error, broken) else Refused)(words) from error


def sentence(message):
    """Message of a server without TensorFlow's graph locations and control characters."""
    text = re.sub(r"\n\s*\[\[.*", "", message)
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _header(line):
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise UserError(f'a header is "name: value", not {line!r}')
    return name.strip(), value.strip()
