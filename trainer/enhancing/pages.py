"""Before and after side by side: a contact sheet, and a page with a slider for each photo. Both are made from files alone."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data import files
from data.images import BadPicture, decode, decode_within, grid
from data.pages import data_uri, render
from trainer.enhancing.line import Item

MOST = 100  # photos on a sheet or a page
_THUMBNAIL, _LONGEST = 320, 1600  # px


def sheet(items: Sequence[Item]) -> np.ndarray:
    """Pairs of before and after, up to three in a row: uint8 [height, width, 3]. A photo or result that cannot be read is left out."""
    pairs = [side for pair in _read(items, lambda content: decode(content, _THUMBNAIL, fit="pad")) for side in pair[1:]]
    return grid(np.stack(pairs), min(len(pairs), 6), gap=4)


def page(items: Sequence[Item], title: str) -> str:
    """HTML of a page that needs nothing else; a photo or result that cannot be read is left out."""
    shown = [
        {"name": item.photo, "before": data_uri(before), "after": data_uri(after), "width": after.shape[1], "height": after.shape[0]}
        for item, before, after in _read(items, lambda content: decode_within(content, _LONGEST))
    ]  # fmt: skip
    return render(Path(__file__).with_name("page.html"), title=title, photos=shown, page=secrets.token_urlsafe(12))


def _read(items, read):
    for item in items:
        try:
            before, after = read(files.read(item.photo)), read(files.read(item.target))
        except (BadPicture, OSError):
            continue
        yield item, before, after
