"""What is particular to ESRGAN."""

import dataclasses

import numpy as np
import pytest
import weight_files
from families import batch, tiny

from data.errors import UserError
from models.enhancement import edsr, esrgan, rrdb


@pytest.mark.slow
def test_parameters_of_the_paper():
    """The authors' critic of patches of 128 px has 14,499,401 weights, one of them the last bias."""
    config = esrgan.PRESETS["x4-paper"]
    assert esrgan.build_generator(config, "g").count_params() == 16_697_987
    weights = esrgan.build_critic(config, "c").trainable_weights
    assert sum(int(np.prod(weight.shape)) for weight in weights) == 14_499_400


def test_terms_by_hand():
    model = tiny("esrgan")
    rows = batch(model)
    model._begin(rows)
    high = rows["high"].numpy().astype(float)
    fakes = rows["high"] * 0.5
    terms = model.generator_terms(rows, fakes, True)
    np.testing.assert_allclose(terms["content"], 1e-2 * (abs(high) / 4).mean((1, 2, 3)), rtol=1e-4)
    real, fake = (model.critic(x, training=True).numpy().astype(float) for x in (rows["high"], fakes))
    game = np.log1p(np.exp(real - fake.mean())) + np.log1p(np.exp(real.mean() - fake))
    np.testing.assert_allclose(terms["adversarial"], 5e-3 * game, rtol=1e-3)
    maps = [model.features.maps(x) for x in (fakes, rows["high"])]
    distances = [abs(maps[0][name] - maps[1][name]).numpy().mean((1, 2, 3)) for name in model.features.compared]
    np.testing.assert_allclose(terms["perceptual"], np.mean(distances, axis=0), rtol=1e-4)


def test_layers_are_those_before_the_relu(tmp_path):
    model = tiny("esrgan", features=f"vgg16:{weight_files.write(tmp_path / 'vgg16.ckpt', 'vgg16')}")
    assert model.distances == dict.fromkeys(["conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"], 0.2)


@pytest.mark.parametrize(
    ("family", "preset", "begun"),
    [(rrdb, "x4", "x4"), (rrdb, "x2", "x2"), (edsr, "x4", "x4-plain"), (edsr, "x2", "x2-plain")],
)
def test_it_begins_where_a_family_trained_for_fidelity_ends(family, preset, begun):
    """Its generator has that family's weights in that order, and makes of them the same pictures."""
    network = family.build(family.PRESETS[preset], "n")
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.05, weight.shape) for weight in network.weights])
    generator = esrgan.build_generator(esrgan.PRESETS[begun], "g")
    generator.set_weights(network.get_weights())
    low = random.uniform(-1, 1, (1, 6, 7, 3)).astype("float32")
    np.testing.assert_array_equal(generator(low), network(low))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"body": "other"}, "body must be dense or plain, not 'other'"),
        ({"critic_layers": 6}, "resolution=96 cannot be"),
        ({"scale": 5}, "scale must be 2, 3 or 4"),
    ],
)
def test_settings_that_do_not_fit_are_told(change, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(esrgan.PRESETS["x4"], **change)


def test_the_plain_body_trains():
    model = tiny("esrgan", body="plain")
    before = [weight.numpy() for weight in model.network.trainable_weights]
    model.train_step(batch(model))
    model.train_step(batch(model, 1))
    assert all((now.numpy() != then).any() for now, then in zip(model.network.trainable_weights, before, strict=True))
    with pytest.raises(UserError, match="unknown features 'nothing'"):
        tiny("esrgan", features="nothing")
