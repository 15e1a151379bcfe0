"""What is particular to the dense GAN."""

import numpy as np
from families import batch, tiny

from data.facts import Facts
from models.generation import mlp_gan


def test_parameters_and_shapes_by_hand():
    config = mlp_gan.PRESETS["128"]
    generator = mlp_gan.build_generator(config, Facts(), "g")
    pixels = 128 * 128 * 3
    assert generator.count_params() == (100 + 1) * 256 + (256 + 1) * 512 + (512 + 1) * pixels
    assert generator.output_shape == (None, 128, 128, 3)
    critic = mlp_gan.build_critic(config, Facts(), "c")
    convolutions = (3 * 16 + 1) * 32 + (32 * 16 + 1) * 64 + (64 * 16 + 1) * 128
    assert critic.count_params() == convolutions + 16 * 16 * 128 + 1
    assert critic.output_shape == (None,)


def test_losses_are_the_textbook_ones():
    """-log D(x) - log(1 - D(G(z))) and -log D(G(z)), from the logits the critic really gives."""
    model = tiny("mlp_gan")
    rows = batch(model)
    model._begin(rows)
    fakes = model.fakes(rows)
    real, fake = (model.critic(x).numpy().astype("float64") for x in (rows["image"], fakes))
    share = [1 / (1 + np.exp(-logits)) for logits in (real, fake)]
    np.testing.assert_allclose(
        model.critic_terms(rows, fakes, True)["adversarial"], -np.log(share[0]) - np.log(1 - share[1]), rtol=1e-4
    )
    np.testing.assert_allclose(model.generator_terms(rows, fakes, True)["adversarial"], -np.log(share[1]), rtol=1e-4)
