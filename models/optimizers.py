"""Optimisers built on the weights that they will move, so that a checkpoint knows their slots before the first step."""

import keras


def built(optimizer, *networks):
    """The Keras optimiser, with slots for the trainable weights of the networks."""
    optimizer.build([weight for network in networks for weight in network.trainable_weights])
    return optimizer


def rebuilt(optimizer, *networks):
    """A new optimiser of the same settings, for networks whose trainable weights are other ones now."""
    return built(type(optimizer).from_config(optimizer.get_config()), *networks)


def adam(name, *networks, rate, beta_1=0.9, beta_2=0.999):
    """Adam (Kingma & Ba 2015) on the trainable weights of the networks; `rate` is a number or a schedule of `models.schedules`."""
    return built(keras.optimizers.Adam(rate, beta_1, beta_2, name=name), *networks)
