"""Kinds of product that the studio draws, in label order."""

from collections.abc import Callable
from dataclasses import dataclass

from data.sources.studio_clothes import dress, hat, sneaker, t_shirt, trousers
from data.sources.studio_goods import bottle, chair, handbag, lamp, mug


@dataclass(frozen=True)
class Kind:
    """A class of products: `draw(rng, look)` gives its parts, `noun` its name with {} where colour and print go.

    `prints` are the patterns that suit it. It `stands` on the floor or else lies flat; it `flips` if left and right
    differ.
    """

    draw: Callable
    noun: str
    prints: tuple[str, ...]
    stands: bool = True
    flips: bool = False


ANY = ("striped", "checked", "dotted", "chevron")
KINDS = {
    "t-shirt": Kind(t_shirt, "{} t-shirt", ANY, stands=False),
    "dress": Kind(dress, "{} dress", ANY, stands=False),
    "trousers": Kind(trousers, "pair of {} trousers", ("striped", "checked"), stands=False),
    "sneaker": Kind(sneaker, "{} sneaker", ("checked", "dotted"), flips=True),
    "hat": Kind(hat, "{} hat", ("striped", "checked")),
    "handbag": Kind(handbag, "{} handbag", ANY),
    "mug": Kind(mug, "{} mug", ANY, flips=True),
    "bottle": Kind(bottle, "{} bottle", ("striped", "dotted", "chevron")),
    "lamp": Kind(lamp, "{} lamp", ANY),
    "chair": Kind(chair, "{} chair", ("striped", "checked", "dotted"), flips=True),
}
