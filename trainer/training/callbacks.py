"""What happens between steps: logging, sampling, evaluating, saving. Each callback does one of these."""

import signal
import time

import keras
import numpy as np

from data import files
from data.images import encode_png
from trainer.errors import Interrupted, Stopped
from trainer.runs.history import Evaluation
from trainer.training import best


class Progress:
    """How far a run is: `step` steps of `rows` pictures each, towards `steps`. Shared by all callbacks, moved by `Steps`.

    A run that is further than it was meant to go has nothing left.
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
        """Make this step the last."""
        self.steps = self.step


class Steps(keras.callbacks.Callback):
    """Moves the progress along; stands first in the list."""

    def __init__(self, progress):
        super().__init__()
        self.progress = progress

    def on_train_begin(self, logs=None):
        self._start = self.progress.step

    def on_train_batch_end(self, batch, logs=None):
        self.progress.step = self._start + batch + 1


class Metrics(keras.callbacks.Callback):
    """Averages what the steps log and hands a line of numbers to each writer, every `every` steps.

    Args:
        progress: the shared `Progress`. every: steps between two lines.
        rates: dict of name -> function () -> float or None, read when a line is made (learning rates, data wait).
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
        """A writer of evaluations: leaves their time out of the pictures a second."""
        began, step = self._began
        self._began = began + seconds, step

    def flush(self):
        """Write the average of what has come since the last line, if anything has."""
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
    """Writes a sheet of pictures from fixed inputs at the start, every `every` steps and at the end.

    Args:
        draw: function () -> (sheet uint8 [height, width, 3], spread float or None); spread is how much the samples differ from one
            another, as a share of how much the training pictures do.
        path: function (images) -> file name. show: functions (images, sheet).
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
        """The spread of the sheet drawn since it was last asked for, if there is one."""
        spread, self._spread = self._spread, None
        return spread

    def write(self):
        """Draw and write one sheet."""
        self._last = self.progress.step
        sheet, self._spread = self.draw()
        files.write(self.path(self.progress.images), encode_png(sheet, sheet=True))
        for show in self.show:
            show(self.progress.images, sheet)


class Evaluations(keras.callbacks.Callback):
    """Every `schedule.every` pictures and at the end: measures, has it written down, keeps the best, ends a run that stopped improving.

    What was done before is read from the history alone, so a resumed run goes on as a straight one.

    Args:
        progress: the shared `Progress`. schedule: an `EvaluationSchedule`. history: `trainer.runs.history.History`.
        saving: the `Saving` of the run. kept: function () -> what best.json says of the best that was kept, None when none was.
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
        """Measure once, now."""
        self._done = self.progress.images // self.schedule.every
        began = time.perf_counter()
        found = self.schedule.evaluator.measure()
        seconds = time.perf_counter() - began
        evaluation = Evaluation(self.progress.step, self.progress.images, self.schedule.evaluator.of, found)
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
    """Saves a checkpoint every `minutes`, at the end, and when the process is asked to stop (SIGTERM, SIGINT).

    Only finite weights are saved, so the newest checkpoint is always a good one. `saved` is called when one has been written.
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
        """Write down what has been measured, then save, if the weights are good."""
        self.metrics.flush()
        self.check()
        self.checkpoints.save(self.progress.step)
        self.saved()
        self._saved = time.monotonic()

    def check(self):
        """Raise Stopped if the weights are not good."""
        if not self.checkpoints.healthy():
            raise Stopped(
                f"a weight is not finite at step {self.progress.step}: training has diverged. The last good checkpoint is kept."
            )

    def release(self):
        """Give the signals back to whoever had them."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
