"""The classifier of attributes, and the measure made of its answers."""

import numpy as np
import pytest

from data.errors import UserError
from data.facts import Condition
from trainer.features import attributes
from trainer.metrics.accuracy import hits

SHAPE, COLOUR = Condition("shape", ("disc", "bar")), Condition("colour", ("red", "green", "blue"), optional=True)


def drawn(count, seed):
    """Discs and bars in three colours, uint8 [count, 16, 16, 3], with their values; every fifth colour is not known."""
    rng = np.random.default_rng(seed)
    shape, colour = rng.integers(2, size=count), rng.integers(3, size=count)
    down, across = np.mgrid[:16, :16]
    pictures = rng.integers(180, 256, (count, 16, 16, 3))
    for picture, s, c in zip(pictures, shape, colour, strict=True):
        y, x = rng.integers(6, 10, 2)
        inside = (down - y) ** 2 + (across - x) ** 2 < 20 if s == 0 else abs(across - x) < 2
        picture[inside] = np.eye(3)[c] * 200 + rng.integers(40)
    known = np.where(np.arange(count) % 5 == 0, -1, colour)
    return pictures.astype(np.uint8), {"shape": shape, "colour": known}


def test_hits_count_what_is_known():
    np.testing.assert_array_equal(hits(np.array([1, 2, 0, 1]), np.array([1, 0, -1, 1])), [1, 0, 1])
    with pytest.raises(ValueError, match=r"not \[2\] and \[3\]"):
        hits(np.zeros(2), np.zeros(3))


def test_it_learns_what_can_be_seen_and_says_how_well(monkeypatch):
    monkeypatch.setattr(attributes, "SHOWN", 6_400)
    pictures, values = drawn(640, 0)
    classifier = attributes.train(pictures, values, (SHAPE, COLOUR))
    assert {name: len(found) for name, found in classifier.accuracy.items()} == {"shape": 80, "colour": 60}
    assert all(found.mean() > 0.9 for found in classifier.accuracy.values()), classifier.accuracy
    others, wanted = drawn(200, 1)
    found = classifier.values(others)
    assert hits(found["shape"], wanted["shape"]).mean() > 0.9 and hits(found["colour"], wanted["colour"]).mean() > 0.9


def test_what_cannot_be_seen_is_chance(monkeypatch):
    """Held-out pictures are not those that it was trained on."""
    monkeypatch.setattr(attributes, "SHOWN", 3_200)
    pictures, values = drawn(800, 2)
    shuffled = np.random.default_rng(3).permutation(values["shape"])
    classifier = attributes.train(pictures, {"shape": shuffled}, (SHAPE,))
    assert 0.3 < classifier.accuracy["shape"].mean() < 0.7


def test_few_pictures_are_refused():
    pictures, values = drawn(40, 0)
    with pytest.raises(UserError, match="40 pictures are too few to train a classifier of attributes"):
        attributes.train(pictures, values, (SHAPE,))
