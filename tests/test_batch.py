"""The table of keys, and the way of a key through source, view, cache, shards and pipeline into a training step."""

import numpy as np
import pytest
import tensorflow as tf
from running import TINY, photos, train

from data import batch as contract
from data import pipeline, views
from data.batch import KEYS, LABEL, REQUIRED, check, check_range
from data.cache import Rows, load_rows
from data.quarantine import Quarantine
from data.sources import tfrecord
from models import catalogue

COUNT, SIDE = 6, 8
TEXT = "brodé"


class Everything:
    """A source of every key there is and of an attribute, made from the number of the example."""

    spec, classes, count = "everything", ("hat", "shoe"), COUNT
    attributes = {"season": ("summer", "winter")}
    keys = frozenset({*KEYS, *attributes})
    left_out = Quarantine()

    def fingerprint(self):
        return "0"

    def examples(self, size, fit, quarantine):
        for number in range(COUNT):
            yield {key: value(key, number) for key in KEYS} | {"season": number % 3 - 1}


def value(key, number):
    random = np.random.default_rng([number, len(key)])
    kind = contract.kind(key)
    if kind.spatial:
        channels = 1 if kind is contract.MAP else 3
        return random.integers(0, 256, (SIDE, SIDE, channels)).astype(np.uint8)
    if kind is contract.TEXT:
        return f"{TEXT} {number}"
    return number % 2 if kind is LABEL else random.integers(0, 9, 5).astype(np.int32)


@pytest.mark.parametrize("memory", [None, 1])
@pytest.mark.parametrize("prepared", [False, True])
def test_every_key_comes_through_as_the_table_says(tmp_path, memory, prepared):
    """From the source, or from shards written of it; through memory or files; as it was, and never mixed up between rows."""
    source = Everything()
    if prepared:
        tfrecord.write(source, str(tmp_path / "shards"), None, "crop", 2)
        source = tfrecord.TfRecord(str(tmp_path / "shards"))
        assert (source.classes, source.attributes) == (Everything.classes, Everything.attributes)
    rows = load_rows(source, views.generation(SIDE, KEYS), cache_dir=tmp_path / "cache", memory=memory)
    assert rows.arrays.keys() == Everything.keys and rows.attributes == Everything.attributes
    (batch,) = pipeline.dataset(rows, sorted(rows.arrays), batch_size=COUNT, seed=1).take(1)
    check(batch, rows.arrays)
    check_range(batch)
    examples = list(Everything().examples(None, "crop", None))
    for place, caption in enumerate(batch["caption"].numpy()):
        example = examples[int(caption.decode().split()[1])]
        for key, value in example.items():
            kind, found = contract.kind(key), batch[key][place].numpy()
            if kind.spatial:
                found = np.rint((found - kind.low) / (kind.high - kind.low) * 255)
            np.testing.assert_array_equal(found, value.encode() if kind.name == "text" else value, err_msg=key)


def test_a_view_brings_maps_only_when_asked():
    (example, *_) = Everything().examples(None, "crop", None)
    (row,) = views.generation(SIDE).rows(example)
    assert row.keys() == {key for key in Everything.keys if not contract.kind(key).spatial} | {"image"}
    (row,) = views.translation(SIDE, "edges", keys=("mask",)).rows(example)
    assert row["mask"] is example["mask"] and row["season"] == example["season"]


def test_a_map_is_cut_with_its_patch():
    image = np.arange(256).reshape(16, 16, 1).repeat(3, axis=2).astype(np.uint8)
    view = views.enhancement(SIDE, 2, stride=4, keys=("mask", "label"))
    for row in view.rows({"image": image, "mask": image[..., :1], "label": 1, "caption": TEXT}):
        assert row.keys() == {"low", "high", "mask", "label"} and row["label"] == 1
        np.testing.assert_array_equal(row["mask"], row["high"][..., :1])


def test_what_the_model_reads_and_the_data_lack_is_named():
    for view in (
        views.generation(8, ["mask"]),
        views.translation(8, "edges", keys=["mask"]),
        views.enhancement(8, 2, keys=["mask"]),
    ):
        with pytest.raises(ValueError, match=r"the data has no 'mask' \(it has: image\), and the model reads it"):
            view.check({"image"})
    assert views.generation(8, ["mask"]).describe() != views.generation(8).describe()


def test_an_unknown_name_is_an_attribute():
    assert contract.kind("season") is LABEL and not LABEL.spatial
    assert all(key in KEYS for keys in REQUIRED.values() for key in keys)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"label": None}, "keys image, label; missing: label; not asked for: none"),
        ({"mask": tf.zeros([2, 4, 4, 1])}, "keys image, label; missing: none; not asked for: mask"),
        (
            {"image": tf.zeros([2, 4, 4, 3], tf.uint8)},
            "image is a picture, float32 of rank 4 in a batch; this one is uint8 of",
        ),
        ({"image": tf.zeros([4, 4, 3])}, "image is a picture, .*; this one is float32 of rank 3"),
        (
            {"label": tf.zeros([2], tf.int64)},
            "label is a label, int32 of rank 1 in a batch; this one is int64 of rank 1",
        ),
        ({"image": tf.constant([0.0, 255.0], shape=[2, 1, 1, 1])}, "image is a picture of -1 to 1; there is 0 to 255"),
        ({"image": tf.constant([0.0, np.nan], shape=[2, 1, 1, 1])}, "image is a picture of -1 to 1; there is nan"),
        ({"label": tf.constant([3, -2])}, "label is a label of -1 or more; there is -2 to 3"),
    ],
)
def test_a_wrong_batch_gets_a_sentence(change, sentence):
    good = {"image": tf.zeros([2, 4, 4, 3]), "label": tf.constant([-1, 5])}
    check(good, ("image", "label"))
    check_range(good)
    wrong = {key: value for key, value in (good | change).items() if value is not None}
    with pytest.raises(ValueError, match=sentence):
        check(wrong, ("image", "label"))
        check_range(wrong)


@pytest.mark.parametrize(
    "key, array", [("image", np.zeros([2, 4, 4, 3])), ("label", np.zeros([2])), ("mask", np.zeros([2, 4, 4], np.uint8))]
)
def test_rows_that_are_not_kept_as_the_table_says_are_refused(key, array):
    with pytest.raises(
        ValueError, match=f"{key} is a .*, kept as .* of rank ., and not {array.dtype} of rank {array.ndim}"
    ):
        Rows({key: array}, (), True)


def test_the_first_batch_is_checked_before_any_is_yielded():
    rows = Rows({"image": np.zeros([4, 2, 2, 3], np.uint8), "label": np.full(4, -5, np.int32)}, (), True)
    with pytest.raises(ValueError, match="label is a label of -1 or more; there is -5 to -5"):
        pipeline.dataset(rows, ("image", "label"), batch_size=4, seed=0)


def test_a_family_is_brought_the_keys_that_it_adds(tmp_path, monkeypatch):
    """From the drawn masks of the studio to the terms of a step."""
    seen = []

    class Model(catalogue.load("mlp_gan").Model):
        KEYS = ("mask",)

        def generator_terms(self, batch, *others):
            seen.append({key: tuple(value.shape) for key, value in batch.items()})
            return super().generator_terms(batch, *others)

    monkeypatch.setattr(catalogue.load("mlp_gan"), "Model", Model)
    arguments = [*TINY, "--images", 32, "--eval-every", 0, "--job-dir"]
    done = train(*arguments, tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert seen[0].keys() == {"image", "mask"} and seen[0]["mask"][1:] == (16, 16, 1)
    photos(tmp_path / "plain", 10, 20)
    refused = train(*arguments, tmp_path / "other", "--data", f"folder:{tmp_path}/plain")
    assert refused.exit_code == 2 and "the data has no 'mask' (it has: image), and the model reads it" in refused.output
