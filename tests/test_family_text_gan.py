"""What is particular to text_gan: words that a picture may not have, a game in three parts, and a penalty where they fit."""

import numpy as np
import pytest
import tensorflow as tf
from families import CONDITIONS, WORDS, batch, tiny, told

from data.errors import UserError
from data.facts import Facts
from models.generation import text_gan
from models.generation.text_gan import Config, Model, _mismatched, _partners


def test_a_neighbour_lends_its_words():
    assert _partners(6) == [1, 0, 3, 2, 5, 4] and _partners(3) == [1, 0, 1] and _partners(1) == [0]


def test_words_are_wrong_where_they_are_known_and_others():
    words = tf.constant([[2, 3], [2, 4], [5, 0], [0, 0], [6, 0], [6, 0]])
    partners = _partners(6)
    assert _mismatched([words], partners).numpy().tolist() == [
        1,
        1,
        0,
        1,
        0,
        0,
    ]  # the third would be told nothing by the fourth
    colours = tf.constant([0, 0, 0, 1, -1, 2])
    assert _mismatched([words, colours], partners).numpy().tolist() == [1, 1, 1, 1, 1, 0]


def test_the_game_by_hand():
    """Terms from the critic's own answers; a row whose neighbour has the same words has no mismatch."""
    model = tiny("text_gan", facts=told("text_gan", ()))
    given = batch(model, 1, rows=4)
    given["tokens"] = tf.constant([[2, 3, 0, 0, 0], [4, 5, 6, 0, 0], [3, 3, 0, 0, 0], [3, 3, 0, 0, 0]])
    model._replica.recorded = {}
    fakes = -given["image"]
    terms = model.critic_terms(given, fakes, due=False)

    def logits(pictures, tokens):
        return model.critic([pictures, tokens]).numpy()

    swapped = tf.gather(given["tokens"], [1, 0, 3, 2])
    real, fake, wrong = (
        logits(*row) for row in ((given["image"], given["tokens"]), (fakes, given["tokens"]), (given["image"], swapped))
    )
    np.testing.assert_allclose(terms["real"], np.maximum(0, 1 - real), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(terms["fake"], 0.5 * np.maximum(0, 1 + fake), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(terms["mismatch"], 0.5 * np.maximum(0, 1 + wrong) * [1, 1, 0, 0], rtol=1e-4, atol=1e-5)
    assert terms["mismatch"].numpy()[:2].min() > 0
    np.testing.assert_allclose(
        model.generator_terms(given, fakes, due=False)["adversarial"], -fake, rtol=1e-4, atol=1e-5
    )
    assert set(model.critic_terms(given, fakes, due=True)) == {*terms, "ma_gp"}


def test_words_decide_and_unknown_ones_are_none():
    """Trained a little, so that scales are not zero any more."""
    model = tiny("text_gan", facts=told("text_gan", ()))
    for number in range(3):
        model.train_step(batch(model, number))
    latent = tf.random.stateless_normal([1, 8], [0, 1])

    def drawn(*numbers):
        return model.decode(latent, [tf.constant([[*numbers, *[0] * (5 - len(numbers))]])]).numpy()

    assert np.abs(drawn(2, 3) - drawn(4)).max() > 1e-4
    np.testing.assert_array_equal(drawn(1, 1, 1), drawn())


def test_it_needs_words():
    with pytest.raises(ValueError, match="takes words, and was given"):
        Model(text_gan.PRESETS["tiny"], facts=Facts(CONDITIONS["one"]))


def test_parameters_of_the_presets():
    """The generator of preset 64, by hand: what follows z, six layers of scales and shifts at each of four doublings, convolutions."""
    config = text_gan.PRESETS["64"]
    network = text_gan.build_generator(config, Facts((), WORDS), "network")
    first, width = 16 * 256 * 101, config.words_size
    text = (WORDS.count + WORDS.length) * width + 4 * (4 * width**2 + 8 * width**2 + 5 * width + 4 * width) + 2 * width
    hidden = (100 + width + 1) * 256
    blocks = 0
    for before, after in zip(config.channels, config.channels[1:], strict=False):
        blocks += 2 * 257 * 2 * before + 2 * 257 * 2 * after + 9 * before * after + 9 * after**2 + 2 * after
        blocks += before * after if before != after else 0
    assert network.count_params() == first + text + hidden + blocks + 9 * 32 * 3 + 3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"resolution": 32}, "5 stages from 4x4 px make pictures of 64 px, not resolution=32"),
        ({"resolution": 8, "channels": (8, 8)}, "at least 3 are needed"),
        ({"heads": 3}, "words_size=64 must be a multiple of heads=3"),
        ({"penalty_every": 0}, "penalty_every must be 1 or more"),
    ],
)
def test_settings_that_do_not_fit(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        Config(**settings)
