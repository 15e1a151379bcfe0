"""Saving and restoring everything a run is: networks, averages, all optimisers, ADA state and the step.

The step is also the place in the data and the whole random state (see `data.pipeline` and `models.random`), so a
restored run goes on bit for
bit. TensorFlow writes a checkpoint under temporary names and moves the pointer to it last: a process killed at any moment leaves
the one before.
"""

import posixpath

import tensorflow as tf

KEPT = 3


def newest_step(folder: str) -> int:
    """The step of the newest checkpoint in a folder, 0 when there is none."""
    path = tf.train.latest_checkpoint(folder)
    return int(path.rsplit("-", 1)[1]) if path else 0


class Checkpoints:
    """The checkpoints of one folder (local or gs://).

    Args:
        folder: where they lie.
        state: dict of identifier -> tf.Variable, as `ImageModel.state()` gives it.
    """

    def __init__(self, folder: str, state: dict[str, tf.Variable]):
        self._state = state
        self._checkpoint = tf.train.Checkpoint(**state)
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

    def healthy(self) -> bool:
        """Whether all trained values are finite, so that saving them is worth it."""
        return all(
            bool(tf.reduce_all(tf.math.is_finite(value))) for value in self._state.values() if value.dtype.is_floating
        )
