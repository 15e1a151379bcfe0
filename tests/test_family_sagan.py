"""What is particular to SAGAN."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import COLOUR, LABEL, batch, tiny, told

from data.errors import UserError
from data.facts import Facts
from models import catalogue
from models.generation import sagan
from models.layers.spectral import SpectralConv2D, SpectralDense, SpectralEmbedding


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_attention_by_loops():
    """Paper, eq. 1 and 2: o_j is the sum over i of h(x_i), weighted by exp(s_ij) over their sum, s_ij = f(x_i) . g(x_j)."""
    query, key, value = normal(2, 3, 4, 5), normal(2, 2, 2, 5, seed=1), normal(2, 2, 2, 6, seed=2)
    expected = np.zeros([2, 3, 4, 6])
    for row, y, x in np.ndindex(2, 3, 4):
        places = [(i, j) for i in range(2) for j in range(2)]
        scores = np.array([key[row, i, j] @ query[row, y, x] for i, j in places])
        weights = np.exp(scores) / np.exp(scores).sum()
        expected[row, y, x] = sum(weight * value[row, i, j] for weight, (i, j) in zip(weights, places, strict=True))
    layer = sagan.Attend()
    found = layer([query, key, value])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.shape == layer.compute_output_shape([query.shape, key.shape, value.shape])


def attending():
    inputs = keras.Input((4, 4, 16))
    return keras.Model(inputs, sagan.self_attention(inputs))


def test_attention_begins_as_the_identity_and_is_moved_by_its_gate():
    """gamma starts at 0 (eq. 3), and alone has a gradient then."""
    network, x = attending(), normal(2, 4, 4, 16)
    np.testing.assert_array_equal(network(x), x)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(network(x) ** 2)
    gradients = tape.gradient(total, [weight.value for weight in network.trainable_weights])
    moved = {weight.name for weight, slope in zip(network.trainable_weights, gradients, strict=True) if np.any(slope)}
    assert moved == {"gamma"}


def test_attention_has_the_sizes_of_the_authors():
    """f and g: c / 8 channels, h: c / 2, of a quarter of the places; v back to c."""
    network = attending()
    shapes = [tuple(layer.kernel.shape) for layer in network.layers if isinstance(layer, SpectralConv2D)]
    assert sorted(shapes) == sorted([(1, 1, 16, 2), (1, 1, 16, 2), (1, 1, 16, 8), (1, 1, 8, 16)])
    pooled = [layer.output.shape for layer in network.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert sorted(pooled) == [(None, 2, 2, 2), (None, 2, 2, 8)]


def test_every_kernel_is_normalised():
    """No layer of either network has a kernel of its own but for the tables of conditions and the statistics of batches."""
    model = tiny("sagan", facts=told("sagan"))
    for network in (model.network, model.critic):
        kernels = {weight.path for weight in network.trainable_weights if weight.name == "kernel"}
        spectral = {
            layer.kernel.path
            for layer in network.layers
            if isinstance(layer, SpectralConv2D | SpectralDense | SpectralEmbedding)
        }
        assert kernels == spectral and kernels
    assert {weight.name for weight in model.critic.trainable_weights} == {"kernel", "bias", "gamma"}


@pytest.mark.slow
def test_parameters_of_the_papers_widths():
    """64 px, base width 64: a block has 9 a b + 9 b b + a b weights; attention at 32 px, of 128 channels and in the critic of 64."""
    config, channels = sagan.PRESETS["64"], (1024, 512, 256, 128, 64)
    blocks = sum(10 * a * b + 9 * b * b + 2 * (a + b) for a, b in itertools.pairwise(channels))
    ends = (128 + 1) * 16 * 1024 + 2 * 64 + 9 * 64 * 3 + 3
    assert trainable(sagan.build_generator(config, Facts(), "g")) == blocks + ends + attention(128)
    blocks = sum(10 * a * b + 9 * b * b + 2 * b for a, b in itertools.pairwise((3, 64, 128, 256, 512, 1024)))
    assert trainable(sagan.build_critic(config, Facts(), "c")) == blocks + attention(64) + 1024 + 1


def attention(c):
    return 2 * (c * c // 8) + 2 * (c * c // 2) + 1


def trainable(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_weights)


def test_conditions_change_scales_and_shifts_and_unknown_ones_nothing():
    """relu(x (1 + sum of scales) + sum of shifts), on top of batch normalisation; here in inference, where that is nearly the identity."""
    facts = Facts((LABEL, COLOUR))
    picture, columns = keras.Input((2, 2, 3)), [keras.Input((), dtype="int32") for _ in range(2)]
    network = keras.Model([picture, *columns], sagan.normalised(picture, columns, facts))
    x = normal(4, 2, 2, 3)
    label, colour = np.array([0, 1, 2, -1]), np.array([1, -1, 0, -1])
    np.testing.assert_allclose(network([x, label, colour]), np.maximum(x, 0), rtol=1e-4)
    tables = [weight for weight in network.trainable_weights if weight.name == "embeddings"]
    for table in tables:
        table.assign(normal(*table.shape, seed=table.shape[0]))
    known = {table.shape[0]: table.numpy() for table in tables}
    expected = []
    for row in range(4):
        change = np.zeros(6)
        for condition, column in ((LABEL, label), (COLOUR, colour)):
            if column[row] >= 0:
                change += known[condition.count][column[row]]
        expected.append(np.maximum(x[row] / np.sqrt(1 + 1e-5) * (1 + change[:3]) + change[3:], 0))
    np.testing.assert_allclose(network([x, label, colour]), expected, rtol=1e-4, atol=1e-5)


def test_the_objective_by_hand():
    """Hinge, eq. 4: the critic is judged on both sides of the margin, the generator by the critic's answer alone."""
    model = tiny("sagan")
    model.critic_logits = lambda pictures, batch: pictures[:, 0, 0, 0]
    real, fake = np.array([0.3, 2.0, -1.0], np.float32), np.array([-3.0, 0.5, 0.0], np.float32)
    rows, fakes = {"image": tf.reshape(real, [3, 1, 1, 1])}, tf.reshape(fake, [3, 1, 1, 1])
    model._replica.recorded = {}
    critic = model.critic_terms(rows, fakes, True)["adversarial"]
    np.testing.assert_allclose(critic, [0.7 + 0.0, 0.0 + 1.5, 2.0 + 1.0])
    np.testing.assert_allclose(model.generator_terms(rows, fakes, True)["adversarial"], -fake)


def test_the_critic_learns_four_times_as_fast():
    model = sagan.Model(sagan.PRESETS["tiny"])
    rates = [float(optimizer.learning_rate) for optimizer in (model.critic_optimizer, model.generator_optimizer)]
    assert rates[0] == pytest.approx(4 * rates[1])


def test_a_step_moves_the_vectors_of_both_networks():
    model = tiny("sagan")
    vectors = [v for n in (model.network, model.critic) for v in n.non_trainable_variables if v.name == "u"]
    before = [vector.numpy() for vector in vectors]
    model.train_step(batch(model))
    assert all((vector.numpy() != value).any() for vector, value in zip(vectors, before, strict=True))


def test_settings_must_fit():
    for changes, sentence in (
        ({"resolution": 32}, "make pictures of 16 px"),
        ({"attention": 16}, "attention must be 0"),
    ):
        with pytest.raises(UserError, match=sentence):
            catalogue.configure(sagan, "tiny", changes)
