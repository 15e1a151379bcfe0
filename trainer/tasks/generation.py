"""Generation: pictures from nothing, measured as a set."""

import numpy as np
import tensorflow as tf

from data import views
from data.batch import GENERATION
from data.images import grid, to_float, to_uint8
from trainer.evaluation import live, sets
from trainer.evaluation.live import evenly
from trainer.metrics.table import KID
from trainer.tasks.task import COLUMNS, PERIOD, ROWS, Task


class Generation(Task):
    """Made pictures against real ones, with the training set's mix of categories."""

    name = GENERATION
    augmentations = ("flip",)
    measure = KID
    count = 1_000
    deciding = ("resolution",)

    def view(self, config, kind="auto"):
        return views.generation(config.resolution)

    def sample_grid(self, model, rows, seed):
        """Rows of `COLUMNS` samples, one row a category if the model knows them."""
        lines = min(model.classes, 16) or ROWS
        count = lines * COLUMNS
        sample = tf.function(model.sample)
        batch = self._inputs(model, np.repeat(np.arange(lines, dtype=np.int32), COLUMNS), [seed, 1])
        batch = {key: tf.constant(value) for key, value in batch.items()}
        some = rows.take(np.linspace(0, rows.count - 1, min(count, rows.count)).astype(int))["image"]
        real = to_float(some).std(axis=0).mean()

        def draw():
            made = sample(batch).numpy()
            return grid(to_uint8(made), columns=COLUMNS), float(made.std(axis=0).mean() / max(real, 1e-6))

        return draw

    def evaluator(self, model, rows, extractor, *, count, held_out=None, seed=0):
        labels = rows.take(evenly(rows.count, count))["label"] if model.classes else np.zeros(count, np.int32)
        make = live.maker(model, self._inputs(model, labels, [seed, 2]))
        return live.of_sets(make, count, rows, held_out, extractor, PERIOD)

    def _inputs(self, model, labels, seed):
        """What a batch of samples with these labels int32 [n] is made of; the labels are for a model that knows them."""
        random = np.random.default_rng(seed)
        latent = random.standard_normal((len(labels), model.config.latent_size), np.float32)
        return {"latent": latent} | ({"label": labels} if model.classes else {})

    def gather(self, model, request, extractor, track):
        view = views.generation(model.run.settings["resolution"])
        return sets.gather(model.run, view, request, extractor, PERIOD, track)

    def evaluate(self, model, reference, request, extractor, track):
        return sets.evaluate(model, reference, request, track)
