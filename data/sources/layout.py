"""How people lay pictures out in folders: which files are pictures, and which folders are splits."""

import os
from collections import Counter

from data import files
from data.sources.protocol import SourceError

# HEIC is listed although Pillow cannot read it: such a photo is then reported, not silently ignored.
PICTURES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .gif .bmp .dib .webp .tif .tiff .avif .jp2 .ppm .pgm .pbm .pnm .tga .ico"
    " .heic .heif".split()
)
_CANONICAL = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}
SPLITS = ("train", "validation", "test")


def join(*parts: str) -> str:
    """Join path parts with "/", leaving empty ones out."""
    return "/".join(
        part.rstrip("/") if index == 0 and len(part) > 1 else part for index, part in enumerate(parts) if part
    )


def list_pictures(root: str) -> tuple[list[str], list[str]]:
    """Names (relative, "/", sorted) of the pictures under `root` and of the other files, hidden ones left out.

    Raises SourceError when `root` is no folder, or holds no picture.
    """
    if not files.is_folder(root):
        raise SourceError(f"there is no folder {root}")
    pictures, others = [], []
    for name in files.walk(root):
        (pictures if _suffix(name) in PICTURES else others).append(name)
    if pictures:
        return pictures, others
    if not others:
        raise SourceError(f"the folder {root} is empty")
    kinds = ", ".join(suffix or "without an extension" for suffix, _ in Counter(map(_suffix, others)).most_common(3))
    plural = "file, no picture" if len(others) == 1 else "files, none of them a picture"
    raise SourceError(f"nothing usable was found under {root}: {len(others)} {plural} ({kinds})")


def _suffix(name):
    return os.path.splitext(name)[1].lower()


def split_folders(names: list[str]) -> dict[str, str]:
    """{split: folder} when all top folders of `names` are splits (train, validation or val, test ...), else {}."""
    tops = {name.split("/")[0] for name in names if "/" in name}
    found = {_CANONICAL.get(top.lower(), top.lower()): top for top in sorted(tops)}
    return found if set(found) <= set(SPLITS) and len(found) == len(tops) else {}


def choose_split(splits: dict[str, str], wanted: str, root: str) -> str:
    """The folder of the split `wanted`, or of train when that is ""; "" when there are no splits and none is wanted.

    Raises SourceError when the split does not exist.
    """
    if not splits and not wanted:
        return ""
    folder = splits.get(_CANONICAL.get(wanted, wanted) or "train")
    if folder is None:
        have = f"it has {', '.join(splits)}" if splits else "it has no split folders (train, validation, test)"
        hint = "" if wanted or not splits else f"; choose one, such as {root}#{next(iter(splits))}"
        raise SourceError(f"there is no split {wanted or 'train'} under {root}: {have}{hint}")
    return folder
