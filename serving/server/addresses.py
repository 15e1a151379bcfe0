"""Resolves and checks the addresses that a server listens on."""

import errno
import os
import socket
import stat
from dataclasses import dataclass

_LONGEST_SOCKET_PATH = 100  # bytes; the system's own limit is 108, on macOS 104


class CannotListen(OSError):
    """The address is taken or cannot be used; the message names it and the reason."""


@dataclass(frozen=True)
class Address:
    """An IP address with a port; its text is `127.0.0.1:8500` or `[::1]:8500`."""

    host: str
    port: int

    def __str__(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def bound(self) -> socket.socket:
        """A bound socket that does not listen yet; `::` is IPv4 and IPv6. Raises CannotListen."""
        found = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.host == "::":
                found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            found.bind(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][4])
        except OSError as error:
            found.close()
            raise CannotListen(f"cannot listen at {self}: {os.strerror(error.errno)}") from error
        return found


def addresses(host: str, port: int) -> list[Address]:
    """The addresses of this machine that `host` means: a name, an IPv4 or an IPv6 address (in square brackets or without).

    Raises CannotListen if it is not an address of this machine, or taken.
    """
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        if name in ("", "*"):
            raise ValueError
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise CannotListen(
            f"cannot listen at {host!r}: {why}; --bind_address takes a name or an address of this machine, such as "
            "127.0.0.1, 0.0.0.0 (all IPv4) or :: (all)"
        ) from error
    named = [Address(host, port) for host in dict.fromkeys(where[4][0] for where in found)]
    usable = [address for address in named if len(named) == 1 or _is_here(address)]
    for address in usable or named:
        address.bound().close()
    return usable


def check_socket_path(path: str) -> None:
    """Raises CannotListen if no UNIX socket can be made at `path`."""
    folder = os.path.dirname(os.path.abspath(path))
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        why = f"the path of a socket has at most {_LONGEST_SOCKET_PATH} bytes"
    elif not os.path.isdir(folder):
        why = f"there is no folder {folder}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        why = os.strerror(errno.EACCES)
    elif os.path.lexists(path) and not _is_socket(path):
        why = "there is another file"
    else:
        return
    raise CannotListen(f"cannot listen at unix:{path}: {why}")


def _is_here(address):
    """True if the machine has the address: `localhost` may mean ::1 on a machine without IPv6."""
    try:
        address.bound().close()
    except CannotListen as error:
        return error.__cause__.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def _is_socket(path):
    return stat.S_ISSOCK(os.lstat(path).st_mode)
