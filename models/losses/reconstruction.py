"""Pixel losses: pure functions of two picture batches float32 [batch, height, width, channels], one value per example [batch]."""

import tensorflow as tf


def absolute(prediction, target):
    """Mean absolute difference (L1) over all pixels and channels."""
    return tf.reduce_mean(tf.abs(prediction - target), axis=[1, 2, 3])


def squared(prediction, target):
    """Mean squared difference over all pixels and channels."""
    return tf.reduce_mean(tf.square(prediction - target), axis=[1, 2, 3])


def charbonnier(prediction, target, *, epsilon=1e-3):
    """Mean of sqrt(difference^2 + epsilon^2), a smooth L1: Lai et al. 2017 (LapSRN), eq. 1."""
    return tf.reduce_mean(tf.sqrt(tf.square(prediction - target) + epsilon**2), axis=[1, 2, 3])
