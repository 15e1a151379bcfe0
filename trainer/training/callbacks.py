"""Callbacks between steps: logging, sampling, evaluating, saving."""

import signal
import time

import keras
import numpy as np

from data import files
from data.images import encode_png
from trainer.errors import Interrupted, Stopped
from trainer.runs.history import LoggedEvaluation
from trainer.training import best


class StepCount:
    """Position of a run: `step` of `steps` steps, of `rows` pictures each. Shared by all callbacks, advanced by `Steps`.

    A run beyond its planned end has no steps left.
    """

    def __init__(self, step: int, steps: int, rows: int):
        self.step, self.steps, self.rows = step, max(steps, step), rows

    @property
    def images(self) -> int:
        return self.step * self.rows

    @property
    def left(self) -> int:
        return self.steps - self.step

    def end(self) -> None:
        """Makes this step the last."""
        self.steps = self.step


class Steps(keras.callbacks.Callback):
    """Advances the progress; comes first in the list."""

    def __init__(self, progress):
        super().__init__()
        self.progress = progress

    def on_train_begin(self, logs=None):
        self._start = self.progress.step

    def on_train_batch_end(self, batch, logs=None):
        self.progress.step = self._start + batch + 1


class Metrics(keras.callbacks.Callback):
    """Averages the logs of the steps and passes a line of numbers to each writer, every `every` steps.

    Args:
        progress: the shared `Progress`. every: steps between two lines.
        rates: dict of name -> function () -> float or None, read for each line (learning rates, data wait).
        writers: functions (step, images, dict of name -> float).
    """

    def __init__(self, progress, every, *, rates, writers):
        super().__init__()
        self.progress, self.every, self.rates, self.writers = progress, every, rates, writers
        self._lines = []

    def on_train_begin(self, logs=None):
        self._began = time.perf_counter(), self.progress.step

    def on_train_batch_end(self, batch, logs=None):
        self._lines.append(logs)
        if self.progress.step - self._began[1] >= self.every:
            self.flush()

    def on_train_end(self, logs=None):
        self.flush()

    def pause(self, evaluation, seconds):
        """Writer of evaluations that excludes their time from the pictures per second."""
        began, step = self._began
        self._began = began + seconds, step

    def flush(self):
        """Writes the average of the logs since the last line, if there are any."""
        if not self._lines:
            return
        values = {name: float(np.mean([np.mean(line[name]) for line in self._lines])) for name in self._lines[0]}
        now = time.perf_counter()
        began, step = self._began
        values["images_per_second"] = (self.progress.step - step) * self.progress.rows / max(now - began, 1e-9)
        rates = {name: read() for name, read in self.rates.items()}
        values |= {name: value for name, value in rates.items() if value is not None}
        self._lines, self._began = [], (now, self.progress.step)
        for write in self.writers:
            write(self.progress.step, self.progress.images, values)


class SampleSheets(keras.callbacks.Callback):
    """Writes a sample grid from fixed inputs at the start, every `every` steps and at the end.

    Args:
        draw: function () -> (grid uint8 [height, width, 3], spread float or None). The spread is the variation between the samples, as a
            share of the variation between training pictures.
        path: function (images) -> file name. show: functions (images, grid).
    """

    def __init__(self, progress, every, *, draw, path, show):
        super().__init__()
        self.progress, self.every, self.draw, self.path, self.show = progress, every, draw, path, show
        self._last, self._spread = None, None

    def on_train_begin(self, logs=None):
        if self.progress.step == 0:
            self.write()

    def on_train_batch_end(self, batch, logs=None):
        if self.progress.step // self.every != self._done() or not self.progress.left:
            self.write()

    def _done(self):
        return -1 if self._last is None else self._last // self.every

    def spread(self):
        """Returns the spread of the grid drawn since the last call, or None."""
        spread, self._spread = self._spread, None
        return spread

    def write(self):
        """Draws and writes one grid."""
        self._last = self.progress.step
        sheet, self._spread = self.draw()
        files.write(self.path(self.progress.images), encode_png(sheet, sheet=True))
        for show in self.show:
            show(self.progress.images, sheet)


class Evaluations(keras.callbacks.Callback):
    """Evaluates every `schedule.every` pictures and at the end, keeps the best checkpoint, and ends a run that stopped improving.

    Its only state is the history, so a resumed run continues like an uninterrupted one.

    Args:
        progress: the shared `Progress`. schedule: an `EvaluationSchedule`. history: `trainer.runs.history.History`.
        saving: the `Saving` of the run. kept: function () -> content of best.json, or None.
        writers: functions (evaluation, seconds).
    """

    def __init__(self, progress, schedule, *, history, saving, kept, writers):
        super().__init__()
        self.progress, self.schedule, self.history, self.writers = progress, schedule, history, writers
        self.saving, self.kept = saving, kept
        self._done = progress.images // schedule.every

    def on_train_batch_end(self, batch, logs=None):
        if self.progress.images // self.schedule.every != self._done or not self.progress.left:
            self.evaluate()

    def evaluate(self):
        """Evaluates once, now."""
        self._done = self.progress.images // self.schedule.every
        began = time.perf_counter()
        metrics = self.schedule.evaluator.measure()
        seconds = time.perf_counter() - began
        evaluation = LoggedEvaluation(self.progress.step, self.progress.images, self.schedule.evaluator.of, metrics)
        self.history.evaluations.append(evaluation)
        if best.beats(evaluation, self.kept(), self.schedule.metric):
            self.saving.check()
            self.saving.checkpoints.keep_best(best.facts(evaluation, self.schedule.metric))
        for write in self.writers:
            write(evaluation, seconds)
        if self.schedule.patience_is_over(self.history):
            self.progress.end()
            self.model.stop_training = True


class Saving(keras.callbacks.Callback):
    """Saves a checkpoint every `minutes`, at the end, and on SIGTERM and SIGINT.

    Only finite weights are saved, so the newest checkpoint is always good. `saved` is called after each save.
    """

    def __init__(self, progress, checkpoints, *, minutes, metrics, saved):
        super().__init__()
        self.progress, self.checkpoints, self.minutes, self.metrics = progress, checkpoints, minutes, metrics
        self.saved = saved
        self._asked = None
        self._handlers = {}

    def on_train_begin(self, logs=None):
        for number in {signal.SIGTERM, signal.SIGINT} - self._handlers.keys():
            self._handlers[number] = signal.signal(number, self._ask)
        self._saved = time.monotonic()

    def _ask(self, number, frame):
        self._asked = number

    def on_train_batch_end(self, batch, logs=None):
        if self._asked is not None:
            self.save()
            raise Interrupted(
                f"stopped by {signal.Signals(self._asked).name} at {self.progress.images} pictures; the same command goes on from here",
                self._asked,
            )
        if time.monotonic() - self._saved >= 60 * self.minutes:
            self.save()

    def on_train_end(self, logs=None):
        if not self.progress.left:
            self.save()

    def save(self):
        """Writes the pending metrics, then saves. Raises Stopped if a weight is not finite."""
        self.metrics.flush()
        self.check()
        self.checkpoints.save(self.progress.step)
        self.saved()
        self._saved = time.monotonic()

    def check(self):
        """Raises Stopped if a weight is not finite."""
        if not self.checkpoints.healthy():
            raise Stopped(
                f"a weight is not finite at step {self.progress.step}: training has diverged. The last good checkpoint is kept."
            )

    def release(self):
        """Restores the previous signal handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
