"""Training by low-rank changes of kernels: what stays, what moves, what is served; and as a command."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny, told, values
from running import checkpoint, train

from data.errors import UserError
from models.lora import Adaptation


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_dense_layer_and_a_convolution_by_hand():
    picture = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(5, 3, padding="same")(picture)
    network = keras.Model(picture, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    plain = keras.models.clone_model(network)
    plain.set_weights(network.get_weights())
    x = normal(3, 4, 4, 3)
    adaptation = Adaptation(network, 2)
    np.testing.assert_allclose(network(x), plain(x), atol=1e-6)
    assert sorted(tuple(weight.shape) for weight in network.trainable_weights) == sorted(
        [(3, 3, 3, 2), (2, 5), (5,), (80, 2), (2, 2), (2,)]
    )
    for weight in network.trainable_weights:
        weight.assign(normal(*weight.shape))
    for target, (function, sources) in zip(plain.variables, adaptation.followed(), strict=True):
        target.assign(function(*map(tf.convert_to_tensor, sources)))
    np.testing.assert_allclose(network(x), plain(x), rtol=1e-4, atol=1e-3)
    first = plain.layers[1]
    np.testing.assert_allclose(
        first.kernel,
        adaptation.before[0]
        + np.einsum("hwir,ro->hwio", network.layers[1].lora_kernel_a, network.layers[1].lora_kernel_b),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", ["flow", "maskgit", "r3gan", "text_gan"])
def test_kernels_stay_and_what_is_served_is_what_was_learnt(name):
    model, other = (tiny(name, facts=told(name), ema_images=1) for _ in range(2))
    model.adapt(2)
    given = model.initial_state()
    assert given.keys() == other.state().keys() - {key for key in other.state() if "adam" in key} | {
        key for key in model.state() if "adam" in key
    }
    kernels = [variable for variable in model.adaptation.before if not variable.trainable]
    before = [kernel.numpy() for kernel in kernels]
    assert len(kernels) > 5
    state = values(model)
    for number in range(4):  # B moves from the first step on at the earliest, and A from the second
        model.train_step(batch(model, number))
    assert all(np.array_equal(kernel, old) for kernel, old in zip(kernels, before, strict=True))
    names = {id(variable): key for key, variable in model.state().items()}
    still = {name for name, value in values(model).items() if np.array_equal(value, state[name])}
    assert not {names[id(weight.value)] for weight in model.network.trainable_weights} & still
    served = [function(*map(tf.convert_to_tensor, sources)) for function, sources in model.followed()]
    for weight, expected in zip(model.ema.variables, served, strict=True):
        np.testing.assert_allclose(weight, expected, atol=2e-3)


def test_what_cannot_be_adapted():
    for name, changes, sentence in (
        ("span", {}, "serves its network in another form"),
        ("flow", {"ema_images": 0}, "ema_images must be above 0"),
        ("stylegan2", {}, "the network of this family has none"),
    ):
        with pytest.raises(UserError, match=sentence):
            tiny(name, **changes).adapt(2)


def test_a_command_adapts_another_run_goes_on_and_exports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["--model", "flow", "--preset", "tiny", "--data", "studio:40", "--eval-every", 0]
    assert train(*common, "--images", 16, "--no-export", "--job-dir", "first").exit_code == 0
    second = [*common, "--init", "first", "--lora", 2, "--job-dir", "second"]
    assert train(*second, "--images", 16, "--no-export").exit_code == 0
    result = train(*second, "--images", 32)
    assert result.exit_code == 0 and "going on at 16" in result.output and "exported and verified" in result.output
    first, second = checkpoint("first"), checkpoint("second")
    before, after = (
        {name: value for name, value in each.items() if name.startswith("network/")} for each in (first, second)
    )
    assert len(after) - len(before) == 2 * 19  # kernels of the tiny preset
    kernels = {value.tobytes() for value in before.values() if value.ndim > 1 and value.any()}
    assert len(kernels & {value.tobytes() for value in after.values()}) > 5


def test_there_must_be_something_to_adapt(tmp_path):
    result = train(
        "--model", "flow", "--preset", "tiny", "--data", "studio:40", "--lora", 2, "--job-dir", tmp_path / "run"
    )
    assert result.exit_code == 2 and "--lora changes what another run has learnt: it needs --init RUN" in result.output
