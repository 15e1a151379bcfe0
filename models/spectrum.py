"""Pictures as waves: the cosine transform of their grey and their colours, and how strong each wave is in photos.

The power of photos falls with frequency by a law that differs little from one to the next (Field 1987, "Relations between the statistics
of natural images and the response properties of cortical cells"), and colours vary much less than grey. Waves of photos are nearly
uncorrelated, which is what JPEG lives on.
"""

import numpy as np
import tensorflow as tf

GREY, COLOUR = 1 / 4, 1 / 60  # power at frequency 0 in [-1, 1], over the squared side
FALL = 1.35  # fitted, as those two, to product photos of 64 px: they are within a factor of 2 at most frequencies
OPPONENT = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])  # grey and two colours, orthonormal


def photo_power(side):
    """The mean square of each wave of photos of that side, where white noise has 1: float32 [side, side, 3]."""
    frequency = np.arange(side)
    fall = (1.0 + frequency[:, None] ** 2 + frequency**2) ** -FALL
    return (side**2 * fall[..., None] * [GREY, COLOUR, COLOUR]).astype(np.float32)


def to_waves(pictures):
    """float32 [n, side, side, 3] -> its cosine transform along both axes and of opponent colours, orthonormal: alike."""
    return _transform(pictures, _cosines(pictures.shape[1]), OPPONENT)


def to_pictures(waves):
    """The inverse of `to_waves`."""
    return _transform(waves, _cosines(waves.shape[1]).T, OPPONENT.T)


def _cosines(side):
    """The orthonormal matrix [frequency, pixel] of the cosine transform of type II."""
    number = np.arange(side)
    matrix = np.cos(np.pi / side * number[:, None] * (number + 0.5)) * np.sqrt(2 / side)
    matrix[0] /= np.sqrt(2)
    return matrix


def _transform(x, matrix, colours):
    side = x.shape[1]
    matrix = tf.constant(matrix, x.dtype)
    columns = tf.matmul(matrix, tf.reshape(x, [-1, side, side * 3]))
    rows = tf.matmul(matrix, tf.reshape(columns, [-1, side, 3]))
    return tf.reshape(tf.matmul(tf.reshape(rows, [-1, 3]), tf.constant(colours.T, x.dtype)), [-1, side, side, 3])
