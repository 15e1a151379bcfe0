"""Extractors: the same vectors whatever stands beside a picture, names that follow the weights, and sentences for what cannot be used."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from data.images import bicubic_float
from models.features import packshot
from trainer.features.catalogue import open_features
from trainer.metrics.distribution import kid
from trainer.metrics.names import of_sets

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def encoder():
    return open_features("packshot")


def test_vectors_do_not_depend_on_the_other_pictures(encoder):
    many = np.concatenate([PICTURES] * 15)  # more than a batch
    told = []

    def progress(batches, total, what):
        for count, batch in batches:
            told.append((count, len(batch), total))
            yield count, batch

    found = encoder.vectors(many, progress)
    assert (
        found.shape == (75, sum(packshot.SHARES)) and found.dtype == np.float32 and told == [(64, 64, 2), (11, 64, 2)]
    )
    alone = encoder.vectors(PICTURES[3:4])
    np.testing.assert_allclose(found[3::5], np.repeat(alone, 15, axis=0), atol=1e-5)
    assert np.abs(found).max() <= packshot.LIMIT and np.abs(found[3] - found[4]).max() > 0.1


def test_pictures_may_have_any_sizes(encoder):
    sizes = [(24, 24), (128, 128), (130, 64), (1, 1), (300, 200)]
    pictures = [np.random.default_rng(h).integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in sizes]
    found = encoder.vectors(pictures)
    for picture, row in zip(pictures, found, strict=True):
        np.testing.assert_allclose(encoder.vectors(picture[None])[0], row, atol=1e-5)
    assert [layer.shape for layer in encoder.maps(pictures)] == [
        (5, 128 >> depth, 128 >> depth, channels[-1]) for depth, channels in enumerate(packshot.DEPTHS, 1)
    ]


@pytest.mark.parametrize(
    "pictures, sentence",
    [
        (PICTURES[:0], "no features of no pictures"),
        (PICTURES.astype(np.float32), "picture 0 must be uint8"),
        (
            [PICTURES[0], PICTURES[1, :, :, :1]],
            r"picture 1 must be uint8 \[height, width, 3\], not uint8 \[24, 24, 1\]",
        ),
    ],
    ids=["none", "floats", "grey"],
)
def test_other_pictures_are_refused(encoder, pictures, sentence):
    with pytest.raises(ValueError, match=sentence):
        encoder.vectors(pictures)


def test_the_encoder_by_hand(encoder):
    """Strided 3x3 convolutions as sums over shifted pictures, in NumPy."""
    with np.load(packshot.FILE) as file:
        weights = {name: file[name].astype(np.float64) for name in file.files}
    here, number, parts = bicubic_float(PICTURES[0], (128, 128)).astype(np.float64) / 127.5 - 1, 0, []
    for depth, widths in enumerate(packshot.DEPTHS):
        for layer in range(len(widths)):
            stride = 1 if layer else 2
            before = 0 if stride == 2 else 1  # TensorFlow pads an even side at the end
            padded = np.pad(here, ((before, 1), (before, 1), (0, 0)))
            side = len(here) // stride
            kernel = weights[f"kernel{number}"]
            windows = [
                (y, x, padded[y : y + len(here) : stride, x : x + len(here) : stride])
                for y in range(3)
                for x in range(3)
            ]
            here = sum(window[:side, :side] @ kernel[y, x] for y, x, window in windows)
            here = np.maximum(here + weights[f"bias{number}"], 0)
            number += 1
        pooled = np.concatenate([here.mean(axis=(0, 1)), np.sqrt(here.var(axis=(0, 1)) + 1e-6)])
        parts.append((pooled - weights[f"centre{depth}"]) @ weights[f"matrix{depth}"])
    row = np.concatenate(parts)
    expected = row / np.sqrt(1 + (row / packshot.LIMIT) ** 2)
    np.testing.assert_allclose(encoder.vectors(PICTURES[:1])[0], expected, atol=2e-3)


def test_the_name_follows_the_weights(encoder, tmp_path):
    with np.load(packshot.FILE) as file:
        weights = dict(file)
    np.savez(tmp_path / "same.npz", **dict(reversed(weights.items())))
    weights["bias0"] = weights["bias0"] + np.float16(0.25)
    np.savez(tmp_path / "other.npz", **weights)
    assert packshot.open_packshot(tmp_path / "same.npz").name == encoder.name
    assert packshot.open_packshot(tmp_path / "other.npz").name != encoder.name
    rows = encoder.vectors(PICTURES)
    assert list(of_sets(kid, encoder.name, rows, rows)) == [f"kid_{encoder.name}_n5"]


def test_what_a_network_does_not_have_is_said(encoder):
    assert encoder.classes is None
    with pytest.raises(ValueError, match="packshot1-.* is not a classifier"):
        encoder.probabilities(PICTURES)


@pytest.mark.parametrize(
    "spec", ["", "packshot:", "packshot:x", "resnet", "keras", "keras:", "vgg16", "alexnet:", "file:", "inception:"]
)
def test_an_unknown_kind_is_refused(spec):
    with pytest.raises(
        ValueError,
        match=r"unknown features .*; have: packshot, inception\[:PATH\], keras:NAME, vgg16:PATH, alexnet:PATH, file:PATH",
    ):
        open_features(spec)


def network(side=16, channels=4, seed=0, pooled=True):
    """Brightness by channel after a random mix, in thousandths: linear, so that the expected features are easily said."""
    keras.utils.set_random_seed(seed)
    pictures = keras.Input((side, side, 3))
    found = keras.layers.Conv2D(channels, 1, use_bias=False)(pictures)
    return keras.Model(pictures, keras.layers.GlobalAveragePooling2D()(found) if pooled else found)


@pytest.mark.parametrize("kind", ["file", "inception"])
def test_the_path_of_a_network_is_resolved(kind, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    with pytest.raises(ValueError, match="/home/me/none.keras"):
        open_features(f"{kind}:~/none.keras")
    with pytest.raises(ValueError, match="s3:// is not known to this TensorFlow"):
        open_features(f"{kind}:s3://bucket/none.keras")


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("form", [".keras", ""])
def test_a_network_from_a_file(tmp_path, form, pooled):
    path, model = tmp_path / f"my net_2{form}", network(pooled=pooled)
    model.save(path) if form else model.export(path, verbose=False)
    extractor = open_features(f"file:{path}")
    small = np.stack([bicubic_float(picture, (16, 16)) for picture in PICTURES])
    expected = small.mean(axis=(1, 2)) @ model.get_weights()[0][0, 0]
    np.testing.assert_allclose(extractor.vectors(PICTURES), expected, rtol=1e-4, atol=1e-3)
    assert extractor.name.startswith("my-net-2-16-") and extractor.size == 16 and extractor.classes is None
    with pytest.raises(ValueError, match="has no layers to compare"):
        extractor.maps(PICTURES)

    other = tmp_path / f"other/my net_2{form}"
    other.parent.mkdir()
    changed = network(pooled=pooled, seed=1)
    changed.save(other) if form else changed.export(other, verbose=False)
    assert open_features(f"file:{other}").name[:-8] == extractor.name[:-8]
    assert open_features(f"file:{other}").name != extractor.name


def test_a_file_that_is_no_such_network_is_refused(tmp_path):
    def refused(path, sentence):
        with pytest.raises(ValueError, match=sentence):
            open_features(f"file:{path}")

    refused(tmp_path / "nothing.keras", "neither a .keras file nor a folder")
    (tmp_path / "text.keras").write_text("text")
    refused(tmp_path / "text.keras", "cannot be loaded")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "saved_model.pb").write_text("text")
    refused(tmp_path / "text", "cannot be loaded")
    any_side = keras.Input((None, None, 3))
    keras.Model(any_side, keras.layers.GlobalMaxPooling2D()(any_side)).save(tmp_path / "any.keras")
    refused(tmp_path / "any.keras", r"fixed side.*not \[None, None, None, 3\]")
    grey = keras.Input((8, 8, 1))
    keras.Model(grey, keras.layers.Flatten()(grey)).save(tmp_path / "grey.keras")
    refused(tmp_path / "grey.keras", r"one input \[None, side, side, 3\], not \[None, 8, 8, 1\]")
    colour = keras.Input((8, 8, 3))
    keras.Model(colour, [colour, colour]).save(tmp_path / "two.keras")
    refused(tmp_path / "two.keras", "one output, not 2")
    keras.Model(colour, keras.layers.Reshape((64, 3))(colour)).save(tmp_path / "rows.keras")
    refused(tmp_path / "rows.keras", r"floats \[n, d\], not float32 \[2, 64, 3\]")
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": x}, [tf.TensorSpec([None, 8, 8, 3], tf.uint8)])
    tf.saved_model.save(module, str(tmp_path / "bytes"), {"serving_default": module.call})
    refused(tmp_path / "bytes", "take float32, not uint8")
    tf.saved_model.save(module, str(tmp_path / "unnamed"), {"other": module.call})
    refused(tmp_path / "unnamed", "no signature serving_default")


@pytest.fixture
def untrained(monkeypatch):
    """MobileNetV3Small as Keras would give it, with random weights instead of fetched ones."""
    original, made = keras.applications.MobileNetV3Small, []

    def small(weights):
        assert weights == "imagenet"
        keras.utils.set_random_seed(0)
        made.append(original(weights=None, minimalistic=True))
        return made[-1]

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", small)
    return made


def test_a_network_of_keras(untrained):
    extractor = open_features("keras:MobileNetV3Small")
    (model,) = untrained
    assert extractor.name.startswith("MobileNetV3Small-224-") and (extractor.size, extractor.classes) == (224, 1000)
    batch = np.stack([bicubic_float(picture, (224, 224)) for picture in PICTURES])
    chances = extractor.probabilities(PICTURES)
    np.testing.assert_allclose(chances, model.predict_on_batch(batch), rtol=1e-3)  # this network scales inside
    *shallow, last = extractor.maps(PICTURES)
    assert [layer.shape[1] for layer in (*shallow, last)] == [112, 56, 28, 14, 7]
    np.testing.assert_allclose(extractor.vectors(PICTURES), last.mean(axis=(1, 2)), rtol=1e-3, atol=1e-6)


def test_keras_is_asked_only_for_what_it_has(monkeypatch):
    for name in ("Unknown", "mobilenet_v3", "preprocess_input"):
        with pytest.raises(ValueError, match=f"keras:{name} is unknown; have: .*MobileNetV3Small.*VGG16"):
            open_features(f"keras:{name}")

    def unreachable(weights):
        raise Exception("URL fetch failure on https://...")

    monkeypatch.setattr(keras.applications, "VGG16", unreachable)
    with pytest.raises(ValueError, match="keras:VGG16 cannot be had: URL fetch failure"):
        open_features("keras:VGG16")


def test_importing_does_not_import_tensorflow():
    code = "import sys; sys.modules['tensorflow'] = None\n"
    code += "from models.features import catalogue, packshot, inception, applications, saved, torchvision\n"
    code += "from trainer.features import catalogue, lpips, make_encoder, scenes, damage\n"
    code += "make_encoder.main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True
    )
    assert done.returncode == 0 and "make_encoder --out" in done.stdout, done.stderr
