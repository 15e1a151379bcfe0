"""What happens between steps: measuring, writing, sampling, saving, watching. Each callback does one of these."""

import json
import math
import signal
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams
from tqdm import tqdm

from data.images import encode_png
from trainer.errors import Interrupted, Stopped
from trainer.rundir import write_whole


class Progress:
    """How far a run is: `step` steps of `rows` pictures each, towards `steps`. Shared by all callbacks, moved by `Steps`."""

    def __init__(self, step: int, steps: int, rows: int):
        self.step, self.steps, self.rows = step, steps, rows

    @property
    def images(self) -> int:
        return self.step * self.rows

    @property
    def left(self) -> int:
        return self.steps - self.step


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
        rates: dict of name -> function () -> float, read when a line is made (learning rates, data wait).
        writers: functions (step, images, dict of name -> float).
    """

    def __init__(self, progress, every, rates, writers):
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

    def flush(self):
        """Write the average of what has come since the last line, if anything has."""
        if not self._lines:
            return
        values = {name: float(np.mean([np.mean(line[name]) for line in self._lines])) for name in self._lines[0]}
        now = time.perf_counter()
        began, step = self._began
        values["images_per_second"] = (self.progress.step - step) * self.progress.rows / max(now - began, 1e-9)
        values |= {name: read() for name, read in self.rates.items()}
        self._lines, self._began = [], (now, self.progress.step)
        for write in self.writers:
            write(self.progress.step, self.progress.images, values)


def stop_at_nonfinite(step, images, values):
    """A writer that stops the run when a logged number is not finite, naming such a term."""
    bad = sorted(
        (name for name, value in values.items() if not math.isfinite(value)), key=lambda name: name.endswith("loss")
    )
    if bad:
        raise Stopped(
            f"{bad[0]} is {values[bad[0]]} at step {step} ({images} pictures): training has diverged. The last good checkpoint is kept."
            " A lower learning rate, a larger penalty weight (gamma) or float32 precision are what usually helps."
        )


class JsonLines:
    """A writer that appends each line to metrics.jsonl: {"step", "images", "time", ...}."""

    def __init__(self, path):
        self._path = path

    def __call__(self, step, images, values):
        line = {"step": step, "images": images, "time": round(time.time(), 3)}
        line |= {name: float(f"{value:.6g}") for name, value in values.items()}
        with tf.io.gfile.GFile(self._path, "a") as file:
            file.write(json.dumps(line) + "\n")


class TensorBoard:
    """A writer of scalars, sample sheets and hyperparameters for TensorBoard; the horizontal axis is pictures."""

    def __init__(self, folder, hyperparameters):
        self._writer = tf.summary.create_file_writer(folder)
        plain = {
            name: value if isinstance(value, (bool, int, float, str)) else str(value)
            for name, value in hyperparameters.items()
        }
        with self._writer.as_default(step=0):
            hparams.hparams(plain)

    def __call__(self, step, images, values):
        with self._writer.as_default(step=images):
            for name, value in values.items():
                player, _, term = name.partition("_")
                tf.summary.scalar(
                    f"{player}/{term}" if player in ("generator", "critic", "ada") else f"run/{name}", value
                )
        self._writer.flush()

    def sheet(self, images, picture):
        """Show a sample sheet, uint8 [height, width, 3]."""
        with self._writer.as_default(step=images):
            tf.summary.image("samples", picture[None])
        self._writer.flush()


class Console:
    """A writer that shows how far the run is: a bar with rate and time left on a terminal, plain lines elsewhere."""

    SECONDS = 20  # between two plain lines

    def __init__(self, progress):
        self._total = progress.steps * progress.rows
        self._start = progress.images
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=self._total, initial=self._start, unit="img", unit_scale=True, dynamic_ncols=True)
        self._began = self._said = time.perf_counter()

    def __call__(self, step, images, values):
        losses = {name: value for name, value in values.items() if name.endswith("loss")}
        text = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        if self._bar is not None:
            self._bar.update(images - self._bar.n)
            self._bar.set_postfix_str(text)
            return
        now = time.perf_counter()
        if now - self._said < self.SECONDS and images < self._total and step > 1:
            return
        self._said = now
        left = (now - self._began) / max(images - self._start, 1) * (self._total - images)
        print(
            f"{images:>9,} of {self._total:,} pictures  {values['images_per_second']:6.1f}/s  {clock(left)} left  {text}",
            file=sys.stderr,
            flush=True,
        )

    def close(self):
        if self._bar is not None:
            self._bar.close()


def counting(examples, total):
    """An iterator over `examples` with a bar on a terminal, and none elsewhere."""
    return tqdm(examples, desc="reading", total=total, unit="img", disable=None)


def clock(seconds: float) -> str:
    """3725 -> "1:02:05"."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


class SampleSheets(keras.callbacks.Callback):
    """Every `every` steps, writes a sheet of pictures from fixed inputs and stops a run whose generator has collapsed.

    Args:
        draw: function () -> (sheet uint8 [height, width, 3], spread float or None); spread is how much the samples differ from one
            another, as a share of how much the training pictures do.
        path: function (images) -> file name. show: functions (images, sheet).
    """

    ALIVE, DEAD, PATIENCE = 0.2, 0.02, 2

    def __init__(self, progress, every, draw, path, show):
        super().__init__()
        self.progress, self.every, self.draw, self.path, self.show = progress, every, draw, path, show
        self._was_alive, self._dead, self._last = False, 0, None

    def on_train_begin(self, logs=None):
        if self.progress.step == 0:
            self.write()

    def on_train_batch_end(self, batch, logs=None):
        if self.progress.step // self.every != self._done():
            self.write()

    def on_train_end(self, logs=None):
        if not self.progress.left and self._last != self.progress.step:
            self.write()

    def _done(self):
        return -1 if self._last is None else self._last // self.every

    def write(self):
        """Draw, write and judge one sheet."""
        self._last = self.progress.step
        sheet, spread = self.draw()
        write_whole(self.path(self.progress.images), encode_png(sheet))
        for show in self.show:
            show(self.progress.images, sheet)
        if spread is None:
            return
        self._was_alive |= spread > self.ALIVE
        self._dead = self._dead + 1 if self._was_alive and spread < self.DEAD else 0
        if self._dead >= self.PATIENCE:
            raise Stopped(
                f"the generator has collapsed at step {self.progress.step}: its samples differ by {spread:.1%} of what the training"
                " pictures do. The last good checkpoint is kept. --augment ada, a larger penalty weight (gamma) or a lower"
                " learning rate are what usually helps."
            )


class Saving(keras.callbacks.Callback):
    """Saves a checkpoint every `minutes`, at the end, and when the process is asked to stop (SIGTERM, SIGINT).

    Only finite weights are saved, so the newest checkpoint is always a good one.
    """

    def __init__(self, progress, checkpoints, minutes, metrics):
        super().__init__()
        self.progress, self.checkpoints, self.minutes, self.metrics = progress, checkpoints, minutes, metrics
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
        if not self.checkpoints.healthy():
            raise Stopped(
                f"a weight is not finite at step {self.progress.step}: training has diverged. The last good checkpoint is kept."
            )
        self.checkpoints.save(self.progress.step)
        self._saved = time.monotonic()

    def release(self):
        """Give the signals back to whoever had them."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
