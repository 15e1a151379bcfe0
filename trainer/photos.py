"""The photos a user names, one or a folder of them, and the file that what is made of each goes to."""

import errno
import os
import unicodedata
from collections import Counter
from collections.abc import Callable

from data import files, outputs
from data.errors import UserError
from data.sources.listing import list_folder
from data.sources.protocol import join
from trainer.errors import sentence

BY = "packshot apply"  # on the server too: `packshot request apply` makes the same


def pairs(photos: str, out: str, say: Callable[[str], None]) -> list[tuple[str, str]]:
    """(photo, PNG file under `out`) of the file `photos`, or of all pictures in that folder, in the order of their names.

    Photos that would get one name keep their suffixes: `a.jpg.png` and `a.webp.png`. Raises as `find` and `data.outputs.check`, so that
    no photo and nothing else is ever written over.
    """
    root, names = find(photos, say, out)
    work = [(join(root, name), join(out, target)) for name, target in zip(names, _targets(names), strict=True)]
    outputs.check((target for _, target in work), BY, inputs=(photo for photo, _ in work), folder=out)
    return work


def find(photos: str, say: Callable[[str], None], out: str | None = None) -> tuple[str, list[str]]:
    """(folder, names in it) of the file `photos`, or of all pictures in that folder, sorted.

    Left out is what was made of these photos before: all that lies in a folder `out` inside of theirs, and where `out` is theirs, what says
    that `packshot apply` made it. `say` is told of what else is there and is no photo. Raises UserError (SourceError when there is no
    picture, or a folder cannot be read) and OSError.
    """
    if not files.is_folder(photos):
        if not files.exists(photos):
            raise UserError(f"there is no file or folder {photos}")
        folder, name = os.path.split(photos)
        return folder, [name]
    listing = list_folder(photos)
    names = [name for name in listing.pictures if not _made_before(photos, name, out)]
    if not names:
        raise UserError(f"{photos} holds nothing but what was made of it before")
    listing.left_out().tell(say)
    return photos, names


def write(target: str, content: bytes) -> OSError | None:
    """Write what was made of a photo. What is wrong with its place alone is returned, so that the others go on; a full disk is raised."""
    try:
        outputs.write(target, content, BY)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return error
    return None


def told(photo: str, error: Exception) -> str:
    """Why nothing was made of a photo."""
    said = error.strerror if isinstance(error, OSError) and error.filename == photo else sentence(error)
    return f"{photo}: {said}"


def _targets(names):
    """A name for what is made of each file: with .png for its suffix, or, where that is another's already, behind it."""
    short = [f"{os.path.splitext(name)[0]}.png" for name in names]
    long = [f"{name}.png" for name in names]
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


def _made_before(photos, name, out):
    if out is None:
        return False
    root, made, folder = map(_real, (photos, out, os.path.dirname(join(photos, name))))
    if made == root:
        return outputs.made_by(join(photos, name), BY)
    return f"{made}/".startswith(f"{root}/") and f"{folder}/".startswith(f"{made}/")


def _real(path):
    return path.rstrip("/") if files.is_remote(path) else os.path.realpath(path)
