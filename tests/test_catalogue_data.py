"""Sources are opened by what the user typed; prepared shards and TensorFlow Datasets read like any other."""

import itertools
import json
import sys
import types

import numpy as np
import pytest

from data.catalogue import KINDS, open_source
from data.images import save_png
from data.quarantine import Quarantine
from data.sources import tfrecord
from data.sources.protocol import SourceError


def read(source, size=8, fit="crop"):
    quarantine = Quarantine()
    return list(source.examples(size, fit, quarantine)), quarantine


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def shop(tmp_path):
    for index in range(7):
        save_png(str(tmp_path / "shop" / ("hat" if index < 3 else "shoe") / f"{index}.png"), noise(8, 8, 3, seed=index))
    return tmp_path / "shop"


def test_a_bare_folder_is_a_folder_source(shop):
    bare, named = open_source(str(shop)), open_source(f"folder:{shop}")
    assert bare.spec == named.spec == f"folder:{shop}" and bare.fingerprint() == named.fingerprint()


@pytest.mark.parametrize("spec", ["zip:a.zip", "nowhere", "", "folder", "s3"])
def test_an_unknown_kind_lists_the_known_ones(spec):
    with pytest.raises(SourceError) as caught:
        open_source(spec)
    assert all(kind in str(caught.value) for kind in KINDS) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "pairs", "idx", "tfds", "tfrecord"])
def test_a_kind_without_a_place(kind):
    with pytest.raises(SourceError, match="names nothing to open"):
        open_source(f"{kind}:")


@pytest.mark.parametrize("kind", ["folder", "pairs", "idx"])
def test_a_missing_folder(kind, tmp_path):
    with pytest.raises(SourceError, match="there is no folder .*missing"):
        open_source(f"{kind}:{tmp_path}/missing")


def test_studio_gets_its_count_and_seed(monkeypatch):
    module = types.ModuleType("data.sources.studio")
    module.Studio = lambda count, seed: ("studio", count, seed)
    monkeypatch.setitem(sys.modules, "data.sources.studio", module)
    assert open_source("studio:12", seed=5) == ("studio", 12, 5)
    assert open_source("studio")[1] > 0
    for wrong in ("studio:", "studio:many", "studio:0", "studio:-1"):
        with pytest.raises(SourceError, match="such as studio:1000"):
            open_source(wrong)


@pytest.mark.parametrize("shards", [1, 3, 10])
def test_prepared_png_shards_give_the_same_examples_in_the_same_order(shop, tmp_path, shards):
    source, told = open_source(str(shop)), []
    out = tmp_path / "out"

    def progress(items, total, what):
        told.append((total, what))
        yield from items

    facts = tfrecord.write(source, str(out), 8, "crop", shards, progress=progress)
    assert told == [(7, "writing")] and facts == json.loads((out / "dataset.json").read_text())
    names = [f"pictures-{i:05}-of-{shards:05}.tfrecord" for i in range(shards)]
    assert sorted(path.name for path in out.iterdir()) == ["dataset.json", *names]

    prepared = open_source(f"tfrecord:{out}")
    assert (prepared.classes, prepared.count, prepared.keys) == (source.classes, source.count, source.keys)
    for one, other in zip(read(source)[0], read(prepared)[0], strict=True):
        assert one["label"] == other["label"] and np.array_equal(one["image"], other["image"])
    assert read(prepared, size=4)[0][0]["image"].shape == (4, 4, 3)
    assert open_source(f"tfrecord:{out}/*.tfrecord").fingerprint() == prepared.fingerprint() != source.fingerprint()


def test_remote_folders_work_as_local_ones_do():
    pytest.importorskip("tensorflow")
    root = "ram://bucket/shop"  # TensorFlow's file system in memory stands for gs://
    for name, seed in (("shoe/2.png", 2), ("hat/deep/1.png", 1), ("hat/.hidden.png", 0)):
        save_png(f"{root}/{name}", noise(8, 8, 3, seed=seed))
    source = open_source(f"folder:{root}")
    assert source.classes == ("hat", "shoe") and source.count == 2
    examples, _ = read(source)
    assert [np.array_equal(e["image"], noise(8, 8, 3, seed=i)) for e, i in zip(examples, (1, 2), strict=True)] == [
        True,
        True,
    ]
    tfrecord.write(source, "ram://bucket/prepared", 8, "crop", 2)
    assert [e["label"] for e in read(open_source("tfrecord:ram://bucket/prepared"))[0]] == [0, 1]
    with pytest.raises(SourceError, match="there is no folder ram://bucket/none"):
        open_source("folder:ram://bucket/none")


class Everything:
    """A source with every key there is."""

    spec, classes, count = "everything", ("a", "b"), 3
    keys = frozenset({"source", "target", "label", "caption", "mask"})
    left_out = Quarantine()

    def fingerprint(self):
        return "0"

    def examples(self, size, fit, quarantine):
        quarantine.add("bad", "left out")
        for i in range(self.count):
            yield {
                "source": noise(8, 8, 3, seed=i),
                "target": noise(8, 8, 3, seed=9 + i),
                "label": i % 2,
                "caption": f"ein Stück {i}",
                "mask": (noise(8, 8, 1, seed=i) > 127) * np.uint8(255),
            }


def test_every_key_survives_preparation(tmp_path):
    facts = tfrecord.write(Everything(), str(tmp_path / "out"), 8, "crop", 2)
    assert facts["left_out"] == 1 and facts["count"] == 3
    examples, _ = read(open_source(f"tfrecord:{tmp_path}/out"), size=None)
    for one, other in zip(Everything().examples(8, "crop", Quarantine()), examples, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) and type(one[key]) is type(other[key]) for key in one)


def test_jpeg_shards_are_close_and_masks_exact(tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    source = Everything()
    source.examples = lambda *_: iter([{"image": smooth, "mask": smooth[:, :, :1]}])
    source.keys = frozenset({"image", "mask"})
    tfrecord.write(source, str(tmp_path / "out"), 32, "crop", 1, encoding="jpeg")
    example = read(open_source(f"tfrecord:{tmp_path}/out"), size=None)[0][0]
    assert np.abs(example["image"].astype(int) - smooth).max() <= 3
    assert np.array_equal(example["mask"], smooth[:, :, :1])


def test_a_padded_mask_is_padded_with_background(tmp_path):
    source = Everything()
    source.keys = frozenset({"image", "mask"})
    source.examples = lambda *_: iter(
        [{"image": np.zeros((4, 8, 3), np.uint8), "mask": np.full((4, 8, 1), 255, np.uint8)}]
    )
    tfrecord.write(source, str(tmp_path / "out"), None, "pad", 1)
    example = read(open_source(f"tfrecord:{tmp_path}/out"), size=8, fit="pad")[0][0]
    assert example["mask"].shape == (8, 8, 1)
    assert (example["mask"][[0, 1, 6, 7]] == 0).all() and (example["mask"][2:6] == 255).all()
    assert (example["image"][:2] == 255).all()


def test_preparing_that_fails_leaves_nothing_that_looks_ready(shop, tmp_path):
    def interrupt(items, total, what):
        yield from itertools.islice(items, 3)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        tfrecord.write(open_source(str(shop)), str(out), 8, "crop", 2, progress=interrupt)
    assert list(out.iterdir()) == []
    with pytest.raises(SourceError, match="no file matches"):
        open_source(f"tfrecord:{out}")


def test_preparing_refuses_to_overwrite_and_reading_wants_its_facts(shop, tmp_path):
    out = tmp_path / "out"
    tfrecord.write(open_source(str(shop)), str(out), 8, "crop", 2)
    with pytest.raises(SourceError, match="already holds a prepared dataset"):
        tfrecord.write(open_source(str(shop)), str(out), 8, "crop", 2)
    with pytest.raises(ValueError, match="png or jpeg"):
        tfrecord.write(open_source(str(shop)), str(tmp_path / "b"), 8, "crop", 2, encoding="gif")
    one = open_source(f"tfrecord:{out}/*00001-of*")
    assert one.count is None and len(read(one)[0]) == 3
    shard = out / "pictures-00000-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(SourceError, match="is damaged"):
        read(open_source(f"tfrecord:{out}"))
    (out / "dataset.json").unlink()
    with pytest.raises(SourceError, match="dataset.json, which `packshot prepare` writes"):
        open_source(f"tfrecord:{out}")


@pytest.mark.parametrize("folder", ["shards [v1]", "a*b", "what?", "ü #1"])
def test_a_prepared_folder_may_have_any_name(shop, tmp_path, folder):
    tfrecord.write(open_source(str(shop)), str(tmp_path / folder), 8, "crop", 2)
    whole, pattern = (
        open_source(f"tfrecord:{tmp_path}/{folder}"),
        open_source(f"tfrecord:{tmp_path}/{folder}/*.tfrecord"),
    )
    assert len(read(whole)[0]) == 7 and pattern.fingerprint() == whole.fingerprint()
    one = open_source(f"tfrecord:{tmp_path}/{folder}/pictures-00001-of-00002.tfrecord")
    assert one.count is None and len(read(one)[0]) == 3
    with pytest.raises(SourceError, match="no file matches .*none"):
        open_source(f"tfrecord:{tmp_path}/{folder}/none*")


@pytest.mark.parametrize(
    "features, reason",
    [
        ({"image/encoded": b"x", "image/class/label": 1}, "has no image .* but: image/class/label, image/encoded"),
        ({"image": b"x"}, "image .* damaged|not a picture"),
        ({"image": 7, "label": 0}, "has no image of the kind"),
        ({"label": 9}, "has no image"),
        (None, "is no tf.train.Example"),
    ],
)
def test_records_of_other_makers_are_named(shop, tmp_path, features, reason):
    import tensorflow as tf

    out = tmp_path / "out"
    tfrecord.write(open_source(str(shop)), str(out), 8, "crop", 1)
    with tf.io.TFRecordWriter(str(out / "pictures-00000-of-00001.tfrecord")) as writer:
        feature = {
            key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
            if isinstance(value, bytes)
            else tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
            for key, value in (features or {}).items()
        }
        record = (
            tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
            if features
            else b"\xff\xff{}"
        )
        writer.write(record)
    with pytest.raises(SourceError, match=f"nothing usable was found .*record 0 .*({reason})"):
        read(open_source(f"tfrecord:{out}"))


@pytest.mark.parametrize(
    "held",
    [
        "[]",
        "{}",
        '{"classes": 3}',
        "not json",
        '{"classes": [], "keys": ["x"], "count": 1, "shards": 1, "fingerprint": "a"}',
    ],
)
def test_facts_of_other_makers_are_refused(shop, tmp_path, held):
    out = tmp_path / "out"
    tfrecord.write(open_source(str(shop)), str(out), 8, "crop", 1)
    (out / "dataset.json").write_text(held)
    with pytest.raises(SourceError, match="dataset.json (is damaged|was not written by|has keys that nothing)"):
        open_source(f"tfrecord:{out}")


def test_a_label_without_a_class_is_left_out(shop, tmp_path):
    out = tmp_path / "out"
    tfrecord.write(open_source(str(shop)), str(out), 8, "crop", 1)
    facts = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps(facts | {"classes": ["hat"]}))
    examples, quarantine = read(open_source(f"tfrecord:{out}"))
    assert len(examples) == 3 and {reason for _, reason in quarantine.items} == {
        "has the label 1, and there are 1 classes"
    }


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A dataset of TensorFlow Datasets, kept under tmp_path: five grey pictures of two classes, three in train."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class PackshotTiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(shape=(None, None, 1)),
                        "label": tfds.features.ClassLabel(names=["hat", "shoe"]),
                        "colour": tfds.features.ClassLabel(names=["red", "blue"]),
                        "captions": tfds.features.Sequence(tfds.features.Text()),
                        "objects": tfds.features.Sequence({"area": np.int64}),
                    }
                ),
            )

        def _split_generators(self, manager):
            return {"train": self._generate_examples(0, 3), "test": self._generate_examples(3, 5)}

        def _generate_examples(self, start, stop):
            for i in range(start, stop):
                told = {
                    "label": i % 2,
                    "colour": i - 1 if i < 3 else 0,
                    "captions": [f"hüt {i}", "another"][: 2 * (i > 0)],
                }
                yield i, {"image": np.full((6, 8, 1), 10 * i, np.uint8), "objects": {"area": [i]}} | told

    monkeypatch.setattr(tfds, "builder", lambda name: _only_tiny(tfds, PackshotTiny, name, tmp_path))
    return "packshot_tiny"


def _only_tiny(tfds, builder, name, folder):
    if name != "packshot_tiny":
        raise tfds.core.DatasetNotFoundError(f"{name} not found")
    return builder(data_dir=folder)


def test_tfds(tiny):
    source = open_source(f"tfds:{tiny}")
    assert source.classes == ("hat", "shoe") and source.count == 3
    assert source.keys == {"image", "label", "colour", "caption"} and source.attributes == {"colour": ("red", "blue")}
    examples, _ = read(source)
    assert sorted((int(e["image"][0, 0, 0]), e["label"]) for e in examples) == [(0, 0), (10, 1), (20, 0)]
    assert examples[0]["image"].shape == (8, 8, 3) and examples[0].keys() == source.keys
    told = sorted((int(e["image"][0, 0, 0]), e["colour"], e["caption"]) for e in examples)
    assert told == [(0, -1, ""), (10, 0, "hüt 1"), (20, 1, "hüt 2")]
    assert list(source.captions()) == [e["caption"] for e in examples]
    again = read(open_source(f"tfds:{tiny}/train"))[0]
    assert all(np.array_equal(one["image"], other["image"]) for one, other in zip(examples, again, strict=True))
    test = open_source(f"tfds:{tiny}/test")
    assert test.count == 2 and test.fingerprint() != source.fingerprint()
    assert open_source(f"tfds:{tiny}/train[:1]").count == len(read(open_source(f"tfds:{tiny}/train[:1]"))[0]) == 1


def test_tfds_says_what_is_wrong(tiny, monkeypatch):
    with pytest.raises(SourceError, match="there is no split dev in .*; have: .*train"):
        open_source(f"tfds:{tiny}/dev")
    with pytest.raises(SourceError, match="has no dataset nothing/of/it"):
        open_source("tfds:nothing/of/it")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(SourceError, match="needs the package tensorflow-datasets"):
        open_source(f"tfds:{tiny}")


def test_tfds_that_cannot_be_prepared(monkeypatch, tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")

    def offline(self, **_):
        assert downloader.MAX_RETRIES <= 4  # not minutes
        raise ConnectionError("no network")

    from tensorflow_datasets.core.download import downloader

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
    with pytest.raises(SourceError, match="tfds:mnist is not prepared under .*, and preparing it failed: no network"):
        open_source("tfds:mnist")
