"""Pictures from an exported folder alone, by the server's own code: what `packshot sample` and `packshot apply` do."""

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np

from data import files
from data.errors import UserError
from data.images import BadPicture, decode, encode_png
from serving.export.export import report
from serving.export.layout import latest
from serving.export.patterns import plain
from serving.export.session import Session, SessionError
from serving.wire import class_names
from serving.wire.errors import BadCall


class CannotServe(UserError):
    """The export cannot do what was asked of it; the sentence says why."""


BATCH = 16  # pictures made at once


def sample(
    export: str, n: int, seed: int, label: str | int | np.ndarray | None = None, truncation: float = 1.0
) -> np.ndarray:
    """Draw `n` pictures from the newest version under `export`: uint8 [n, H, W, 3]; see `samples`."""
    return np.concatenate(list(samples(export, n, seed, label, truncation)))


def samples(
    export: str, n: int, seed: int, label: str | int | np.ndarray | None = None, truncation: float = 1.0
) -> Iterator[np.ndarray]:
    """Yield `n` pictures from the newest version under `export`, `BATCH` at a time: uint8 [<= BATCH, H, W, 3].

    Picture i has the seed `seed + i`, so any of them can be had again alone. `label` is a class by name or number, or int [n], one a
    picture; without it a model that knows classes takes them in turn. Raises CannotServe for a model that does not sample, for a label
    it does not know and for one given to a model without classes, and FileNotFoundError when there is no export.
    """
    path = latest(export)
    with _session(path) as session:
        _require(session, "generate", path)
        request = {"seed": np.arange(seed, seed + n, dtype=np.int64), "truncation": np.full(n, truncation, np.float32)}
        if "label" in session.signatures["generate"].inputs:
            request["label"] = _labels(path, n, label)
        elif label is not None:
            raise CannotServe(f"the model in {path} was trained without classes; leave the label out")
        for start in range(0, n, BATCH):
            part = {alias: rows[start : start + BATCH] for alias, rows in request.items()}
            yield session.run("generate", part)["images"]


def apply(export: str, photos: Iterable[bytes | str]) -> Iterator[bytes | Exception]:
    """Yield for each photo (a file, or the bytes of one) the PNG bytes the newest version under `export` makes of it.

    One that cannot be used yields the exception that says why (BadPicture, OSError, or SessionError from the model) in
    its place, and the others go on. Raises CannotServe for a model that takes no pictures, and FileNotFoundError when
    there is no export.
    """
    path = latest(export)
    with _session(path) as session:
        _require(session, "apply_bytes", path)
        for photo in photos:
            try:
                # Through the door of all pictures: it turns them upright and reads what TensorFlow does not.
                content = encode_png(decode(photo if isinstance(photo, bytes) else files.read(photo)))
                answer = session.run("apply_bytes", {"image_bytes": np.array([content], object)})
                yield answer["image_bytes"][0]
            except (BadPicture, OSError, SessionError) as error:
                yield error


def changed(export: str, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield what the newest version under `export` makes of each uint8 [height, width, 3] picture: uint8 [.., .., 3].

    Raises as `apply` does, and CannotServe for a picture that the model refuses.
    """
    path = latest(export)
    with _session(path) as session:
        _require(session, "apply", path)
        for picture in pictures:
            yield session.run("apply", {"images": picture[np.newaxis]})["images"][0]


@contextlib.contextmanager
def _session(path):
    """The model in `path`; what it refuses inside becomes a CannotServe."""
    try:
        with plain(path) as way, Session(way) as session:
            yield session
    except SessionError as error:
        raise CannotServe(f"{path}: {error}") from error


def _require(session, name, path):
    if name not in session.signatures:
        have = ", ".join(sorted(session.signatures))
        raise CannotServe(f"the model in {path} has no signature {name}; it has: {have}")


def _labels(path, n, label):
    if isinstance(label, np.ndarray):
        return label.astype(np.int64)
    classes = report(path)["facts"].get("classes") or []
    if label is None:
        if not classes:
            raise CannotServe(f"{path} does not say what its classes are; give a label by number")
        return np.arange(n, dtype=np.int64) % len(classes)
    try:
        return np.full(n, class_names.number(label, classes), np.int64)
    except BadCall as error:
        raise CannotServe(str(error)) from error
