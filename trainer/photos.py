"""The photos a user names, one or a folder of them, and the file that what is made of each goes to."""

import collections
from pathlib import Path


def pairs(photos: str, out: str) -> list[tuple[Path, Path]]:
    """(photo, PNG file under `out`) of the file `photos`, or of all files in that folder, in the order of their names.

    Files that begin with a dot are left out. Photos of one name but different suffixes keep those: `a.jpg.png` and
    `a.webp.png`. Raises ValueError for a folder without files.
    """
    root = Path(photos) if Path(photos).is_dir() else Path(photos).parent
    everything = root.rglob("*") if Path(photos).is_dir() else [Path(photos)]
    found = sorted(path for path in everything if path.is_file() and not path.name.startswith("."))
    if not found:
        raise ValueError(f"{photos} holds no files")
    shared = collections.Counter(path.with_suffix(".png") for path in found)
    made = []
    for path in found:
        name = path.with_suffix(".png") if shared[path.with_suffix(".png")] == 1 else Path(f"{path}.png")
        made.append((path, Path(out) / name.relative_to(root)))
    return made
