"""The tasks: in one place what each trains on, draws, measures and compares. Nothing else asks which task it is."""

from data.errors import UserError
from trainer.tasks.enhancement import Enhancement
from trainer.tasks.generation import Generation
from trainer.tasks.task import AsSet, Task
from trainer.tasks.translation import Translation


class _TranslationAsSet(AsSet, Translation):
    pass


class _EnhancementAsSet(AsSet, Enhancement):
    pass


_TASKS = {None: (Generation(), Translation(), Enhancement()), "set": (_TranslationAsSet(), _EnhancementAsSet())}


def of(model) -> Task:
    """The task of a name, or of whatever has one as its `task`: a model, its class, an exported model under evaluation.

    A model may say with `EVALUATOR` that it is measured in another way than its task. Raises UserError for a name that is none.
    """
    name, known = getattr(model, "task", model), {task.name: task for task in _TASKS[getattr(model, "EVALUATOR", None)]}
    if name not in known:
        raise UserError(f"unknown task {name!r}; have: {', '.join(known)}")
    return known[name]
