"""Tasks: views, sample grids, evaluators and comparisons of each. No other code depends on the task of a model."""

from data.errors import UserError
from trainer.tasks.enhancement import Enhancement
from trainer.tasks.generation import Generation
from trainer.tasks.reconstruction import Reconstruction
from trainer.tasks.task import AsSet, Task
from trainer.tasks.translation import Translation


class _TranslationAsSet(AsSet, Translation):
    pass


class _EnhancementAsSet(AsSet, Enhancement):
    pass


_TASKS = {
    None: (Generation(), Translation(), Enhancement()),
    "set": (_TranslationAsSet(), _EnhancementAsSet()),
    "pairs": (Reconstruction(),),
}


def of(model) -> Task:
    """Returns the task of a name, or of an object with a name in `task`: a model, its class, an exported model under evaluation.

    A model may say with `EVALUATOR` that it is measured in another way than its task. Raises UserError for a name that is none.
    """
    name, known = getattr(model, "task", model), {task.name: task for task in _TASKS[getattr(model, "EVALUATOR", None)]}
    if name not in known:
        raise UserError(f"unknown task {name!r}; have: {', '.join(known)}")
    return known[name]
