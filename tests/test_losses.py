"""Objectives, penalties and pixel losses against NumPy and hand-worked values."""

import numpy as np
import pytest
import tensorflow as tf

from models.losses import penalties, reconstruction
from models.losses.adversarial import OBJECTIVES, objective

REAL = np.array([-2.0, 0.0, 0.5, 3.0])
FAKE = np.array([1.0, -1.0, 0.0, 2.0])


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


EXPECTED = {
    "non_saturating": (-np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE)), -np.log(sigmoid(FAKE))),
    "minimax": (-np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE)), np.log(1 - sigmoid(FAKE))),
    "lsgan": ((REAL - 1) ** 2 / 2 + FAKE**2 / 2, (FAKE - 1) ** 2 / 2),
    "wgan": (FAKE - REAL, -FAKE),
    "wgan_gp": (FAKE - REAL, -FAKE),
    "hinge": (np.maximum(0, 1 - REAL) + np.maximum(0, 1 + FAKE), -FAKE),
    "relativistic": (-np.log(sigmoid(REAL - FAKE)), -np.log(sigmoid(FAKE - REAL))),
    "relativistic_average": (
        -np.log(sigmoid(REAL - 0.5)) - np.log(1 - sigmoid(FAKE - 0.375)),  # less the means of FAKE and of REAL
        -np.log(1 - sigmoid(REAL - 0.5)) - np.log(sigmoid(FAKE - 0.375)),
    ),
}


def test_every_objective_has_expected_values():
    assert set(EXPECTED) == set(OBJECTIVES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_values(name):
    game = objective(name)
    real, fake = tf.constant(REAL, tf.float32), tf.constant(FAKE, tf.float32)
    critic, generator = EXPECTED[name]
    np.testing.assert_allclose(game.critic(real, fake), critic, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(game.generator(real, fake), generator, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_pull_the_right_way_and_stay_finite(name):
    """The critic wants real up and fake down, the generator fake up, at any logit."""
    game = objective(name)
    real, fake = tf.constant([-80.0, 0.1, 80.0]), tf.constant([80.0, 0.2, -80.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([real, fake])
        critic, generator = game.critic(real, fake), game.generator(real, fake)
    up, down, wanted = (
        tape.gradient(critic, real).numpy(),
        tape.gradient(critic, fake).numpy(),
        tape.gradient(generator, fake).numpy(),
    )
    assert np.isfinite([up, down, wanted]).all()
    assert up[1] < 0 < down[1] and wanted[1] < 0


def test_unknown_objective_names_the_known():
    with pytest.raises(ValueError, match="hinge"):
        objective("hing")


def test_squared_slope_of_a_linear_critic():
    """f(x) = <w, x> has gradient w everywhere: the squared slope is |w|^2, worked by hand as 1 + 4 + 9 = 14."""
    weight = tf.constant([1.0, -2.0, 3.0])[None, None, None]
    pictures = tf.random.stateless_normal([5, 2, 1, 3], [0, 1]) * [[[[1.0]], [[0.0]]]]
    mask = tf.constant([1.0, 0.0])[None, :, None, None]
    logits, slope = penalties.squared_gradient_norm(lambda x: tf.reduce_sum(x * weight * mask, [1, 2, 3]), pictures)
    np.testing.assert_allclose(slope, [14.0] * 5, rtol=1e-6)
    np.testing.assert_allclose(logits, np.sum(pictures.numpy() * weight.numpy() * mask.numpy(), (1, 2, 3)), rtol=1e-5)


@pytest.mark.low_precision
def test_small_slopes_survive_float16():
    """A slope of 2e-8, below all that float16 holds, through a critic that computes in it."""
    pictures = tf.zeros([2, 4, 4, 3])

    def critic(x):
        return tf.cast(tf.reduce_sum(tf.cast(x, tf.float16), [1, 2, 3]), tf.float32) * 2e-8

    _, slope = penalties.squared_gradient_norm(critic, pictures)
    np.testing.assert_allclose(slope, [48 * 4e-16] * 2, rtol=0.06)


def test_squared_slope_of_a_quadratic_critic_and_its_derivative():
    """f(x) = a |x|^2 / 2 has squared slope a^2 |x|^2, whose derivative by a is 2 a |x|^2."""
    a = tf.Variable(1.5)
    pictures = tf.reshape(tf.range(12.0), [2, 2, 1, 3])
    with tf.GradientTape() as tape:
        _, slope = penalties.squared_gradient_norm(lambda x: 0.5 * a * tf.reduce_sum(x * x, [1, 2, 3]), pictures)
        total = tf.reduce_sum(slope)
    squares = np.sum(pictures.numpy() ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(slope, 1.5**2 * squares, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(total, a), 2 * 1.5 * squares.sum(), rtol=1e-6)


def test_gradient_penalty_mixes_between_real_and_fake():
    """f(x) = |x|^2 / 2 has slope |x|: at mix m of ones and zeros in 4 pixels the slope is 2 m, the penalty (2 m - 1)^2."""
    real, fake = tf.ones([3, 2, 2, 1]), tf.zeros([3, 2, 2, 1])
    mix = tf.reshape(tf.constant([0.0, 0.5, 1.0]), [3, 1, 1, 1])
    got = penalties.gradient_penalty(lambda x: 0.5 * tf.reduce_sum(x * x, [1, 2, 3]), real, fake, mix)
    np.testing.assert_allclose(got, [1.0, 0.0, 1.0], atol=1e-5)


def test_gradient_penalty_is_finite_at_zero_slope():
    weight = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        ones = tf.ones([2, 2, 2, 1])
        penalty = penalties.gradient_penalty(
            lambda x: weight * tf.reduce_sum(x, [1, 2, 3]), ones, -ones, tf.ones([2, 1, 1, 1])
        )
        total = tf.reduce_sum(penalty)
    assert np.isfinite(tape.gradient(total, weight).numpy())


def test_pixel_losses_by_hand():
    prediction = tf.reshape(tf.constant([0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0]), [2, 2, 2, 1])
    target = tf.reshape(tf.constant([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]), [2, 2, 2, 1])
    np.testing.assert_allclose(reconstruction.absolute(prediction, target), [6 / 4, 1.0])
    np.testing.assert_allclose(reconstruction.squared(prediction, target), [14 / 4, 1.0])
    np.testing.assert_allclose(
        reconstruction.charbonnier(prediction, prediction, epsilon=0.25), [0.25, 0.25], rtol=1e-6
    )


def test_matching_aware_penalty_of_a_critic_with_a_known_slope():
    """f(x, e) = sum(a x) + sum(b e)^2: slopes |a| and 2 |b| |sum(b e)|."""
    a, b = np.linspace(-1, 1, 12).reshape(2, 2, 3), np.array([0.3, -0.2])
    vectors = np.array([[1.0, 2.0], [3.0, -1.0]])

    def critic(pictures, told):
        return tf.reduce_sum(pictures * a, axis=[1, 2, 3]) + tf.reduce_sum(told * b, axis=1) ** 2, "more"

    pictures = tf.ones([2, 2, 2, 3], tf.float64)
    (logits, more), penalty = penalties.matching_aware_penalty(critic, pictures, tf.constant(vectors), power=3.0)
    expected = (np.linalg.norm(a) + 2 * np.linalg.norm(b) * np.abs(vectors @ b)) ** 3
    np.testing.assert_allclose(penalty, expected, rtol=1e-5)
    np.testing.assert_allclose(logits, a.sum() + (vectors @ b) ** 2)
    assert more == "more"


def test_penalties_on_both_sides_are_half_the_weight_times_the_norms_where_they_are_due():
    real, fake = tf.fill([2, 2, 2, 3], 0.5), tf.fill([2, 2, 2, 3], -1.0)

    def critic(pictures):  # slopes 2 x: squared norms 4 * 12 * x^2
        return tf.reduce_sum(tf.square(pictures), axis=[1, 2, 3])

    logits = [[3.0, 3.0], [12.0, 12.0]]
    *found, terms = penalties.on_both_sides(critic, real, fake, weight=5.0, due=True)
    np.testing.assert_allclose(found, logits)
    np.testing.assert_allclose(terms["r1"], [30.0, 30.0])
    np.testing.assert_allclose(terms["r2"], [120.0, 120.0])
    *found, terms = penalties.on_both_sides(critic, real, fake, weight=5.0, due=False)
    np.testing.assert_allclose(found, logits)
    assert terms == {}
