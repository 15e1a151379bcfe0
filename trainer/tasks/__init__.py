"""The tasks: in one place what each trains on, draws, measures and compares. Nothing else asks which task it is."""

from data.errors import UserError
from trainer.tasks.enhancement import Enhancement
from trainer.tasks.generation import Generation
from trainer.tasks.task import Task
from trainer.tasks.translation import Translation

_TASKS = {task.name: task for task in (Generation(), Translation(), Enhancement())}


def of(model) -> Task:
    """The task of a name, or of whatever has one as its `task`: a model, its class, an exported model under evaluation.

    Raises UserError for a name that is none.
    """
    name = getattr(model, "task", model)
    if name not in _TASKS:
        raise UserError(f"unknown task {name!r}; have: {', '.join(_TASKS)}")
    return _TASKS[name]
