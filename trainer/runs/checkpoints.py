"""Saves and restores the state of a run: networks, EMA, all optimisers, ADA state and the step.

The step is also the position in the data and the whole random state (see `data.pipeline` and `data.random`), so a restored run
continues bit for bit. Checkpoints are found by their own names, never through the pointer file that TensorFlow's tools read. The newest
one that can be read whole is used: a process killed at any moment leaves the one before. The best one has a folder of its own; its
best.json, replaced last, names the step.
"""

import contextlib
import json
import posixpath
import re

import numpy as np
import tensorflow as tf

from data import files
from data.errors import UserError
from serving.export.patterns import plain

KEPT = 3
BEST = "best.json"
_FILE = re.compile(r"step-(\d+)\.(?:index|data-\d+-of-\d+)")
_HALF = re.compile(r"step-\d+_temp|.*\.tempstate\d*")  # left by a process killed while TensorFlow writes
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_COUNTER = "save_counter"  # in checkpoints written by TensorFlow's manager


class Unreadable(UserError):
    """Error of a checkpoint whose files are missing or damaged, with its name and the reason."""


def steps(folder: str) -> list[int]:
    """Returns the steps in the names of checkpoint files in a folder, rising, whole or not; [] if there is no folder."""
    names = files.names(folder) if files.is_folder(folder) else []
    return sorted({int(match[1]) for name in names if (match := _FILE.fullmatch(name))})


def newest_step(folder: str) -> int:
    """Returns the step of the newest readable checkpoint in a folder, 0 if there is none."""
    for step in reversed(steps(folder)):
        with contextlib.suppress(Unreadable):
            read(prefix(folder, step))
            return step
    return 0


def read(prefix: str) -> dict[str, np.ndarray]:
    """Reads every variable of the checkpoint `<folder>/step-N`, by identifier.

    Raises Unreadable, and OSError for files that exist but cannot be read now: those are not damaged.
    """
    folder, name = posixpath.split(prefix)
    try:
        with plain(folder) as way:
            reader = tf.train.load_checkpoint(posixpath.join(way, name))
            names = [name for name in reader.get_variable_to_shape_map() if name.endswith(_VALUE)]
            return {name.removesuffix(_VALUE): reader.get_tensor(name) for name in names}
    except MemoryError:
        raise
    except Exception as error:  # IndexError, RuntimeError, OpError: TensorFlow has one for each kind of damage
        for file in files.names(folder) if files.is_folder(folder) else []:
            if file.startswith(f"{name}."):
                files.read(posixpath.join(folder, file), 1)
        if not files.exists(f"{prefix}.index"):
            reason = "its .index file is missing"
        else:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unreadable(f"{posixpath.basename(prefix)} cannot be read: {reason}") from error


def best_facts(folder: str) -> dict | None:
    """Returns the content of a folder's best.json, see `trainer.training.best.facts`; None if there is none.

    Raises UserError if the file is damaged.
    """
    path = posixpath.join(folder, "best", BEST)
    if not files.exists(path):
        return None
    try:
        facts = json.loads(files.read(path))
        if {"step", "metric", "value", "images"} <= facts.keys():
            return facts
    except (ValueError, AttributeError):
        pass
    raise UserError(f"{path} is damaged: it does not name the best checkpoint")


class Checkpoints:
    """The checkpoints of one folder (local or gs://).

    Args:
        folder: path.
        state: dict of identifier -> tf.Variable, from `ImageModel.state()`.
    """

    def __init__(self, folder: str, state: dict[str, tf.Variable]):
        self._state = state
        self._checkpoint = tf.train.Checkpoint(**_tree(state))
        self._folder = folder
        self._saved = None  # the step known to be saved whole
        self._damaged = []  # steps whose checkpoints could not be read

    def restore(self, say=lambda sentence: None) -> int:
        """Restores the newest readable checkpoint; returns its step, 0 if there is none. `say` gets a sentence for each unreadable one.

        Raises:
            UserError: no checkpoint of several can be read, or it is of another model.
        """
        problems = []
        for step in reversed(steps(self._folder)):
            try:
                values = read(prefix(self._folder, step))
            except Unreadable as error:
                problems.append(str(error))
                self._damaged.append(step)
                continue
            self._assign(values, prefix(self._folder, step))
            for problem in problems:
                say(f"{problem}; step-{step} is the newest that can be")
            self._saved = step
            return step
        if problems:
            raise UserError(
                f"no checkpoint in {self._folder} can be read, and none is overwritten; {'; '.join(problems)}"
            )
        return 0

    def _assign(self, values, path):
        """Assigns all variables, or none."""
        values.pop(_COUNTER, None)
        values = named(values, self._state)
        for name in sorted(values.keys() | self._state.keys()):
            saved = list(values[name].shape) if name in values else None
            own = self._state[name].shape.as_list() if name in self._state else None
            if saved != own:
                where = "not in it" if saved is None else "not in the model" if own is None else ""
                shapes = f"of shape {saved} in it, and {own} in the model"
                raise UserError(f"{path} is a checkpoint of another model: {name} is {where or shapes}")
        for name, variable in self._state.items():
            variable.assign(values[name])

    def save(self, step: int) -> None:
        """Saves this step unless it is saved already, and removes older ones. Raises OSError."""
        if step == self._saved:
            return
        self._write(self._folder, step)
        self._saved = step
        self.tidy()
        newest = [f'"step-{kept}"' for kept in steps(self._folder)]
        pointer = [f"model_checkpoint_path: {newest[-1]}", *(f"all_model_checkpoint_paths: {name}" for name in newest)]
        files.write(posixpath.join(self._folder, "checkpoint"), "".join(f"{line}\n" for line in pointer).encode())

    def tidy(self) -> None:
        """Removes all but the `KEPT` newest, unreadable ones once a newer one is saved, and half-written files."""
        if not files.is_folder(self._folder):
            return
        damaged = [step for step in self._damaged if step < (self._saved or 0)]
        whole = [step for step in steps(self._folder) if step not in self._damaged or step == self._saved]
        gone = {*whole[:-KEPT], *damaged}
        for name in files.names(self._folder):
            match = _FILE.fullmatch(name)
            if _HALF.fullmatch(name) or (match and int(match[1]) in gone):
                files.remove(posixpath.join(self._folder, name))

    def _write(self, folder, step):
        files.make_folder(folder)
        try:
            with files.os_errors(folder):
                self._checkpoint.write(prefix(folder, step))
        except OSError:
            for name in files.names(folder):
                if re.match(rf"step-{step}[._]", name):
                    files.remove(posixpath.join(folder, name))
            raise

    def keep_best(self, facts: dict) -> None:
        """Saves the state as the best, in place of the previous best; `facts`, with "step", go into best.json. Raises OSError."""
        folder = self._best_folder()
        self._write(folder, facts["step"])
        files.write(posixpath.join(folder, BEST), (json.dumps(facts, indent=2) + "\n").encode())
        for other in files.names(folder):
            if other != BEST and not other.startswith(f"step-{facts['step']}."):
                files.remove(posixpath.join(folder, other))

    def restore_best(self) -> dict:
        """Restores the best state; returns its `facts`. On an error the state is unchanged.

        Raises:
            UserError: none was kept, it is of another model, or it cannot be read.
        """
        facts = best_facts(self._folder)
        if facts is None:
            raise UserError(
                f"no best checkpoint was kept in {self._folder}: the run was not evaluated (see --eval-every)"
            )
        path = prefix(self._best_folder(), facts["step"])
        try:
            values = read(path)
        except Unreadable as error:
            raise UserError(f"the best checkpoint in {self._best_folder()} is damaged: {error}") from error
        self._assign(values, path)
        return facts

    def _best_folder(self):
        return posixpath.join(self._folder, "best")

    def healthy(self) -> bool:
        """Returns whether all trained values are finite."""
        return all(
            bool(tf.reduce_all(tf.math.is_finite(value))) for value in self._state.values() if value.dtype.is_floating
        )


def named(values: dict, names) -> dict:
    """Renames the values of an older checkpoint to the current `names`, which are in the order of the variables in the model.

    Older checkpoints number the variables of each optimiser (`critic_adam_0003`), and those of all networks together (`model_0003`).
    """
    if "model_0000" not in values:
        return values
    numbered = sorted(name for name in values if re.fullmatch(r"model_\d{4}", name))
    others = {re.sub(r"_(\d{4})$", r"/\1", name): values[name] for name in values.keys() - set(numbered)}
    of_model = [name for name in names if name not in others]
    return others | {name: values[old] for name, old in zip(of_model, numbered, strict=False)}


def _tree(state):
    """Nests the variables `part/0000` as {part: {"0000": variable}}, since TensorFlow escapes slashes in names."""
    tree = {}
    for name, variable in state.items():
        *parts, last = name.split("/")
        branch = tree
        for part in parts:
            branch = branch.setdefault(part, {})
        branch[last] = variable
    return tree


def prefix(folder: str, step: int) -> str:
    """Returns the path of a checkpoint without the suffixes of its files."""
    return posixpath.join(folder, f"step-{step}")
