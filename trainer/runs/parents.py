"""Beginning a run with the networks of another one."""

from collections.abc import Mapping

from data.errors import UserError
from trainer.runs.checkpoints import named, newest_step, prefix, read
from trainer.runs.folder import RunDir


def initialise(model, source: str, say) -> None:
    """Give the parts of a model the weights that they have in another run: `--init RUN`, or `--init RUN#PART` for one of them.

    Parts are matched by name (`network`, `ema`, `critic`), variables by their place in them. Optimisers, the step and a part that the
    other run has not got stay as they are.

    Args:
        model: an `ImageModel` that is not trained yet.
        source: the other run's folder, local or gs://, of which the newest checkpoint is read. say: function (sentence).

    Raises:
        UserError: no checkpoint, no such part, or weights of other shapes.
    """
    root, _, part = source.partition("#")
    step, values = _newest(root, model)
    parts = [part] if part else [name for name in model.parts() if _has(values, name)]
    for name in parts:
        _check(name, model, values, source)
    if not parts:
        raise UserError(f"--init {source}: it has no part that this model has ({', '.join(model.parts())})")
    for key, variable in model.state().items():
        if key.partition("/")[0] in parts:
            variable.assign(values[key])
    say(f"begins with {' and '.join(parts)} of {root} at step {step:,}")


def _newest(root, model) -> tuple[int, Mapping]:
    folder = RunDir(root)
    step = newest_step(folder.checkpoints)
    if not step:
        raise UserError(f"--init {root}: it holds no checkpoint that can be read")
    return step, named(read(prefix(folder.checkpoints, step)), model.state())


def _has(values, part):
    return any(name.startswith(f"{part}/") for name in values)


def _check(part, model, values, source):
    """Raise UserError unless the part is in both and alike."""
    if part not in model.parts():
        raise UserError(f"--init {source}: this model has no part {part!r}; have: {', '.join(model.parts())}")
    if not _has(values, part):
        there = sorted({name.partition("/")[0] for name in values if "/" in name})
        raise UserError(f"--init {source}: the run has no part {part!r}; have: {', '.join(there)}")
    wanted = {name: variable.shape.as_list() for name, variable in model.state().items() if name.startswith(f"{part}/")}
    found = {name: list(value.shape) for name, value in values.items() if name.startswith(f"{part}/")}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise UserError(
                f"--init {source}: its {part} is another network: {name} is {_shape(found, name)} there and {_shape(wanted, name)} here"
            )


def _shape(shapes, name):
    return f"of shape {shapes[name]}" if name in shapes else "missing"
