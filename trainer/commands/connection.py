"""How commands reach a server: the options they share, the client made of them, and what a person is told of errors."""

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
    click.option("--tls",      help="Encrypt gRPC, and trust the usual authorities", is_flag=True),
    click.option("--tls-ca",   help="Certificate of the authority to trust instead (PEM); implies --tls", metavar="FILE", type=PATH),
    click.option("--tls-cert", help="Own certificate, for a server that asks who is calling (PEM)", metavar="FILE", type=PATH),
    click.option("--tls-key",  help="Its key (PEM)", metavar="FILE", type=PATH),
    click.option("--tls-name", help="Name in the server's certificate, when it is not the host", metavar="NAME"),
    click.option("--header",   help='"name: value", such as a token, sent with every call; repeatable', metavar="TEXT", multiple=True),
]
# fmt: on


def options(command):
    """Give a command the options of a connection; it hands them to `connect` by name."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def connect(server, timeout, tls, tls_ca, tls_cert, tls_key, tls_name, header):
    """A `serving.client.client.Client`. Raises Refused for options that make none."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what gRPC logs of a failure, its error says again
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
    """Turn what is wrong with the input (UserError, OSError, BadCall) or with the server into a sentence.

    Exit code 2 for what the caller can put right; 1 for what is broken inside the server.
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
    """What a server says, without TensorFlow's lines on where in the graph it happened, and nothing that moves a cursor."""
    said = re.sub(r"\n\s*\[\[.*", "", message)
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in said)


def _header(line):
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise UserError(f'a header is "name: value", not {line!r}')
    return name.strip(), value.strip()
