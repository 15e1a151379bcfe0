"""Pictures from an exported folder alone: seeds, labels, and photos of which some are bad."""

import io
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from toy_models import enhancer, generator

from serving.export import offline
from serving.export.export import export

SIZE = 4


def _tinted(z, label=None):
    noise = tf.reshape(tf.tile(z, [1, 3 * SIZE]), [-1, SIZE, SIZE, 3])
    return tf.tanh(noise if label is None else noise + tf.cast(label, tf.float32)[:, None, None, None])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with `labelled` and `plain` generators, and `negative`, which takes photos."""
    to = tmp_path_factory.mktemp("models")
    labelled = generator(_tinted, latent_size=SIZE, resolution=SIZE, conditions=[("label", ("shoes", "hats"))])
    export(labelled, to, "labelled", metadata={})
    export(generator(_tinted, latent_size=SIZE, resolution=SIZE), to, "plain", metadata={})
    export(enhancer(lambda x: -x), to, "negative", metadata={})
    for name, facts in (("old", {"classes": ["shoes", "hats"]}), ("nameless", {})):  # of schema 1
        shutil.copytree(to / "labelled", to / name)
        report = json.loads((to / name / "1" / "export.json").read_text())
        del report["schema"], report["interface"], report["metadata"]
        (to / name / "1" / "export.json").write_text(json.dumps(report | {"facts": facts}))
    return to


def _png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def test_picture_i_has_the_seed_plus_i_whatever_the_batch(models, monkeypatch):
    monkeypatch.setattr(offline, "BATCH", 2)
    images = offline.sample(models / "labelled", 5, seed=3, conditions={"label": "hats"})
    assert images.shape == (5, SIZE, SIZE, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(offline.sample(models / "labelled", 1, seed=5, conditions={"label": 1})[0], images[2])


@pytest.mark.parametrize("name", ["labelled", "old"])
def test_without_a_label_the_classes_take_turns(models, name):
    in_turn = offline.sample(models / name, 2, seed=3)
    for i, label in enumerate(["shoes", "hats"]):
        alone = offline.sample(models / name, 1, seed=3 + i, conditions={"label": label})
        np.testing.assert_array_equal(in_turn[i], alone[0])


@pytest.mark.parametrize("label", ["boots", 2, -1, "9"])
def test_an_unknown_label_names_the_known_ones(models, label):
    with pytest.raises(offline.CannotServe, match="have: shoes, hats"):
        offline.sample(models / "labelled", 1, seed=0, conditions={"label": label})


def test_classes_without_names_are_asked_for_by_number(models):
    assert len(offline.sample(models / "nameless", 1, seed=0, conditions={"label": 1})) == 1
    with pytest.raises(offline.CannotServe, match="give a number"):
        offline.sample(models / "nameless", 1, seed=0)


def test_what_a_model_cannot_do_is_said(models):
    with pytest.raises(offline.CannotServe, match="no signature apply_bytes; it has: generate"):
        next(offline.apply(models / "plain", [b""]))
    with pytest.raises(offline.CannotServe, match="no signature generate; it has: apply"):
        offline.sample(models / "negative", 1, seed=0)
    with pytest.raises(offline.CannotServe, match="without classes"):
        offline.sample(models / "plain", 1, seed=0, conditions={"label": "hats"})
    with pytest.raises(offline.CannotServe, match="has no condition colour; it has: label"):
        offline.sample(models / "labelled", 1, seed=0, conditions={"colour": "red"})
    with pytest.raises(offline.CannotServe, match="takes no number strength; it takes: truncation"):
        offline.sample(models / "plain", 1, seed=0, numbers={"strength": 1.0})
    with pytest.raises(offline.CannotServe, match="truncation must be between 0 and 2, not 3"):
        offline.sample(models / "plain", 1, seed=0, numbers={"truncation": 3.0})


def test_one_bad_photo_does_not_fail_the_others(models):
    photo = np.random.default_rng(0).integers(256, size=(5, 7, 3)).astype(np.uint8)
    good, bad, again = offline.apply(models / "negative", [_png(photo), b"no picture", _png(photo)])
    assert isinstance(bad, ValueError) and good == again
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(good))), 255 - photo)


# Between two ends


def test_rows_between_seeds_begin_and_end_with_the_pictures_of_the_seeds(models, monkeypatch):
    monkeypatch.setattr(offline, "BATCH", 4)
    made = offline.between(models / "plain", [(3, 9), (9, 4)], 5)
    assert made.shape == (10, SIZE, SIZE, 3) and made.dtype == np.uint8
    for place, seed in ((0, 3), (4, 9), (5, 9), (9, 4)):
        np.testing.assert_array_equal(made[place], offline.sample(models / "plain", 1, seed=seed)[0])


@pytest.mark.parametrize("name", ["labelled", "old"])
def test_rows_are_of_the_classes_in_turn_or_of_one(models, name):
    for given, labels in (({}, ("shoes", "hats")), ({"label": "hats"}, ("hats", "hats"))):
        made = offline.between(models / name, [(3, 9), (3, 9)], 2, conditions=given)
        for row, label in enumerate(labels):
            ends = [offline.sample(models / name, 1, seed=seed, conditions={"label": label})[0] for seed in (3, 9)]
            np.testing.assert_array_equal(made[2 * row : 2 * row + 2], ends)


def test_a_model_without_z_or_without_an_encoder_says_so(models):
    with pytest.raises(offline.CannotServe, match="makes no pictures from z; it has: apply, apply_bytes"):
        offline.between(models / "negative", [(3, 9)], 2)
    with pytest.raises(offline.CannotServe, match=r"cannot encode photos; give seeds, not a\.png"):
        offline.between(models / "plain", [(3, "a.png")], 2)


def test_an_arc_keeps_its_length_and_turns_evenly():
    """Against a rotation in the plane of the two ends."""
    rng = np.random.default_rng(0)
    first, across = np.linalg.qr(rng.normal(size=(6, 2)))[0].T * 3.0
    last = np.cos(2.0) * first + np.sin(2.0) * across
    angles = np.linspace(0.0, 2.0, 7)[:, None]
    expected = np.cos(angles) * first + np.sin(angles) * across
    np.testing.assert_allclose(offline.arc(first, last, 7), expected, atol=1e-5)
    found = offline.arc(first.reshape(2, 3), last.reshape(2, 3), 7)
    np.testing.assert_allclose(found.reshape(7, 6), expected, atol=1e-5)


@pytest.mark.parametrize("factor", [0.0, 1.0, 2.0, -1.0])
def test_an_arc_of_one_direction_is_a_line(factor):
    first = np.array([3.0, 4.0])
    shares = np.linspace(0, 1, 5)[:, None]
    np.testing.assert_allclose(offline.arc(first, factor * first, 5), (1 - shares) * first + shares * factor * first)
