"""Generation: pictures from noise, measured as a set."""

import numpy as np
import tensorflow as tf

from data import views
from data.batch import GENERATION
from data.errors import UserError
from data.images import grid, to_float, to_uint8
from trainer.evaluation import live, sets
from trainer.evaluation.live import evenly
from trainer.metrics.table import KID
from trainer.tasks.task import COLUMNS, PERIOD, ROWS, Task

FIRST_SEED = 1 << 40  # of measured pictures; those shown to people have seeds from 0


class Generation(Task):
    """Measures made pictures against real ones, with the training set's mix of classes."""

    name = GENERATION
    augmentations = ("flip",)
    measure = KID
    count = 1_000
    deciding = ("resolution",)

    def view(self, config, kind="auto", *, keys=()):
        if kind != "auto":
            raise UserError(
                f"--view {kind} is for translation and enhancement; generation trains on the pictures as they are"
            )
        return views.generation(config.resolution, keys)

    def sample_grid(self, model, rows, seed):
        """Draws rows of `COLUMNS` samples: a row for each value of the model's first condition, with others as in the data."""
        first = next(iter(model.facts), None)
        lines = min(first.count, 16) if first else ROWS
        count = lines * COLUMNS
        sample = tf.function(model.sample)
        batch = {"seed": np.arange(count)} | _conditions(model, rows, count)
        if first:
            batch[first.name] = np.repeat(np.arange(lines, dtype=np.int32), COLUMNS)
        batch = {key: tf.constant(value) for key, value in batch.items()}
        some = rows.take(np.linspace(0, rows.count - 1, min(count, rows.count)).astype(int))["image"]
        real = to_float(some).std(axis=0).mean()

        def draw():
            made = sample(batch).numpy()
            return grid(to_uint8(made), columns=COLUMNS), float(made.std(axis=0).mean() / max(real, 1e-6))

        return draw

    def evaluator(self, model, rows, extractor, *, count, held_out=None, seed=0):
        make = live.maker(model, {"seed": FIRST_SEED + np.arange(count)} | _conditions(model, rows, count))
        return live.of_sets(make, count, rows=rows, held_out=held_out, extractor=extractor, period=PERIOD)

    def gather(self, model, request, extractor, progress):
        view = views.generation(model.run.settings["resolution"])
        return sets.gather(model.run, view, request, extractor=extractor, period=PERIOD, progress=progress)

    def evaluate(self, model, reference, request, extractor, progress):
        return sets.evaluate(model, reference, request, progress)


def _conditions(model, rows, count):
    """Returns the conditions of `count` samples: those of as many rows, evenly over the set."""
    if not model.facts:
        return {}
    some = rows.take(evenly(rows.count, count))
    return {key: some[key] for key in model.facts.keys}
