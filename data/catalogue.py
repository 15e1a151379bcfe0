"""Open a source of pictures by what the user typed. Importing this module does not import TensorFlow."""

from data import files
from data.sources.folder import Folder
from data.sources.idx import Idx
from data.sources.listed import Listed
from data.sources.pairs import Pairs
from data.sources.protocol import Source, SourceError, split_option

KINDS = (
    "studio[:COUNT]",
    "folder:PATH[#split]",
    "list:FILE[#split]",
    "pairs:PATH[#split][,BtoA]",
    "idx:PATH[#split]",
    "tfds:NAME[/split]",
    "tfrecord:GLOB",
)
_STUDIO_COUNT = 4096


def open_source(spec: str, seed: int = 0) -> Source:
    """Open what `spec` names (see `KINDS`; the path of a folder alone is read as folder:PATH). `seed` is for studio only.

    Raises SourceError, one sentence for the user, when the kind is unknown or there is nothing to read.
    """
    kind, colon, rest = spec.partition(":")
    if kind == "studio":
        return _open_studio(rest, colon, seed)
    if kind in _OPENERS and colon:
        if not rest:
            raise SourceError(f"{spec} names nothing to open; known: {', '.join(KINDS)}")
        return _OPENERS[kind](rest)
    if files.is_folder(split_option(spec)[0]):
        return Folder(spec)
    raise SourceError(f"{spec!r} is neither an existing folder nor one of: {', '.join(KINDS)}")


def _open_studio(rest, colon, seed):
    from data.sources.studio import Studio

    if colon and not (rest.isascii() and rest.isdigit() and int(rest)):
        raise SourceError(f"studio:{rest} should name a number of examples, such as studio:1000")
    return Studio(int(rest) if colon else _STUDIO_COUNT, seed)


def _open_tfds(name):
    from data.sources.tfds_source import Tfds

    return Tfds(name)


def _open_tfrecord(pattern):
    from data.sources.tfrecord import TfRecord

    return TfRecord(pattern)


_OPENERS = {
    "folder": Folder,
    "list": Listed,
    "pairs": Pairs,
    "idx": Idx,
    "tfds": _open_tfds,
    "tfrecord": _open_tfrecord,
}
