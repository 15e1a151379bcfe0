"""Training in float16: what vanishes without a loss scale is learnt with it, and what overflows is left out."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny, values

from models import catalogue
from models.loss_scale import GOOD_MOVES, START
from trainer.runs.checkpoints import Checkpoints

pytestmark = pytest.mark.low_precision


@pytest.fixture(autouse=True)
def float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def in_float32(make):
    keras.config.set_dtype_policy("float32")
    model = make()
    keras.config.set_dtype_policy("mixed_float16")
    return model


def changed(name, **changes):
    family = catalogue.load(name)
    keras.utils.set_random_seed(5)
    return family.Model(dataclasses.replace(family.PRESETS["tiny"], **changes), seed=5)


def scale(model):
    return float(model.loss_scale.scale.value.numpy())


def end_gradient(model):
    """The gradient of espcn's last kernel, whose pictures are nearly right: each pixel's share of it is far below 6e-8."""
    low = batch(model)["low"]
    found, apply = [], model.network_optimizer.apply
    model.network_optimizer.apply = lambda gradients, variables: found.extend(gradients) or apply(gradients, variables)
    model.train_step({"low": low, "high": model.network(low) + 2e-5})
    return found[-2].numpy()


def test_gradients_that_float16_cannot_hold_are_those_of_float32():
    unscaled = tiny("espcn")
    unscaled.loss_scale = None
    assert not end_gradient(unscaled).any()
    expected, found = end_gradient(in_float32(lambda: tiny("espcn"))), end_gradient(tiny("espcn"))
    assert 0 < np.abs(expected).max() < 1e-4
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.01 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name, changes", [
    ("espcn", {}),
    ("mlp_gan", {"critic_steps": 2}),
    ("dcgan", {"objective": "wgan_gp", "critic_steps": 2, "penalty_every": 2}),
])  # fmt: skip
def test_twenty_steps_end_where_those_in_float32_do(name, changes):
    """What the critic and the generator lose, averaged over the last steps, is the same to a few hundredths of how far it has come."""
    curves = []
    for model in (changed(name, **changes), in_float32(lambda: changed(name, **changes))):
        step = tf.function(model.train_step)
        curves.append([{k: float(v) for k, v in step(batch(model, number % 2)).items()} for number in range(20)])
    keys = [key for key in curves[0][0] if key.endswith("loss")]
    for key in keys:
        found, expected = ([losses[key] for losses in curve] for curve in curves)
        np.testing.assert_allclose(found, expected, atol=0.05 * np.ptp(expected) + 0.01, err_msg=key)


def test_a_move_that_overflows_is_left_out_and_the_scale_halved():
    model = tiny("espcn")
    good = batch(model)
    model.train_step(good)
    model.loss_scale.scale.assign(2.0**24)
    before = values(model)
    model.train_step({"low": good["low"], "high": good["high"] * 1e4})
    after = values(model)
    assert scale(model) == 2.0**23 and int(model.loss_scale.good) == 0
    moved = {key for key in before if not np.array_equal(before[key], after[key])}
    networks = {key for key in moved if key.startswith("adam/")}
    assert not networks and int(model.step.value) == 2
    assert all(np.isfinite(value).all() for value in after.values())


def test_the_scale_is_doubled_after_many_good_moves():
    model = tiny("espcn")
    model.loss_scale.good.assign(GOOD_MOVES - 1)
    model.train_step(batch(model))
    assert scale(model) == 2 * START and int(model.loss_scale.good) == 0
    model.train_step(batch(model, 1))
    assert scale(model) == 2 * START and int(model.loss_scale.good) == 1


def test_it_is_saved_and_restored_and_other_precisions_know_nothing_of_it(tmp_path):
    model, other = tiny("mlp_gan"), tiny("mlp_gan", seed=9)
    model.loss_scale.scale.assign(2.0**10)
    model.train_step(batch(model))
    Checkpoints(str(tmp_path), model.state()).save(1)
    assert Checkpoints(str(tmp_path), other.state()).restore() == 1
    assert scale(other) == 2.0**10 and int(other.loss_scale.good) == 2
    plain = in_float32(lambda: tiny("mlp_gan"))
    assert plain.loss_scale is None
    assert model.state().keys() - plain.state().keys() == {"loss_scale/0000", "loss_scale/0001"}
    assert not plain.state().keys() - model.state().keys()


def test_an_overflow_on_one_replica_stops_the_move_of_both(strategy):
    with strategy.scope():
        model = tiny("mlp_gan")
    step = tf.function(lambda given: strategy.run(model.train_step, (given,)))
    rows = tf.split(batch(model)["image"], 2)

    def given(second):
        return strategy.experimental_distribute_values_from_function(
            lambda context: {"image": [rows[0], second][context.replica_id_in_sync_group]}
        )

    step(given(rows[1]))
    assert scale(model) == START and model.critic_optimizer.iterations.value.numpy() == 1
    step(given(rows[1] * 1e30))
    assert model.critic_optimizer.iterations.value.numpy() == 1
    assert scale(model) < START and all(np.isfinite(value).all() for value in values(model).values())
