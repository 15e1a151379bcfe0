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
