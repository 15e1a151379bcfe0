"""What the conformance tests need of any family: a tiny model, and a batch for it."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from data import batch as contract
from data.facts import Condition, Facts
from data.words import TOKENS, Words
from models import catalogue
from models.base import TwoPlayer
from trainer import tasks

FAMILIES = catalogue.names()
LABEL = Condition("label", ("bags", "hats", "shoes"))
COLOUR = Condition("colour", ("red", "blue"), optional=True)
WORDS = Words(("a", "red", "blue", "hat", "shoe", "striped"), 5)
CONDITIONS = {"none": (), "one": (LABEL,), "two": (LABEL, COLOUR)}


def told(name, conditions=(LABEL,)):
    """Facts of these conditions, or of none for a family that is told nothing; with words for one that can be told them."""
    family = catalogue.load(name).Model
    return Facts(conditions if family.CONDITIONS else (), WORDS if family.WORDS else None)


def tiny(name, *, facts=Facts(), seed=5, augment="none", **changes):
    """The family's "tiny" model, with some settings changed; `augment` is for two players only.

    One that wants an interface gets the tiny model of one that gives it, and one that needs words is told `WORDS`.
    """
    family = catalogue.load(name)
    if family.Model.WORDS == "needed":
        facts = dataclasses.replace(facts, words=WORDS)
    options = {"augment": augment} if issubclass(family.Model, TwoPlayer) else {}
    if family.Model.WANTS:
        options["parent"] = tiny(giving(family.Model.WANTS))
    keras.utils.set_random_seed(seed)
    config = dataclasses.replace(family.PRESETS["tiny"], **changes)
    return family.Model(config, facts=facts, seed=seed, **options)


def giving(interface):
    """The first family that gives an interface and wants none itself."""
    classes = {name: catalogue.load(name).Model for name in catalogue.names()}
    return next(name for name, model in classes.items() if interface in model.GIVES and not model.WANTS)


def batch(model, number=0, rows=None):
    """A batch of random values for the model, as the table of keys says, pictures and maps smooth; `number` picks another one."""
    config = model.config
    rows = rows or config.batch_size * model.rows_per_step
    random = np.random.default_rng([7, number])

    def values(key):
        kind = contract.kind(key)
        if kind.spatial:
            coarse = random.uniform(kind.low, kind.high, (rows, 4, 4, 3 if kind is contract.PICTURE else 1))
            side = tasks.of(model).side(config, key)
            return tf.image.resize(coarse.astype("float32"), [side, side])
        if kind is contract.TEXT:
            return tf.constant([f"text {word}" for word in random.integers(0, 99, rows)])
        if key == TOKENS:
            words = model.facts.words
            lengths = random.integers(0, words.length + 1, (rows, 1))
            numbers = random.integers(1, words.count, (rows, words.length))
            return tf.constant(np.where(np.arange(words.length) < lengths, numbers, 0), kind.dtype)
        told = model.facts.get(key)
        low, high = (-told.optional, told.count) if told else (0, 99)
        return tf.constant(random.integers(low, high, (rows, 5)[: kind.rank]), kind.dtype)

    return {key: values(key) for key in model.batch_keys}


def served(model):
    """The ids of the variables that the signatures of a model read, each once."""
    return list({id(v): None for signature in model.signatures().values() for v in signature.traced.variables})


class Declared(dict):
    """A batch that fails a test which reads a key that is not in it."""

    def __missing__(self, key):
        raise AssertionError(f"{key} was read of a batch, and is not declared")

    def get(self, key, default=None):
        return self[key]

    def __contains__(self, key):
        return super().__contains__(key) or self[key]


def values(model):
    """Every number of the model's state, as NumPy arrays by name."""
    return {name: variable.numpy().copy() for name, variable in model.state().items()}


def players(model):
    """The networks that are trained, by name."""
    return {network.name: network for player in model.players().values() for network in player.networks}
