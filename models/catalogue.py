"""The families there are: what lies in the three task folders.

A family is found by listing, without importing it; `load` imports the one that is wanted.
"""

import dataclasses
import difflib
import importlib
import types
from pathlib import Path

from data.batch import TASKS
from data.errors import UserError

AUGMENTS = ("none", "diffaugment", "ada")  # what a critic may see; here, where no TensorFlow is needed to know it


def names() -> dict[str, str]:
    """Family name -> task, in order of task and name."""
    folder = Path(__file__).parent
    return {file.stem: task for task in TASKS for file in sorted((folder / task).glob("[a-z]*.py"))}


def closest(name: str, known) -> str:
    """The known names as the end of an error sentence, the near ones first: "did you mean x? have: x, y"."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{hint}have: {', '.join(known)}"


def load(name: str) -> types.ModuleType:
    """The module of a family, with `Config`, `PRESETS` (with "tiny") and `Model`; this imports TensorFlow.

    Raises:
        UserError: no family has that name.
    """
    families = names()
    if name not in families:
        raise UserError(f"unknown model {name!r}; {closest(name, families)}")
    return importlib.import_module(f"models.{families[name]}.{name}")


def configure(family: types.ModuleType, preset: str | None, changes: dict[str, object]):
    """The family's config: its preset (None: the dataclass as it stands) with `changes` to named fields.

    Raises:
        UserError: no such preset or field.
    """
    if preset is not None and preset not in family.PRESETS:
        raise UserError(f"unknown preset {preset!r}; {closest(preset, family.PRESETS)}")
    config = family.Config() if preset is None else family.PRESETS[preset]
    fields = {field.name for field in dataclasses.fields(config)}
    for name in changes:
        if name not in fields:
            raise UserError(f"unknown setting {name!r}; {closest(name, sorted(fields))}")
    return dataclasses.replace(config, **changes)


def default_preset(family: types.ModuleType, resolution: int | None) -> str:
    """The first preset behind "tiny", or the first of that resolution when there is one."""
    presets = [name for name in family.PRESETS if name != "tiny"]
    fitting = [name for name in presets if family.PRESETS[name].resolution == resolution]
    return (fitting or presets)[0]
