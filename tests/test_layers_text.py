"""The encoder of words: what it sees, and the arithmetic of its attention in NumPy."""

import keras
import numpy as np
import tensorflow as tf

from models.layers.text import TextEncoder


def encoder(**changes):
    keras.utils.set_random_seed(3)
    layer = TextEncoder(**({"count": 9, "longest": 10, "width": 8, "depth": 2, "heads": 2} | changes))
    layer(tf.zeros([1, 4], tf.int32))
    return layer


TOKENS = np.array([[2, 5, 8, 3], [4, 1, 6, 0], [7, 0, 0, 0]], np.int32)


def test_padding_changes_nothing():
    layer = encoder()
    sentence, words, mask = layer(tf.constant(TOKENS))
    longer = layer(tf.constant(np.pad(TOKENS, ((0, 0), (0, 6)))))
    np.testing.assert_allclose(longer[0], sentence, atol=1e-6)
    np.testing.assert_allclose(longer[1][:, :4], words, atol=1e-6)
    assert not longer[1][:, 4:].numpy().any() and not longer[2][:, 4:].numpy().any()
    np.testing.assert_array_equal(mask, TOKENS >= 2)


def test_what_is_unknown_is_nothing():
    """A text of unknown words is as the empty one: zero. One among others is passed over, and keeps its place."""
    layer = encoder()
    sentence, words, _ = layer(tf.constant([[1, 1, 0, 0], [0, 0, 0, 0], [4, 1, 6, 0], [4, 0, 6, 0]]))
    assert not sentence[:2].numpy().any() and not words[:2].numpy().any()
    np.testing.assert_allclose(sentence[2], sentence[3], atol=1e-6)
    assert np.abs(sentence[2]).max() > 0.1 and not words[2, 1].numpy().any()


def test_order_counts_and_each_row_stands_alone():
    layer = encoder()
    sentence, *_ = layer(tf.constant([[2, 5, 8, 3], [3, 8, 5, 2]]))
    assert np.abs(sentence[0] - sentence[1]).max() > 1e-3
    np.testing.assert_allclose(layer(tf.constant([[3, 8, 5, 2]]))[0][0], sentence[1], atol=1e-6)


def test_one_block_by_hand():
    layer = encoder(depth=1)
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    weights = {weight.path.split("/", 1)[1]: weight.numpy().astype(float) for weight in layer.weights}
    one = {name.removeprefix("block_0/"): value for name, value in weights.items()}

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * one[f"{name}/gamma"] + one[f"{name}/beta"]

    def gelu(x):
        return 0.5 * x * (1 + np.vectorize(__import__("math").erf)(x / np.sqrt(2)))

    tokens = np.array([4, 6, 8])
    x = one["embedding/embeddings"][tokens] + one["positions"][:3]
    y = norm(x, "norm_0")
    query, key, value = (
        np.einsum("lw,whd->hld", y, one[f"attention/{name}/kernel"]) for name in ("query", "key", "value")
    )
    scores = np.exp(query @ key.transpose(0, 2, 1) / 2.0)  # the root of 4 numbers a head
    found = scores / scores.sum(-1, keepdims=True) @ value
    x = x + np.einsum("hld,hdw->lw", found, one["attention/attention_output/kernel"])
    inner = gelu(norm(x, "norm_1") @ one["inner/kernel"] + one["inner/bias"])
    x = norm(x + inner @ one["outer/kernel"] + one["outer/bias"], "norm")
    sentence, words, _ = layer(tf.constant([[4, 6, 8, 0]]))
    np.testing.assert_allclose(words[0, :3], x, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sentence[0], x.mean(axis=0), rtol=1e-4, atol=1e-4)


def test_it_keeps_its_settings_and_tells_its_shapes():
    layer = TextEncoder.from_config(encoder().get_config())
    sentence, words, mask = layer(keras.Input((7,), dtype="int32"))
    assert (sentence.shape, words.shape, mask.shape) == ((None, 8), (None, 7, 8), (None, 7))
    assert (layer.depth, mask.dtype) == (2, "bool")
