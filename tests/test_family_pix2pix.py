"""What is particular to pix2pix."""

from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from families import batch, tiny

from models import catalogue
from models.translation import pix2pix


def trainable(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_weights)


def test_parameters_agree_with_the_published_networks():
    """The authors' U-Net for 256 px has 54.414 M parameters, their 70x70 critic 2.769 M."""
    config = replace(pix2pix.PRESETS["256"], smooth_upsampling=False)
    assert round(trainable(pix2pix.build_generator(config, "g")) / 1e6, 2) == 54.41
    assert round(trainable(pix2pix.build_critic(config, "c")) / 1e6, 2) == 2.77


def test_the_critic_judges_patches_of_70_px():
    critic = pix2pix.build_critic(pix2pix.PRESETS["128"], "c")
    picture = tf.Variable(tf.random.stateless_normal([1, 128, 128, 6], [0, 1]))
    with tf.GradientTape() as tape:
        logits = critic(picture, training=False)
        one = logits[0, 8, 8]
    slope = np.abs(tape.gradient(one, picture).numpy()[0]).sum(axis=2)
    rows, columns = np.nonzero(slope.sum(axis=1))[0], np.nonzero(slope.sum(axis=0))[0]
    assert rows[-1] - rows[0] + 1 == 70 and columns[-1] - columns[0] + 1 == 70
    assert logits.shape == (1, 16, 16)


def test_terms_by_hand():
    model = tiny("pix2pix")
    rows = batch(model)
    model._begin(rows)
    shift = 0.25
    fakes = rows["target"] + shift
    terms = model.generator_terms(rows, fakes, True)
    np.testing.assert_allclose(terms["l1"], [100 * shift] * 4, rtol=1e-4)
    pair = tf.concat([rows["source"], fakes], -1)
    logits = model.critic(pair, training=True).numpy().astype("float64")
    np.testing.assert_allclose(terms["adversarial"], np.log1p(np.exp(-logits)).mean((1, 2)), rtol=1e-4)
    critic = model.critic_terms(rows, fakes, True)["adversarial"]
    real = model.critic(tf.concat([rows["source"], rows["target"]], -1), training=True).numpy().astype("float64")
    halved = 0.5 * (np.log1p(np.exp(-real)) + np.log1p(np.exp(logits))).mean((1, 2))
    np.testing.assert_allclose(critic, halved, rtol=1e-3)


def test_the_served_network_depends_on_its_row_alone_and_is_certain():
    model = tiny("pix2pix")
    rows = batch(model)
    once, again = model.apply(rows["source"]), model.apply(rows["source"])
    np.testing.assert_array_equal(once, again)
    np.testing.assert_allclose(once[1:2], model.apply(rows["source"][1:2]), atol=1e-5)


def test_penalties_are_of_one_patch_and_of_one_row():
    """gamma / 2 times the squared slope of the sum over patches, over their number; without batch normalisation in the critic."""
    model = tiny("pix2pix", objective="relativistic", gamma=3.0, penalty_every=2)
    rows = batch(model)
    model._begin(rows)
    fakes = -rows["target"]
    terms = model.critic_terms(rows, fakes, True)
    assert model.critic_terms(rows, fakes, False).keys() == {"adversarial"}
    for pictures, name in ((rows["target"], "r1"), (fakes, "r2")):
        for row in range(2):
            one = tf.Variable(pictures[row : row + 1])
            with tf.GradientTape() as tape:
                answers = model.critic(tf.concat([rows["source"][row : row + 1], one], -1), training=True)
                total = tf.reduce_sum(answers)
            slope = tape.gradient(total, one).numpy().astype("float64")
            patches = answers.shape[1] * answers.shape[2]
            np.testing.assert_allclose(terms[name][row], 1.5 * (slope**2).sum() / patches, rtol=1e-3)


def test_smooth_upsampling_draws_no_grid_on_a_constant():
    """Far from the borders, whatever the weights: the output for a constant source has one value, and transposed convolutions give four."""

    def spread(smooth):
        config = catalogue.configure(pix2pix, "tiny", {"smooth_upsampling": smooth, "resolution": 128})
        made = pix2pix.build_generator(config, "g")(tf.ones([1, 128, 128, 3])).numpy()
        return np.ptp(made[0, 62:66, 62:66], axis=(0, 1)).max()

    keras.utils.set_random_seed(0)
    assert spread(False) > 10 * spread(True)
