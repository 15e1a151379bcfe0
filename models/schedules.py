"""Learning rates over a run, counted in optimiser steps."""

import math

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("packshot")
class Cosine(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine from `start` to `end` over `steps`, then constant: Loshchilov & Hutter 2017, eq. 5, without restarts."""

    def __init__(self, start, end, steps):
        self.start, self.end, self.steps = start, end, steps

    def __call__(self, step):
        done = tf.minimum(tf.cast(step, tf.float32) / float(max(self.steps, 1)), 1.0)
        return self.end + 0.5 * (self.start - self.end) * (1.0 + tf.cos(math.pi * done))

    def get_config(self):
        return {"start": self.start, "end": self.end, "steps": self.steps}
