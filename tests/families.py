"""What the conformance tests need of any family: a tiny model, and a batch for it."""

import keras
import numpy as np
import tensorflow as tf

from data.batch import REQUIRED
from models import catalogue
from models.base import TwoPlayer
from trainer import tasks

FAMILIES = catalogue.names()
CLASSES = 3


def told(name):
    """How many categories a family's model is told in tests: `CLASSES`, or 0 for one that cannot be told any."""
    return CLASSES if catalogue.load(name).Model.conditional else 0


def tiny(name, *, classes=0, seed=5, augment="none"):
    """The family's "tiny" model; `augment` is for two players only."""
    family = catalogue.load(name)
    keras.utils.set_random_seed(seed)
    options = {"augment": augment} if issubclass(family.Model, TwoPlayer) else {}
    return family.Model(family.PRESETS["tiny"], classes=classes, seed=seed, **options)


def batch(model, number=0, rows=None):
    """A batch of smooth random pictures for the model; `number` picks another one."""
    config = model.config
    rows = rows or config.batch_size * model.rows_per_step
    random = np.random.default_rng([7, number])

    def pictures(side):
        coarse = random.uniform(-1, 1, (rows, 4, 4, 3)).astype("float32")
        return tf.image.resize(coarse, [side, side]).numpy()

    found = {key: pictures(tasks.of(model).side(config, key)) for key in REQUIRED[model.task]}
    if model.classes:
        found["label"] = random.integers(0, model.classes, rows).astype("int32")
    return {key: tf.constant(value) for key, value in found.items()}


def values(model):
    """Every number of the model's state, as NumPy arrays by name."""
    return {name: variable.numpy().copy() for name, variable in model.state().items()}


def players(model):
    """The networks that are trained, by name."""
    return {"network": model.network} | ({"critic": model.critic} if isinstance(model, TwoPlayer) else {})
