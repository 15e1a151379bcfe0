"""Loggers of a run's numbers: metrics.jsonl, TensorBoard and the console.

Each is called with (step, images, dict of name -> float) for a line of training. `evaluation` logs an evaluation, `warning` a finding
of the watchdog.
"""

import contextlib
import json
import math
import posixpath
import sys
import time

import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import api as hparams
from tqdm import tqdm

from data import files
from trainer.console import SECONDS
from trainer.metrics.table import of_real


class JsonLines:
    """Appends to metrics.jsonl, one JSON object a line, each with "step", "images" and "time"; `trainer.runs.history` reads them.

    Lines of training hold names and numbers. Evaluations hold "evaluation" (the protocol in words), "evaluation_seconds", and for each
    measure its name and its name with the suffix "_error". Warnings hold "warning" (a word or two) and "sentence".
    """

    def __init__(self, path):
        self._path = path

    def __call__(self, step, images, values):
        self._append(step, images, {name: float(f"{value:.6g}") for name, value in values.items()})

    def evaluation(self, made, seconds):
        # At full precision, since a resumed run compares with these values. JSON has no numbers that are not finite.
        line = {"evaluation": made.of, "evaluation_seconds": round(seconds, 3)}
        for name, estimate in made.found.items():
            line |= {
                key: x if math.isfinite(x) else None for key, x in zip((name, f"{name}_error"), estimate, strict=True)
            }
        self._append(made.step, made.images, line)

    def warning(self, step, images, name, sentence):
        self._append(step, images, {"warning": name, "sentence": sentence})

    def _append(self, step, images, content):
        line = {"step": step, "images": images, "time": round(time.time(), 3)} | content
        files.append(self._path, (json.dumps(line) + "\n").encode())


class TensorBoard:
    """Scalars, sample grids, warnings and hyperparameters for TensorBoard; the horizontal axis is pictures.

    Raises OSError when writing fails.
    """

    def __init__(self, folder, hyperparameters):
        self._folder = folder
        plain = {
            name: value if isinstance(value, (bool, int, float)) else _utf_8(str(value))
            for name, value in hyperparameters.items()
        }
        with files.os_errors(folder):
            self._writer = tf.summary.create_file_writer(folder)
            with self._writer.as_default(step=0):
                hparams.hparams(plain)

    def __call__(self, step, images, values):
        tags = {}
        for name, value in values.items():
            player, _, term = name.partition("_")
            tags[f"{player}/{term}" if player in ("generator", "critic", "ada") else f"run/{name}"] = value
        self._scalars(images, tags)

    def evaluation(self, made, seconds):
        tags = {f"evaluation/{name}": estimate.value for name, estimate in made.found.items()}
        tags |= {f"evaluation_error/{name}": estimate.error for name, estimate in made.found.items()}
        self._scalars(made.images, tags | {"run/evaluation_seconds": seconds})

    def warning(self, step, images, name, sentence):
        with self._at(images):
            tf.summary.text(f"warnings/{name}", sentence)

    def sheet(self, images, picture):
        """Logs a sample grid, uint8 [height, width, 3]."""
        with self._at(images):
            tf.summary.image("samples", picture[None])

    def _scalars(self, images, tags):
        with self._at(images):
            for tag, value in tags.items():
                tf.summary.scalar(tag, value)

    @contextlib.contextmanager
    def _at(self, images):
        """Writes the summaries of the block at `images` pictures, and flushes them."""
        with files.os_errors(self._folder), self._writer.as_default(step=images):
            yield
            self._writer.flush()


def forget_events_after(folder, images):
    """Drops the events that a resumed run will write again from TensorBoard's files, so that each point is there once.

    Raises OSError.
    """
    for name in files.names(folder) if files.is_folder(folder) else ():
        path = posixpath.join(folder, name)
        if "tfevents" not in name or files.is_folder(path):
            continue
        records = list(_records(path))
        kept = [record for record in records if event_pb2.Event.FromString(record).step <= images]
        if len(kept) == len(records):
            continue
        if not kept:
            files.remove(path)
            continue
        beside = posixpath.join(folder, ".cutting")  # a name that TensorBoard ignores
        with files.os_errors(path):
            with tf.io.TFRecordWriter(beside) as writer:
                for record in kept:
                    writer.write(record)
            tf.io.gfile.rename(beside, path, overwrite=True)


def _records(path):
    """Yields the records of a file, up to one left incomplete by a killed process."""
    try:
        for record in tf.data.TFRecordDataset(path):
            yield record.numpy()
    except tf.errors.DataLossError:
        return


def _utf_8(text):
    return text.encode(errors="backslashreplace").decode()  # TensorFlow takes only UTF-8; file names may be anything


class Console:
    """Shows the progress of a run: a bar with rate and remaining time on a terminal, plain lines elsewhere.

    `headline` is the name of the measure shown for evaluations.
    """

    def __init__(self, progress, headline=None):
        self._total = progress.steps * progress.rows
        self._start = progress.images
        self._headline = headline
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=self._total, initial=self._start, unit="img", unit_scale=True, dynamic_ncols=True)
        self._began = self._said = time.perf_counter()
        self._evaluating = 0.0

    def __call__(self, step, images, values):
        losses = {name: value for name, value in values.items() if name.endswith("loss")}
        text = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        if self._bar is not None:
            self._bar.update(images - self._bar.n)
            self._bar.set_postfix_str(text)
            return
        now = time.perf_counter()
        if now - self._said < SECONDS and images < self._total and step > 1:
            return
        self._said = now
        left = (now - self._began) / max(images - self._start, 1) * (self._total - images)
        rate = f"{values['images_per_second']:6.1f}/s"
        self._print(f"{images:>9,} of {self._total:,} pictures  {rate}  {clock(left)} left  {text}")

    def evaluation(self, made, seconds):
        self._evaluating += seconds
        share = self._evaluating / max(time.perf_counter() - self._began, 1e-9)
        value, error = made.found[self._headline]
        artifacts = "".join(
            f"; {name} {estimate.value:.3g}, of real pictures {made.found[of_real(name)].value:.3g}"
            for name, estimate in made.found.items()
            if of_real(name) in made.found
        )
        cost = f"{seconds:.1f} s, evaluations took {share:.0%} of the time so far"
        self._print(f"{made.images:>9,} pictures: {self._headline} {value:.4g} ± {error:.2g}{artifacts}  ({cost})")

    def warning(self, step, images, name, sentence):
        self._print(f"{images:>9,} pictures: {name}: {sentence}")

    def _print(self, line):
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()

    def close(self):
        if self._bar is not None:
            self._bar.close()


def clock(seconds: float) -> str:
    """3725 -> "1:02:05"."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
