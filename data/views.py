"""Rows for a task, made from one example: pictures of a fixed size and what goes with them.

A view reads pictures at `size` (None: as they are) and turns an example into a list of rows; `choose(count)` gives the places of those
to make. Each row is a dict of values as in `data.batch`. `keys` are those that a family reads in addition to its task's; the data must
have them. All of this happens once an example, before the cache, so it may be slow and exact.
"""

from dataclasses import dataclass

import numpy as np

from data import batch as contract
from data.corruptions.recipes import PHOTO, STEPS, Recipe, parse
from data.degrade import downscale, modcrop
from data.errors import UserError
from data.lines import edges, outline

KINDS = ("auto", "edges", "outline", "mask", "pair")

# Colours that differ in hue and lightness, one a class; used in turn when there are more classes.
PALETTE = np.array(
    [
        (230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240),
        (240, 50, 230), (170, 110, 40), (0, 0, 128), (128, 128, 0), (250, 190, 212), (0, 128, 128),
    ],
    np.uint8,
)  # fmt: skip


@dataclass(frozen=True)
class Generation:
    """One row an example: the picture as it is, and what goes with it."""

    size: int
    keys: tuple[str, ...] = ()

    def check(self, keys):
        _require("image", keys, "generation trains on single pictures")
        _require_all(self.keys, keys)

    def rows(self, example, choose=range):
        return [{"image": example["image"]} | _beside(example, self.keys)]

    def describe(self):
        return {"view": "generation", "resolution": self.size, "keys": self.keys}


@dataclass(frozen=True)
class Translation:
    """One row an example: `source` and `target`; kind as in `KINDS`."""

    size: int
    kind: str
    keys: tuple[str, ...] = ()

    def check(self, keys):
        wanted = {"pair": "source", "mask": "mask", "outline": "mask"}.get(self.kind, "image")
        if self.kind != "auto":
            _require(wanted, keys, f"the view {self.kind!r} is made from it")
        elif "source" not in keys:
            _require("image", keys, "translation starts from a picture or a pair")
        _require_all(self.keys, keys)

    def rows(self, example, choose=range):
        kind = self.kind
        if kind == "auto":
            kind = "pair" if "source" in example else "outline" if "mask" in example else "edges"
        beside = _beside(example, self.keys)
        if kind == "pair":
            return [{"source": example["source"], "target": example["target"], **beside}]
        picture = example["image"]
        if kind == "mask":
            colour = PALETTE[example.get("label", 0) % len(PALETTE)]
            share = example["mask"] / np.float32(255)
            source = np.rint(255 + share * (colour - np.float32(255))).astype(np.uint8)
        else:
            source = edges(picture) if kind == "edges" else outline(picture, example["mask"])
        return [{"source": source, "target": picture, **beside}]

    def describe(self):
        return {"view": "translation", "resolution": self.size, "kind": self.kind, "keys": self.keys}


@dataclass(frozen=True)
class Enhancement:
    """Patches of `side` px on a grid of step `stride`, and the same patches of the picture made `scale` times smaller.

    The whole picture is made smaller, as the published protocols do, so the border of a patch depends on its neighbourhood. Pairs are cut
    as they are.
    """

    side: int
    scale: int
    stride: int
    keys: tuple[str, ...] = ()
    drawn: Recipe | None = None  # makes the smaller patches at every draw instead; rows have none then
    size = None

    def check(self, keys):
        if "source" in keys:
            if self.drawn:
                raise UserError("the data are pairs, whose sources are damaged already: leave --view out")
        else:
            _require("image", keys, "enhancement makes smaller or damaged pictures of it, or takes pairs")
            if self.scale == 1 and not self.drawn:
                raise UserError(
                    f"a model of scale 1 needs pairs, or damage to undo: --view {PHOTO}, or some of {', '.join(STEPS)}"
                )
        _require_all(self.keys, keys)

    def rows(self, example, choose=range):
        low, high = sides(example, self.scale)
        over = {key: example[key] for key in self.keys if contract.kind(key).spatial}
        same = {key: example[key] for key in self.keys if key not in over}
        height, width = high.shape[:2]
        if min(height, width) < self.side:
            raise UserError(f"too small: {width}x{height} px, patches are {self.side}x{self.side}")
        if low is None and not self.drawn:
            low = downscale(high, self.scale)
        tops, lefts = self._starts(height), self._starts(width)
        found = []
        for place in choose(len(tops) * len(lefts)):
            top, left = tops[place // len(lefts)], lefts[place % len(lefts)]
            patch = slice(top, top + self.side), slice(left, left + self.side)
            row = {"high": high[patch]}
            if low is not None:
                y, x, small = top // self.scale, left // self.scale, self.side // self.scale
                row["low"] = low[y : y + small, x : x + small]
            found.append(row | {key: value[patch] for key, value in over.items()} | same)
        return found

    def _starts(self, length):
        last = length - self.side
        return sorted({*range(0, last + 1, self.stride), last // self.scale * self.scale})

    def describe(self):
        described = {"view": "enhancement", "patch": self.side, "scale": self.scale, "stride": self.stride}
        return described | {"keys": self.keys} | ({"low": "drawn"} if self.drawn else {})


def generation(resolution: int, keys=()) -> Generation:
    """Rows {"image", *keys} of side `resolution`, with labels and texts of the example where it has them."""
    return Generation(resolution, tuple(keys))


def translation(resolution: int, kind: str = "auto", *, keys=()) -> Translation:
    """Rows {"source", "target", *keys} of side `resolution`, with labels and texts of the example where it has them.

    edges: drawn from the picture. outline: drawn from the mask. mask: filled with the colour of the class. pair: as given. auto: a pair,
    else an outline, else edges, whichever the data can give. Raises UserError for an unknown kind.
    """
    if kind not in KINDS:
        raise UserError(f"unknown view {kind!r}; have: {', '.join(KINDS)}")
    return Translation(resolution, kind, tuple(keys))


def enhancement(
    resolution: int, scale: int, *, stride: int | None = None, keys=(), recipe: str = "auto"
) -> Enhancement:
    """Rows {"high" [resolution, resolution, 3], "low" [resolution / scale, ...], *keys}; maps are cut as `high` is.

    recipe: of the damage, see `data.corruptions.recipes`. Unless it is plain shrinking, `low` is drawn by it and not in the rows.
    Raises UserError for an unknown recipe, and unless resolution and stride are multiples of scale.
    """
    stride = stride or max(resolution // 2 // scale, 1) * scale
    if resolution % scale or stride % scale:
        raise UserError(f"patches of {resolution} px and steps of {stride} px must be multiples of the scale, {scale}")
    return Enhancement(resolution, scale, stride, tuple(keys), parse(recipe, scale))


def sides(example: dict, scale: int) -> tuple[np.ndarray | None, np.ndarray]:
    """Returns (smaller picture, or None where it has to be made; larger picture) of an example, uint8 [height, width, 3].

    Raises UserError if the example is a pair whose target is not `scale` times as large as its source.
    """
    if "source" not in example:
        return None, modcrop(example["image"], scale)
    low, high = example["source"], example["target"]
    if high.shape[:2] != (scale * low.shape[0], scale * low.shape[1]):
        (height, width), (tall, wide) = low.shape[:2], high.shape[:2]
        raise UserError(
            f"the target of {wide}x{tall} px is not {scale} times as large as the source of {width}x{height} px"
        )
    return low, high


def _beside(example, keys):
    """Returns the values besides the picture: those in `keys`, and all that are not spatial."""
    return {key: value for key, value in example.items() if key in keys or not contract.kind(key).spatial}


def _require_all(wanted, keys):
    for key in wanted:
        _require(key, keys, "the model reads it")


def _require(key, keys, why):
    if key not in keys:
        raise UserError(f"the data has no {key!r} (it has: {', '.join(sorted(keys))}), and {why}")
