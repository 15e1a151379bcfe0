"""What is particular to DCGAN."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny

from data.facts import Facts
from models import catalogue
from models.generation import dcgan
from models.losses.adversarial import OBJECTIVES


def trainable(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_weights)


def test_parameters_agree_with_the_known_network():
    """The widely used 64 px DCGAN has 3,576,704 and 2,765,568; ours adds biases at the pictures (3 and 64) and the logit (1)."""
    config = dcgan.PRESETS["64"]
    assert trainable(dcgan.build_generator(config, Facts(), "g")) == 3_576_704 + 3
    assert trainable(dcgan.build_critic(config, Facts(), "c")) == 2_765_568 + 64 + 1


def test_the_papers_generator_starts_at_1024_channels():
    assert dcgan.widths(dcgan.PRESETS["paper"]) == [1024, 512, 256, 128]


def test_weights_start_as_in_the_paper_and_no_two_layers_alike():
    network = dcgan.build_generator(dcgan.PRESETS["64"], Facts(), "g")
    kernels = [variable.numpy().ravel() for variable in network.trainable_weights if variable.name == "kernel"]
    assert all(abs(kernel.std() - 0.02) < 0.001 for kernel in kernels)
    assert abs(np.corrcoef(kernels[0][:9000], kernels[1][:9000])[0, 1]) < 0.05


@pytest.mark.parametrize("equal", [True, False])
def test_a_step_leaves_equal_phases(equal):
    """The four taps of every second pixel and of those between have one sum, in each kernel and for each pair of channels."""
    model = dcgan.Model(catalogue.configure(dcgan, "tiny", {"equal_phases": equal}))
    model.train_step(batch(model))
    kernels = [v.numpy() for v in model.network.trainable_weights if v.name == "kernel" and len(v.shape) == 4]
    sums = [[kernel[i::2, j::2].sum(axis=(0, 1)) for i in (0, 1) for j in (0, 1)] for kernel in kernels]
    assert len(sums) == 2
    assert all((np.ptp(phases, axis=0).max() < 1e-5) == equal for phases in sums)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains(name):
    keras.utils.set_random_seed(0)
    config = catalogue.configure(dcgan, "tiny", {"objective": name})
    model = dcgan.Model(config)
    losses = {key: float(value) for key, value in model.train_step(batch(model)).items()}
    assert all(np.isfinite(value) for value in losses.values())
    assert ("critic_gradient_penalty" in losses) == (name == "wgan_gp")


def test_wgan_clips_every_critic_weight():
    config = catalogue.configure(dcgan, "tiny", {"objective": "wgan", "clip": 0.01, "learning_rate": 0.1})
    model = dcgan.Model(config)
    model.train_step(batch(model))
    assert max(float(tf.reduce_max(tf.abs(variable))) for variable in model.critic.trainable_weights) <= 0.01
    assert max(float(tf.reduce_max(tf.abs(variable))) for variable in model.network.trainable_weights) > 0.01


def test_wgan_gp_critic_judges_rows_alone():
    """The gradient penalty is of each row's own slope, so a row's logit must not depend on its neighbours."""
    config = catalogue.configure(dcgan, "tiny", {"objective": "wgan_gp"})
    critic = dcgan.build_critic(config, Facts(), "critic")
    rows = batch(tiny("dcgan"))["image"]
    np.testing.assert_allclose(critic(rows, training=True)[:1], critic(rows[:1], training=True), rtol=1e-4, atol=1e-6)


def test_wrong_settings_are_named():
    for changes, sentence in (({"resolution": 24}, "power of two"), ({"optimizer": "sgd"}, "adam, rmsprop")):
        with pytest.raises(ValueError, match=sentence):
            dcgan.Model(catalogue.configure(dcgan, "tiny", changes))
