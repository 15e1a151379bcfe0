"""Saving and restoring everything a run is: networks, averages, all optimisers, ADA state and the step.

The step is also the place in the data and the whole random state (see `data.pipeline` and `models.random`), so a
restored run goes on bit for
bit. Checkpoints are found by their own names, never through the pointer file that TensorFlow's tools read, and the newest that can be
read whole is taken: a process killed at any moment leaves the one before. The best one lies in a folder of its own, whose best.json,
replaced last, says which files are meant.
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
_HALF = re.compile(r"step-\d+_temp|.*\.tempstate\d*")  # what a process that is killed while TensorFlow writes leaves
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_COUNTER = "save_counter"  # in checkpoints that TensorFlow's manager wrote


class Unreadable(UserError):
    """A checkpoint whose files are missing or damaged; the text says which and why."""


def steps(folder: str) -> list[int]:
    """The steps, rising, that files of checkpoints in a folder are named for, whole or not; [] when there is no folder."""
    names = files.names(folder) if files.is_folder(folder) else []
    return sorted({int(found[1]) for name in names if (found := _FILE.fullmatch(name))})


def newest_step(folder: str) -> int:
    """The step of the newest checkpoint in a folder that can be read, 0 when there is none."""
    for step in reversed(steps(folder)):
        with contextlib.suppress(Unreadable):
            read(_prefix(folder, step))
            return step
    return 0


def read(prefix: str) -> dict[str, np.ndarray]:
    """Every variable of the checkpoint `<folder>/step-N` by its identifier.

    Raises Unreadable, and OSError for files that are there and may not be read now: those are not damaged.
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
    """What best.json says of the best checkpoint in a folder: see `trainer.training.best.facts`; None when there is none.

    Raises UserError when the file is damaged.
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
    raise UserError(f"{path} is damaged: it does not say which checkpoint is the best")


class Checkpoints:
    """The checkpoints of one folder (local or gs://).

    Args:
        folder: where they lie.
        state: dict of identifier -> tf.Variable, as `ImageModel.state()` gives it.
    """

    def __init__(self, folder: str, state: dict[str, tf.Variable]):
        self._state = state
        self._checkpoint = tf.train.Checkpoint(**state)
        self._folder = folder
        self._saved = None  # the step that is known to be saved whole
        self._damaged = []  # steps whose checkpoints could not be read

    def restore(self, say=lambda sentence: None) -> int:
        """Restore the newest checkpoint that can be read; returns its step, 0 when there is none. `say` is told of those that cannot.

        Raises:
            UserError: there are checkpoints and none of them can be read, or it is not of this model.
        """
        problems = []
        for step in reversed(steps(self._folder)):
            try:
                values = read(_prefix(self._folder, step))
            except Unreadable as error:
                problems.append(str(error))
                self._damaged.append(step)
                continue
            self._assign(values, _prefix(self._folder, step))
            for problem in problems:
                say(f"{problem}; step-{step} is the newest that can be")
            self._saved = step
            return step
        if problems:
            raise UserError(
                f"no checkpoint in {self._folder} can be read, and what is there is not trained over; {'; '.join(problems)}"
            )
        return 0

    def _assign(self, values, prefix):
        """Give the variables their values: all of them, or none."""
        values.pop(_COUNTER, None)
        for name in sorted(values.keys() | self._state.keys()):
            there = list(values[name].shape) if name in values else None
            wanted = self._state[name].shape.as_list() if name in self._state else None
            if there != wanted:
                where = "not in it" if there is None else "not in the model" if wanted is None else ""
                shapes = f"of shape {there} in it, and {wanted} in the model"
                raise UserError(f"{prefix} is a checkpoint of another model: {name} is {where or shapes}")
        for name, variable in self._state.items():
            variable.assign(values[name])

    def save(self, step: int) -> None:
        """Save unless this step is saved already, and remove older ones. Raises OSError."""
        if step == self._saved:
            return
        self._write(self._folder, step)
        self._saved = step
        self.tidy()
        newest = [f'"step-{kept}"' for kept in steps(self._folder)]
        pointer = [f"model_checkpoint_path: {newest[-1]}", *(f"all_model_checkpoint_paths: {name}" for name in newest)]
        files.write(posixpath.join(self._folder, "checkpoint"), "".join(f"{line}\n" for line in pointer).encode())

    def tidy(self) -> None:
        """Remove all but the `KEPT` newest, those that could not be read once a newer one is saved, and what was half written."""
        if not files.is_folder(self._folder):
            return
        damaged = [step for step in self._damaged if step < (self._saved or 0)]
        whole = [step for step in steps(self._folder) if step not in self._damaged or step == self._saved]
        gone = {*whole[:-KEPT], *damaged}
        for name in files.names(self._folder):
            found = _FILE.fullmatch(name)
            if _HALF.fullmatch(name) or (found and int(found[1]) in gone):
                files.remove(posixpath.join(self._folder, name))

    def _write(self, folder, step):
        files.make_folder(folder)
        try:
            with files.os_errors(folder):
                self._checkpoint.write(_prefix(folder, step))
        except OSError:
            for name in files.names(folder):
                if re.match(rf"step-{step}[._]", name):
                    files.remove(posixpath.join(folder, name))
            raise

    def keep_best(self, facts: dict) -> None:
        """Keep the state as the best there was, in place of the one before; `facts`, with its "step", go into best.json. Raises OSError."""
        folder = self._best_folder()
        self._write(folder, facts["step"])
        files.write(posixpath.join(folder, BEST), (json.dumps(facts, indent=2) + "\n").encode())
        for other in files.names(folder):
            if other != BEST and not other.startswith(f"step-{facts['step']}."):
                files.remove(posixpath.join(folder, other))

    def restore_best(self) -> dict:
        """Restore the best state; returns what `keep_best` was told of it. What cannot be restored leaves the state as it is.

        Raises:
            UserError: none was kept, or it does not fit this model or cannot be read.
        """
        facts = best_facts(self._folder)
        if facts is None:
            raise UserError(f"no best checkpoint was kept in {self._folder}: nothing was evaluated (see --eval-every)")
        prefix = _prefix(self._best_folder(), facts["step"])
        try:
            values = read(prefix)
        except Unreadable as error:
            raise UserError(f"the best checkpoint in {self._best_folder()} is damaged: {error}") from error
        self._assign(values, prefix)
        return facts

    def _best_folder(self):
        return posixpath.join(self._folder, "best")

    def healthy(self) -> bool:
        """Whether all trained values are finite, so that saving them is worth it."""
        return all(
            bool(tf.reduce_all(tf.math.is_finite(value))) for value in self._state.values() if value.dtype.is_floating
        )


def _prefix(folder, step):
    return posixpath.join(folder, f"step-{step}")
