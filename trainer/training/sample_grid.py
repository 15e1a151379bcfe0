"""The sample sheet of a run: the same inputs every time, so that one sees the network and not the dice."""

import numpy as np
import tensorflow as tf

from data.batch import ENHANCEMENT, GENERATION
from data.images import grid, to_float, to_uint8

ROWS, COLUMNS = 8, 8


def make_draw(model, rows, config, seed):
    """A function () -> (sheet uint8 [height, width, 3], spread).

    generation: 8 rows of 8, or one row a category; spread is the mean over pixels of the deviation between the samples, divided by that of
    as many training pictures. translation: source, output, target side by side; enhancement: the enlarged input, output and target; the
    spread of both is None.
    """
    sample = tf.function(model.sample)
    if model.task == GENERATION:
        return _generation(model, sample, rows, config, seed)
    given = _first(rows, ROWS * 2)
    batch = {key: to_float(tf.constant(value)) for key, value in given.items() if value.dtype == np.uint8}

    def draw():
        made = to_uint8(sample(batch)).numpy()
        if model.task == ENHANCEMENT:
            enlarged = given["low"].repeat(config.scale, axis=1).repeat(config.scale, axis=2)
            columns = [enlarged, made, given["high"]]
        else:
            columns = [given["source"], made, given["target"]]
        return grid(np.concatenate(columns, axis=2), columns=2), None

    return draw


def _first(rows, count):
    return rows.take(np.linspace(0, rows.count - 1, min(count, rows.count)).astype(int))


def _generation(model, sample, rows, config, seed):
    first = next(iter(model.facts), None)  # a line a value of it; of the others as the data have them
    lines = min(first.count, 16) if first else ROWS
    count = lines * COLUMNS
    batch = {"seed": tf.range(count, dtype=tf.int64)}
    conditions = rows.take(np.arange(count) * rows.count // count) if first else {}
    batch |= {name: tf.constant(conditions[name]) for name in model.facts.names}
    if first:
        batch[first.name] = tf.repeat(tf.range(lines), COLUMNS)
    real = to_float(_first(rows, count)["image"]).std(axis=0).mean()

    def draw():
        made = sample(batch).numpy()
        return grid(to_uint8(made), columns=COLUMNS), float(made.std(axis=0).mean() / max(real, 1e-6))

    return draw
