"""Models made of one function, with the signatures that their task gives them."""

import types

from data.facts import Condition, Facts
from models.tasks import Enhancement, Generation, Translation


def generator(decode, *, latent_size, resolution, conditions=()):
    """`decode(z, *conditions)` -> pictures [n, resolution, resolution, 3]; `conditions` are names and values, or `Condition`s."""
    toy = Generation()
    toy.facts = Facts(tuple(each if isinstance(each, Condition) else Condition(*each) for each in conditions))
    toy.config = types.SimpleNamespace(latent_size=latent_size, resolution=resolution)
    toy.ema = lambda inputs, training: decode(*inputs)
    return toy


def translator(apply, size):
    """`apply(pictures)` of one size -> pictures of that size."""
    toy = Translation()
    toy.config = types.SimpleNamespace(resolution=size)
    return _applying(toy, apply)


def enhancer(apply):
    """`apply(pictures)` of any size -> pictures; declared as one that enlarges, so that it takes no strength."""
    toy = Enhancement()
    toy.config = types.SimpleNamespace(scale=2)
    return _applying(toy, apply)


def _applying(toy, apply):
    toy.apply = apply
    return toy
