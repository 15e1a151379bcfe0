"""Promises that every family keeps, whoever writes it. A new family is held to them without a line of test code."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import CLASSES, FAMILIES, batch, players, tiny, values

from data.batch import GENERATION
from models import catalogue
from models.base import TwoPlayer
from serving.export import export
from serving.session import Session
from trainer.checkpoints import Checkpoints

# Promises that a family cannot keep, with the reason. An exception that is no longer one fails.
BATCH_STATISTICS = "batch normalisation takes its statistics from the rows of one replica"
EXCEPTIONS = {
    ("two_replicas", "dcgan"): BATCH_STATISTICS,
    ("two_replicas", "pix2pix"): BATCH_STATISTICS,
    ("mixed_float16", "r3gan"): "TensorFlow has no gradient of a grouped float16 convolution on CPU",
    ("xla", "pix2pix"): "dropout draws from Keras' generator, whose numbers depend on the compiler",
}

family = pytest.mark.parametrize("name", FAMILIES)


def step(model, number=0):
    return {key: float(value) for key, value in model.train_step(batch(model, number)).items()}


def assert_close(found, expected, rtol=1e-4, atol=1e-5):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=rtol, atol=atol, err_msg=key)


def excused(promise, name, check):
    """Run the check; a family on the list of exceptions must fail it."""
    if (promise, name) not in EXCEPTIONS:
        return check()
    with pytest.raises((AssertionError, tf.errors.OpError)):
        check()


@family
def test_a_family_says_what_it_is(name):
    module = catalogue.load(name)
    assert dataclasses.is_dataclass(module.Config) and module.Config.__dataclass_params__.frozen
    tiny_config = module.PRESETS["tiny"]
    assert tiny_config.resolution == 16 and len(module.PRESETS) > 1
    assert "Batch: `" in module.__doc__ and f"--model {name}" in module.__doc__ and "arXiv" in module.__doc__
    assert {field.name for field in dataclasses.fields(module.Config)} >= {
        "resolution", "batch_size", "images", "ema_images"
    }  # fmt: skip
    model = tiny(name)
    assert model.average.count_params() < 50_000
    assert model.task == FAMILIES[name]


@family
def test_one_step_is_finite_and_moves_every_weight(name):
    model = tiny(name, classes=CLASSES if FAMILIES[name] == GENERATION else 0)
    before = values(model)
    losses = step(model)
    step(model, 1)  # a layer that starts at zero passes gradients on from the second step
    assert all(np.isfinite(value) for value in losses.values()), losses
    after = values(model)
    for name_of, network in players(model).items():
        names = {id(value): key for key, value in model.state().items()}
        for variable in network.trainable_weights:
            key = names[id(variable.value)]
            assert not np.array_equal(before[key], after[key]), f"{name_of}: {variable.path} did not move"
    assert int(model.step.value) == 2


@family
def test_each_player_moves_in_its_turn_only(name):
    model = tiny(name)
    if not isinstance(model, TwoPlayer):
        pytest.skip("one player has every turn")
    turns = []

    def watch(optimizer, mine, other):
        apply = optimizer.apply

        def watched(*args):
            still = [weight.numpy() for weight in other.trainable_weights]
            moving = [weight.numpy() for weight in mine.trainable_weights]
            apply(*args)
            turns.append(mine.name)
            assert all(np.array_equal(a, b.numpy()) for a, b in zip(still, other.trainable_weights, strict=True))
            assert any(not np.array_equal(a, b.numpy()) for a, b in zip(moving, mine.trainable_weights, strict=True))

        optimizer.apply = watched

    watch(model.generator_optimizer, model.network, model.critic)
    watch(model.critic_optimizer, model.critic, model.network)
    step(model)
    assert turns == ["critic"] * model.config.critic_steps + ["network"]


@family
def test_logged_terms_add_up_to_the_logged_total(name):
    model = tiny(name)
    logged = step(model)
    for player in ("generator_", "critic_") if isinstance(model, TwoPlayer) else ("",):
        terms = {key: value for key, value in logged.items() if key.startswith(player)}
        total = terms.pop(f"{player}loss")
        terms.pop("critic_confidence", None)
        np.testing.assert_allclose(sum(terms.values()), total, rtol=1e-5, atol=1e-6)


@family
def test_same_seed_same_numbers(name):
    def run(seed):
        model = tiny(name, seed=seed)
        traced = tf.function(model.train_step)
        for number in range(2):
            traced(batch(model, number))
        return values(model)

    first, again, other = run(5), run(5), run(6)
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key], err_msg=key)
    assert any(not np.array_equal(value, other[key]) for key, value in first.items())


@family
def test_traced_equals_eager(name):
    eager, traced = tiny(name), tiny(name)
    expected = step(eager)
    found = {key: float(value) for key, value in tf.function(traced.train_step)(batch(traced)).items()}
    assert_close(found, expected)


@family
def test_xla_equals_no_xla(name):
    def check():
        plain, compiled = tiny(name), tiny(name)
        for number in range(2):
            expected = tf.function(plain.train_step)(batch(plain, number))
            found = tf.function(compiled.train_step, jit_compile=True)(batch(compiled, number))
            assert_close(
                {k: float(v) for k, v in found.items()},
                {k: float(v) for k, v in expected.items()},
                rtol=1e-3,
                atol=1e-4,
            )

    excused("xla", name, check)


@pytest.fixture(scope="module")
def strategy():
    """One for all families: a second one would reuse the first one's collective keys for other shapes."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@family
def test_two_replicas_equal_one(name, strategy):
    def check():
        one = tiny(name)
        with strategy.scope():
            two = tiny(name)
        train_one = tf.function(one.train_step)
        train_two = tf.function(lambda given: strategy.run(two.train_step, (given,)))
        for number in range(2):
            whole = batch(one, number)
            halves = {key: tf.split(value, 2) for key, value in whole.items()}
            given = strategy.experimental_distribute_values_from_function(
                lambda context, halves=halves: {
                    key: value[context.replica_id_in_sync_group] for key, value in halves.items()
                }
            )
            expected = {key: float(value) for key, value in train_one(whole).items()}
            found = {key: float(strategy.reduce("MEAN", value, axis=None)) for key, value in train_two(given).items()}
            assert_close(found, expected, rtol=2e-4)
        assert_close(values(two), values(one), rtol=5e-3, atol=2e-4)

    excused("two_replicas", name, check)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@family
def test_mixed_precision_stays_finite(name, policy):
    def check():
        model = tiny(name)
        traced = tf.function(model.train_step)
        for number in range(3):
            losses = traced(batch(model, number))
        assert all(np.isfinite(float(value)) for value in losses.values()), losses
        assert all(value.dtype == tf.float32 for value in losses.values())
        assert all(np.isfinite(value).all() for value in values(model).values())
        assert all(variable.dtype == "float32" for variable in model.average.weights)

    keras.config.set_dtype_policy(policy)
    try:
        excused(policy, name, check)
    finally:
        keras.config.set_dtype_policy("float32")


@family
def test_saving_and_restoring_goes_on_exactly(name, tmp_path):
    """Train 2, save, restore elsewhere, train 1: bit for bit the same as training 3."""
    straight, stopped, resumed = tiny(name), tiny(name), tiny(name, seed=99)
    resumed.seed = straight.seed
    for number in range(3):
        straight.train_step(batch(straight, number))
    for number in range(2):
        stopped.train_step(batch(stopped, number))
    Checkpoints(str(tmp_path), stopped.state()).save(2)
    assert Checkpoints(str(tmp_path), resumed.state()).restore() == 2
    resumed.train_step(batch(resumed, 2))
    expected, found = values(straight), values(resumed)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("augment", ["diffaugment", "ada"])
@family
def test_augmented_steps_are_finite(name, augment):
    model = tiny(name, augment=augment)
    if not isinstance(model, TwoPlayer):
        pytest.skip("no critic, nothing to augment")
    model.ada_strength.assign(0.5)
    assert all(np.isfinite(value) for value in step(model).values())


@family
def test_exceptions_name_families_that_exist(name):
    assert {key for _, key in EXCEPTIONS} <= set(FAMILIES)


@family
def test_the_export_passes_the_gate_and_answers_alone(name, tmp_path):
    """Built, run in C++ and compared with the live model by the gate; then opened without the model's code and asked again."""
    model = tiny(name, classes=CLASSES if FAMILIES[name] == GENERATION else 0)
    model.train_step(batch(model))
    path = export(model, str(tmp_path), name, facts={"task": model.task})
    signatures = model.signatures()
    assert next(iter(signatures)) == "serving_default"
    with Session(path) as session:
        assert set(session.signatures) - {"__saved_model_init_op"} == set(signatures)
        for key, signature in signatures.items():
            request = signature.samples(np.random.default_rng(1), 2)
            found = session.run(key, request)
            live = signature.function(**{alias: tf.constant(value) for alias, value in request.items()})
            for alias, value in live.items():
                if value.dtype == tf.uint8:
                    assert np.abs(found[alias].astype(int) - value.numpy().astype(int)).max() <= 1
