"""Adversarial objectives: named pairs of pure functions.

Every function takes critic logits, float32 [batch] (any real number, larger = more real), and returns float32 [batch]: one value per
example, unweighted and not reduced. Only in the relativistic average does it depend on the logits of others. Pairs are found by name in
`OBJECTIVES`; `x_critic(real, fake)` and `x_generator(real, fake)` have the same signature for every objective, so that relativistic losses
need no special case.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from data.errors import UserError


@dataclass(frozen=True)
class Objective:
    """One adversarial game.

    critic, generator: (real_logits [batch], fake_logits [batch]) -> [batch], to be minimised.
    relativistic: the logits have no zero of their own; only the difference real - fake means anything.
    """

    critic: Callable
    generator: Callable
    relativistic: bool = False


def minimax_critic(real, fake):
    """-log D(x) - log(1 - D(G(z))), Goodfellow et al. 2014, eq. 1, with D = sigmoid(logit)."""
    return tf.nn.softplus(-real) + tf.nn.softplus(fake)


def minimax_generator(real, fake):
    """log(1 - D(G(z))): the saturating loss of Goodfellow et al. 2014, eq. 1."""
    return -tf.nn.softplus(fake)


def non_saturating_generator(real, fake):
    """-log D(G(z)), Goodfellow et al. 2014, section 3."""
    return tf.nn.softplus(-fake)


def lsgan_critic(real, fake):
    """Least squares with targets real 1, fake 0: Mao et al. 2017, eq. 9."""
    return 0.5 * tf.square(real - 1.0) + 0.5 * tf.square(fake)


def lsgan_generator(real, fake):
    """Least squares with target 1 for fakes: Mao et al. 2017, eq. 9."""
    return 0.5 * tf.square(fake - 1.0)


def wasserstein_critic(real, fake):
    """f(G(z)) - f(x): Arjovsky et al. 2017, eq. 3, negated. Needs a Lipschitz constraint from elsewhere."""
    return fake - real


def wasserstein_generator(real, fake):
    """-f(G(z)), Arjovsky et al. 2017."""
    return -fake


def hinge_critic(real, fake):
    """max(0, 1 - f(x)) + max(0, 1 + f(G(z))): Lim & Ye 2017, Miyato et al. 2018."""
    return tf.nn.relu(1.0 - real) + tf.nn.relu(1.0 + fake)


def relativistic_critic(real, fake):
    """softplus(f(G(z)) - f(x)): relativistic pairing, Jolicoeur-Martineau 2018; Huang et al. 2024 (R3GAN), eq. 2."""
    return tf.nn.softplus(fake - real)


def relativistic_generator(real, fake):
    """softplus(f(x) - f(G(z))): the same game with the players exchanged."""
    return tf.nn.softplus(real - fake)


def relativistic_average_critic(real, fake):
    """-log D(x, G(z)) - log(1 - D(G(z), x)), where D compares a logit with the mean of the others: Jolicoeur-Martineau 2018, section 4.2;
    Wang et al. 2018 (ESRGAN), eq. 1. The means are over the rows of one replica."""
    return tf.nn.softplus(tf.reduce_mean(fake) - real) + tf.nn.softplus(fake - tf.reduce_mean(real))


def relativistic_average_generator(real, fake):
    """The same game with the players exchanged: ESRGAN, eq. 2."""
    return relativistic_average_critic(fake, real)


OBJECTIVES = {
    "non_saturating": Objective(minimax_critic, non_saturating_generator),
    "minimax": Objective(minimax_critic, minimax_generator),
    "lsgan": Objective(lsgan_critic, lsgan_generator),
    "wgan": Objective(wasserstein_critic, wasserstein_generator),
    "wgan_gp": Objective(wasserstein_critic, wasserstein_generator),
    "hinge": Objective(hinge_critic, wasserstein_generator),
    "relativistic": Objective(relativistic_critic, relativistic_generator, relativistic=True),
    "relativistic_average": Objective(relativistic_average_critic, relativistic_average_generator, relativistic=True),
}


def objective(name: str) -> Objective:
    """The objective of that name; UserError with the known names otherwise."""
    if name not in OBJECTIVES:
        raise UserError(f"unknown objective {name!r}; have: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]
