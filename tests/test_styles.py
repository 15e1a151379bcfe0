"""Photos put into styles, editing directions and sheets, as functions and as commands."""

import json

import numpy as np
import pytest
import tensorflow as tf
from families import LABEL, tiny
from PIL import Image
from running import invoke, train

from data.errors import UserError
from data.facts import Facts
from data.random import RowRandom
from models import styles
from serving.export.export import export
from serving.export.session import Session
from trainer import cli


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """With averages of w that are not zero."""
    model = tiny("stylegan2", facts=Facts((LABEL,)))
    average = model.ema.get_layer("mapping").get_layer("average")
    for weight in (average.mean, *average.tables):
        weight.assign(normal(*weight.shape, seed=weight.shape[0]))
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "styles"
    words = ["--model", "stylegan2", "--preset", "tiny", "--data", "studio:20", "--conditional", "--no-export"]
    assert train(*words, "--images", 16, "--eval-every", 0, "--job-dir", folder).exit_code == 0
    return folder


def test_drawn_styles_are_those_of_generate(model):
    conditions = [tf.constant([2, 0])]
    found = model.synthesize(
        tf.constant(styles.drawn(model, [3, 4], conditions, 0.7)),
        model.noise(RowRandom(tf.constant([3, 4], tf.int64)), 2),
    )
    expected = model.generate(RowRandom(tf.constant([3, 4], tf.int64)), 2, conditions, truncation=tf.fill([2], 0.7))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("one", [False, True])
def test_a_made_picture_is_found_again(model, one):
    """From the average styles, which make another picture; with `one` all layers keep the same w."""
    conditions = [tf.constant([1])]
    wanted = styles.pictures(model, styles.drawn(model, [3], conditions, 1.0))[0]
    found = list(styles.project(model, wanted, conditions, steps=120, one=one))
    np.testing.assert_allclose(found[0].styles, styles.average_styles(model, conditions)[0], atol=1e-6)
    assert found[-1].loss < 0.1 * found[0].loss
    np.testing.assert_allclose(found[-1].picture, styles.pictures(model, found[-1].styles[None])[0], atol=1e-5)
    same = (found[-1].styles == found[-1].styles[0]).all()
    assert same == one


def test_directions_are_the_strongest_by_singular_values(model):
    """Of the affine maps that read w in these layers: left singular vectors, by NumPy's other algorithm."""
    matrices = model.style_matrices()
    found = styles.directions(model, range(1, 3))
    stacked = np.concatenate(matrices[1:3], axis=1)
    vectors, sizes, _ = np.linalg.svd(stacked)
    np.testing.assert_allclose(np.abs(found @ vectors), np.eye(len(found)), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found @ stacked, axis=1), sizes, rtol=1e-4)
    assert (np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None], axis=1) > 0).all()


def test_matrices_are_all_that_a_layer_reads(model):
    """A change of one layer's w changes its channels by that: the styled convolution, and the picture of the last of a stage."""
    synthesis = model.ema.get_layer("synthesis")
    change = normal(1, model.config.latent_size)
    for layer, matrix in enumerate(model.style_matrices()):
        readers = [each for each in synthesis.layers if each.name in (f"styled_{layer}", f"colours_{layer}")]
        assert len(readers) == (1 if layer in (1, 3) else 2)
        moved = [each.style(change) - each.style(np.zeros_like(change)) for each in readers]
        np.testing.assert_allclose(change @ matrix, np.concatenate(moved, axis=1), atol=1e-5)


def test_deviations_are_of_w(model):
    latent = tf.constant(normal(4000, model.config.latent_size, seed=1))
    w = model.styles(latent, [tf.fill([4000], 2)])[:, 0].numpy()
    vectors = styles.directions(model, range(5))[:3]
    found = styles.deviations(model, vectors, [tf.constant([2])])
    for vector, size in zip(vectors, found, strict=True):
        assert size == pytest.approx(np.std(w @ vector), rel=0.15)


def test_an_export_goes_along_the_strongest_directions(model, tmp_path):
    """By deviations of w when the classes are drawn alike; row by row, and in the graph as in NumPy."""
    seeds, label = np.array([3, 4, 5]), np.array([0, 1, 2])
    vectors = styles.directions(model, range(5))[:2]
    sizes = styles.deviations(model, vectors, [tf.range(styles.SPREAD) % 3])
    with Session(export(model, str(tmp_path), "styles", metadata={"task": model.task})) as session:

        def made(signature, **inputs):
            return session.run(signature, inputs)

        asked = {"seed": seeds, "label": label, "direction_2": np.array([0, 1.5, -2], np.float32)}
        found = made("generate", **asked)["images"].astype(int)
        w = made("styles", seed=seeds, label=label)["w"]
        w[1] += 1.5 * sizes[1] * vectors[1]
        w[2] -= 2 * sizes[1] * vectors[1]
        expected = made("synthesize", w=w, seed=seeds)["images"]
        still = made("generate", seed=seeds, label=label)["images"]
    assert np.abs(found - expected).max() <= 1
    np.testing.assert_array_equal(found[0], still[0])
    assert (found[1:] != still[1:]).any(axis=(1, 2, 3)).all()


def test_sheets_by_hand():
    start, vectors = normal(3, 2), normal(2, 2, seed=1)
    edited = styles.edits(start, vectors, np.array([-1.0, 0.0, 2.0]), range(1, 2))
    assert edited.shape == (2, 3, 3, 2)
    np.testing.assert_allclose(edited[1, 2], start + 2 * np.array([[0, 0], vectors[1], [0, 0]]), rtol=1e-6)
    first, second = normal(2, 3, 4), normal(3, 3, 4, seed=1)
    sheet = styles.mixtures(first, second, 1).reshape(3, 4, 3, 4)
    np.testing.assert_array_equal(sheet[2, 0], first[1])
    np.testing.assert_array_equal(sheet[0, 3], second[2])
    np.testing.assert_array_equal(sheet[2, 3], [first[1, 0], second[2, 1], second[2, 2]])
    ways = styles.ways(first, 3)
    np.testing.assert_allclose(ways, [first[0], (first[0] + first[1]) / 2, first[1]], atol=1e-6)


def test_layers_are_a_range(model):
    assert styles.layer_range("1-3", model) == range(1, 4) and styles.layer_range(None, model) == range(5)
    for text in ("3-1", "0-5", "2", "a-b", "-1-2"):
        with pytest.raises(UserError, match="layers are FIRST-LAST from 0 to 4"):
            styles.layer_range(text, model)


def test_commands(run, tmp_path):
    """A photo into styles, their edits, mixtures and ways."""
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(photo)
    done = invoke(cli.main, "project", run, photo, "--steps", 5, "--label", "mug", "--out", tmp_path / "found")
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "found/styles.json").read_text())
    assert f"{written['psnr']:.2f} dB" in done.output and np.array(written["styles"]).shape == (5, 8)
    made = np.asarray(Image.open(tmp_path / "found/projected.png"))
    wanted = np.asarray(Image.open(photo).crop((5, 0, 25, 20)).resize((16, 16), Image.Resampling.BICUBIC)).astype(float)
    residual = np.asarray(Image.open(tmp_path / "found/residual.png")).astype(float)
    assert np.corrcoef((wanted - made).ravel(), residual.ravel())[0, 1] > 0.9
    sides = {}
    for name, words in {
        "edits": ["directions", run, "--n", 2, "--columns", 3, "--styles", tmp_path / "found/styles.json"],
        "drawn": ["directions", run, "--n", 2, "--columns", 3, "--layers", "0-1", "--label", "mug"],
        "mixed": ["mix", run, "--rows", 2, "--columns", 3, "--label", "hat"],
        "way": ["mix", run, "--rows", 2, "--columns", 3, "--way"],
    }.items():
        out = tmp_path / f"{name}.png"
        done = invoke(cli.main, *words, "--out", out)
        assert done.exit_code == 0, done.output
        sides[name] = np.asarray(Image.open(out)).shape[1::-1]
    assert sides["mixed"] == (4 * 18 - 2, 3 * 18 - 2) and sides["way"] == (3 * 18 - 2, 2 * 18 - 2)
    assert sides["drawn"] == sides["edits"] and sides["drawn"][1] == 2 * 18 - 2


def test_what_is_wrong_is_told(run, tmp_path):
    other = tmp_path / "styles.json"
    other.write_text('{"styles": [[1.0]]}')
    for words, sentence in (
        (["mix", run, "--way", "--from-layer", 2], "--way goes between whole styles"),
        (["mix", run, "--from-layer", 5], "--from-layer must be less than 5"),
        (["mix", run, "--label", "boat"], "unknown label 'boat'"),
        (["mix", run, "--condition", "size=3"], "the model is told nothing called size; it is told: label"),
        (["directions", run, "--styles", other], "must hold finite styles [5, 8] for this run, not [1, 1]"),
        (["directions", run, "--layers", "4"], "layers are FIRST-LAST"),
        (["project", run, tmp_path / "none.jpg", "--out", tmp_path / "x"], "none.jpg"),
        (["mix", tmp_path], "config.json"),
    ):
        done = invoke(cli.main, *words, *([] if "--out" in words else ["--out", tmp_path / "new.png"]))
        assert done.exit_code == 2 and sentence in done.output, done.output
    assert not (tmp_path / "new.png").exists()


def test_a_run_without_styles_is_told(tmp_path):
    config = tmp_path / "plain"
    words = ["--model", "mlp_gan", "--preset", "tiny", "--data", "studio:20", "--images", 8, "--eval-every", 0]
    assert train(*words, "--no-export", "--job-dir", config).exit_code == 0
    done = invoke(cli.main, "mix", config, "--out", tmp_path / "x.png")
    assert done.exit_code == 2 and "a run of mlp_gan, which has no styles; have: stylegan2" in done.output
