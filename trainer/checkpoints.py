"""Saving and restoring everything a run is: networks, averages, all optimisers, ADA state and the step.

The step is also the place in the data and the whole random state (see `data.pipeline` and `models.random`), so a
restored run goes on bit for
bit. TensorFlow writes a checkpoint under temporary names and moves the pointer to it last: a process killed at any moment leaves
the one before. The best one lies in a folder of its own, whose best.json, replaced last, says which files are meant.
"""

import json
import posixpath

import tensorflow as tf

from trainer.rundir import write_whole

KEPT = 3
BEST = "best.json"


def newest_step(folder: str) -> int:
    """The step of the newest checkpoint in a folder, 0 when there is none."""
    path = tf.train.latest_checkpoint(folder)
    return int(path.rsplit("-", 1)[1]) if path else 0


def best_facts(folder: str) -> dict | None:
    """What best.json says of the best checkpoint in a folder: see `trainer.best.facts`; None when there is none."""
    path = posixpath.join(folder, "best", BEST)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return json.loads(file.read())


class Checkpoints:
    """The checkpoints of one folder (local or gs://).

    Args:
        folder: where they lie.
        state: dict of identifier -> tf.Variable, as `ImageModel.state()` gives it.
    """

    def __init__(self, folder: str, state: dict[str, tf.Variable]):
        self._state = state
        self._checkpoint = tf.train.Checkpoint(**state)
        self._values = tf.train.Checkpoint(**state)  # without the number that the manager counts its checkpoints with
        self._manager = tf.train.CheckpointManager(self._checkpoint, folder, max_to_keep=KEPT, checkpoint_name="step")
        self._folder = folder

    def restore(self) -> int:
        """Restore the newest checkpoint that can be read; returns its step, 0 when there is none.

        Raises:
            ValueError: there are checkpoints and none of them fits this model or can be read.
        """
        problem = None
        for path in reversed(self._manager.checkpoints):
            try:
                self._checkpoint.restore(path).assert_consumed()
                return int(path.rsplit("-", 1)[1])
            except (AssertionError, ValueError, tf.errors.OpError) as error:
                problem = f"{posixpath.basename(path)}: {str(error).splitlines()[0]}"
        if problem:
            raise ValueError(f"no checkpoint in {self._folder} can be restored; {problem}")
        return 0

    def save(self, step: int) -> None:
        """Save unless this step is saved already."""
        if not self._manager.latest_checkpoint or not self._manager.latest_checkpoint.endswith(f"-{step}"):
            self._manager.save(checkpoint_number=step)

    def keep_best(self, facts: dict) -> None:
        """Keep the state as the best there was, in place of the one before; `facts`, with its "step", go into best.json."""
        folder = self._best_folder()
        tf.io.gfile.makedirs(folder)
        name = f"step-{facts['step']}"
        self._values.write(posixpath.join(folder, name))
        write_whole(posixpath.join(folder, BEST), json.dumps(facts, indent=2) + "\n")
        for other in tf.io.gfile.listdir(folder):
            if other != BEST and not other.startswith(f"{name}."):
                tf.io.gfile.rmtree(posixpath.join(folder, other))

    def restore_best(self) -> dict:
        """Restore the best state; returns what `keep_best` was told of it.

        Raises:
            ValueError: none was kept, or it does not fit this model or cannot be read.
        """
        facts = best_facts(self._folder)
        if facts is None:
            raise ValueError(f"no best checkpoint was kept in {self._folder}: nothing was evaluated (see --eval-every)")
        path = posixpath.join(self._best_folder(), f"step-{facts['step']}")
        try:
            self._values.read(path).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise ValueError(f"{path} cannot be restored; {str(error).splitlines()[0]}") from error
        return facts

    def _best_folder(self):
        return posixpath.join(self._folder, "best")

    def healthy(self) -> bool:
        """Whether all trained values are finite, so that saving them is worth it."""
        return all(
            bool(tf.reduce_all(tf.math.is_finite(value))) for value in self._state.values() if value.dtype.is_floating
        )
