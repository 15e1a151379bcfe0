"""What a run's configuration describes: the family's settings, its model, and what it trains on."""

import keras

from data import views
from data.batch import GENERATION, TRANSLATION
from models import catalogue
from models.base import TwoPlayer
from trainer.runs.config import RunConfig


def make_view(run: RunConfig, config):
    """What the run's family trains on, made from an example. ValueError if the settings do not fit together."""
    task, keys = catalogue.names()[run.model], catalogue.load(run.model).Model.KEYS
    if task == GENERATION:
        return views.generation(config.resolution, keys)
    if task == TRANSLATION:
        return views.translation(config.resolution, run.view, keys)
    return views.enhancement(config.resolution, config.scale, keys=keys)


def make_model(run: RunConfig, classes: int):
    """The family's model for the run. ValueError if the configuration is contradictory."""
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
