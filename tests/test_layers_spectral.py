"""Spectral normalisation against NumPy's singular values."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers.spectral import SpectralConv2D, SpectralDense, SpectralEmbedding

LAYERS = {
    "dense": (lambda **how: SpectralDense(5, **how), [3, 7]),
    "convolution": (lambda **how: SpectralConv2D(5, 3, **how), [2, 6, 6, 4]),
}


def made(name, **how):
    build, shape = LAYERS[name]
    layer = build(kernel_initializer="he_normal", **how)
    return layer, tf.random.stateless_normal(shape, [1, 2])


def largest(layer):
    return np.linalg.svd(layer.kernel.numpy().reshape(-1, 5), compute_uv=False)[0]


@pytest.mark.parametrize("name", LAYERS)
def test_after_some_calls_the_largest_singular_value_is_one(name):
    layer, inputs = made(name)
    for _ in range(50):
        layer(inputs, training=True)
    kernel = layer.normalised_kernel(False).numpy()
    np.testing.assert_allclose(kernel, layer.kernel.numpy() / largest(layer), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.linalg.svd(kernel.reshape(-1, 5), compute_uv=False)[0], 1, rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_the_kernel_stays_and_the_vector_moves_in_training_only(name):
    layer, inputs = made(name)
    layer(inputs)
    kernel, u = layer.kernel.numpy(), layer.u.numpy()
    layer(inputs)
    np.testing.assert_array_equal(layer.u.numpy(), u)
    layer(inputs, training=True)
    assert (layer.u.numpy() != u).any()
    np.testing.assert_array_equal(layer.kernel.numpy(), kernel)


def test_the_gradient_is_that_of_the_paper():
    """Eq. 12 of the paper: (g - lambda u v^T) / sigma, where lambda is the mean of delta^T (W_bar h); here for a sum of outputs."""
    layer, inputs = made("dense", use_bias=False)
    for _ in range(100):
        layer(inputs, training=True)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(inputs))
    found = tape.gradient(total, layer.kernel.value).numpy()
    matrix = layer.kernel.numpy()
    left, values, right = np.linalg.svd(matrix)
    plain = inputs.numpy().sum(axis=0)[:, None] * np.ones(5)
    weight = (plain * matrix).sum() / values[0]
    expected = (plain - weight * np.outer(left[:, 0], right[0])) / values[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_shapes_and_configuration(name):
    layer, inputs = made(name)
    outputs = layer(inputs)
    assert outputs.shape == layer.compute_output_shape(inputs.shape)
    again = type(layer).from_config(layer.get_config())
    again.build(inputs.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(inputs), outputs)


def test_an_embedding_is_a_row_of_the_normalised_table():
    layer = SpectralEmbedding(4, 5, embeddings_initializer="he_normal")
    numbers = np.array([2, -1, 0])
    for _ in range(50):
        layer(numbers, training=True)
    rows = layer.kernel.numpy() / largest(layer)
    np.testing.assert_allclose(layer(numbers), [rows[2], np.zeros(5), rows[0]], rtol=1e-4, atol=1e-6)
    again = SpectralEmbedding.from_config(layer.get_config())
    assert again(numbers).shape == layer.compute_output_shape(numbers.shape)
