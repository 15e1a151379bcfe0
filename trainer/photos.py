"""Finds the photos that a user names, one or a folder of them, and the output file of each."""

import errno
import os
import unicodedata
from collections import Counter
from collections.abc import Callable

from data import files, outputs
from data.errors import UserError
from data.sources.listing import list_folder
from data.sources.protocol import SourceError, join
from trainer.errors import sentence

BY = "packshot apply"  # of `packshot request apply` too, which makes the same files


def pairs(
    photos: str,
    out: str,
    say: Callable[[str], None],
    *,
    by: str = BY,
    suffix: Callable[[str], str] = lambda name: ".png",
) -> list[tuple[str, str]]:
    """Returns (photo, file that `by` makes of it under `out`) of the file `photos`, or of all pictures in that folder, sorted by name.

    `suffix` returns that of a photo's result. Photos that would get the same name keep their suffixes: `a.jpg.png` and `a.webp.png`.
    Raises as `find` and `data.outputs.check`, so that no photo or other file is ever overwritten.
    """
    root, names = find(photos, say, out=out, by=by)
    targets = _targets(names, [suffix(name) for name in names])
    work = [(join(root, name), join(out, target)) for name, target in zip(names, targets, strict=True)]
    outputs.check((target for _, target in work), by, inputs=(photo for photo, _ in work), folder=out)
    return work


def find(photos: str, say: Callable[[str], None], *, out: str | None = None, by: str = BY) -> tuple[str, list[str]]:
    """Returns (folder, names in it) of the file `photos`, or of all pictures in that folder, sorted.

    Earlier results are skipped: all files in `out` if it is inside the folder, or files made by `by` if it is the same folder.
    `say` gets a sentence about files that are not photos. Raises UserError (SourceError if there is no picture, or a folder cannot be read)
    and OSError.
    """
    if not files.is_folder(photos):
        if not files.exists(photos):
            raise UserError(f"there is no file or folder {photos}")
        folder, name = os.path.split(photos)
        return folder, [name]
    listing = list_folder(photos)
    names = [name for name in listing.pictures if not _made_before(photos, name, out, by)]
    if not names:
        raise SourceError(f"{photos} holds only earlier results of {by}")
    listing.left_out().tell(say)
    return photos, names


def partners(photos: str, sources: list[str], path: str) -> list[str]:
    """Returns the other input picture of each photo in `sources`: the file `path`, or the file with the same name in that folder.

    A mask of `a.jpg` may also be called `a.png`. A missing file is returned too, and fails when it is read.
    """
    path = files.resolve(path)
    if not files.is_folder(path):
        return [path] * len(sources)
    paths = []
    for source in sources:
        name = source.removeprefix(photos.rstrip("/") + "/") if files.is_folder(photos) else os.path.basename(source)
        same, as_png = join(path, name), join(path, f"{os.path.splitext(name)[0]}.png")
        paths.append(as_png if not files.exists(same) and files.exists(as_png) else same)
    return paths


def write(target: str, content: bytes, *, by: str = BY) -> OSError | None:
    """Writes a result. Returns an error of this file, so that the others can proceed; raises OSError for a full disk."""
    try:
        outputs.write(target, content, by)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return error
    return None


def told(photo: str, error: Exception) -> str:
    """Returns a sentence about the error of a photo."""
    reason = error.strerror if isinstance(error, OSError) and error.filename == photo else sentence(error)
    return f"{photo}: {reason}"


def _targets(names, suffixes):
    """Returns the name of the result of each file: with its suffix instead of the file's, or after it if another file has that name."""
    short = [f"{os.path.splitext(name)[0]}{suffix}" for name, suffix in zip(names, suffixes, strict=True)]
    long = [f"{name}{suffix}" for name, suffix in zip(names, suffixes, strict=True)]
    folders = {_folded(os.path.dirname(name)) for name in names}
    made = short
    while True:
        keys = [_folded(name) for name in made]
        once = {key for key, count in Counter(keys).items() if count == 1} - folders
        lengthened = [target if key in once else other for key, target, other in zip(keys, made, long, strict=True)]
        if lengthened == made:
            return made
        made = lengthened


def _folded(name):
    return unicodedata.normalize("NFC", name).casefold()  # two of these are one file on some disks


def _made_before(photos, name, out, by):
    if out is None:
        return False
    root, made, folder = map(_real, (photos, out, os.path.dirname(join(photos, name))))
    if made == root:
        return outputs.made_by(join(photos, name), by)
    return f"{made}/".startswith(f"{root}/") and f"{folder}/".startswith(f"{made}/")


def _real(path):
    return path.rstrip("/") if files.is_remote(path) else os.path.realpath(path)
