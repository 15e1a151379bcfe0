"""Terms of a bound on the likelihood (Kingma and Welling 2014, arXiv 1312.6114), one value per example [batch]."""

import math

import tensorflow as tf

from models.losses.reconstruction import squared


def divergence(mean, log_variance):
    """KL divergence of N(mean, variance) from N(0, 1) in nats, summed over z, float32 [batch]: appendix B there.

    Both are float32 [batch, numbers in z].
    """
    return 0.5 * tf.reduce_sum(tf.square(mean) + tf.exp(log_variance) - 1.0 - log_variance, axis=1)


def surprise(seen, values, least):
    """Negative log density of `values` under normal distributions with the means `seen`, in nats a value, float32 [batch].

    Their deviation is the best one for each example. Its square is the mean squared difference (Rybkin, Daniilidis and Levine 2021,
    arXiv 2006.13202, eq. 5), to which the variance `least`, a number above 0, is added. Both are [batch, height, width, channels].
    """
    return 0.5 * tf.math.log(2.0 * math.pi * math.e * (squared(seen, values) + least))
