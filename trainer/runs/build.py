"""Builds the settings and the model that a run's configuration describes."""

import keras

from data.errors import UserError
from data.facts import LABEL, Facts, facts_of
from models import catalogue
from models.base import TwoPlayer
from trainer.runs.config import RunConfig


def make_facts(run: RunConfig, data) -> Facts:
    """Returns the conditions of the run's model, from its data (a source, or the record of one). Raises UserError if they are missing."""
    known = facts_of(data)
    if run.conditional and not known.get(LABEL):
        raise UserError(f"--conditional needs classes, and {run.data} has none")
    for name in run.conditions:
        if not known.get(name):
            raise UserError(
                f"--condition {name}: {run.data} has no such attribute; it has: {', '.join(known.names) or 'none'}"
            )
    for condition in known.select(run.told):
        for value in condition.values:
            _check_encoding(condition.name, value)
    return known.select(run.told)


def _check_encoding(name, value):
    try:
        value.encode()
    except UnicodeEncodeError:
        option, what = ("--conditional", "the class") if name == LABEL else (f"--condition {name}", "the value")
        raise UserError(f"{option}: {what} {value!a} has a name that is not UTF-8; rename it") from None


def make_model(run: RunConfig, facts: Facts, *, parent=None):
    """The family's model for the run, with the model of its parent if it has one. UserError if the configuration is contradictory."""
    family = catalogue.load(run.model)
    config = configuration(run)
    keras.utils.set_random_seed(run.seed)
    options = {"augment": run.augment} if issubclass(family.Model, TwoPlayer) else {}
    if parent is not None:
        options["parent"] = parent
    model = family.Model(config, facts=facts, seed=run.seed, **options)
    if run.freeze_critic:
        model.freeze_critic(run.freeze_critic)
    return model


def configuration(run: RunConfig):
    """Returns `run.settings` as the config dataclass of the family."""
    return catalogue.load(run.model).Config(**run.settings)
