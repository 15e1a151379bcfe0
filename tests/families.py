"""What the conformance tests need of any family: a tiny model, and a batch for it."""

import keras
import numpy as np
import tensorflow as tf

from data.batch import ENHANCEMENT, GENERATION, TRANSLATION
from data.facts import Condition, Facts
from models import catalogue
from models.base import TwoPlayer

FAMILIES = catalogue.names()
LABEL = Condition("label", ("bags", "hats", "shoes"))
COLOUR = Condition("colour", ("red", "blue"), optional=True)
CONDITIONS = {"none": (), "one": (LABEL,), "two": (LABEL, COLOUR)}


def told(name, conditions=(LABEL,)):
    """Facts of these conditions, or of none for a family that is told nothing."""
    return Facts(conditions if catalogue.load(name).Model.CONDITIONS else ())


def tiny(name, *, facts=Facts(), seed=5, augment="none"):
    """The family's "tiny" model; `augment` is for two players only."""
    family = catalogue.load(name)
    keras.utils.set_random_seed(seed)
    options = {"augment": augment} if issubclass(family.Model, TwoPlayer) else {}
    return family.Model(family.PRESETS["tiny"], facts=facts, seed=seed, **options)


def batch(model, number=0, rows=None):
    """A batch of smooth random pictures for the model; `number` picks another one."""
    config = model.config
    rows = rows or config.batch_size * model.rows_per_step
    random = np.random.default_rng([7, number])

    def pictures(side):
        coarse = random.uniform(-1, 1, (rows, 4, 4, 3)).astype("float32")
        return tf.image.resize(coarse, [side, side]).numpy()

    if model.task == GENERATION:
        found = {"image": pictures(config.resolution)}
    elif model.task == TRANSLATION:
        found = {"source": pictures(config.resolution), "target": pictures(config.resolution)}
    else:
        assert model.task == ENHANCEMENT
        found = {"low": pictures(config.resolution // config.scale), "high": pictures(config.resolution)}
    for condition in model.facts:
        found[condition.name] = random.integers(-condition.optional, condition.count, rows).astype("int32")
    return {key: tf.constant(value) for key, value in found.items()}


def values(model):
    """Every number of the model's state, as NumPy arrays by name."""
    return {name: variable.numpy().copy() for name, variable in model.state().items()}


def players(model):
    """The networks that are trained, by name."""
    return {"network": model.network} | ({"critic": model.critic} if isinstance(model, TwoPlayer) else {})
