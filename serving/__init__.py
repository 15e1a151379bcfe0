"""Exports models, serves them, and calls servers.

Installed a second time as `packshot_client`, with only the modules that a client of TensorFlow Serving needs:

    from packshot_client import Client

    with Client("localhost:8500") as client:
        pictures = client.predict("shoes", {"seed": [1, 2], "truncation": [1, 1]}, signature="generate")["images"]

`wire.errors` has the classes of errors, `client.picture_files` reads and writes pictures, and `wire.class_names` gives
the number of a class.
"""

from importlib import import_module

_LIES_IN = {
    "AsyncClient": "client.client",
    "Client": "client.client",
    "ServingError": "wire.errors",
    "TLS": "client.tls",
}
__all__ = list(_LIES_IN)


def __getattr__(name):  # imported on first use: exporting needs no gRPC
    if name not in _LIES_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LIES_IN[name]}", __name__), name)


def __dir__():
    return [*globals(), *__all__]
