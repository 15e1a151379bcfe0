"""Open an extractor by what the user typed. Importing this module does not import TensorFlow."""

from data import files
from data.errors import UserError
from trainer.features.extractor import Extractor

KINDS = ("packshot", "inception[:PATH]", "keras:NAME", "file:PATH")


def open_features(spec: str) -> Extractor:
    """Open what `spec` names, one of `KINDS`.

    Raises UserError, one sentence for the user, when the kind is unknown, and when a network cannot be had or cannot be used.
    """
    kind, colon, rest = spec.partition(":")
    if kind not in _OPENERS or (colon and not rest) or (rest and kind == "packshot") or (not rest and kind in _NAMED):
        raise UserError(f"unknown features {spec!r}; have: {', '.join(KINDS)}")
    return _OPENERS[kind](rest)


def _packshot(rest):
    from trainer.features.packshot import open_packshot

    return open_packshot()


def _inception(path):
    from trainer.features.inception import open_inception

    return open_inception(files.resolve(path) if path else None)


def _keras(name):
    from trainer.features.applications import open_application

    return open_application(name)


def _file(path):
    from trainer.features.saved import open_saved

    return open_saved(files.resolve(path))


_OPENERS = {"packshot": _packshot, "inception": _inception, "keras": _keras, "file": _file}
_NAMED = ("keras", "file")  # that need what stands behind the colon
