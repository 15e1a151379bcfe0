"""Listing of a folder: its pictures, and everything else with the reason why it is left out."""

import json
import os
from collections import Counter
from dataclasses import dataclass, field

from data import files
from data.images import SHEET_START, is_sheet
from data.quarantine import Quarantine
from data.sources.parallel import SHEET, ordered_map
from data.sources.protocol import SourceError, join

# HEIC is listed although Pillow cannot read it: such a photo is then reported, not silently ignored.
PICTURES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .gif .bmp .dib .webp .tif .tiff .avif .jp2 .ppm .pgm .pbm .pnm .tga .ico"
    " .heic .heif".split()
)
# Folders that storage systems and operating systems make beside photos; there are no originals in them.
_SYSTEM = frozenset(
    "@eadir @__thumb @recycle @recently-snapshot #recycle #snapshot $recycle.bin recycler __macosx lost+found thumbs"
    " thumbnails".split()
) | {"system volume information"}
_RUN = {"model", "data", "settings"}  # keys in the config.json of every run


@dataclass(frozen=True)
class Listing:
    """Contents of a folder.

    pictures, others: names (relative, "/", sorted) of pictures and of files whose extension is no picture's.
    odd: {name: reason} of entries that cannot be pictures of the data; names of folders end in "/".
    """

    pictures: list[str]
    others: list[str] = field(default_factory=list)
    odd: dict[str, str] = field(default_factory=dict)

    def left_out(self, folder: str = "") -> Quarantine:
        """The account of all that is no picture, under `folder` or everywhere."""
        prefix, account = f"{folder}/" if folder else "", Quarantine()
        for name, reason in self.odd.items():
            if name.startswith(prefix):
                account.add(name, reason)
        for extension, count in Counter(suffix(name) for name in self.others if name.startswith(prefix)).items():
            account.pass_over(extension, count)
        return account


def suffix(name: str) -> str:
    """The extension of a name in small letters, such as ".jpg"."""
    return os.path.splitext(name)[1].lower()


def list_folder(root: str) -> Listing:
    """Lists what is under `root`. Hidden folders are skipped, as are those of thumbnails and of packshot's own runs.

    Raises SourceError when `root` is no folder or holds no picture, and when a folder cannot be read: whole classes would be missing.
    """
    if not files.is_folder(root):
        raise SourceError(f"there is no folder {root}")
    pictures, others, odd = [], [], {}
    waiting = [("", ())]
    while waiting:
        inside, above = waiting.pop()
        here = join(root, inside)
        place = _identity(here)
        if place and place in above:
            odd[f"{inside}/"] = "a link to a folder above it"
            continue
        folders, names, strange = _entries(here)
        if _is_run(here, folders, names):
            if not inside:
                raise SourceError(f"{root} is the folder of a packshot run, whose pictures are samples and no photos")
            odd[f"{inside}/"] = "a run of packshot"
            continue
        for name, reason in strange.items():
            if suffix(name) in PICTURES or not name.startswith("."):
                odd[join(inside, name)] = reason
        for name in names:
            if not name.startswith("."):
                (pictures if suffix(name) in PICTURES else others).append(join(inside, name))
            elif suffix(name) in PICTURES and not name.startswith("._"):  # those are macOS's notes on other files
                odd[join(inside, name)] = "its name begins with a dot"
        for name in folders:
            if name.lower() in _SYSTEM:
                odd[f"{join(inside, name)}/"] = "thumbnails or system files"
            elif not name.startswith("."):
                waiting.append((join(inside, name), (*above, place)))
    if not files.is_remote(root):  # remotely this would take long; `read_picture` refuses sheets later
        sheets = _sheets(root, [name for name in pictures if suffix(name) == ".png"])
        odd |= dict.fromkeys(sheets, SHEET)
        pictures = [name for name in pictures if name not in sheets]
    listing = Listing(sorted(pictures), sorted(others), dict(sorted(odd.items())))
    if not pictures:
        raise SourceError(
            f"the folder {root} is empty" if not listing.left_out() else _nothing(root, listing.left_out())
        )
    return listing


def _sheets(root, names):
    def is_sheet_there(name):
        try:
            return is_sheet(files.read(join(root, name), SHEET_START))
        except OSError:
            return False

    return {name for name, sheet in zip(names, ordered_map(is_sheet_there, names), strict=True) if sheet}


def _nothing(root, left_out):
    return f"nothing usable was found under {root}: {left_out.sentence()}"


def _identity(folder):
    """A key of a local folder, the same for every path that leads to it; None for a remote one, as there are no links."""
    if files.is_remote(folder):
        return None
    try:
        status = os.stat(folder or ".")
    except OSError as error:
        raise _unreadable(folder, error) from error
    return status.st_dev, status.st_ino


def _entries(folder):
    """Names of the folders and files in a folder, and {name: reason} of what is neither."""
    try:
        if files.is_remote(folder):
            kinds = {name: files.is_folder(join(folder, name)) for name in files.names(folder)}
            return (
                [n for n, is_folder in kinds.items() if is_folder],
                [n for n, is_folder in kinds.items() if not is_folder],
                {},
            )
        folders, names, strange = [], [], {}
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                try:
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif entry.is_file():
                        names.append(entry.name)
                    else:
                        strange[entry.name] = "a link to what is not there" if entry.is_symlink() else "not a file"
                except OSError as error:  # a link into a folder that cannot be read, or to itself
                    strange[entry.name] = f"cannot be read: {error.strerror}"
        return folders, names, strange
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder, error):
    return SourceError(
        f"the folder {folder} cannot be read: {error.strerror or error}; make it readable, move it away, or name the pictures that are"
        " meant in a list (list:FILE)"
    )


def _is_run(folder, folders, names):
    if "config.json" not in names or not ("metrics.jsonl" in names or "checkpoints" in folders):
        return False
    try:
        config = json.loads(files.read(join(folder, "config.json")))
    except (OSError, ValueError):
        return True  # a run whose configuration is damaged is still no photo
    return isinstance(config, dict) and config.keys() >= _RUN
