"""Runs an exported folder without a server, for `packshot sample`, `apply` and `enhance`."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from data import files
from data.edits import Chain, parse
from data.errors import UserError
from data.images import BadPicture, decode, encode_png
from data.random import RowRandom
from serving.export.export import REPORT, report
from serving.export.layout import latest
from serving.export.patterns import plain
from serving.export.session import RESOURCE_EXHAUSTED, Session, SessionError
from serving.export.tiles import Tiled
from serving.wire import class_names
from serving.wire.errors import BadCall
from serving.wire.interface import Interface, Signature, decoder, described, encoder, for_files, generator, inferred

BATCH = 16  # pictures in one call
UNKNOWN_WORDS = "unknown_words"  # signature that tells which words of a text the model does not know
_WORDLESS = "the model in {} is told no words; leave the text out"
NETWORK = "network"  # signature of the model alone, in an export that holds edits


class CannotServe(UserError):
    """The export does not support the request; the message says why."""


def interface(path: str, session: Session) -> Interface:
    """The interface of the version at `path`, from its export.json, or inferred from its SavedModel."""
    known = report(path) if files.exists(f"{path}/{REPORT}") else {}
    if known.get("interface"):
        try:
            return described(known["interface"])
        except (KeyError, TypeError, AttributeError) as error:
            raise CannotServe(f"{path}/{REPORT} is damaged: the interface cannot be read ({error})") from error
    found = inferred(session.signatures)
    classes = tuple(known.get("metadata", {}).get("classes") or ())
    for signature in found.values():
        if class_names.LABEL in signature.inputs:
            port = signature.inputs[class_names.LABEL]
            signature.inputs[class_names.LABEL] = port._replace(values=classes)
    return found


def sample(
    export: str,
    n: int,
    seed: int,
    *,
    conditions: Mapping[str, str | int | np.ndarray] | None = None,
    text: str | Sequence[str] | None = None,
    numbers: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Draw `n` pictures from the newest version under `export`: uint8 [n, H, W, 3]; see `samples`."""
    return np.concatenate(list(samples(export, n, seed, conditions=conditions, text=text, numbers=numbers)))


def samples(
    export: str,
    n: int,
    seed: int,
    *,
    conditions: Mapping[str, str | int | np.ndarray] | None = None,
    text: str | Sequence[str] | None = None,
    numbers: Mapping[str, float] | None = None,
) -> Iterator[np.ndarray]:
    """Yield `n` pictures from the newest version under `export`, `BATCH` at a time: uint8 [<= BATCH, H, W, 3].

    Picture i has the seed `seed + i`, so each can be drawn again alone.

    Args:
        conditions: for a condition (such as "label") a value by name or number, or int [n], one for each picture. Of a condition
            that is left out, all values are taken in turn; where it may be unknown, each picture's seed draws one of them, unless words
            say what the picture shows.
        text: what the pictures show, in words, or one text for each picture; None: nothing is said.
        numbers: values of the model's numbers (such as "truncation") that differ from the default.

    Raises:
        CannotServe: the model makes no pictures from seeds, is told no words, or does not have a condition, a value or a number.
        FileNotFoundError: there is no export.
    """
    path = latest(export)
    with _session(path) as session:
        known = interface(path, session)
        name = generator(known)
        if name is None:
            _require(known, "generate", path)
        signature = known[name]
        request = {alias: np.arange(seed, seed + n, dtype=np.int64) for alias in signature.taking("seed")}
        drawn = _drawn(signature, seed + np.arange(n)) if text is None else {}
        given = drawn | dict(conditions or {})
        request |= _texts(signature, text, n, path)
        request |= _numbers(signature, numbers or {}, n, path) | _conditions(signature, given, n, path)
        images = signature.giving("picture")[0]
        for start in range(0, n, BATCH):
            part = {alias: rows[start : start + BATCH] for alias, rows in request.items()}
            yield session.run(name, part)[images]


def between(
    export: str,
    pairs: Iterable[tuple[int | str, int | str]],
    steps: int,
    *,
    conditions: Mapping[str, str | int] | None = None,
) -> np.ndarray:
    """Draw a row of `steps` pictures for each pair, from one end to the other, both included: uint8 [pairs * steps, H, W, 3].

    An end is a seed, whose z is the first that is drawn from it, or the path of a photo, which the model encodes. Between the ends z
    goes along an arc (see `arc`). Conditions as for `samples`, one value a row.

    Raises:
        CannotServe: the model makes no pictures from z, or cannot encode photos, or does not have a condition or a value.
        BadPicture, OSError: a photo cannot be used.
        FileNotFoundError: there is no export.
    """
    path = latest(export)
    with _session(path) as session:
        known = interface(path, session)
        name = decoder(known)
        if name is None:
            raise CannotServe(f"the model in {path} makes no pictures from z; it has: {', '.join(sorted(known))}")
        signature = known[name]
        (z,), images = signature.taking("latent"), signature.giving("picture")[0]
        rows = [
            arc(*(_latent(session, known, end, signature.inputs[z].shape, path) for end in pair), steps)
            for pair in pairs
        ]
        given = _drawn(signature, np.arange(len(rows))) | dict(conditions or {})
        told = _conditions(signature, given, len(rows), path)
        request = {z: np.concatenate(rows)} | {alias: np.repeat(column, steps) for alias, column in told.items()}
        parts = [
            {alias: values[start : start + BATCH] for alias, values in request.items()}
            for start in range(0, len(request[z]), BATCH)
        ]
        return np.concatenate([session.run(name, part)[images] for part in parts])


def arc(first: np.ndarray, last: np.ndarray, steps: int) -> np.ndarray:
    """`steps` points from the one to the other, both included: float32 [steps, *shape].

    Spherical interpolation (Shoemake 1985, for z: White 2016, arXiv 1609.04468): points between two normal ones are as
    long as these, where those on a line are too short. On a line where the two lie in one direction.
    """
    shares = np.linspace(0.0, 1.0, steps).reshape(-1, *[1] * first.ndim)
    a, b = first.astype(np.float64), last.astype(np.float64)
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(np.clip(np.sum(a * b) / lengths, -1.0, 1.0)) if lengths else 0.0
    if np.sin(angle) < 1e-6:
        return ((1.0 - shares) * a + shares * b).astype(np.float32)
    return ((np.sin((1.0 - shares) * angle) * a + np.sin(shares * angle) * b) / np.sin(angle)).astype(np.float32)


def _latent(session, known, end, shape, path):
    """z of a seed or of a photo, float32 `shape`."""
    if isinstance(end, int):
        return RowRandom(np.array([end])).normal(1, *shape).numpy()[0]
    name = encoder(known)
    if name is None:
        raise CannotServe(f"the model in {path} cannot encode photos; give seeds, not {end}")
    (alias,) = known[name].photos()
    try:
        return session.run(name, {alias: _file(end)})[known[name].giving("latent")[0]][0]
    except BadPicture as error:
        raise BadPicture(f"{end}: {error}") from error


def unknown_words(export: str, text: str) -> list[str]:
    """The words of a text that the newest version under `export` does not know, in their order.

    Raises CannotServe if it is told no words, and FileNotFoundError if there is no export.
    """
    path = latest(export)
    with _session(path) as session:
        if UNKNOWN_WORDS not in session.signatures:
            raise CannotServe(_WORDLESS.format(path))
        return session.run(UNKNOWN_WORDS, {"text": np.array([text.encode()], object)})["words"][0].decode().split()


def apply(
    export: str,
    photos: Iterable[bytes | str],
    *,
    signature: str = "apply",
    others: Mapping[str, Iterable[bytes | str]] | None = None,
    conditions: Mapping[str, str | int] | None = None,
    numbers: Mapping[str, float] | None = None,
) -> Iterator[bytes | Exception]:
    """Yield for each photo (a path, or the bytes of a file) the PNG bytes that the newest version under `export` returns.

    For a photo that cannot be used it yields the exception (BadPicture, OSError, or SessionError from the model), and
    goes on with the next.

    Args:
        signature: the endpoint to ask.
        others: further pictures that the signature takes, such as "mask": one for each photo.
        conditions: of what the model is told, a value by name or number, the same for all photos. Only what may be unknown can be left out.
        numbers: as for `samples`.

    Raises:
        CannotServe: the model has no such signature for files, it returns no picture, or it takes other inputs.
        FileNotFoundError: there is no export.
    """
    path = latest(export)
    with _session(path) as session:
        known = interface(path, session)
        name = for_files(known, signature)
        if name is None:
            _require(known, f"{signature}_bytes", path)
        aliases = {alias.removesuffix("_bytes"): alias for alias in known[name].photos()}
        pictures = known[name].giving("picture", "mask")
        if not aliases or not pictures:
            raise CannotServe(f"the signature {name} of the model in {path} makes no pictures of pictures")
        first, *wanted = aliases
        others = others or {}
        if set(others) != set(wanted):
            raise CannotServe(
                f"beside the photo, {name} takes: {', '.join(wanted) or 'nothing'}; given: {', '.join(others) or 'nothing'}"
            )
        settings = _numbers(known[name], numbers or {}, 1, path) | _told(known[name], conditions or {}, path)
        for contents in zip(photos, *others.values(), strict=True):
            try:
                named = zip((first, *others), contents, strict=True)
                request = {aliases[alias]: _file(content) for alias, content in named}
                yield session.run(name, request | settings)[pictures[0]][0]
            except (BadPicture, OSError, SessionError) as error:
                yield error


def changed(export: str, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the result of the newest version under `export` for each uint8 [height, width, 3] picture: uint8 [.., .., 3].

    Raises as `apply` does, and CannotServe for a picture that the model refuses.
    """
    path = latest(export)
    with _session(path) as session:
        known = interface(path, session)
        name = "reconstruct" if "reconstruct" in known else "apply"
        _require(known, name, path)
        for picture in pictures:
            yield session.run(name, {"images": picture[np.newaxis]})["images"][0]


@contextlib.contextmanager
def enhancer(export: str, numbers: Mapping[str, float] | None = None, *, tile: int | None = None) -> Iterator[Tiled]:
    """The newest version under `export`, as what takes pictures of any size; `numbers` as for `samples`, `tile` as for `Tiled`.

    Of an export that holds edits it is the model without them (see `edits`).

    Calls raise BadPicture for a picture that the model refuses. Raises CannotServe if it does not take pictures of any size and nothing
    else, UserError if it does not enhance (see `Tiled`), and FileNotFoundError if there is no export.
    """
    path = latest(export)
    with _session(path) as session:
        known = interface(path, session)
        name = NETWORK if NETWORK in known else "apply"
        _require(known, name, path)
        signature = known[name]
        (first, *others), (result, *_) = signature.photos() or [None], signature.giving("picture") or [None]
        if first is None or result is None or others or signature.inputs[first].size:
            raise CannotServe(
                f"the model in {path} does not make pictures of pictures of any size; see `packshot apply`"
            )
        settings = _numbers(signature, numbers or {}, 1, path) | _told(signature, {}, path)

        def run(pictures):
            try:
                return session.run(name, {first: pictures} | settings)[result]
            except SessionError as error:
                raise (MemoryError if error.code == RESOURCE_EXHAUSTED else BadPicture)(error.message) from error

        yield Tiled(run, tile)


def edits(export: str) -> tuple[Chain, Chain]:
    """The chains that the newest version under `export` holds, before and behind the model.

    Raises FileNotFoundError if there is no version.
    """
    path = latest(export)
    held = report(path)["metadata"].get("edits", {}) if files.exists(f"{path}/{REPORT}") else {}
    return parse(held.get("before", "")), parse(held.get("after", ""))


def identity(export: str) -> str:
    """A digest of the graph and the weights of the newest version under `export`. Raises FileNotFoundError if there is none."""
    path = latest(export)
    parts = [files.read(f"{path}/saved_model.pb")]
    if files.exists(index := f"{path}/variables/variables.index"):  # which holds the checksum of each weight
        parts.append(files.read(index))
    return hashlib.sha256(b"".join(parts)).hexdigest()


@contextlib.contextmanager
def _session(path):
    """The session of the model in `path`; a SessionError inside becomes a CannotServe."""
    try:
        with plain(path) as way, Session(way) as session:
            yield session
    except SessionError as error:
        raise CannotServe(f"{path}: {error}") from error


def _require(known, name, path):
    if name not in known:
        raise CannotServe(f"the model in {path} has no signature {name}; it has: {', '.join(sorted(known))}")


def _file(photo):
    """One row of files. `decode` turns photos upright and reads formats that TensorFlow does not."""
    return np.array([encode_png(decode(photo if isinstance(photo, bytes) else files.read(photo)))], object)


def _numbers(signature: Signature, given, n, path):
    """A column for each number of the signature that has a value or a default."""
    known = signature.taking("number")
    for name, value in given.items():
        if name not in known:
            raise CannotServe(f"the model in {path} takes no number {name}; it takes: {', '.join(known) or 'none'}")
        low, high = signature.inputs[name].low, signature.inputs[name].high
        if low is not None and not low <= value <= high:
            raise CannotServe(f"{name} must be between {low:g} and {high:g}, not {value:g}")
    values = {name: given.get(name, signature.inputs[name].default) for name in known}
    return {name: np.full(n, value, np.float32) for name, value in values.items() if value is not None}


def _texts(signature, text, n, path):
    """A column of the texts, if they are given."""
    aliases = signature.taking("text")
    if text is None:
        return {}
    if not aliases:
        raise CannotServe(_WORDLESS.format(path))
    texts = [text] * n if isinstance(text, str) else text
    return {alias: np.array([each.encode() for each in texts], object) for alias in aliases}


def _conditions(signature, given, n, path):
    """A column for each condition that is given or required."""
    known = signature.taking("condition")
    for name in given:
        if name not in known:
            if name == class_names.LABEL:
                raise CannotServe(f"the model in {path} was trained without classes; leave the label out")
            raise CannotServe(f"the model in {path} has no condition {name}; it has: {', '.join(known) or 'nothing'}")
    columns = {name: _column(name, signature.inputs[name], given.get(name), n, path) for name in known}
    return {name: column for name, column in columns.items() if column is not None}


def _drawn(signature, seeds):
    """For each condition that may be unknown and has names, a value drawn by each seed."""
    ports = [(name, signature.inputs[name]) for name in signature.taking("condition")]
    return {
        name: np.array([np.random.default_rng([seed, *name.encode()]).integers(len(port.values)) for seed in seeds])
        for name, port in ports
        if port.optional and port.values
    }


def _told(signature, given, path):
    """As `_conditions`, of one row: nothing takes turns."""
    for name in signature.taking("condition"):
        port = signature.inputs[name]
        if name not in given and not port.optional:
            raise CannotServe(f"the model in {path} is told {name}; say which: {class_names.listed(port.values)}")
    return _conditions(signature, given, 1, path)


def _column(name, port, value, n, path):
    if isinstance(value, np.ndarray):
        return value.astype(np.int64)
    if value is None and port.optional:
        return None
    if value is None:
        if not port.values:
            raise CannotServe(f"{path} has no names for {name}; give a number")
        return np.arange(n, dtype=np.int64) % len(port.values)
    try:
        return np.full(n, class_names.number(value, port.values, condition=name), np.int64)
    except BadCall as error:
        raise CannotServe(str(error)) from error
