"""What is particular to the VAE."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import LABEL, batch, tiny, told
from scipy import stats

from data.errors import UserError
from data.facts import Facts
from data.images import to_float
from models import catalogue
from models.generation import vae
from serving.export.export import export
from serving.export.session import Session


def test_the_divergence_is_that_of_two_normal_distributions():
    """Against the integral of q log(q / p), by quadrature in NumPy, one dimension after the other."""
    rng = np.random.default_rng(0)
    mean, log_variance = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    z = np.linspace(-30, 30, 200_001)
    expected = np.zeros(3)
    for row, column in np.ndindex(3, 2):
        posterior = stats.norm(mean[row, column], np.exp(0.5 * log_variance[row, column]))
        density = posterior.pdf(z)
        expected[row] += np.trapezoid(density * (posterior.logpdf(z) - stats.norm.logpdf(z)), z)
    found = vae.divergence(tf.constant(mean, tf.float32), tf.constant(log_variance, tf.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_surprise_is_the_density_under_the_best_deviation():
    """No other deviation makes a picture more likely; the mean over its values."""
    rng = np.random.default_rng(1)
    seen, pictures = rng.uniform(-1, 1, (2, 3, 8, 8, 3)).astype(np.float32)
    found = vae.surprise(seen, pictures).numpy()
    deviations = np.linspace(0.3, 2.0, 2001)[:, None, None, None]
    for row in range(3):
        likely = -stats.norm.logpdf(pictures[row], seen[row], deviations[..., None][:, 0][:, None]).mean(
            axis=(-3, -2, -1)
        )
        np.testing.assert_allclose(found[row], likely.min(), rtol=1e-4)


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
    seen, mean, log_variance = model.network([rows["image"], noise, rows["label"]])
    latent = mean.numpy() + np.exp(log_variance.numpy() / 2) * noise.numpy()
    np.testing.assert_allclose(model.decode(tf.constant(latent), [rows["label"]], training=True), seen, atol=1e-5)


def test_parameters_by_hand():
    """Of a small network: convolutions k * k * in * out + out, the four of each stage's blocks, and the dense layers."""
    config = vae.PRESETS["tiny"]  # 16 px: stages of 16 channels at 4 px and 8 at 8 px, z of 8
    block = {c: 2 * (9 * c * c + c) for c in (8, 16)}
    encoder = 16 * 3 * 8 + 8 + block[8] + (8 * 16 + 16) + block[16] + 2 * (256 * 8 + 8)
    decoder = 8 * 256 + 256 + block[16] + (16 * 8 + 8) + block[8] + (9 * 8 * 3 + 3)
    assert vae.build_encoder(config).count_params() == encoder
    assert vae.build_decoder(config, Facts()).count_params() == decoder
    assert vae.build_decoder(config, Facts((LABEL,))).count_params() == decoder + 3 * 4 + 4 * 256


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


def test_it_answers_for_its_pictures(tmp_path):
    """In C++: the mean of z of a picture, the picture that is decoded from it, and the same of files."""
    keras.utils.set_random_seed(0)
    model = tiny("vae", facts=told("vae"))
    rng = np.random.default_rng(0)
    images, label = rng.integers(256, size=(3, 16, 16, 3)).astype(np.uint8), np.array([2, 0, 1])
    files = np.array([tf.io.encode_png(image).numpy() for image in images], object)
    with Session(export(model, str(tmp_path), "vae", metadata={"task": model.task})) as session:
        z = session.run("encode", {"images": images})["z"]
        seen = session.run("reconstruct", {"images": images, "label": label})["images"]
        decoded = session.run("latents", {"z": z, "label": label})["images"]
        of_files = session.run("encode_bytes", {"image_bytes": files})["z"]
        png = session.run("reconstruct_bytes", {"image_bytes": files, "label": label})["image_bytes"]
    mean, _ = model.ema.get_layer("encoder")(to_float(images))
    assert z.shape == (3, model.config.latent_size) and z.dtype == np.float32
    np.testing.assert_allclose(z, mean, atol=1e-4)
    np.testing.assert_allclose(of_files, z, atol=1e-4)
    for picture, file, other in zip(seen, png, decoded, strict=True):
        assert np.abs(picture.astype(int) - other).max() <= 1
        assert np.abs(picture.astype(int) - tf.io.decode_png(file).numpy()).max() <= 1


def test_settings_must_fit():
    with pytest.raises(UserError, match="2 stages from 4x4 px make pictures of 16 px, not resolution=32"):
        catalogue.configure(vae, "tiny", {"resolution": 32})
