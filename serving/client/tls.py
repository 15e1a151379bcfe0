"""TLS certificates and keys of a client, for gRPC and https."""

import contextlib
import os
import tempfile
from dataclasses import dataclass

from ..wire.errors import BadCall

Pem = str | os.PathLike | bytes


@dataclass(frozen=True)
class TLS:
    """TLS settings of a client; each PEM is a path, or the bytes of the file.

    `ca` is the certificate of the authority that signed the server's (without it, the usual authorities are trusted).
    `cert` and `key` are the client's own, for servers that authenticate clients (mTLS). `name` is the name in the
    server's certificate if it is not the host of the target.

    Raises BadCall for one of `cert` and `key` without the other, and for an invalid PEM; OSError for a missing file.
    """

    ca: Pem | None = None
    cert: Pem | None = None
    key: Pem | None = None
    name: str | None = None

    def __post_init__(self):
        if (self.cert is None) != (self.key is None):
            raise BadCall("a client's certificate and its key go together; give both or neither")
        self.context()  # gRPC would fail only when it connects, without the reason

    def context(self):
        """An `ssl.SSLContext`, for https."""
        import ssl

        ca, cert, key = (None if pem is None else _content(pem) for pem in (self.ca, self.cert, self.key))
        try:
            made = ssl.create_default_context(cadata=None if ca is None else ca.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise BadCall(f"the certificate of the authority (ca) is no PEM: {error}") from error
        if cert is not None:
            # The standard library takes only paths.
            with _as_file(cert) as cert_path, _as_file(key) as key_path:
                try:
                    made.load_cert_chain(cert_path, key_path, password=lambda: "")
                except ssl.SSLError as error:
                    raise BadCall(f"the client's certificate and key do not fit or are no PEM: {error}") from error
        return made

    def credentials(self):
        """`grpc.ChannelCredentials`."""
        import grpc

        ca, key, cert = (None if pem is None else _content(pem) for pem in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(ca, key, cert)


def _content(pem):
    if isinstance(pem, bytes):
        return pem
    with open(pem, "rb") as file:
        return file.read()


@contextlib.contextmanager
def _as_file(content):
    """The path of a temporary file with `content` that only this user can read."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pem")
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(content)
        yield path
