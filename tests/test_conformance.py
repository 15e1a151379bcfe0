"""Promises that every family keeps, whoever writes it. A new family is held to them without a line of test code."""

import dataclasses
import functools
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from families import CONDITIONS, FAMILIES, Declared, batch, players, served, tiny, told, values
from PIL import Image
from watching import watched

from data.batch import KEYS, REQUIRED
from data.facts import Facts
from data.random import RowRandom
from models import catalogue, loss_scale
from models.base import TwoPlayer
from serving.client.client import Client
from serving.export.export import export
from serving.export.session import Session
from trainer.cli import main
from trainer.runs.checkpoints import Checkpoints
from trainer.runs.config import RunConfig
from trainer.training import precision

# Promises (tests) that a family cannot keep, with the reason, which is a property of the code and never of a processor. An
# exception that is no longer one fails.
BATCH_STATISTICS = "batch normalisation takes its statistics from the rows of one replica"
EXCEPTIONS = {
    ("test_two_replicas_equal_one", "dcgan"): BATCH_STATISTICS,
    ("test_two_replicas_equal_one", "esrgan"): BATCH_STATISTICS,
    ("test_two_replicas_equal_one", "pix2pix"): BATCH_STATISTICS,
    ("test_two_replicas_equal_one", "sagan"): BATCH_STATISTICS,
    ("test_xla_equals_no_xla", "pix2pix"): "dropout draws from Keras' generator, whose numbers depend on the compiler",
}
PROMISES = set()


def promise(test):
    """A test of every family. One on the list of exceptions must fail it."""
    PROMISES.add(test.__name__)

    @functools.wraps(test)
    def kept(name, **others):
        if (test.__name__, name) not in EXCEPTIONS:
            return test(name, **others)
        with pytest.raises(AssertionError):
            test(name, **others)

    return pytest.mark.parametrize("name", FAMILIES)(kept)


def mistaken(exceptions):
    """Those that name no promise or no family."""
    return [key for key in exceptions if key[0] not in PROMISES or key[1] not in FAMILIES]


def borrowed(model):
    """The ids of the variables of what a parent lends."""
    return {id(variable.value) for variable in model.parent.variables} if model.parent else set()


def step(model, number=0):
    return {key: float(value) for key, value in model.train_step(batch(model, number)).items()}


def assert_close(found, expected, rtol=1e-4, atol=1e-5):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=rtol, atol=atol, err_msg=key)


STEPS = 2


@functools.cache
def trained(name):
    """What STEPS traced steps of a family do: ([losses of a step], values at the end)."""
    model = tiny(name)
    traced = tf.function(model.train_step)
    losses = [{k: float(v) for k, v in traced(batch(model, number)).items()} for number in range(STEPS)]
    return losses, values(model)


@promise
def test_a_family_says_what_it_is(name):
    module = catalogue.load(name)
    assert dataclasses.is_dataclass(module.Config) and module.Config.__dataclass_params__.frozen
    tiny_config = module.PRESETS["tiny"]
    assert tiny_config.resolution == 16 and len(module.PRESETS) > 1
    assert f"--model {name}" in module.__doc__ and "arXiv" in module.__doc__
    assert {field.name for field in dataclasses.fields(module.Config)} >= {
        "resolution", "batch_size", "images", "ema_images"
    }  # fmt: skip
    model = tiny(name)
    assert model.ema.count_params() < 50_000
    assert model.task == FAMILIES[name]


@promise
def test_a_family_reads_the_keys_that_it_declares_and_no_others(name):
    """Declared by its task, by its `KEYS` and, where it is told categories, by `label`; its docstring lists the same."""
    family = catalogue.load(name)
    words = {"tokens"} if family.Model.WORDS == "needed" else set()
    required = {*REQUIRED[FAMILIES[name]], *family.Model.KEYS, *words}
    label = {"label"} if family.Model.CONDITIONS else set()
    assert required <= KEYS.keys()
    written = re.search(r"^Batch: ([^.]*)\.", family.__doc__, re.MULTILINE)[1]
    always = re.sub(r"\[[^\]]*\]", "", written)
    found = [set(re.findall(r"`(\w+)`", text)) for text in (always, written)]
    assert found == [required, required | label]
    model = tiny(name, facts=told(name))
    given = batch(model)
    assert set(given) == {*required, *model.facts.keys} and set(model.batch_keys) == set(given)
    model.train_step(Declared(given))
    for key in given:
        with pytest.raises(ValueError, match=f"missing: {key}; not asked for: none"):
            model.train_step({other: value for other, value in given.items() if other != key})


@pytest.mark.parametrize("conditions", CONDITIONS)
@promise
def test_one_step_is_finite_and_moves_every_weight(name, conditions):
    """Told nothing, one fact, and two of which one may be unknown, with words where it can be told them; a family that takes no
    conditions says so."""
    facts = told(name, CONDITIONS[conditions]) if conditions == "two" else Facts(CONDITIONS[conditions])
    if CONDITIONS[conditions] and not catalogue.load(name).Model.CONDITIONS:
        with pytest.raises(ValueError, match="takes no conditions, and was given label"):
            tiny(name, facts=Facts(CONDITIONS[conditions]))
        return
    model = tiny(name, facts=facts)
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


@promise
def test_a_generator_draws_by_the_row_and_by_one_function(name):
    """Row i is a function of its seed alone; a number at its default is no number; a step draws as an answer does."""
    model = tiny(name, facts=told(name))
    if not hasattr(model, "generate"):
        pytest.skip("makes pictures from pictures")
    columns = [batch(model, rows=3)[key] for key in model.facts.keys]

    def drawn(seeds, columns, **knobs):
        return model.generate(RowRandom(tf.constant(seeds, tf.int64)), len(seeds), columns, **knobs).numpy()

    together = drawn([3, 2**40, -1], columns)
    assert (
        together.shape == (3, model.config.resolution, model.config.resolution, 3)
        and np.abs(np.diff(together, axis=0)).max() > 0
    )
    for row, seed in enumerate([3, 2**40, -1]):
        alone = drawn([seed], [column[row : row + 1] for column in columns])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
    for knob, port in model.KNOBS.items():
        np.testing.assert_array_equal(drawn([3, 2**40, -1], columns, **{knob: tf.fill([3], port.default)}), together)
    batch_ = {"seed": tf.constant([3, 2**40, -1], tf.int64), **dict(zip(model.facts.keys, columns, strict=True))}
    np.testing.assert_array_equal(model.sample(batch_), together)


@promise
def test_each_player_moves_in_its_turn_only(name):
    model = tiny(name)
    if not isinstance(model, TwoPlayer):
        pytest.skip("one player has every turn")
    for number in range(1 + (max(player.every for player in model.players().values()) > 1)):  # due, and not due
        assert turns_of(model, number) == ["critic"] * model.config.critic_steps + ["generator"]


def turns_of(model, number):
    """The turns of a step. AssertionError if one leaves its networks as they are, or changes anything else, be it by assignment; only
    what is not trained in a network (statistics, power iterations) may follow whoever looks at it."""
    followers = {id(v.value) for network in model.parts().values() for v in network.non_trainable_variables}
    turns, before = [], {}

    def changed():
        now = {key: value for key, value in values(model).items() if id(model.state()[key]) not in followers}
        found = {key for key in now if not np.array_equal(now[key], before.get(key))}
        before.update(now)
        return found

    def watch(name, player):
        hook, apply = getattr(model, f"{name}_terms"), player.optimizer.apply
        ids = {id(v.value) for v in [*player.variables, *player.optimizer.variables]}
        own = {key for key, value in model.state().items() if id(value) in ids}

        def watched_hook(*arguments):
            assert not changed(), "something moved before its turn"
            return hook(*arguments)

        def watched_apply(*arguments):
            apply(*arguments)
            moved = changed()
            assert moved & own and moved <= own, moved - own
            turns.append(name)

        setattr(model, f"{name}_terms", watched_hook)
        player.optimizer.apply = watched_apply
        return lambda: (setattr(model, f"{name}_terms", hook), setattr(player.optimizer, "apply", apply))

    undo = [watch(name, player) for name, player in model.players().items()]
    changed()
    step(model, number)
    for function in undo:
        function()
    return turns


def test_a_layer_that_assigns_its_kernel_moves_outside_its_turn(monkeypatch):
    """As Keras' SpectralNormalization does in every call."""

    def build_critic(*_):
        picture = keras.Input((16, 16, 3))
        x = keras.layers.Flatten()(keras.layers.SpectralNormalization(keras.layers.Conv2D(4, 4, 2))(picture))
        return keras.Model([picture], keras.layers.Reshape(())(keras.layers.Dense(1)(x)), name="critic")

    monkeypatch.setattr(catalogue.load("mlp_gan"), "build_critic", build_critic)
    with pytest.raises(AssertionError, match="critic/"):
        turns_of(tiny("mlp_gan"), 0)


@promise
def test_parts_cover_the_state_once(name):
    """Every variable has one name, but for those of frozen networks, which have none; names of a part hold all of a network and nothing
    else; what is served is of one network, and of frozen ones."""
    model = tiny(name, facts=told(name))
    state, parts = model.state(), model.parts()
    assert {"network", "ema"} <= parts.keys() and set(players(model)) <= parts.keys()
    assert len({id(variable) for variable in state.values()}) == len(state)
    ids, frozen = {id(variable) for variable in state.values()}, borrowed(model)
    assert not ids & frozen and {id(v.value) for v in model.variables} <= ids | frozen
    for part, network in parts.items():
        named = [value for key, value in state.items() if key.partition("/")[0] == part]
        assert [id(value) for value in named] == [id(variable.value) for variable in network.variables]
    for player in model.players().values():
        assert {id(v) for network in player.networks for v in network.variables} <= {
            id(v) for network in parts.values() for v in network.variables
        }
    assert set(served(model)) - frozen == {id(weight.value) for weight in model.ema.weights}


@promise
def test_logged_terms_add_up_to_the_logged_total(name):
    model, recorded = tiny(name), set()
    record = model.record
    model.record = lambda **scalars: (recorded.update(scalars), record(**scalars))
    logged = step(model)
    for player in ("generator_", "critic_") if isinstance(model, TwoPlayer) else ("",):
        terms = {key.removeprefix(player): value for key, value in logged.items() if key.startswith(player)}
        total = terms.pop("loss")
        terms = {key: value for key, value in terms.items() if key not in recorded}
        np.testing.assert_allclose(sum(terms.values()), total, rtol=1e-5, atol=1e-6)


@promise
def test_a_seed_decides_where_a_model_starts(name):
    """And with its steps, what it computes: see `test_saving_and_restoring_goes_on_exactly`."""
    started, again, other = (values(tiny(name, seed=seed)) for seed in (5, 5, 6))
    for key, value in started.items():
        np.testing.assert_array_equal(again[key], value, err_msg=key)
    assert any(not np.array_equal(value, other[key]) for key, value in started.items())


@promise
def test_traced_equals_eager(name):
    assert_close(trained(name)[0][0], step(tiny(name)))


@pytest.mark.slow
@promise
def test_xla_equals_no_xla(name):
    model = tiny(name)
    compiled = tf.function(model.train_step, jit_compile=True)
    for number, expected in enumerate(trained(name)[0]):
        found = {key: float(value) for key, value in compiled(batch(model, number)).items()}
        assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@promise
def test_two_replicas_equal_one(name, strategy):
    with strategy.scope():
        two = tiny(name)
    train_two = tf.function(lambda given: strategy.run(two.train_step, (given,)))
    losses, ends = trained(name)
    for number, expected in enumerate(losses):
        halves = {key: tf.split(value, 2) for key, value in batch(two, number).items()}
        given = strategy.experimental_distribute_values_from_function(
            lambda context, halves=halves: {
                key: value[context.replica_id_in_sync_group] for key, value in halves.items()
            }
        )
        found = {key: float(strategy.reduce("MEAN", value, axis=None)) for key, value in train_two(given).items()}
        assert_close(found, expected, rtol=2e-4)
    assert_close(values(two), ends, rtol=5e-3, atol=2e-4)


@pytest.mark.slow
@pytest.mark.low_precision
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@promise
def test_low_precision_trains_as_float32_or_is_refused(name, policy):
    """Close to the losses in float32, and every weight moves; where this machine has no kernel, the command says so."""
    expected = [{k: v for k, v in losses.items() if "confidence" not in k} for losses in trained(name)[0]]
    keras.config.set_dtype_policy(policy)
    try:
        model = tiny(name)
        before, traced = values(model), tf.function(model.train_step)
        if model.loss_scale:  # from START the first moves may be left out, and then the losses are not those of float32
            model.loss_scale.scale.assign(256.0)
        for number, wanted in enumerate(expected):
            losses = traced(batch(model, number))
            assert all(value.dtype == tf.float32 for value in losses.values())
            assert_close({key: float(losses[key]) for key in wanted}, wanted, rtol=0.03, atol=0.02)
        if model.loss_scale:
            model.loss_scale.scale.assign(loss_scale.START)
        for number in range(STEPS, 4 * STEPS):  # float16 finds its loss scale by leaving moves out
            traced(batch(model, number))
    except tf.errors.OpError:
        with pytest.raises(precision.Unable, match=f"this machine cannot train {name} in {policy}: .*; --precision fl"):
            precision.check(described(name, policy))
        return
    finally:
        keras.config.set_dtype_policy("float32")
    after = values(model)
    trainable = {id(weight.value) for network in players(model).values() for weight in network.trainable_weights}
    still = {key for key, value in model.state().items() if id(value) in trainable}
    still = {key for key in still if np.array_equal(before[key], after[key])}
    assert not still, still
    assert all(np.isfinite(value).all() for value in after.values())
    assert all(variable.dtype == "float32" for variable in model.ema.weights)


def described(name, policy):
    """The family's tiny run in a precision."""
    settings = dataclasses.asdict(catalogue.load(name).PRESETS["tiny"])
    return RunConfig(
        model=name, preset="tiny", data="studio", fit="crop", view="auto", seed=5, strategy="one", precision=policy,
        conditional=False, augment="none", settings=settings,
    )  # fmt: skip


@promise
def test_saving_and_restoring_goes_on_exactly(name, tmp_path):
    """Train 1, save, restore elsewhere, train 1: bit for bit the same as going on."""
    straight, resumed = tiny(name), tiny(name, seed=99)
    resumed.seed = straight.seed
    straight.train_step(batch(straight))
    Checkpoints(str(tmp_path), straight.state()).save(1)
    assert Checkpoints(str(tmp_path), resumed.state()).restore() == 1
    for model in (straight, resumed):
        model.train_step(batch(model, 1))
    expected, found = values(straight), values(resumed)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("augment", ["diffaugment", "ada"])
@promise
def test_augmented_steps_are_finite(name, augment):
    model = tiny(name, augment=augment)
    if not isinstance(model, TwoPlayer):
        pytest.skip("no critic, nothing to augment")
    model.ada_strength.assign(0.5)
    assert all(np.isfinite(value) for value in step(model).values())


def test_exceptions_name_promises_and_families_that_exist():
    assert mistaken(EXCEPTIONS) == []
    misspelt = ("test_two_replica_equals_one", "dcgan"), ("test_two_replicas_equal_one", "dcgann")
    assert mistaken(dict.fromkeys(misspelt, "a reason")) == list(misspelt)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function (name) -> (model told two facts if it takes any, its exported version)."""

    @functools.cache
    def made(name):
        model = tiny(name, facts=told(name, CONDITIONS["two"]))
        model.train_step(batch(model))
        return model, export(model, str(tmp_path_factory.mktemp("models")), name, metadata={"task": model.task})

    return made


@promise
def test_the_export_passes_the_gate_and_answers_alone(name, exported):
    """Built, run in C++ and compared with the live model by the gate; then opened without the model's code and asked again."""
    model, path = exported(name)
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


@promise
def test_every_signature_answers_over_grpc_and_rest(name, exported):
    """As the session does; over gRPC also where a request leaves out what it may. TensorFlow Serving's REST wants every input."""
    model, path = exported(name)
    with watched(Path(path).parent.parent, name) as server, Session(path) as session:
        for target in (server.grpc, server.rest):
            with Client(target) as client:
                for key, signature in model.signatures().items():
                    request = signature.samples(np.random.default_rng(2), 2)
                    short = {alias: rows for alias, rows in request.items() if alias not in signature.defaults}
                    for asked in (request, short) if target == server.grpc else (request,):
                        answer, expected = client.predict(name, asked, signature=key), session.run(key, asked)
                        assert answer.keys() == expected.keys()
                        for alias, value in expected.items():
                            np.testing.assert_array_equal(answer[alias], value, err_msg=f"{target} {key} {alias}")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, task in catalogue.names().items() if task == "enhancement"])
def test_what_a_mask_keeps_comes_out_bit_for_bit_from_the_export_and_over_the_wire(name, exported, tmp_path):
    """Everything else is the model's. Enlarged, what is kept is the photo's bicubic enlargement."""
    model, path = exported(name)
    rng = np.random.default_rng(3)
    photo, mask = rng.integers(0, 256, (20, 28, 3), np.uint8), np.zeros((20, 28), bool)
    mask[4:11, 6:20] = True
    for file, pixels in (("photo.png", photo), ("mask.png", (mask * 255).astype(np.uint8))):
        Image.fromarray(pixels).save(tmp_path / file)
    words = [str(tmp_path / "photo.png"), "--keep", str(tmp_path / "mask.png"), "--out"]
    with watched(Path(path).parent.parent, name) as server:
        for out, command in (
            ("export", ["enhance", "--model", path]),
            ("grpc", ["request", "--server", server.grpc, "--model", name, "apply"]),
            ("rest", ["request", "--server", server.rest, "--model", name, "apply"]),
        ):
            done = CliRunner().invoke(main, [*command, *words, str(tmp_path / out)])
            assert done.exit_code == 0, done.output
    scale = model.config.scale
    large = np.asarray(Image.fromarray(photo).resize((28 * scale, 20 * scale), Image.Resampling.BICUBIC))
    kept = mask.repeat(scale, axis=0).repeat(scale, axis=1)
    with Session(path) as session:
        (free,) = session.run("apply", {"images": photo[None]})["images"]
    for out in ("export", "grpc", "rest"):
        made = np.asarray(Image.open(tmp_path / out / "photo.png"))
        np.testing.assert_array_equal(made[kept], large[kept])
        np.testing.assert_array_equal(made[~kept], free[~kept])
