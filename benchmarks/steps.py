"""Our training steps: alone on one batch, and through `fit` on our pipeline."""

import dataclasses
import time

import keras
import numpy as np
import tensorflow as tf

from data import pipeline
from data.cache import load_rows
from data.catalogue import open_source
from models import catalogue
from models.base import TwoPlayer
from trainer import tasks

PICTURES = 256  # drawn ones to train on


class Clock(keras.callbacks.Callback):
    """Times a `fit` from the end of its first execution to the end of its last."""

    def __init__(self, waiting):
        super().__init__()
        self.waiting = waiting
        self.begun = None

    def on_train_batch_end(self, batch, logs=None):
        self.ended = time.perf_counter()
        if self.begun is None:
            self.begun = self.ended
            self.waiting.share()


class Ours:
    """A family of ours, without averaging.

    Args:
        precision: what its layers compute in.
        together: steps that `fit` takes in one call.
        view: how its rows are made of pictures, as for `--view`.
    """

    def __init__(self, name, preset, precision, together=1, view="auto"):
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(precision)
        family = catalogue.load(name)
        self.name = name
        self.together = together
        self.config = dataclasses.replace(family.PRESETS[preset], ema_images=0)
        self.model = family.Model(self.config)
        task = tasks.of(self.model)
        rows = load_rows(open_source(f"studio:{PICTURES}"), task.view(self.config, view))
        self.waiting = pipeline.Waiting()
        self.rows = pipeline.training(
            rows,
            self.model.batch_keys,
            tf.distribute.get_strategy(),
            self.waiting,
            batch_size=self.config.batch_size * self.model.rows_per_step,
            seed=0,
            position=0,
            augment=task.row_augmentations(mirror=True),
        )
        self.batch = next(iter(self.rows))
        self.step = tf.function(self.model.train_step)
        self.model.compile(steps_per_execution=together)

    def describe(self) -> dict:
        """Returns the description for a peer. The weights are shaken first, since those that start at zero would hide others."""
        random = np.random.default_rng(0)
        networks = [self._describe(self.model.network, random)]
        if isinstance(self.model, TwoPlayer):
            networks.append(self._describe(self.model.critic, random))
        return {
            "family": self.name,
            "config": dataclasses.asdict(self.config),
            "batch": {key: value.numpy() for key, value in self.batch.items()} | self._constants(),
            "networks": networks,
        }

    def _constants(self):
        """What a model has beside its weights."""
        return {"power": self.model.power[np.newaxis]} if hasattr(self.model, "power") else {}

    def _describe(self, network, random):
        weights = [w + random.normal(0, 0.01, w.shape).astype(np.float32) for w in network.get_weights()]
        network.set_weights(weights)
        inputs = [random.normal(0, 0.5, self._shape(each)).astype(np.float32) for each in network.inputs]
        outputs = network(inputs, training=False).numpy()
        count = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
        return {"weights": weights, "parameters": count, "inputs": inputs, "outputs": outputs}

    def _shape(self, given):
        side = self.config.resolution // getattr(self.config, "scale", 1)
        return [size or side for size in (4, *given.shape[1:])]

    def bare(self, steps) -> float:
        """Seconds a step, alone on one batch."""
        begun = time.perf_counter()
        for _ in range(steps):
            logs = self.step(self.batch)
        assert all(np.isfinite(value) for value in logs.values())
        return (time.perf_counter() - begun) / steps

    def fit(self, steps) -> float:
        """Seconds a step, through `fit` on the pipeline, once it is under way: a training takes its first step only once."""
        clock = Clock(self.waiting)
        self.model.fit(
            self.rows, steps_per_epoch=steps + self.together, epochs=1, verbose=0, shuffle=False, callbacks=[clock]
        )
        self.wait = self.waiting.share()
        return (clock.ended - clock.begun) / steps

    def data_wait(self) -> float:
        """Share of the last `fit` spent waiting for data."""
        return self.wait
