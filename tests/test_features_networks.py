"""Promises of every feature network: it can be differentiated, nothing trains it, and it computes in float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import weight_files
from test_features_inception import miniature

from models.features.catalogue import open_network
from models.features.network import FeatureNetwork

KINDS = ("packshot", "inception", "keras", "vgg16", "alexnet", "keras file", "saved model")
WITHOUT_MAPS = KINDS[-2:]


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    """What opens a network of each kind, offline; `keras` stands for a network with random weights."""
    folder = tmp_path_factory.mktemp("networks")
    (folder / "graph.pb").write_bytes(miniature())
    keras.utils.set_random_seed(0)
    pictures = keras.Input((16, 16, 3))
    features = keras.layers.Conv2D(4, 3, activation="tanh")(keras.layers.Rescaling(1 / 255)(pictures))
    model = keras.Model(pictures, features)
    model.save(folder / "own.keras")
    model.export(folder / "own", verbose=False)
    files = {kind: weight_files.write(folder / f"{kind}.ckpt", kind) for kind in ("vgg16", "alexnet")}
    return {
        "packshot": "packshot",
        "inception": f"inception:{folder}/graph.pb",
        "keras": "keras:MobileNet",
        **{kind: f"{kind}:{path}" for kind, path in files.items()},
        "keras file": f"file:{folder}/own.keras",
        "saved model": f"file:{folder}/own",
    }


@pytest.fixture
def opened(specs, monkeypatch):
    """Open a network of a kind, always with the same weights."""
    original = keras.applications.MobileNet

    def untrained(weights):
        keras.utils.set_random_seed(0)
        return original(weights=None, input_shape=(64, 64, 3), alpha=0.25)

    monkeypatch.setattr(keras.applications, "MobileNet", untrained)
    return lambda kind: open_network(specs[kind])


def pictures(count, side, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, side, side, 3)).astype(np.float32)


def answers(network, batch):
    """All that a network says of pictures of its own size."""
    found = {"vectors": network.vectors(batch)}
    if network.classes:
        found["probabilities"] = network.probabilities(batch)
    return found | (network.maps(batch) if network.layers else {})


@pytest.mark.parametrize("kind", KINDS)
def test_everything_it_says_can_be_differentiated(opened, kind):
    network = opened(kind)
    batch = tf.constant(pictures(2, network.size))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(batch)
        sums = {name: tf.reduce_sum(tf.square(value)) for name, value in answers(network, batch).items()}
    for name, value in sums.items():
        slope = tape.gradient(value, batch)
        assert np.isfinite(slope).all() and np.any(slope[0]) and np.any(slope[1]), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_slope_of_a_vector_is_that_of_two_points(opened, kind):
    """Along the gradient, where float32 can tell the difference."""
    network = opened(kind)
    batch = tf.constant(pictures(1, network.size))
    towards = tf.constant(np.random.default_rng(1).standard_normal(network.vectors(batch).shape).astype(np.float32))

    def value(batch):
        return tf.reduce_sum(network.vectors(batch) * towards)

    with tf.GradientTape() as tape:
        tape.watch(batch)
        found = value(batch)
    slope = tape.gradient(found, batch)
    step = 1e-3 * slope / tf.reduce_max(tf.abs(slope))
    rise = float(value(batch + step) - value(batch - step))
    assert rise == pytest.approx(float(2 * tf.reduce_sum(slope * step)), rel=0.1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in WITHOUT_MAPS])
def test_maps_come_by_name_of_pictures_of_any_size(opened, kind):
    network = opened(kind)
    assert set(network.compared) <= set(network.layers)
    batch = pictures(2, 96)[:, :, :80]
    maps = network.maps(batch)
    assert list(maps) == list(network.compared)
    for layer in maps.values():
        assert layer.dtype == tf.float32 and layer.shape[0] == 2 and layer.shape[1] >= layer.shape[2] > 0
    last, first = network.compared[-1], network.compared[0]
    assert maps[first].shape[1] > maps[first].shape[2]
    some = network.maps(batch, [last, first])
    assert list(some) == [last, first]
    np.testing.assert_allclose(some[last], maps[last], atol=1e-5)
    for layers, sentence in (([first, "nowhere"], f"has no layer nowhere; have: .*{last}"), ([], "no layers")):
        with pytest.raises(ValueError, match=sentence):
            network.maps(batch, layers)


@pytest.mark.parametrize("kind", WITHOUT_MAPS)
def test_a_file_has_vectors_and_no_maps(opened, kind):
    with pytest.raises(ValueError, match="own-16-.* is known by its vectors alone"):
        opened(kind).maps(pictures(1, 16))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_holds_it_has_none_of_its_weights(opened, kind):
    class Holder(keras.Model):
        def __init__(self, network):
            super().__init__()
            self.features = network
            self.networks = [network]

    network = opened(kind)
    holder = Holder(network)
    network.vectors(pictures(1, network.size))
    assert isinstance(network, FeatureNetwork) and holder.variables == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_in_float32_whatever_the_policy(opened, kind):
    network = opened(kind)
    batch = pictures(2, network.size)
    expected = answers(network, batch)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        again = opened(kind)
        found = answers(again, batch)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert again.name == network.name and list(found) == list(expected)
    for name, value in found.items():
        assert value.dtype == tf.float32
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-4 * np.abs(expected[name]).max())
