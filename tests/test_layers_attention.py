"""Attention to the words of a text, against loops in NumPy. That of pictures' own tokens is held by the tests of its families."""

import numpy as np
import tensorflow as tf
from scipy.special import softmax

from models.layers.attention import WordAttention

random = np.random.default_rng(0)
TOKENS, WORDS = (random.normal(size=shape).astype(np.float32) for shape in ((3, 4, 64), (3, 5, 8)))
SEEN = np.array([[True, True, False, True, False], [True] * 5, [False] * 5])
SEEN_WORDS = WORDS * SEEN[:, :, None]


def trained():
    """A layer whose last kernel is not zero any more."""
    layer = WordAttention()
    layer([TOKENS, SEEN_WORDS, SEEN])
    layer.found.kernel.assign(random.normal(size=(64, 64)))
    return layer


def unit(v):
    return v / np.sqrt(np.mean(v**2) + 1e-6)


def test_word_attention_by_loops():
    layer = trained()
    asked, told, found = (each.kernel.numpy().astype(float) for each in (layer.asked, layer.told, layer.found))
    expected = np.zeros(TOKENS.shape)
    for row, token in np.ndindex(2, 4):
        words = SEEN_WORDS[row][SEEN[row]]
        heads = []
        for head in (slice(0, 32), slice(32, 64)):
            query, keys, values = (
                (TOKENS[row, token] @ asked)[head],
                (words @ told[:, :64])[:, head],
                words @ told[:, 64:],
            )
            weights = softmax([unit(query) @ unit(key) / 32**0.5 for key in keys])
            heads.append(weights @ values[:, head])
        expected[row, token] = np.concatenate(heads) @ found
    np.testing.assert_allclose(layer([TOKENS, SEEN_WORDS, SEEN]), expected, atol=1e-4)


def test_it_begins_at_zero_and_finds_nothing_in_a_text_without_words():
    fresh = WordAttention()
    assert not np.any(fresh([TOKENS, SEEN_WORDS, SEEN]))
    found = trained()([TOKENS, SEEN_WORDS, SEEN]).numpy()
    assert np.abs(found[:2]).min() > 0 and not np.any(found[2])


def test_padding_behind_the_words_changes_nothing():
    layer = trained()
    longer = [np.pad(SEEN_WORDS, ((0, 0), (0, 3), (0, 0))), np.pad(SEEN, ((0, 0), (0, 3)))]
    np.testing.assert_allclose(layer([TOKENS, *longer]), layer([TOKENS, SEEN_WORDS, SEEN]), atol=1e-5)


def test_half_precision_keeps_its_type():
    layer = WordAttention(dtype="mixed_bfloat16")
    assert layer([TOKENS, SEEN_WORDS, SEEN]).dtype == tf.bfloat16
