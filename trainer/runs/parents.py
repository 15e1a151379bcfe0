"""Runs that begin with the weights of another run (`--init`), and runs that work with its networks (`--parent`)."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

import keras

from data import files
from data.catalogue import open_source
from data.errors import UserError
from models import catalogue
from trainer.runs import record
from trainer.runs.build import find_words, make_facts, make_model
from trainer.runs.checkpoints import Checkpoints, best_facts, named, newest_step, prefix, read
from trainer.runs.config import RunConfig
from trainer.runs.folder import RunDir
from trainer.runs.strategy import set_precision


def initialise(model, source: str, say) -> dict:
    """Give the parts of a model the weights that they have in another run: `--init RUN`, or `--init RUN#PART` for one of them.

    Parts are matched by name (`network`, `ema`, `critic`), variables by their place in them. Optimisers, the step and a part that the
    other run has not got stay as they are.

    Args:
        model: an `ImageModel` that is not trained yet.
        source: the other run's folder, local or gs://, of which the newest checkpoint is read. say: function (sentence).

    Returns:
        {"run", "parts", "step"}: what was taken, for the record.

    Raises:
        UserError: no checkpoint, no such part, or weights of other shapes.
    """
    root, _, part = source.partition("#")
    option, folder = f"--init {source}", RunDir(root, of_another=True)
    step = newest_step(folder.checkpoints)
    if not step:
        raise UserError(f"--init {root}: it holds no checkpoint that can be read")
    state = model.initial_state()
    values = named(read(prefix(folder.checkpoints, step)), state)
    there = sorted({name.partition("/")[0] for name in values if "/" in name})
    if part and part not in model.parts():
        raise UserError(f"{option}: this model has no part {part!r}; have: {', '.join(model.parts())}")
    if part and part not in there:
        raise UserError(f"{option}: the run has no part {part!r}; have: {', '.join(there)}")
    parts = [part] if part else [name for name in model.parts() if name in there]
    if not parts:
        raise UserError(f"{option}: it has no part that this model has ({', '.join(model.parts())})")
    for name in parts:
        ours, theirs = (
            {key: value for key, value in named_.items() if key.startswith(f"{name}/")} for named_ in (state, values)
        )
        _check(f"{option}: its {name} is another network", ours, theirs)
    for key, variable in state.items():
        if key.partition("/")[0] in parts:
            variable.assign(values[key])
    say(f"begins with {' and '.join(parts)} of {root} at step {step:,}")
    return {"run": root, "parts": parts, "step": step}


def _check(what, variables, values: Mapping) -> None:
    """Raise UserError, which begins with `what`, unless there is a value of its shape for each variable, and no other."""
    wanted = {name: variable.shape.as_list() for name, variable in variables.items()}
    found = {name: list(value.shape) for name, value in values.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise UserError(f"{what}: {name} is {_shape(found, name)} there and {_shape(wanted, name)} here")


def _shape(shapes, name):
    return f"of shape {shapes[name]}" if name in shapes else "missing"


@dataclass(frozen=True)
class Parent:
    """A run that lends its networks to another. step: of the checkpoint they come from. model: its `ImageModel`. parent: its own."""

    run: RunConfig
    record: record.Record
    step: int
    model: object
    parent: "Parent | None"


def lender(run: RunConfig, folder: RunDir | None = None) -> RunDir | None:
    """The folder of the run that lends `run` its networks: the copy in the run's own folder, else what `--parent` names.

    None for a family that wants nothing of another run.

    Raises:
        UserError: no parent is named where the family wants one, one where it wants none, or it is no run or gives something else.
    """
    wants = catalogue.load(run.model).Model.WANTS
    if not wants and run.parent:
        raise UserError(f"--parent {run.parent}: {run.model} takes nothing from another run")
    if not wants:
        return None
    if not run.parent:
        known = [name for name in catalogue.names() if wants in catalogue.load(name).Model.GIVES]
        raise UserError(
            f"{run.model} works with the {wants} of another run: --parent RUN, of a model that gives them; have: {', '.join(known)}"
        )
    copy = folder and RunDir(folder.parent, of_another=True)
    found = copy if copy and files.exists(copy.config) else RunDir(run.parent, of_another=True)
    model = found.read_config().model
    gives = catalogue.load(model).Model.GIVES
    if wants not in gives:
        raise UserError(
            f"--parent {run.parent}: {run.model} wants {wants}, and {model} gives {', '.join(gives) or 'nothing'}"
        )
    return found


def open_parent(folder: RunDir, *, newest: bool = False) -> Parent:
    """The run in a folder with its weights: of its best checkpoint where one was kept, unless `newest` is set, else of the newest.

    It computes in float32 whatever Keras' dtype policy, so that it answers alike in training and in the export. Raises UserError where
    no checkpoint can be read.
    """
    run, policy = folder.read_config(), keras.config.dtype_policy()
    set_precision("float32")
    try:
        model, known, parent = build(run, folder)
    finally:
        keras.config.set_dtype_policy(policy)
    best = None if newest else best_facts(folder.checkpoints)
    step = best["step"] if best else newest_step(folder.checkpoints)
    if not step:
        raise UserError(f"{folder.root} has no checkpoint that can be read, and so no weights to give")
    values = read(prefix(posixpath.join(folder.checkpoints, "best") if best else folder.checkpoints, step))
    values, variables = named(values, model.state()), _lent(model)
    _check(
        f"{folder.root} holds another model",
        variables,
        {name: value for name, value in values.items() if name in variables},
    )
    for name, variable in variables.items():
        variable.assign(values[name])
    return Parent(run, known, step, model, parent)


def build(run: RunConfig, folder: RunDir) -> tuple[object, record.Record, Parent | None]:
    """(the untrained model of the run in a folder, its record, its parent).

    Of a run that is older than records, the record is what the data hold now. Raises UserError where a network that it borrows has changed.
    """
    known = record.read(folder.record) or _record_of(run)
    place = lender(run, folder)
    parent = place and open_parent(place)
    model = make_model(run, make_facts(run, known.data), parent=parent and parent.model)
    record.check_frozen(folder.record, known, model)
    return model, known, parent


def _record_of(run):
    source = open_source(run.data, run.seed)
    return record.Record(record.Data.of(source, find_words(run, source, None)))


def _lent(model):
    """The state of a model without its optimisers."""
    owned = {id(variable.value) for variable in model.variables}
    return {name: variable for name, variable in model.state().items() if id(variable) in owned}


def keep(parent: Parent, folder: RunDir) -> None:
    """Copy a parent into the run's folder, unless it lies there: its configuration, its record and its networks. Raises OSError."""
    copy = RunDir(folder.parent, of_another=True)
    if files.exists(copy.config):
        return
    if files.exists(copy.root):  # a process was killed while it copied
        files.remove(copy.root)
    Checkpoints(copy.checkpoints, _lent(parent.model)).save(parent.step)
    record.write(copy.record, parent.record)
    if parent.parent:
        keep(parent.parent, copy)
    files.write(copy.config, parent.run.to_json().encode())  # last: with it, the copy is whole
