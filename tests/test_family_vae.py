"""What is particular to the VAE."""

import numpy as np
import pytest
import tensorflow as tf
from families import LABEL, batch, tiny, told

from data.errors import UserError
from data.facts import Facts
from models import catalogue
from models.generation import vae
from models.layers.autoencoders import build_decoder, build_encoder


def test_a_step_computes_the_bound_by_hand():
    model = tiny("vae", beta=2.0)
    rows = batch(model)
    pictures = rows["image"]
    mean, log_variance = (value.numpy() for value in model.network.get_layer("encoder")(pictures))
    logged = {}
    hook = model.terms

    def terms(given):
        logged.update(hook(given))
        return logged

    model.terms = terms
    model.train_step(rows)
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    np.testing.assert_allclose(logged["divergence"], 2.0 * divergence / pictures.numpy()[0].size, rtol=1e-4)
    assert logged["reconstruction"].shape == logged["divergence"].shape == [model.config.batch_size]


def test_noise_has_the_deviation_that_the_encoder_says():
    """z = mean + deviation * noise: the decoder is shown nothing else."""
    model = tiny("vae", facts=told("vae"))
    rows = batch(model)
    noise = tf.random.stateless_normal([model.config.batch_size, model.config.latent_size], [1, 2])
    seen, latent, mean, log_variance = model.network([rows["image"], noise, rows["label"]])
    np.testing.assert_allclose(latent, mean.numpy() + np.exp(log_variance.numpy() / 2) * noise.numpy(), atol=1e-5)
    np.testing.assert_allclose(model.decode(latent, [rows["label"]], training=True), seen, atol=1e-5)


def test_parameters_by_hand():
    """Of a small network: convolutions k * k * in * out + out, the four of each stage's blocks, and the dense layers."""
    config = vae.PRESETS["tiny"]  # 16 px: stages of 16 channels at 4 px and 8 at 8 px, z of 8
    block = {c: 2 * (9 * c * c + c) for c in (8, 16)}
    encoder = 16 * 3 * 8 + 8 + block[8] + (8 * 16 + 16) + block[16] + 2 * (256 * 8 + 8)
    decoder = 8 * 256 + 256 + block[16] + (16 * 8 + 8) + block[8] + (9 * 8 * 3 + 3)
    assert build_encoder(config).count_params() == encoder
    assert build_decoder(config, Facts()).count_params() == decoder
    assert build_decoder(config, Facts((LABEL,))).count_params() == decoder + 3 * 4 + 4 * 256


def test_it_learns_to_see_a_picture():
    """Twelve pictures again and again: what it sees of one comes closer to it than to any other."""
    model = tiny("vae", learning_rate=3e-3, ema_images=1)
    rows = batch(model, rows=12)
    step = tf.function(model.train_step)
    for _ in range(300):
        step(rows)
    pictures = rows["image"].numpy()
    seen = model.decode(model.encode(rows["image"]), []).numpy()
    distances = np.square(seen[:, None] - pictures[None]).mean(axis=(2, 3, 4))
    assert (distances.argmin(axis=1) == np.arange(12)).all()


def test_pictures_are_moved_by_whole_pixels_with_mirrored_borders():
    """Against NumPy's padding: each row is one of the 5 x 5 cuts of its padded picture, and rows differ."""
    model = tiny("vae", shift=2)
    rows = batch(model, rows=24)
    model._begin(rows)
    moved, seen = model.moved(rows["image"]).numpy(), set()
    padded = np.pad(rows["image"], [(0, 0), (2, 2), (2, 2), (0, 0)], mode="reflect")
    for row, picture in enumerate(moved):
        fits = [
            (y, x) for y, x in np.ndindex(5, 5) if np.allclose(padded[row, y : y + 16, x : x + 16], picture, atol=1e-5)
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) > 8
    assert tiny("vae").moved(rows["image"]) is rows["image"]


def test_settings_must_fit():
    with pytest.raises(UserError, match="2 stages from 4x4 px make pictures of 16 px, not resolution=32"):
        catalogue.configure(vae, "tiny", {"resolution": 32})
