"""What the base does for every family, against NumPy: averaging, ADA's rule, lazy penalties, several critic steps."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import CONDITIONS, batch, served, tiny, values
from scipy import stats

from data.facts import UNKNOWN, Facts
from models import catalogue
from models.base import ADA_EVERY, ADA_TARGET, ADA_TARGET_PAIRS, Player
from models.optimizers import adam


def changed(name, augment=None, **changes):
    """The family's "tiny" model with some settings changed."""
    family = catalogue.load(name)
    keras.utils.set_random_seed(5)
    config = dataclasses.replace(family.PRESETS["tiny"], **changes)
    return family.Model(config, seed=5, **({} if augment is None else {"augment": augment}))


def weights(network):
    return [weight.numpy().copy() for weight in network.weights]


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# The average


@pytest.mark.parametrize("ema_images", [500, 1])
def test_average_follows_the_recurrence(ema_images):
    """w' <- w + (w' - w) 0.5^(rows / half-life), half-life the least of `ema_images` and seen / 20."""
    model = changed("espcn", ema_images=ema_images)
    expected = weights(model.network)
    same(weights(model.ema), expected)
    rows = model.config.batch_size
    for number in range(5):
        model.train_step(batch(model, number))
        keep = 0.5 ** (rows / min(ema_images, 0.05 * rows * (number + 1)))
        expected = [w + (mean - w) * keep for mean, w in zip(expected, weights(model.network), strict=True)]
        for found, wanted in zip(weights(model.ema), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8)
    assert any(not np.allclose(a, b, rtol=1e-6) for a, b in zip(expected, weights(model.network), strict=True))


def test_half_life_is_that_of_the_configuration():
    """Late in a run, after `ema_images` pictures half of the old average is left."""
    model = changed("espcn", ema_images=40, learning_rate=0.0, learning_rate_end=0.0)
    model.step.assign(10_000)
    start = [np.ones_like(weight) for weight in weights(model.network)]
    model.ema.set_weights(start)
    for _ in range(10):  # of 4 rows each
        model.train_step(batch(model))
    for found, target in zip(weights(model.ema), weights(model.network), strict=True):
        np.testing.assert_allclose(found, (target + 1) / 2, rtol=1e-5)


def test_pictures_of_all_critic_steps_count_as_seen():
    model = changed("mlp_gan", critic_steps=2)
    start = weights(model.network)
    model.train_step(batch(model))
    keep = 0.5 ** (1 / 0.05)  # of the first step, whatever the rows
    for found, before, after in zip(weights(model.ema), start, weights(model.network), strict=True):
        np.testing.assert_allclose(found, after + (before - after) * keep, rtol=1e-5, atol=1e-8)


def test_untrained_statistics_are_copied():
    model = tiny("dcgan")
    for number in range(2):
        model.train_step(batch(model, number))
    trained = {id(weight) for weight in model.network.trainable_weights}
    pairs = list(zip(model.network.weights, model.ema.weights, strict=True))
    statistics = [(ours, mean) for ours, mean in pairs if id(ours) not in trained]
    assert len(statistics) >= 2
    for ours, mean in statistics:
        np.testing.assert_array_equal(ours, mean)
        assert not np.array_equal(ours, np.zeros(ours.shape)) and not np.array_equal(ours, np.ones(ours.shape))
    assert all(not np.array_equal(ours, mean) for ours, mean in pairs if id(ours) in trained)


def test_without_averaging_the_trained_network_is_served():
    model = changed("espcn", ema_images=0)
    assert model.ema is model.network
    model.train_step(batch(model))
    assert sorted(served(model)) == sorted(id(w.value) for w in model.network.weights)


# ADA


def confident(model, confidence):
    """Let the critic be as sure as said, whatever it answers, and see pictures as they are, which is quicker."""
    model.augmented = lambda pictures: pictures
    note = type(model).record_confidence
    model.record_confidence = lambda real, fake, **how: (
        note(model, real, fake, **how),
        model.record(confidence=tf.constant(confidence)),
    )
    return model


@pytest.mark.parametrize("confidence, direction", [(1.0, 1), (0.61, 1), (0.59, -1), (0.0, -1), (-1.0, -1)])
def test_ada_strength_moves_by_its_rule(confidence, direction):
    """Every 4 steps by 4 * rows / ada_images, up when the mean confidence is above 0.6."""
    model = confident(changed("mlp_gan", "ada", ada_images=800), confidence)
    model.ada_strength.assign(0.5)
    jump = ADA_EVERY * model.config.batch_size / 800
    assert (ADA_EVERY, ADA_TARGET) == (4, 0.6)
    for number in range(1, 9):
        logs = model.train_step(batch(model, number))
        expected = 0.5 + direction * jump * (number // ADA_EVERY)
        np.testing.assert_allclose(logs["ada_strength"], expected, atol=1e-6)
        np.testing.assert_allclose(model.ada_strength.value, expected, atol=1e-6)
        np.testing.assert_allclose(model.ada_confidence.value, number % ADA_EVERY * confidence, atol=1e-6)


def test_the_target_of_pairs_is_the_same_critic_s():
    """Real answers are right as often as the target of single ones says: of normal ones the mean is then `ahead` deviations above 0, and
    the difference of two, real and fake, as much above 0 in deviations of its own, the square root of 2 times.
    """
    ahead = stats.norm.ppf((1 + ADA_TARGET) / 2)
    pairs = stats.norm(loc=2 * ahead, scale=np.sqrt(2))
    assert ADA_TARGET_PAIRS == pytest.approx(1 - 2 * pairs.cdf(0), abs=5e-4)


@pytest.mark.parametrize(
    "objective, confidence, direction", [("minimax", 0.7, 1), ("relativistic", 0.7, -1), ("relativistic", 0.8, 1)]
)
def test_pairs_have_a_target_of_their_own(objective, confidence, direction):
    model = confident(changed("mlp_gan", "ada", ada_images=800, objective=objective), confidence)
    model.ada_strength.assign(0.5)
    for _ in range(ADA_EVERY):
        model.train_step(batch(model))
    assert np.sign(float(model.ada_strength.value) - 0.5) == direction


def test_ada_takes_the_mean_of_its_steps():
    """1, 1, 1, -1 has mean 1/2: down."""
    model = changed("mlp_gan", "ada", ada_images=800)
    model.ada_strength.assign(0.5)
    for confidence in (1.0, 1.0, 1.0, -1.0):
        confident(model, confidence).train_step(batch(model))
    np.testing.assert_allclose(model.ada_strength.value, 0.5 - 4 * 8 / 800, atol=1e-6)


@pytest.mark.parametrize("confidence, start, end", [(1.0, 0.99, 1.0), (0.0, 0.01, 0.0)])
def test_ada_strength_stays_between_zero_and_one(confidence, start, end):
    model = confident(changed("mlp_gan", "ada", ada_images=64), confidence)
    model.ada_strength.assign(start)
    for _ in range(ADA_EVERY):
        model.train_step(batch(model))
    assert float(model.ada_strength.value) == end


def test_without_ada_its_strength_stays_and_is_not_logged():
    model = confident(tiny("mlp_gan"), 1.0)
    for _ in range(ADA_EVERY):
        assert "ada_strength" not in model.train_step(batch(model))
    assert float(model.ada_strength.value) == 0


def test_confidence_is_the_mean_sign():
    model = tiny("mlp_gan")
    model._begin(batch(model))
    real, fake = tf.constant([1.0, 2.0, -3.0, 0.5]), tf.constant([2.0, 3.0, -4.0, 1.0])
    model.record_confidence(real, fake)
    assert float(model._replica.recorded["confidence"]) == 0.5
    model.record_confidence(real, fake, relativistic=True)
    assert float(model._replica.recorded["confidence"]) == -0.5


@pytest.mark.parametrize("name", ["mlp_gan", "dcgan"])
def test_unknown_augment_names_the_known(name):
    with pytest.raises(ValueError, match="unknown augment 'adda'; have: none, diffaugment, ada"):
        tiny(name, augment="adda")


# Penalties


def penalties_of(model, step):
    return {name: float(value) for name, value in step(batch(model)).items() if name in ("critic_r1", "critic_r2")}


def test_lazy_penalties_come_every_second_step_twice_as_strong():
    """Nothing moves here (learning rate 0), so steps differ in z alone, which r1 does not see."""
    still = {"learning_rate": 0.0, "learning_rate_end": 0.0}
    always, lazy = changed("r3gan", **still), changed("r3gan", penalty_every=2, **still)
    for number in range(3):
        expected, found = penalties_of(always, always.train_step), penalties_of(lazy, lazy.train_step)
        assert expected["critic_r1"] > 0 and expected["critic_r2"] > 0
        if number % 2:
            assert found == {"critic_r1": 0.0, "critic_r2": 0.0}
        else:
            assert found == pytest.approx({name: 2 * value for name, value in expected.items()}, rel=1e-5)


def test_traced_steps_log_a_penalty_that_is_not_due_as_zero():
    model = changed("dcgan", objective="wgan_gp", penalty_every=2)
    step = tf.function(model.train_step)
    first, second, third = (float(step(batch(model))["critic_gradient_penalty"]) for _ in range(3))
    assert first > 0 and second == 0 and third > 0


def test_a_penalty_moves_the_critic_only_when_due():
    """With a hundredfold penalty the due step ends elsewhere; the other one does not know of it."""
    for start, differ in ((0, True), (1, False)):
        ends = []
        for penalty in (10.0, 1000.0):
            model = changed("dcgan", objective="wgan_gp", penalty_every=2, penalty=penalty)
            model.step.assign(start)
            model.train_step(batch(model))
            ends.append(weights(model.critic))
        assert any(not np.array_equal(a, b) for a, b in zip(*ends, strict=True)) == differ


def with_slope(every):
    """A GAN whose generator has a lazy term of its own: the squared slope of its pictures' sum with respect to z."""
    family = catalogue.load("mlp_gan")

    class Model(family.Model):
        def players(self):
            generator = Player((self.network,), self.generator_optimizer, every=every, lazy=("slope",))
            return super().players() | {"generator": generator}

        def generator_terms(self, batch, fakes, due):
            terms = super().generator_terms(batch, fakes, due)
            if not due:
                return terms
            latent = self.random.normal(fakes.shape[0], self.config.latent_size)
            with tf.GradientTape() as tape:
                tape.watch(latent)
                total = tf.reduce_sum(self.network(latent, training=True))
            return terms | {"slope": 1e-4 * tf.reduce_sum(tape.gradient(total, latent) ** 2, 1)}

    keras.utils.set_random_seed(5)
    return Model(family.PRESETS["tiny"], seed=5)


@pytest.mark.parametrize("compiled", [None, {}, {"jit_compile": True}], ids=["eager", "traced", "xla"])
def test_the_generator_may_have_lazy_terms_too(compiled):
    """Due on steps 0, 3, ... thrice as strong, and 0 between; the generator's move between is that without the term."""
    lazy, always = with_slope(3), with_slope(1)
    step = lazy.train_step if compiled is None else tf.function(lazy.train_step, **compiled)
    logged = [float(step(batch(lazy, number))["generator_slope"]) for number in range(4)]
    assert logged[0] > 0 and logged[1] == logged[2] == 0 and logged[3] > 0
    assert logged[0] == pytest.approx(3 * float(always.train_step(batch(always))["generator_slope"]), rel=1e-4)
    for start, differ in ((0, True), (1, False)):
        ends = []
        for model in (with_slope(3), tiny("mlp_gan")):
            model.step.assign(start)
            model.train_step(batch(model))
            ends.append(weights(model.network))
        assert any(not np.array_equal(a, b) for a, b in zip(*ends, strict=True)) == differ


def test_lazy_terms_that_are_not_given_as_declared_are_refused():
    model = with_slope(1)
    terms = model.generator_terms
    model.generator_terms = lambda batch, fakes, due: terms(batch, fakes, False)
    with pytest.raises(TypeError, match=r"lazy terms are \('slope',\); due=True gave \('adversarial',\)"):
        model.train_step(batch(model))


# Replicas


def test_each_replica_draws_its_own_numbers(strategy):
    """Although batch normalisation lets the other replica go on in the midst of a pass."""
    with strategy.scope():
        model = tiny("dcgan", augment="diffaugment")
    used, augmented = [], model.augmented

    def watched(pictures):
        used.append((int(tf.distribute.get_replica_context().replica_id_in_sync_group), int(model.random._replica)))
        return augmented(pictures)

    model.augmented = watched
    halves = tf.split(batch(model)["image"], 2)
    rows = strategy.experimental_distribute_values_from_function(
        lambda context: {"image": halves[context.replica_id_in_sync_group]}
    )
    strategy.run(model.train_step, (rows,))
    assert sorted(used) == [(0, 0)] * 3 + [(1, 1)] * 3


# Several networks


def test_a_player_moves_all_its_networks():
    model = tiny("mlp_gan")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="other")
    player = Player((model.network, other), adam("both", model.network, other, rate=0.1))
    assert player.variables == model.network.trainable_weights + other.trainable_weights
    assert len(player.optimizer.variables) == 2 + 2 * len(player.variables)


def test_a_network_in_no_part_is_refused_and_a_borrowed_one_is_not_saved():
    model = tiny("mlp_gan")
    saved = model.state().keys()
    model.other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="other")
    with pytest.raises(TypeError, match="no network of parts\\(\\) has .*kernel"):
        model.state()
    assert model.frozen(model.other) is model.other
    assert model.state().keys() == saved and not model.other.trainable_weights


def test_what_signatures_read_is_served():
    """The averaged network, and a borrowed one that a signature asks; not the critic."""
    model = tiny("espcn")
    averaged = {id(weight.value) for weight in model.ema.weights}
    assert set(served(model)) == averaged
    model.shade = model.frozen(keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)]))
    assert set(served(model)) == averaged
    apply = model.apply
    model.apply = lambda pictures: model.shade(apply(pictures))
    assert set(served(model)) == averaged | {id(weight.value) for weight in model.shade.weights}


# Several critic steps


def test_each_critic_step_has_rows_of_its_own():
    model = changed("mlp_gan", critic_steps=2)
    assert model.rows_per_step == 2
    whole = batch(model)
    size = model.config.batch_size
    assert whole["image"].shape[0] == 2 * size
    seen, moves, latents = [], [], []
    terms, apply, play = model.critic_terms, model.critic_optimizer.apply, model.fakes

    def watched_terms(rows, fakes, due):
        seen.append(rows["image"].numpy())
        return terms(rows, fakes, due)

    def watched_apply(*args):
        before = weights(model.critic)
        apply(*args)
        moves.append(any(not np.array_equal(a, b) for a, b in zip(before, weights(model.critic), strict=True)))

    def watched_play(rows):
        latents.append(play(rows))
        return latents[-1]

    model.critic_terms, model.critic_optimizer.apply, model.fakes = watched_terms, watched_apply, watched_play
    model.train_step(whole)
    same(seen, [whole["image"][:size].numpy(), whole["image"][size:].numpy()])
    assert moves == [True, True]
    assert len(latents) == 2 and not np.array_equal(*latents)
    assert int(model.critic_optimizer.iterations) == 2 and int(model.generator_optimizer.iterations) == 1
    assert int(model.step.value) == 1


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_wgan_weights_stay_within_the_limit(optimizer):
    model = changed("dcgan", objective="wgan", critic_steps=2, clip=0.01, optimizer=optimizer)
    assert max(np.abs(weight).max() for weight in weights(model.critic)) > 0.5  # scales start near 1
    model.train_step(batch(model))
    trained = [weight.numpy() for weight in model.critic.trainable_weights]
    limit = np.float32(0.01)
    assert max(np.abs(weight).max() for weight in trained) == limit
    assert all(np.isfinite(weight).all() for weight in trained)
    assert max(np.abs(weight).max() for weight in weights(model.network)) > 0.5  # the generator is free


# The batch


def test_wrong_keys_are_refused_with_a_sentence():
    model = tiny("espcn")
    good = batch(model)
    before = values(model)
    with pytest.raises(
        ValueError, match="expected a batch with the keys low, high; missing: high; not asked for: image"
    ):
        model.train_step({"low": good["low"], "image": good["high"]})
    with pytest.raises(ValueError, match="missing: image; not asked for: source, target"):
        tiny("mlp_gan").train_step({"source": good["low"], "target": good["high"]})
    same(values(model).values(), before.values())


def test_total_is_the_mean_over_rows_of_the_sum_of_terms():
    model = tiny("espcn")
    terms = {"a": tf.constant([1.0, 3.0, 5.0, 7.0]), "b": tf.constant([0.5, 0.5, 0.5, 2.5], tf.bfloat16)}
    total = model._total(terms)
    assert total.dtype == tf.float32 and float(total) == 5.0


def test_rows_that_critic_steps_cannot_share_are_refused_with_a_sentence():
    model = changed("mlp_gan", critic_steps=2)
    before = values(model)
    with pytest.raises(ValueError, match="^a batch of 15 rows cannot be shared evenly by critic_steps=2$"):
        model.train_step(batch(model, rows=15))
    same(values(model).values(), before.values())


def test_a_tenth_of_an_optional_condition_is_hidden_in_training():
    """The rest, and a condition that is always known, reach the hooks as they are; a step hides the same rows again."""
    model = tiny("mlp_gan", facts=Facts(CONDITIONS["two"]))
    rows = batch(model, rows=400)
    given = {**rows, "colour": tf.ones([400], tf.int32)}
    found = model._begin(given)
    hidden = found["colour"].numpy() == UNKNOWN
    assert 0.05 < hidden.mean() < 0.15 and (found["colour"].numpy()[~hidden] == 1).all()
    for key in ("image", "label"):
        np.testing.assert_array_equal(found[key], rows[key])
    np.testing.assert_array_equal(model._begin(given)["colour"], found["colour"])
