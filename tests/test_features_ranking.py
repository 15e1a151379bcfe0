"""With the packshot encoder, KID rises with every grade of every damage, and recall falls with every category that goes missing."""

import numpy as np
import pytest

from benchmarks.ranking import DAMAGES, of_modes, spoilt, with_others
from data.sources.studio import Studio
from trainer.features.catalogue import open_features
from trainer.metrics.distribution import kid
from trainer.metrics.neighbours import density_coverage, precision_recall

COUNT, SIDE = 240, 64


@pytest.fixture(scope="module")
def encoder():
    return open_features("packshot")


@pytest.fixture(scope="module")
def drawn():
    """Pictures and labels of products that the encoder was not made from: another seed."""
    studio = Studio(2 * COUNT, seed=77)
    examples = list(studio.examples(SIDE))
    return np.stack([e["image"] for e in examples]), np.array([e["label"] for e in examples])


@pytest.fixture(scope="module")
def real(encoder, drawn):
    return encoder.vectors(drawn[0][:COUNT])


def rising(values):
    return all(a < b for a, b in zip(values, values[1:], strict=False))


def test_equal_distributions_are_not_told_apart(encoder, drawn, real):
    found = kid(real, encoder.vectors(drawn[0][COUNT:]))
    assert abs(found.value) < 3 * found.error


@pytest.mark.parametrize("name", DAMAGES)
def test_kid_rises_with_damage(encoder, drawn, real, name):
    few = drawn[0][COUNT : COUNT + 120]
    values = [kid(real, encoder.vectors(worse)).value for _, worse in list(spoilt(few, name))[-3:]]
    assert rising([kid(real, encoder.vectors(few)).value, *values])


def test_kid_rises_with_a_stranger_s_share(encoder, drawn, real):
    pictures, labels = drawn
    other = encoder.vectors(pictures[COUNT:])
    mugs = labels == list(Studio.classes).index("mug")
    kept, there, strangers = real[~mugs[:COUNT]], other[~mugs[COUNT:]], other[mugs[COUNT:]]
    assert rising([kid(kept, with_others(there, strangers, share)).value for share in (0.0, 0.03, 0.06, 0.1)])


def test_recall_falls_with_categories(encoder, drawn, real):
    pictures, labels = drawn
    other = encoder.vectors(pictures[COUNT:])
    found = [of_modes(other, labels[COUNT:], modes, COUNT // 5) for modes in (10, 8, 6, 4, 2)]
    assert {len(rows) for rows in found} == {COUNT // 5}
    recalls = [precision_recall(real, rows).recall.value for rows in found]
    coverages = [density_coverage(real, rows).coverage.value for rows in found]
    assert rising(recalls[::-1]) and rising(coverages[::-1])
