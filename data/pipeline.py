"""Rows to batches: the only place that shuffles, repeats, batches, augments and prefetches.

Row i of the training stream is a pure function of (seed, i): it belongs to epoch i // count, and a keyed permutation of that epoch
gives its row. So a stream can start anywhere, which is all that a resumed run needs, and a worker takes its slice of every
batch without talking to the others.
"""

import functools
import os

import numpy as np
import tensorflow as tf

from data import augment as augmentations
from data import batch as contract
from data.errors import UserError
from data.images import to_float

AHEAD = 2  # batches prepared while the model computes
ROUNDS = 8  # of the keyed permutation
PHILOX = 1  # the number of tf.random.Algorithm.PHILOX, which makes four words for each value of its counter


def dataset(rows, keys, *, batch_size, seed, position=0, augment=(), shard=(0, 1)) -> tf.data.Dataset:
    """The endless training stream from a position on.

    Args:
        rows: a `data.cache.Rows`. keys: the keys of a batch, see `data.batch`.
        batch_size: rows of a global batch. position: rows seen before, a multiple of batch_size.
        augment: names of `data.augment.AUGMENTATIONS`, applied in order.
        shard: (number, count): which equal slice of each global batch to yield.

    Yields:
        dict of key -> tensor [batch_size / count, ...] of the dtype, rank and range that `data.batch` gives it.

    Raises:
        UserError: batch_size cannot be shared evenly, or rows lack a key.
        ValueError: the first batch does not conform to `data.batch`.
    """
    number, count = shard
    if batch_size % count:
        raise UserError(f"batch_size={batch_size} cannot be shared evenly by {count} workers")
    added = augmentations.added_by(augment) | ({"low"} if rows.drawn else set())
    kept = [key for key in keys if key not in added]
    missing = [key for key in kept if key not in rows.arrays]
    if missing:
        raise UserError(f"the rows have no {', '.join(missing)}")
    local = batch_size // count
    stream = _stream(rows, kept, seed)

    def make(step):
        places = step * batch_size + number * local + tf.range(local, dtype=tf.int64)
        dice = tf.random.stateless_uniform(
            [batch_size, augmentations.numbers_of(augment)], [tf.constant(seed, tf.int64), step], alg="philox"
        )
        draw = functools.partial(rows.drawn, seed=seed, places=places) if rows.drawn else None
        return _finish(stream(places), augment, dice[number * local : (number + 1) * local], draw)

    first = position // batch_size
    shown = make(tf.constant(first, tf.int64))
    contract.check(shown, keys)
    contract.check_range(shown)
    steps = tf.data.Dataset.range(first, np.iinfo(np.int64).max // batch_size)
    made = steps.map(make, num_parallel_calls=os.cpu_count(), deterministic=True).prefetch(AHEAD)
    return made.with_options(_options())


def training(rows, keys, strategy, waiting, *, batch_size, seed, position, augment):
    """Returns the input of `fit` under a strategy: a dataset or distributed dataset, see `dataset`.

    `waiting`, a `Waiting`, times it when there is one replica.
    """
    arguments = {"batch_size": batch_size, "seed": seed, "position": position, "augment": augment}
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        replicas = strategy.num_replicas_in_sync

        def worker(context):
            pipelines, number = context.num_input_pipelines, context.input_pipeline_id
            whole = dataset(rows, keys, **arguments, shard=(number, pipelines))
            parts = whole.unbatch().batch(batch_size // replicas, drop_remainder=True)
            endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)  # keeps shapes static
            return parts.apply(endless).with_options(_options())

        return strategy.distribute_datasets_from_function(worker)
    made = dataset(rows, keys, **arguments)
    return made if strategy.num_replicas_in_sync > 1 else waiting.measured(made)


class Waiting:
    """Measures the time that training waits for its batches. clock: function () -> seconds, a float64 tensor."""

    def __init__(self, clock=tf.timestamp):
        self._clock = clock
        self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._asked = float(clock())

    def measured(self, made):
        """The dataset, timed from the request for a batch until it is ready."""
        asked = tf.data.Dataset.counter().map(lambda _: self._clock())

        def note(before, batch):
            self._seconds.assign_add(self._clock() - before)
            return batch

        return tf.data.Dataset.zip(asked, made).map(note).with_options(_options())

    def share(self) -> float:
        """Share of the time since the last call that was spent waiting; 0 where nothing is measured."""
        now, seconds = float(self._clock()), float(self._seconds.numpy())
        self._seconds.assign(0.0)
        passed, self._asked = now - self._asked, now
        return seconds / max(passed, 1e-9)


def _stream(rows, keys, seed):
    """Function from consecutive places of the endless stream to the rows that stand there: dict of key -> tensor."""
    gather = _gather({key: rows.arrays[key] for key in keys}, rows.in_memory)
    return lambda places: gather(_shuffled(places, rows.count, seed))


def _shuffled(places, count, seed):
    """Returns the rows at these consecutive places of the stream: int64, of the shape of `places`."""
    epochs = places // count
    # The op reads little more than the last byte of each of its keys: keys are drawn, so that epoch 256 is not epoch 0 again.
    words = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[4 * ((places.shape[0] - 1) // count + 2)],
        key=tf.constant([seed], tf.uint64),
        counter=tf.stack([tf.cast(epochs[0], tf.uint64), tf.constant(0, tf.uint64)]),
        alg=PHILOX,
        dtype=tf.uint32,
    )
    keys = tf.gather(tf.reshape(words, [-1, 4])[:, :3], epochs - epochs[0])
    # The raw op, because `tf.random.experimental.index_shuffle` takes neither a key for each index nor more than four rounds,
    # after which neighbours still lie near one another.
    last = tf.constant(count - 1, tf.int64)
    return tf.raw_ops.RandomIndexShuffle(index=places % count, seed=keys, max_index=last, rounds=ROUNDS)


def _gather(arrays, in_memory):
    if in_memory:
        tensors = {key: tf.constant(array) for key, array in arrays.items()}
        return lambda indices: {key: tf.gather(tensor, indices) for key, tensor in tensors.items()}

    def read(indices):
        return [np.asarray(array[np.sort(indices)])[np.argsort(np.argsort(indices))] for array in arrays.values()]

    def gather(indices):
        kinds = [tf.as_dtype(array.dtype) for array in arrays.values()]
        found = tf.numpy_function(read, [indices], kinds, stateful=False)
        for tensor, array in zip(found, arrays.values(), strict=True):
            tensor.set_shape([indices.shape[0], *array.shape[1:]])
        return dict(zip(arrays, found, strict=True))

    return gather


def _finish(batch, augment, dice, draw):
    pictures = {key: value for key, value in batch.items() if contract.kind(key).spatial}
    pictures = augmentations.apply(augment, pictures, dice)
    if draw:
        pictures["low"] = draw(pictures["high"])
    return batch | {key: _as_float(contract.kind(key), value) for key, value in pictures.items()}


def _as_float(kind, pixels):
    values = to_float(pixels)
    return (values + 1.0) / 2.0 if kind is contract.MAP else values


def _options():
    options = tf.data.Options()
    options.autotune.enabled = False  # its start and end can nearly double a short fit
    options.deterministic = True
    options.experimental_optimization.apply_default_optimizations = False  # rewriting the graph would copy all rows
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
