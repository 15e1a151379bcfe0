"""What is particular to VQGAN."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny

from data.errors import UserError
from data.images import to_float
from models import catalogue
from models.features.catalogue import open_network
from models.generation import vqgan
from serving.export.export import export
from serving.export.session import Session


def unit(*shape, seed=0):
    """Vectors of length 1, float32."""
    values = np.random.default_rng(seed).normal(size=shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def codebook(entries, lengths=1.0):
    layer = vqgan.Codebook(*entries.shape)
    layer.build((None, 2, 2, entries.shape[1]))
    layer.sums.assign(lengths * entries)
    return layer


def test_the_nearest_entry_is_taken_and_the_gradient_passes():
    """By squared distance, one place after the other; the gradient of the entry is that of the vector."""
    entries, vectors, wanted = unit(7, 3), unit(2, 2, 2, 3, seed=1), unit(2, 2, 2, 3, seed=2)
    layer, x = codebook(entries, np.linspace(0.1, 3.0, 7)[:, None]), tf.constant(vectors)
    with tf.GradientTape() as tape:
        tape.watch(x)
        nearest, codes = layer(x)
        total = tf.reduce_sum(nearest * wanted)
    for place in np.ndindex(2, 2, 2):
        expected = np.square(entries - vectors[place]).sum(axis=1).argmin()
        assert codes[place] == expected
        np.testing.assert_allclose(nearest[place], entries[expected], atol=1e-6)
    np.testing.assert_allclose(tape.gradient(total, x), wanted)
    np.testing.assert_allclose(layer.look_up(codes), nearest, atol=1e-6)


def test_the_codebook_follows_its_places_and_sets_unused_entries_anew():
    """Entry 2 has no place and falls below a tenth of its even share of 1/4; the place of the largest key takes it."""
    entries, vectors = unit(4, 3), unit(5, 3, seed=1)
    layer = codebook(entries, np.array([[0.5], [0.2], [0.0255], [0.3]]))
    before, codes, keys = layer.sums.numpy(), np.array([0, 0, 1, 3, 0]), np.array([0.1, 0.2, 0.9, 0.3, 0.8])
    expected = 0.9 * before
    for vector, code in zip(vectors, codes, strict=True):
        expected[code] += 0.1 * vector / 5
    order = np.argsort(-keys)
    expected[2] = vectors[order[2]] / 4
    layer.follow(tf.constant(vectors), tf.constant(codes, tf.int32), tf.constant(keys, tf.float32), 0.9)
    np.testing.assert_allclose(layer.sums, expected, atol=1e-6)


def test_a_codebook_that_begins_as_one_entry_comes_to_use_all():
    """Places around sixteen directions: at the end all entries are used, and the distance to them is a small part of what it was."""
    centres, rng, distances = unit(16, 6), np.random.default_rng(3), []
    layer = codebook(np.repeat(unit(1, 6, seed=9), 16, axis=0), 1 / 16)
    for _ in range(150):
        vectors = centres[rng.integers(16, size=256)] + rng.normal(scale=0.02, size=(256, 6))
        vectors = tf.math.l2_normalize(tf.constant(vectors, tf.float32), axis=-1)
        nearest, codes = layer(tf.reshape(vectors, [1, 16, 16, 6]))
        distances.append(np.square(tf.reshape(nearest, [-1, 6]) - vectors).sum(axis=1).mean())
        layer.follow(vectors, tf.reshape(codes, [-1]), tf.constant(rng.uniform(size=256), tf.float32), 0.9)
    assert len(np.unique(codes)) == 16 and distances[-1] < 0.1 * distances[0]


def test_the_objective_by_hand():
    model = tiny("vqgan", content=2.0, perceptual=3.0, adversarial=5.0, commitment=7.0)
    rows, logged = batch(model), {}
    hook = model.generator_terms

    def terms(*arguments):
        logged.update(hook(*arguments))
        return logged

    model.generator_terms = terms
    pictures = rows["image"].numpy()
    seen, vectors, codes = (value.numpy() for value in model.network(rows["image"], training=True))
    entries = model.network.get_layer("codebook").entries().numpy()
    model.train_step(rows)
    np.testing.assert_allclose(logged["content"], 2 * np.abs(seen - pictures).mean(axis=(1, 2, 3)), rtol=1e-4)
    distance = np.square(vectors - entries[codes]).sum(axis=-1).mean(axis=(1, 2))
    np.testing.assert_allclose(logged["commitment"], 7 * distance, rtol=1e-4)
    maps = [open_network("packshot").maps(tf.constant(side)) for side in (seen, pictures)]
    distances = [np.abs(a - b).mean(axis=(1, 2, 3)) for a, b in zip(*(m.values() for m in maps), strict=True)]
    np.testing.assert_allclose(logged["perceptual"], 3 * np.mean(distances, axis=0), rtol=1e-3)
    answers = model.critic(seen, training=True).numpy()  # the critic as it is after its turn
    np.testing.assert_allclose(logged["adversarial"], -5 * answers.mean(axis=(1, 2)), rtol=1e-3, atol=1e-5)


def test_the_share_of_the_codebook_in_use_is_logged():
    model = tiny("vqgan")
    rows = batch(model)
    used = len(np.unique(model.network(rows["image"])[2]))
    assert float(model.train_step(rows)["generator_usage"]) == pytest.approx(used / 16)


def test_parameters_by_hand():
    """Of the tiny preset: convolutions k * k * in * out + out; blocks of two; a codebook of 16 entries of 4 numbers."""
    block = 2 * (9 * 8 * 8 + 8)
    encoder = (16 * 3 * 8 + 8) + block + (8 * 8 + 8) + block + (8 * 4 + 4)
    decoder = (4 * 8 + 8) + block + (8 * 8 + 8) + block + (9 * 8 * 3 + 3)
    assert vqgan.build(vqgan.PRESETS["tiny"], "network").count_params() == encoder + decoder + 16 * 4
    assert vqgan.build_critic(vqgan.PRESETS["tiny"], "critic").count_params() == (
        (16 * 3 * 8 + 8) + (16 * 8 * 16 + 16) + 9 * 16
    )


def test_it_answers_with_codes_and_pictures(tmp_path):
    """In C++: what is decoded from the codes of a picture is its reconstruction, and codes run along rows."""
    keras.utils.set_random_seed(0)
    model = tiny("vqgan")
    model.train_step(batch(model))
    images = np.random.default_rng(0).integers(256, size=(3, 16, 16, 3)).astype(np.uint8)
    files = np.array([tf.io.encode_png(image).numpy() for image in images], object)
    with Session(export(model, str(tmp_path), "vqgan", metadata={"task": model.task})) as session:
        codes = session.run("encode", {"images": images})["codes"]
        seen = session.run("reconstruct", {"images": images})["images"]
        decoded = session.run("decode", {"codes": codes})["images"]
        png = session.run("reconstruct_bytes", {"image_bytes": files})["image_bytes"]
    assert codes.shape == (3, 16) and codes.dtype == np.int64
    np.testing.assert_array_equal(codes, model.ema(to_float(images))[2].numpy().reshape(3, 16))
    np.testing.assert_array_equal(seen, decoded)
    for picture, file in zip(seen, png, strict=True):
        assert np.abs(picture.astype(int) - tf.io.decode_png(file).numpy()).max() <= 1


def test_settings_must_fit():
    for changes, sentence in (
        ({"blocks": (1,)}, "must name as many stages"),
        ({"resolution": 18}, "channels halve the picture 2 times, and resolution=18 cannot be"),
        ({"critic_layers": 5}, "critic_layers halve the picture 5 times, and resolution=16 cannot be"),
        ({"code_decay": 1.0}, "code_decay must be less than 1, not 1.0"),
    ):
        with pytest.raises(UserError, match=sentence):
            catalogue.configure(vqgan, "tiny", changes)
