"""Ten steps of every family compute what they computed when its golden was made.

Other tests compare run with run; these compare with numbers on disk, so that a change in the order of draws, a reduction or the
order of turns cannot pass unseen.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
from make_goldens import CASES, FOLDER, path, ten_steps

from data.random import StepRandom
from models.base import ImageModel

# Measured over oneDNN, oneDNN held to AVX2, and no oneDNN: losses differ by 2e-6 of themselves at most, digests by 1e-7 of a
# network's deviation, and initial weights not at all. The margin is fiftyfold and more.
LOSSES = 1e-4
DIGESTS = 1e-5


def differences(found, expected):
    """Sentences on what is not as it was; [] when all is."""
    if found["losses"].keys() != expected["losses"].keys():
        return [f"losses were {sorted(expected['losses'])} and are {sorted(found['losses'])}"]
    sentences = []
    for name, values in expected["losses"].items():
        close = np.isclose(found["losses"][name], values, rtol=LOSSES, atol=LOSSES / 10)
        if not close.all():
            step = int(np.argmin(close))
            sentences.append(f"{name} of step {step} was {values[step]} and is {found['losses'][name][step]}")
    for moment in ("start", "end"):
        for network, digest in expected[moment].items():
            for measure, value in digest.items():
                now = found[moment][network][measure]
                if abs(now - value) > DIGESTS * digest["deviation"]:
                    sentences.append(f"{measure} of {network} at the {moment} was {value} and is {now}")
    return sentences


def golden(case):
    if not path(case).exists():
        pytest.fail(f"{case} has no golden: make one with `python tests/make_goldens.py {case}` and commit it")
    return json.loads(path(case).read_text())


@pytest.mark.parametrize("case", CASES)
def test_ten_steps_compute_what_they_did(case):
    expected = golden(case)
    assert not differences(ten_steps(case), expected), "if that is meant, run `make goldens` and say so in the commit"


def test_no_golden_is_left_over():
    assert {file.stem for file in FOLDER.glob("*.json")} <= CASES.keys()


def test_a_family_without_a_golden_is_told_how_to_make_one():
    with pytest.raises(pytest.fail.Exception, match="make_goldens.py new_family"):
        golden("new_family")


# What they catch


def test_another_order_of_draws_is_caught(monkeypatch):
    begin = StepRandom.__init__

    def one_later(self, *arguments, **options):
        begin(self, *arguments, **options)
        self._draws = 1

    monkeypatch.setattr(StepRandom, "__init__", one_later)
    assert differences(ten_steps("mlp_gan"), golden("mlp_gan"))


def test_another_reduction_is_caught(monkeypatch):
    def weighted(self, terms):  # the first row counts a thousandth more
        rows = next(iter(terms.values())).shape[0]
        weights = tf.constant([1.001] + [1.0] * (rows - 1))
        return tf.reduce_mean(weights * tf.add_n(list(terms.values())))

    monkeypatch.setattr(ImageModel, "_total", weighted)
    assert differences(ten_steps("espcn"), golden("espcn"))


def test_another_order_of_turns_is_caught():
    """A generator that is judged by the critic as it was before its move."""

    def swap(model):
        waiting, first, second = [], model.generator_optimizer.apply, model.critic_optimizer.apply

        def generator_then_critic(*arguments):
            first(*arguments)
            second(*waiting.pop())

        model.critic_optimizer.apply = lambda *arguments: waiting.append(arguments)
        model.generator_optimizer.apply = generator_then_critic

    assert differences(ten_steps("mlp_gan", swap), golden("mlp_gan"))
