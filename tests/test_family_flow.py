"""What is particular to the flow."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import LABEL, WORDS, batch, told
from families import tiny as tiny_of
from test_flows import mean_velocity, velocity

from data.errors import UserError
from data.facts import Facts
from data.random import RowRandom, StepRandom
from models import catalogue
from models.generation import flow


def tiny(**options):
    return tiny_of("flow", **options)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def terms(model, rows):
    """The terms of the first step, and (network input z, times) of each call of `model.velocity`."""
    hook, found = model.terms, {}
    model.terms = lambda given: found.update(hook(given)) or found
    model.train_step(rows)
    return found


def test_the_objective_by_hand():
    """At rest, the error is the mean of (e - x)^2 over a picture; z lies between x and e at the time that the network is told."""
    model, asked = tiny(), []

    def still(network, z, time, way, conditions, training):
        asked.append((z, time, way))
        return 0.0 * network([tf.concat([z, z], axis=3), tf.stack([time, way], axis=1)])

    model.velocity = still
    rows = batch(model)
    found = terms(model, rows)["velocity"]
    ((z, time, way),) = asked
    x, t = rows["image"].numpy(), time.numpy()[:, None, None, None]
    noise = (z.numpy() - (1 - t) * x) / t
    assert abs(noise.std() - 1) < 0.05 and abs(noise.mean()) < 0.05
    np.testing.assert_allclose(found, np.square(noise - x).mean(axis=(1, 2, 3)), rtol=1e-3)
    assert not way.numpy().any() and (0 < t).all() and (t < 1).all()


def test_times_are_the_sigmoid_of_normal_numbers():
    model = tiny(time_mean=0.5, time_deviation=0.8)
    model._replica.random = StepRandom(0, tf.constant(0, tf.int64))
    drawn = model._times(4000).numpy()
    logits = np.log(drawn / (1 - drawn))
    assert logits.mean() == pytest.approx(0.5, abs=0.05) and logits.std() == pytest.approx(0.8, abs=0.05)


def test_the_change_is_the_slope_of_the_mean_velocity():
    """Against a central difference along (velocity, 1, 1)."""
    model = tiny(objective="mean", facts=told("flow"))
    for weight in model.network.trainable_weights:  # gates begin at 0
        weight.assign_add(0.05 * normal(*weight.shape, seed=weight.shape.num_elements()))
    z, time, way = tf.constant(normal(3, 16, 16, 3)), tf.constant([0.3, 0.6, 0.9]), tf.constant([0.2, 0.1, 0.8])
    words_and_label = [tf.constant([[2, 4, 0, 0, 0], [1, 3, 7, 2, 5], [0] * 5]), tf.constant([0, 2, -1])]
    mean, change = model.mean_and_change(z, time, way, words_and_label)
    along = model.velocity(model.network, z, time, tf.zeros(3), words_and_label)

    def moved(far):
        return model.velocity(model.network, z + far * along, time + far, way + far, words_and_label)

    np.testing.assert_allclose(mean, moved(0.0), atol=1e-5)
    slope = (moved(2e-3) - moved(-2e-3)) / 4e-3
    np.testing.assert_allclose(change, slope, atol=0.01 * np.abs(slope).max())
    assert np.abs(change).max() > 0.1


def test_the_identity_holds_for_a_flow_with_a_closed_form():
    """Mean velocity plus (t - r) times its change is the velocity: 2505.13447, eq. 6."""
    model = tiny(objective="mean")

    def exact(network, z, time, way, conditions, training):
        if (way == 0).numpy().all():
            return velocity(z, time, time)
        return mean_velocity(z, time, time - way)

    model.velocity = exact
    z, time, way = tf.constant(normal(4, 3)), tf.constant([0.3, 0.6, 0.9, 1.0]), tf.constant([0.2, 0.1, 0.8, 1.0])
    mean, change = model.mean_and_change(z, time, way, [])
    np.testing.assert_allclose(mean + way[:, None] * change, velocity(z, time, time), atol=1e-4)


def test_every_second_row_learns_a_mean():
    model, asked = tiny(objective="mean"), []
    hook = model.velocity

    def watched(network, z, time, way, conditions, training):
        asked.append((len(z), way.numpy().any()))
        return hook(network, z, time, way, conditions, training=training)

    model.velocity = watched
    found = terms(model, batch(model))["velocity"].numpy()
    half = model.config.batch_size // 2
    assert asked == [(half, False), (half, True), (half, False)]  # the second under the accumulator
    assert found.shape == (2 * half,) and (found > 0).all() and (found < 1).all()


def test_guidance_leads_away_from_what_is_unknown():
    """known + (g - 1) (known - unknown) at each call; 1 is the network itself, 0 what it makes of nothing."""
    model = tiny(facts=Facts((LABEL,)))
    for weight in model.ema.weights:
        weight.assign_add(0.1 * normal(*weight.shape, seed=weight.shape.num_elements()))
    seeds, label = tf.constant([3, 3, 3], tf.int64), tf.constant([1, 1, 1])

    def drawn(guidance, column=label):
        return model.generate(
            RowRandom(seeds), 3, [column], steps=tf.ones(3), guidance=tf.constant(guidance, tf.float32)
        ).numpy()

    plain, unknown = drawn([1, 1, 1]), drawn([1, 1, 1], tf.constant([-1, -1, -1]))
    each = drawn([0, 1, 1.5])
    assert np.abs(plain - unknown).max() > 0.05
    np.testing.assert_allclose(each[0], unknown[0], atol=1e-5)
    np.testing.assert_allclose(each[1], plain[1], atol=1e-5)
    expected = plain[2] + 0.5 * (plain[2] - unknown[2])
    uncut = np.max(np.abs([plain[2], unknown[2], expected]), axis=0) < 1
    np.testing.assert_allclose(each[2][uncut], expected[uncut], atol=1e-4)
    assert "guidance" not in tiny().KNOBS


def test_steps_are_rounded_and_cut():
    model = tiny(steps=2)

    def drawn(steps):
        return model.generate(RowRandom(tf.constant([3], tf.int64)), 1, [], steps=tf.constant([steps])).numpy()

    for given, taken in ((0.0, 1.0), (-3.0, 1.0), (2.4, 2.0), (1e9, 4.0)):
        np.testing.assert_array_equal(drawn(given), drawn(taken))
    assert np.abs(drawn(1.0) - drawn(2.0)).max() > 1e-3


def test_a_block_by_loops():
    """Attention of each head over all tokens with queries and keys of length 1, gated; then the dense layers."""
    keras.utils.set_random_seed(0)
    x, told = normal(2, 3, 64), normal(2, 64, seed=1)
    block = flow.Block()
    np.testing.assert_array_equal(block([x, told]), x)  # begins as the identity
    block.modulation.kernel.assign(0.1 * normal(64, 6 * 64, seed=2))

    def unit(v):
        return v / np.sqrt(np.square(v).mean(axis=-1, keepdims=True))

    def dense(layer, v):
        return v @ layer.kernel.numpy() + (layer.bias.numpy() if layer.use_bias else 0)

    expected = np.zeros_like(x)
    for row in range(2):
        scale1, shift1, gate1, scale2, shift2, gate2 = np.split(dense(block.modulation, told[row]), 6)
        asked = dense(block.asked, unit(x[row]) * (1 + scale1) + shift1).reshape(3, 3, 2, 32)
        seen = np.zeros([3, 2, 32])
        for head in range(2):
            query, key, value = (asked[:, part, head] for part in range(3))
            for token in range(3):
                weights = np.exp([unit(query[token]) @ unit(other) / 32**0.5 for other in key])
                seen[token, head] = weights / weights.sum() @ value
        y = x[row] + gate1 * dense(block.found, seen.reshape(3, 64))
        inner = np.maximum(dense(block.up, unit(y) * (1 + scale2) + shift2), 0) ** 2
        expected[row] = y + gate2 * dense(block.down, inner)
    np.testing.assert_allclose(block([x, told]), expected, rtol=1e-3, atol=1e-3)


def test_parameters_by_hand():
    """18 w^2 and 11 w a block, of which a third is adaLN's; kernels of 4x4 go down by two, since they overlap."""
    a, b, w, c, config = 64, 128, 192, 16, flow.PRESETS["64"]
    times = 64 * w + w + w * w + w
    stages = sum(2 * (2 * (9 * n * n + n) + (w + 1) * 3 * n) for n in (a, b))
    down = (16 * 6 + 1) * a + (16 * a + 1) * b + (16 * b + 1) * w
    blocks = 64 * w + 4 * (18 * w * w + 6 * w + w + 4 * w + w) + 2 * (w * w + w)
    up = (w + 1) * 4 * b + (b + 1) * 4 * a + (a + 1) * 4 * c
    pixels = (54 + 1) * c + (9 * c + 1) * 3
    assert flow.build(config, Facts(), "n").count_params() == times + stages + down + blocks + up + pixels
    told = flow.build(config, Facts((LABEL,)), "n").count_params()
    assert told == times + stages + down + blocks + up + pixels + 3 * w


def test_a_convolutional_block_by_hand():
    """Of a flat picture, far from its border, a convolution is the sum of its taps."""
    keras.utils.set_random_seed(0)
    x, told = np.tile(normal(2, 1, 1, 8), [1, 5, 5, 1]), normal(2, 16, seed=1)
    block = flow.ConvBlock()
    np.testing.assert_array_equal(block([x, told]), x)  # begins as the identity
    block.modulation.kernel.assign(0.1 * normal(16, 24, seed=2))
    scale, shift, gate = np.split(told @ block.modulation.kernel.numpy(), 3, axis=1)
    flat = x[:, 2, 2]
    y = flat / np.sqrt(np.square(flat).mean(axis=1, keepdims=True)) * (1 + scale) + shift
    y = y @ block.first.kernel.numpy().sum(axis=(0, 1))
    y = y / (1 + np.exp(-y)) @ block.second.kernel.numpy().sum(axis=(0, 1))
    np.testing.assert_allclose(block([x, told])[:, 2, 2], flat + gate * y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("solver, calls", [("euler", 3), ("heun", 6)])
def test_it_says_how_often_it_is_called_for_a_picture(solver, calls):
    model, asked = tiny(steps=3, solver=solver), []
    hook = model.velocity
    model.velocity = lambda *arguments, **options: asked.append(0) or hook(*arguments, **options)
    model.generate(RowRandom(tf.constant([3], tf.int64)), 1, [])
    assert len(asked) == model.calls == calls


@pytest.mark.parametrize("objective, steps", [("rectified", 8), ("mean", 1)])
def test_it_learns_what_kinds_look_like(objective, steps):
    """Of dark, grey and bright pictures it makes those it is asked for, by class or by word: in one step, where it learned means."""
    facts = Facts((), WORDS) if objective == "rectified" else Facts((LABEL,))
    model = tiny(facts=facts, objective=objective, learning_rate=3e-3, ema_images=1, steps=steps)
    step = tf.function(model.train_step, reduce_retracing=True)
    shades = np.array([-0.5, 0.0, 0.5], np.float32)

    def told(kinds):
        return tf.constant([[2, 3 + kind, 0, 0, 0] for kind in kinds] if facts.words else kinds, tf.int32)

    for number in range(200):
        kinds = np.random.default_rng(number).integers(3, size=model.config.batch_size)
        rows = batch(model, number) | {facts.keys[0]: told(kinds)}
        shade = shades[kinds][:, None, None, None]
        step(rows | {"image": tf.constant(np.broadcast_to(shade, rows["image"].shape))})
    made = model.generate(RowRandom(tf.range(12, dtype=tf.int64)), 12, [told([0, 1, 2] * 4)]).numpy()
    dark, grey, bright = made.reshape(4, 3, -1).mean(axis=(0, 2))
    assert dark + 0.4 < bright and dark < grey < bright


def test_both_objectives_train_the_same_network():
    """So that a run of means begins with the weights of a rectified one."""
    shapes = [[weight.shape for weight in tiny(objective=name).network.weights] for name in ("rectified", "mean")]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "changes, sentence",
    [
        (
            {"channels": (8, 8, 8, 8)},
            "4 stages before the tokens make patches of 32 px, which do not divide resolution=16",
        ),
        ({"width": 40}, "width must be a multiple of 32, not 40"),
        ({"words_size": 48}, "words_size must be a multiple of 32, not 48"),
        ({"solver": "rk4"}, "unknown solver 'rk4'; have: euler, heun"),
        ({"objective": "score"}, "unknown objective 'score'; have: rectified, mean"),
        ({"objective": "mean", "solver": "heun"}, "which solver=euler takes"),
    ],
)
def test_settings_must_fit(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        catalogue.configure(flow, "tiny", changes)
