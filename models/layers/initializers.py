"""Initialisers, each call a new one: a Keras initialiser draws the same numbers every time it is used."""

import keras


def normal(stddev=0.02, mean=0.0):
    """Normal with a fixed deviation; 0.02 is that of DCGAN (Radford et al. 2016) and of what came from it."""
    return keras.initializers.RandomNormal(mean=mean, stddev=stddev)


def near_one():
    """Scales of batch normalisation in those networks: normal with mean 1 and deviation 0.02."""
    return normal(mean=1.0)


def fan_in(gain=1.0):
    """Normal with deviation gain / sqrt(inputs)."""
    return keras.initializers.VarianceScaling(gain**2, "fan_in", "untruncated_normal")
