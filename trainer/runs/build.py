"""Builds what a run's configuration describes: the family's settings and its model."""

import keras

from models import catalogue
from models.base import TwoPlayer
from trainer.runs.config import RunConfig


def make_model(run: RunConfig, classes: int):
    """The family's model for the run. UserError if the configuration is contradictory."""
    family = catalogue.load(run.model)
    config = configuration(run)
    keras.utils.set_random_seed(run.seed)
    options = {"augment": run.augment} if issubclass(family.Model, TwoPlayer) else {}
    return family.Model(config, classes=classes, seed=run.seed, **options)


def configuration(run: RunConfig):
    """The family's config dataclass that `run.settings` describes."""
    family = catalogue.load(run.model)
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in run.settings.items()}
    return family.Config(**settings)
