"""A run's model as it is served, in this process, for commands that need more of it than an export answers."""

from collections.abc import Mapping

import tensorflow as tf

from data.errors import UserError
from data.facts import UNKNOWN
from models import catalogue
from serving.wire import class_names
from serving.wire.errors import BadCall
from trainer.runs import parents
from trainer.runs.checkpoints import Checkpoints
from trainer.runs.folder import RunDir
from trainer.runs.strategy import set_precision


def restored(root: str, say, *, gives: str):
    """The `ImageModel` of the run in `root` at its newest checkpoint, in float32.

    Raises UserError if there is no checkpoint, or if the family does not give the interface `gives`.
    """
    folder = RunDir(root)
    run = folder.read_config()
    if gives not in catalogue.load(run.model).Model.GIVES:
        known = [name for name in catalogue.names() if gives in catalogue.load(name).Model.GIVES]
        raise UserError(f"{root} is a run of {run.model}, which has no {gives}; have: {', '.join(known)}")
    set_precision("float32")
    model, _, _ = parents.build(run, folder)
    if not Checkpoints(folder.checkpoints, model.state()).restore(say):
        raise UserError(f"{root} holds no checkpoint yet")
    return model


def columns(model, told: Mapping[str, str], rows: int) -> list[tf.Tensor]:
    """[int32 [rows]] of each condition of the model: the value that is told by name or number, or unknown. Raises UserError."""
    if strange := sorted(told.keys() - set(model.facts.names)):
        raise UserError(
            f"the model is told nothing called {strange[0]}; it is told: {', '.join(model.facts.names) or 'nothing'}"
        )
    try:
        numbers = [
            class_names.number(told[each.name], each.values, condition=each.name) if each.name in told else UNKNOWN
            for each in model.facts
        ]
    except BadCall as error:
        raise UserError(str(error)) from error
    return [tf.fill([rows], number) for number in numbers]


def with_first_class(model, told: Mapping[str, str]) -> Mapping[str, str]:
    """Adds to what is told the first value of each condition that must be known."""
    first = {each.name: each.values[0] for each in model.facts if not each.optional}
    return first | dict(told)
