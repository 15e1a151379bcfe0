"""What is particular to the VAE-GAN."""

import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny, told

from data.errors import UserError
from data.facts import Facts
from models import catalogue
from models.generation import vae_gan
from models.losses.variational import divergence


def begun(**options):
    """(a tiny model within a step, its batch, the fakes of the step)."""
    model = tiny("vae_gan", **options)
    rows = batch(model)
    model._begin(rows)
    return model, rows, model.fakes(rows)


def test_terms_by_hand_on_a_linear_critic():
    """With D(x) = w.x and x itself for its layer: R1 = R2 = penalty/2 |w|^2, and a pair loses softplus(D(fake) - D(real))."""
    model, rows, fakes = begun(gamma=3.0, beta=2.0, penalty=4.0)
    weight = np.random.default_rng(0).normal(0, 0.01, (16, 16, 3)).astype("float32")
    model.critic = lambda inputs, training: (tf.reduce_sum(inputs[0] * weight, [1, 2, 3]), inputs[0])
    real, played = ((pictures.numpy() * weight).sum((1, 2, 3)) for pictures in (rows["image"], fakes["played"]))
    critic = model.critic_terms(rows, fakes, True)
    np.testing.assert_allclose(critic["adversarial"], np.log1p(np.exp(played - real)), rtol=1e-4)
    for name in ("r1", "r2"):
        np.testing.assert_allclose(critic[name], [2.0 * np.sum(weight**2)] * 8, rtol=1e-4)
    assert model.critic_terms(rows, fakes, False).keys() == {"adversarial"}
    terms = model.generator_terms(rows, fakes, True)
    difference = np.square(rows["image"].numpy() - fakes["seen"].numpy()).mean((1, 2, 3))
    expected = 1.5 * np.log(2 * np.pi * np.e * difference)
    np.testing.assert_allclose(terms["reconstruction"], expected, rtol=1e-4)
    kl = divergence(fakes["mean"], fakes["log_variance"]).numpy()
    np.testing.assert_allclose(terms["divergence"], 3.0 * 2.0 * kl / (16 * 16 * 3), rtol=1e-4)
    np.testing.assert_allclose(terms["adversarial"], np.log1p(np.exp(real - played)), rtol=1e-4)


def test_who_learns_from_what():
    """Algorithm 1: the game moves the decoder and not the encoder, the divergence the encoder alone, the reconstruction both."""
    model = tiny("vae_gan", seen_share=1.0)
    for variable in (*model.network.weights, *model.critic.weights):  # away from the zeros of a new network
        variable.assign(variable + 0.1 * tf.random.stateless_normal(variable.shape, [1, 2]))
    rows = batch(model)
    model._begin(rows)
    networks = [model.network.get_layer("encoder"), model.network.get_layer("decoder"), model.critic]
    with tf.GradientTape(persistent=True) as tape:
        terms = model.generator_terms(rows, model.fakes(rows), True)
        sums = {name: tf.reduce_sum(term) for name, term in terms.items()}
    moved = {
        name: [
            any(g is not None and np.any(g) for g in tape.gradient(total, n.trainable_variables)) for n in networks[:2]
        ]
        for name, total in sums.items()
    }
    assert moved == {"reconstruction": [True, True], "divergence": [True, False], "adversarial": [False, True]}


def test_fakes_are_reconstructions_or_drawn():
    _, _, fakes = begun(seen_share=1.0)
    np.testing.assert_allclose(fakes["played"], fakes["seen"], atol=1e-6)
    _, _, fakes = begun(seen_share=0.0)
    apart = np.abs(fakes["played"] - fakes["seen"]).max(axis=(1, 2, 3))
    assert apart.min() > 0.01
    model, _, fakes = begun(seen_share=0.5)
    apart = np.abs(fakes["played"] - fakes["seen"]).max(axis=(1, 2, 3)) > 0.01
    assert 0 < apart.sum() < model.config.batch_size


@pytest.mark.parametrize("augment", ["diffaugment", "ada"])
def test_a_picture_and_its_reconstruction_are_augmented_alike(augment):
    """So a perfect reconstruction is told to be perfect: nothing but the least variance is left."""
    model, rows, fakes = begun(augment=augment)
    model.ada_strength.assign(1.0)
    found = model.generator_terms(rows, fakes | {"seen": rows["image"]}, True)["reconstruction"]
    expected = 0.5 * np.log(2 * np.pi * np.e * vae_gan.LEAST)
    np.testing.assert_allclose(found, [model.config.gamma * expected] * 8, atol=1e-3)


@pytest.mark.parametrize("side, channels", [(4, 192), (8, 96), (16, 64)])
def test_the_similarity_is_measured_at_one_side(side, channels):
    config = catalogue.configure(vae_gan, "64", {"similarity": side})
    network = vae_gan.build_critic(config, told("vae_gan"), "critic")
    assert [output.shape[1:] for output in network.outputs] == [(), (side, side, channels)]


def test_its_pictures_have_no_grid_to_begin_with():
    """No transposed convolution: nothing in the decoder enlarges but smooth doubling."""
    model = vae_gan.Model(vae_gan.PRESETS["64"], facts=Facts())
    names = {type(layer).__name__ for layer in model.network.get_layer("decoder").layers}
    assert "Upsample2x" in names and not any("Transpose" in name or "Shuffle" in name for name in names)


def test_settings_must_fit():
    for changes, sentence in (
        ({"resolution": 32}, "2 stages from 4x4 px make pictures of 16 px, not resolution=32"),
        ({"critic_channels": (8, 8, 8)}, "critic_channels=.* begin at 16 px; the most is 8"),
        ({"seen_share": 1.5}, "seen_share is a share, between 0 and 1, not 1.5"),
        ({"similarity": 16}, "similarity must be one of 4, 8 px, not 16"),
    ):
        with pytest.raises(UserError, match=sentence):
            catalogue.configure(vae_gan, "tiny", changes)
