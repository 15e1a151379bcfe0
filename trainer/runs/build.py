"""Builds the settings and the model that a run's configuration describes."""

import keras

from data.errors import UserError
from data.facts import LABEL, Facts, facts_of
from data.words import CAPTION, Words, learn
from models import catalogue
from models.base import TwoPlayer
from trainer.runs.config import RunConfig


def make_facts(run: RunConfig, data) -> Facts:
    """Returns what the run's model is told, from its data (a source, or the record of one). Raises UserError if it is missing."""
    known = facts_of(data)
    if run.conditional and not known.get(LABEL):
        raise UserError(f"--conditional needs classes, and {run.data} has none")
    for name in set(run.conditions) - {CAPTION}:
        if not known.get(name):
            raise UserError(
                f"--condition {name}: {run.data} has no such attribute; it has: {', '.join(known.names) or 'none'}"
            )
    told = known.select([*run.told, *([CAPTION] if reads_words(run) and CAPTION not in run.told else [])])
    for condition in told:
        for value in condition.values:
            _check_encoding(condition.name, value)
    return told


def reads_words(run: RunConfig) -> bool:
    """Returns whether the run's model is told the words of captions. Raises UserError if it is to be, and its family cannot."""
    words = catalogue.load(run.model).Model.WORDS
    if CAPTION in run.conditions and not words:
        raise UserError(f"--condition {CAPTION}: {run.model} cannot be told words; {', '.join(_with_words())} can")
    return words == "needed" or CAPTION in run.conditions


def _with_words():
    return [name for name in catalogue.names() if catalogue.load(name).Model.WORDS]


def find_words(run: RunConfig, source, known: Words | None) -> Words | None:
    """Returns the words of the run's captions: those `known` from its record, else those of the source; None if it is told none.

    Raises UserError for a source without captions.
    """
    if not reads_words(run):
        return None
    if CAPTION not in source.keys:
        raise UserError(
            f"{run.data} has no captions (it has: {', '.join(sorted(source.keys))}), and {run.model} is told their words"
        )
    return known or learn(source.captions())


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
    if run.lora:
        model.adapt(run.lora)
    return model


def configuration(run: RunConfig):
    """Returns `run.settings` as the config dataclass of the family."""
    return catalogue.load(run.model).Config(**run.settings)
