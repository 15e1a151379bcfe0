"""What is particular to MaskGIT."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import LABEL, batch, tiny, told
from scipy.special import log_softmax, softmax

from data.errors import UserError
from data.facts import Facts
from data.images import to_float
from data.random import RowRandom
from models import catalogue
from models.generation import maskgit
from serving.export import offline
from serving.export.export import export
from serving.export.session import Session

MASKED = 16  # behind the codes of the tiny parent


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_codes_are_drawn_by_their_probabilities():
    """Where the distribution function passes the uniform number; its rows here are NumPy's."""
    logits, uniform = 2 * normal(3, 5, 7), np.random.default_rng(1).uniform(size=(3, 5)).astype(np.float32)
    codes, log_probabilities = maskgit.draw(tf.constant(logits), tf.constant(uniform))
    chances = softmax(logits.astype(float), axis=-1)
    for place in np.ndindex(3, 5):
        expected = np.searchsorted(np.cumsum(chances[place]), uniform[place], side="right")
        assert codes[place] == expected
        np.testing.assert_allclose(log_probabilities[place], np.log(chances[place][expected]), atol=1e-5)
    ends = maskgit.draw(tf.constant(logits), tf.fill([3, 5], 1.0 - 2.0**-24))[0]
    assert ends.numpy().max() < 7


def test_attention_by_loops():
    """Vaswani et al. 2017, eq. 1, for two heads of three numbers."""
    x = normal(2, 4, 18)
    expected = np.zeros([2, 4, 6])
    for row, place, head in np.ndindex(2, 4, 2):
        part = slice(3 * head, 3 * head + 3)
        query, keys, values = x[row, place, :6][part], x[row, :, 6:12][:, part], x[row, :, 12:][:, part]
        expected[row, place, part] = softmax(keys @ query / np.sqrt(3)) @ values
    layer = maskgit.Attend(2)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    assert layer.compute_output_shape(x.shape) == expected.shape


def test_codes_side_by_side_are_one_place_of_the_transformer():
    """Its blocks start at zero, so a code changes what is said of its own 2 x 2 codes and nothing else."""
    model = tiny("maskgit")
    codes = np.zeros((16, 16), np.int32)
    codes[np.arange(16), np.arange(16)] = 3  # row i: code i is another
    changed = np.abs(model.network([codes]) - model.network([np.zeros_like(codes)])).max(axis=-1) > 1e-6
    y, x = np.divmod(np.arange(16), 4)
    same = (y[:, None] // 2 == y // 2) & (x[:, None] // 2 == x // 2)
    np.testing.assert_array_equal(changed, same)


def test_codes_that_look_alike_begin_alike():
    """Angles of their vectors, read and told, are those of the entries: here of 500 numbers, so that chance hardly matters."""
    entries = normal(16, 4)
    entries /= np.linalg.norm(entries, axis=1, keepdims=True)
    config = dataclasses.replace(maskgit.PRESETS["tiny"], code_size=500)
    network = maskgit.build(config, 4, entries, Facts(), "network")
    read, told = network.layers[1].embeddings.numpy()[:16], network.layers[-2].kernel.numpy().T
    for table in (read, told):
        vectors = table / np.linalg.norm(table, axis=1, keepdims=True)
        np.testing.assert_allclose(vectors @ vectors.T, entries @ entries.T, atol=0.25)


def test_a_step_computes_the_cross_entropy_of_what_is_masked():
    model = tiny("maskgit", facts=Facts((LABEL,)), hidden=0.5)
    rows, logged, given = batch(model), {}, []
    network, hook = model.network, model.terms

    def watched(inputs, **options):
        given.append(([value.numpy() for value in inputs], network(inputs, **options)))
        return given[-1][1]

    def terms(batch):
        logged.update(hook(batch))
        return logged

    model.terms = terms
    object.__setattr__(model, "network", watched)
    model._begin(rows)
    terms(rows)
    ((codes, label), logits), expected = given[0], []
    true = model.parent.encode(rows["image"]).numpy()
    masked = codes == MASKED
    np.testing.assert_array_equal(codes[~masked], true[~masked])
    for row in range(len(codes)):
        losses = -log_softmax(logits[row].numpy().astype(float), axis=-1)[np.arange(16), true[row]]
        expected.append(losses[masked[row]].mean())
    np.testing.assert_allclose(logged["cross_entropy"], expected, rtol=1e-5)
    assert (
        masked.any(axis=1).all()
        and set(label) >= {-1}
        and (label[label >= 0] == rows["label"].numpy()[label >= 0]).all()
    )


def test_as_many_codes_are_masked_as_the_cosine_says():
    """ceil(16 cos(pi u / 2)) of a row: the arc sine law, whose mean is 2 / pi."""
    model, counts = tiny("maskgit", batch_size=256), []
    model._begin(batch(model))
    network = model.network
    object.__setattr__(
        model,
        "network",
        lambda inputs, **_: counts.append((inputs[0].numpy() == MASKED).sum(axis=1)) or network(inputs),
    )
    model.terms(batch(model))
    counts = counts[0] / 16
    assert counts.min() > 0 and counts.max() == 1
    u = np.linspace(0, 1, 100_001)
    assert counts.mean() == pytest.approx((np.ceil(16 * np.cos(np.pi * u / 2)) / 16).mean(), abs=0.06)


def watched(model, logits, **options):
    """The codes before each step of a drawing in which the network says `logits`, and at the end."""
    seen = []

    def answer(codes, *_, **__):
        seen.append(codes.numpy())
        return tf.constant(logits)

    model.logits = answer
    codes = tf.fill([len(logits), 16], MASKED)
    temperature = tf.zeros([len(logits)])
    random = RowRandom(tf.range(len(logits), dtype=tf.int64))
    seen.append(model.filled(random, codes, [], temperature=temperature, **options).numpy())
    return seen


def test_the_surest_codes_are_settled_first_as_the_schedule_says():
    """Paper, section 3.2: cos(pi t / 2T) of the codes are masked after step t; without randomness in the order of their probability."""
    model = tiny("maskgit", steps=4)
    sure = np.random.default_rng(0).permuted(np.tile(np.linspace(6, 16, 16), (3, 1)), axis=1)
    wanted = np.random.default_rng(1).integers(16, size=(3, 16))
    logits = np.float32(sure[..., None] * np.eye(16)[wanted])
    steps = watched(model, logits)
    for t, codes in enumerate(steps):
        left = 0 if t == 4 else int(np.ceil(16 * np.cos(np.pi * t / 8)))
        masked = codes == MASKED
        assert (masked.sum(axis=1) == left).all()
        if t < 4:
            np.testing.assert_array_equal(masked, sure.argsort(axis=1).argsort(axis=1) < left)
        np.testing.assert_array_equal(codes[~masked], wanted[~masked])


def test_temperature_changes_the_order():
    model = tiny("maskgit")
    model.logits = lambda codes, *_, **__: tf.tile(tf.constant(normal(1, 16, 16)), [len(codes), 1, 1])
    random, codes = RowRandom(tf.constant([3, 3], tf.int64)), tf.fill([2, 16], MASKED)
    cold, hot = model.filled(random, codes, [], temperature=tf.constant([0.0, 10.0])).numpy()
    assert (cold != hot).any()


def test_codes_that_are_there_stay():
    model = tiny("maskgit")
    given = np.random.default_rng(0).integers(16, size=(3, 16)).astype(np.int32)
    given[0, 3:9], given[1, :] = MASKED, MASKED
    made = model.filled(RowRandom(tf.constant([1, 2, 3], tf.int64)), tf.constant(given), []).numpy()
    np.testing.assert_array_equal(made[given < MASKED], given[given < MASKED])
    assert made.max() < MASKED


def test_guidance_goes_from_what_is_said_untold_to_what_is_said_told_and_beyond():
    model = tiny("maskgit", facts=Facts((LABEL,)))
    for weight in model.ema.weights:
        weight.assign(weight + 0.1 * normal(*weight.shape))
    codes, label = tf.fill([3, 16], MASKED), tf.constant([0, 1, 2])
    apart = [model.ema([codes, column]).numpy() for column in (label, tf.fill([3], -1))]
    weights = np.array([0.0, 1.0, 2.5], np.float32)
    found = model.logits(codes, [label], guidance=tf.constant(weights))
    expected = apart[1] + weights[:, None, None] * (apart[0] - apart[1])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(model.logits(codes, [label]), apart[0], atol=1e-4)
    assert set(model.KNOBS) == {"temperature", "guidance"} and set(tiny("maskgit").KNOBS) == {"temperature"}


def test_parameters_by_hand():
    """Of the tiny preset over 4 x 4 codes of 16: tables, a block, layers around it, and 3 classes."""
    width, size = 32, 4
    attention = 2 * width + 3 * width * width + width * width + width
    dense = 2 * width + 4 * width * width + 4 * width + 4 * width * width + width
    ends = 17 * size + (4 * size * width + width) + 4 * width  # codes; to places; places
    ends += 2 * width + width * 4 * size + 4 * size + size * 16 + 16
    network = maskgit.build(maskgit.PRESETS["tiny"], 4, np.eye(16, 3), Facts((LABEL,)), "network")
    assert network.count_params() == ends + attention + dense + 3 * width


def test_it_fills_what_is_masked_and_nothing_else(tmp_path):
    """In C++: outside the mask the picture's own bytes; inside another picture for another seed; without a mask nothing."""
    keras.utils.set_random_seed(0)
    model = tiny("maskgit", facts=told("maskgit"))
    images = np.random.default_rng(0).integers(256, size=(3, 16, 16, 3)).astype(np.uint8)
    mask = np.zeros((3, 16, 16, 1), np.uint8)
    mask[:2, 3:9, 5:14] = 255
    files = {
        "image_bytes": np.array([tf.io.encode_png(image).numpy() for image in images], object),
        "mask_bytes": np.array([tf.io.encode_png(each).numpy() for each in mask], object),
    }
    seed = np.array([7, 8, 9])
    with Session(export(model, str(tmp_path), "maskgit", metadata={"task": model.task})) as session:
        filled = session.run("fill", {"images": images, "mask": mask, "seed": seed, "label": np.array([-1, 2, 0])})[
            "images"
        ]
        other = session.run("fill", {"images": images, "mask": mask, "seed": seed + 1})["images"]
        first = session.run("fill", {"images": images, "mask": mask})["images"]
        png = session.run("fill_bytes", files | {"seed": seed})["image_bytes"]
        again = session.run("fill", {"images": images, "mask": mask, "seed": seed})["images"]
    masks = {"mask": files["mask_bytes"][:1]}
    photo = offline.apply(
        str(tmp_path / "maskgit"),
        files["image_bytes"][:1],
        signature="fill",
        others=masks,
        conditions={"label": "hats"},
    )
    inside = mask[..., 0] > 0
    alone = tf.io.decode_png(next(photo)).numpy()
    np.testing.assert_array_equal(alone[~inside[0]], images[0][~inside[0]])
    for made in (filled, other, first, again):
        np.testing.assert_array_equal(made[~inside], images[~inside])
    assert (filled[inside] != images[inside]).mean() > 0.5 and (again[inside] != other[inside]).any()
    for picture, file in zip(again, png, strict=True):
        assert np.abs(picture.astype(int) - tf.io.decode_png(file).numpy()).max() <= 1
    cells = np.zeros((2, 16), bool)  # those of 4 x 4 px that the mask touches: rows 0 to 2, columns 1 to 3
    cells.reshape(2, 4, 4)[:, 0:3, 1:4] = True
    seen = []
    model.filled = lambda random, codes, columns, **_: seen.append(codes.numpy()) or codes * 0
    fill = model.endpoints()["fill"].function
    columns = {"label": tf.constant([0, 0, 0]), "text": tf.constant(["a hat"] * 3)} | {
        name: tf.ones([3]) for name in model.KNOBS
    }
    fill(images=to_float(images), mask=tf.constant(mask / np.float32(255)), seed=None, **columns)
    np.testing.assert_array_equal(seen[0][:2] == MASKED, cells)
    np.testing.assert_array_equal(seen[0][2], model.parent.encode(to_float(images))[2])


def test_settings_must_fit():
    for changes, sentence in (
        ({"width": 48}, "width must be a multiple of 32, not 48"),
        ({"words_size": 48}, "words_size must be a multiple of 32, not 48"),
        ({"heads": 5}, "width=32 must be a multiple of heads=5"),
        ({"hidden": 1.5}, "hidden must be 1 or less, not 1.5"),
    ):
        with pytest.raises(UserError, match=sentence):
            catalogue.configure(maskgit, "tiny", changes)
    parent = tiny("vqgan")
    for changes, sentence in (
        ({"resolution": 32}, "codes of pictures of 16 px, not of resolution=32"),
        ({"patch": 3}, "patch=3 does not divide the parent's 4 codes a side"),
    ):
        with pytest.raises(UserError, match=sentence):
            maskgit.Model(catalogue.configure(maskgit, "tiny", changes), parent=parent)
