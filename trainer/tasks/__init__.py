"""Tasks: views, sample grids, evaluators and comparisons of each. No other code depends on the task of a model."""

from data.errors import UserError
from trainer.tasks.enhancement import Enhancement
from trainer.tasks.generation import Generation
from trainer.tasks.task import Task
from trainer.tasks.translation import Translation

_TASKS = {task.name: task for task in (Generation(), Translation(), Enhancement())}


def of(model) -> Task:
    """Returns the task of a name, or of an object with a name in `task`: a model, its class, an exported model under evaluation.

    Raises UserError for an unknown name.
    """
    name = getattr(model, "task", model)
    if name not in _TASKS:
        raise UserError(f"unknown task {name!r}; have: {', '.join(_TASKS)}")
    return _TASKS[name]
