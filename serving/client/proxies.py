"""Proxies in the environment, which gRPC uses by default.

Source: grpc src/core/handshaker/http_connect/http_proxy_mapper.cc. It does not read NO_PROXY in capitals, and uses the
proxy also for this machine.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")  # the first one that is set is used
_REST_VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy", "NO_PROXY")
_HOST = re.compile(r"(?:.*[:/])?(\[[^\]]*\]|[^\[\]:/]*):\d+")


class Proxy(NamedTuple):
    """A proxy, and the variable that names it."""

    address: str
    variable: str

    def __str__(self):
        parts = urlsplit(self.address)
        shown = (
            self.address.replace(f"{parts.netloc.rpartition('@')[0]}@", "", 1) if "@" in parts.netloc else self.address
        )
        return f"the proxy {shown} (by {self.variable} in the environment)"  # shown without the password


def of_grpc(target: str) -> Proxy | None:
    """The proxy that gRPC should use for `target`, host:port or a URI of gRPC's; None for no proxy."""
    variable = next((name for name in _VARIABLES if name in os.environ), None)
    # gRPC itself ignores other schemes, with a line on stderr.
    if variable is None or not os.environ[variable].startswith("http://") or _is_excepted(target):
        return None
    return Proxy(os.environ[variable], variable)


def passed_over(target: str) -> Proxy | None:
    """The proxy in the environment that the REST channel does not use: it connects to host:port directly."""
    variable = next((name for name in _REST_VARIABLES if os.environ.get(name)), None)
    return None if variable is None or _is_excepted(target) else Proxy(os.environ[variable], variable)


def _is_excepted(target):
    host = _HOST.fullmatch(target)
    if target.startswith("unix:") or not host:
        return True
    name = host[1].strip("[]").lower().rstrip(".")
    listed = [entry.strip() for variable in _EXCEPTIONS for entry in os.environ.get(variable, "").split(",")]
    return _is_this_machine(name) or _is_listed(name, [entry for entry in listed if entry])


def _is_this_machine(host):
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost") or host == socket.gethostname().lower()


def _is_listed(host: str, entries: Sequence[str]):
    for entry in entries:
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:  # one of them is not an address
            name = entry.lower().lstrip("*").lstrip(".")
            if not name or host == name or host.endswith("." + name):
                return True
    return False
