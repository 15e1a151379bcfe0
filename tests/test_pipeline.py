"""The training stream: permutations, restoring, shards, and what a batch is made of."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from data import augment, pipeline
from data import batch as contract
from data.batch import ENHANCEMENT, GENERATION, REQUIRED, TRANSLATION
from data.cache import Rows
from data.images import to_float
from data.pipeline import Waiting, dataset, training


def numbered(count, in_memory=True):
    """Rows that are told apart by their label, and by every pixel of their picture (up to 256 rows)."""
    numbers = np.arange(count)
    image = np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (count, 2, 2, 3)).copy()
    return Rows({"image": image, "label": numbers.astype(np.int32)}, (), in_memory)


def textured(count=10, in_memory=True, side=6):
    """Rows of every key of generation."""
    random = np.random.default_rng(0)
    return Rows(
        {
            "image": random.integers(0, 256, (count, side, side, 3)).astype(np.uint8),
            "label": random.integers(0, 5, count).astype(np.int32),
            "caption": np.array([f"brodé {n}".encode() for n in range(count)], "S256"),
            "mask": random.integers(0, 256, (count, side, side, 1)).astype(np.uint8),
        },
        (),
        in_memory,
    )


def batches(rows, number, task=GENERATION, keys=(), **options):
    """The first batches as dicts of NumPy arrays; `keys` are those beside the task's."""
    options = {"batch_size": 4, "seed": 1} | options
    return list(dataset(rows, (*REQUIRED[task], *keys), **options).take(number).as_numpy_iterator())


def order(rows, number, **options):
    """Labels of the first `number` rows."""
    size = options.get("batch_size", 4)
    found = batches(rows, -(-number // size), keys=("label",), **options)
    return np.concatenate([batch["label"] for batch in found])[:number]


def same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)


ALL = ("label", "caption", "mask")
EVERY = ("image", *ALL)


@pytest.mark.parametrize("count, batch_size", [(12, 4), (10, 4), (7, 3), (3, 8), (1, 2), (2, 2), (17, 17), (65, 13)])
def test_each_epoch_is_a_permutation(count, batch_size):
    """Also when a batch spans epochs, or is larger than one."""
    labels = order(numbered(count), 5 * count, batch_size=batch_size)
    for epoch in labels.reshape(5, count):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(count))


def test_keys_of_a_row_stay_together():
    rows = textured()
    for batch in batches(rows, 5, keys=ALL):
        for place, caption in enumerate(batch["caption"]):
            number = int(caption.decode().split()[1])
            assert batch["label"][place] == rows.arrays["label"][number]
            np.testing.assert_array_equal(batch["image"][place], to_float(rows.arrays["image"][number]))
            np.testing.assert_allclose(batch["mask"][place], rows.arrays["mask"][number] / 255, atol=1e-6)


@pytest.mark.parametrize("in_memory", [True, False])
def test_going_on_from_a_position_is_the_tail(in_memory):
    rows = textured(in_memory=in_memory)
    options = {"keys": ALL, "augment": ("jitter", "dihedral", "flip")}
    whole = batches(rows, 8, **options)
    same(batches(rows, 3, position=5 * 4, **options), whole[5:])


def test_shards_together_are_the_whole_batch():
    rows = textured()
    options = {"keys": ALL, "augment": ("flip", "jitter"), "batch_size": 6}
    whole = batches(rows, 3, **options)
    parts = [batches(rows, 3, shard=(number, 3), **options) for number in range(3)]
    joined = [{key: np.concatenate([part[step][key] for part in parts]) for key in whole[step]} for step in range(3)]
    same(joined, whole)
    assert parts[0][0]["image"].shape[0] == 2


def test_same_seed_same_stream_and_another_differs():
    rows = textured()
    options = {"keys": ALL, "augment": ("flip",)}
    first = batches(rows, 4, **options)
    same(batches(rows, 4, **options), first)
    other = batches(rows, 4, **(options | {"seed": 2}))
    assert any(not np.array_equal(a["caption"], b["caption"]) for a, b in zip(first, other, strict=True))


def test_numbers_change_with_the_step():
    """One row over and over: were the dice those of the first step, every batch would be alike."""
    rows = textured(1)
    found = {batch["image"].tobytes() for batch in batches(rows, 60, augment=("dihedral",), batch_size=1)}
    assert len(found) == 8


# SHA-256 of the first four batches (labels, and pictures as uint8) of the augmentations that move whole pixels only.
GOLDEN = {
    (): "9ffa731dc47764ab",
    ("flip",): "d55b2aa8eb41db00",
    ("dihedral",): "03cc69f95b068708",
    ("flip", "dihedral"): "cfd45a1c21a5ddbf",
}


@pytest.mark.parametrize("names", GOLDEN, ids="+".join)
def test_the_stream_stays_what_it_was(names):
    found = hashlib.sha256()
    for batch in batches(textured(), 4, keys=("label",), batch_size=6, seed=7, position=12, augment=names):
        found.update(batch["label"].tobytes() + np.rint((batch["image"] + 1) * 127.5).astype(np.uint8).tobytes())
    assert found.hexdigest()[:16] == GOLDEN[names]


def test_numbers_of_an_augmentation_stay_what_they_were(monkeypatch):
    """The second of three is given the same two numbers a row as ever; seen in the batch that is checked before any is yielded."""
    seen = []

    def jitter(pictures, numbers):
        if tf.executing_eagerly():
            seen.append(numbers.numpy())
        return pictures

    jitter.numbers, jitter.adds = 2, ()
    monkeypatch.setitem(augment.AUGMENTATIONS, "jitter", jitter)
    dataset(numbered(8), ("image",), batch_size=4, seed=7, position=8, augment=("flip", "jitter", "dihedral"))
    expected = [
        [0.29628145694732666, 0.9070382118225098],
        [0.9715508222579956, 0.6001260280609131],
        [0.9438374042510986, 0.24989938735961914],
        [0.052697062492370605, 0.004411816596984863],
    ]
    np.testing.assert_array_equal(seen, np.float32([expected]))


def test_an_augmentation_may_need_many_numbers_and_add_a_key(monkeypatch):
    """What is applied after it is given other numbers; the key that it makes need not be in the rows."""

    def holes(pictures, numbers):
        assert numbers.shape[1] == 48
        rows = tf.reshape(numbers < 0.5, [-1, 6, 8, 1])
        return pictures | {"mask": tf.cast(rows, tf.uint8) * 255}

    holes.numbers, holes.adds = 48, ("mask",)
    monkeypatch.setitem(augment.AUGMENTATIONS, "holes", holes)
    rows = numbered(8)
    options = {"keys": ("mask", "label"), "augment": ("holes", "flip")}
    whole = batches(rows, 4, **options)
    assert whole[0].keys() == {"image", "mask", "label"} and whole[0]["mask"].shape == (4, 6, 8, 1)
    assert len({mask.tobytes() for batch in whole for mask in batch["mask"]}) == 16
    same(batches(rows, 2, position=8, **options), whole[2:])
    with pytest.raises(ValueError, match="not asked for: mask"):
        batches(rows, 1, augment=("holes",))


@pytest.mark.parametrize("seed", [0, 7])
def test_permutations_of_epochs_and_seeds_are_unrelated(seed):
    count = 2000
    labels = order(numbered(count), 4 * count, batch_size=1000, seed=seed).reshape(4, count)
    other = order(numbered(count), count, batch_size=1000, seed=seed + 1)
    straight = np.arange(count)
    correlation = np.abs(np.corrcoef([*labels, other, straight]))
    assert correlation[~np.eye(6, dtype=bool)].max() < 4.5 / np.sqrt(count)  # 15 pairs of deviation 1 / sqrt(count)
    for epoch in labels:
        steps = np.abs(np.diff(epoch))
        assert (steps <= 10).mean() < 0.03  # 1 % by chance: neighbours do not stay together
    assert (labels[0] == labels[1]).sum() < 8  # 1 by chance


def test_each_key_has_its_type_range_and_shape():
    rows = textured()
    made = dataset(rows, EVERY, batch_size=4, seed=1, augment=("dihedral", "jitter"))
    spec = made.element_spec
    assert {key: (value.dtype, tuple(value.shape)) for key, value in spec.items()} == {
        "image": (tf.float32, (4, 6, 6, 3)),
        "label": (tf.int32, (4,)),
        "caption": (tf.string, (4,)),
        "mask": (tf.float32, (4, 6, 6, 1)),
    }
    (batch,) = made.take(1)
    contract.check(batch, EVERY)
    contract.check_range(batch)
    assert batch["image"].numpy().min() >= -1 and batch["image"].numpy().max() <= 1
    assert batch["mask"].numpy().min() >= 0 and batch["mask"].numpy().max() <= 1


@pytest.mark.parametrize("in_memory", [True, False])
def test_pictures_are_exactly_those_of_to_float(in_memory):
    rows = numbered(256, in_memory)
    (batch,) = batches(rows, 1, keys=("label",), batch_size=256)
    np.testing.assert_array_equal(batch["image"], to_float(rows.arrays["image"][batch["label"]]))
    assert batch["image"].min() == -1 and batch["image"].max() == 1


def test_ends_of_a_mask_are_exact():
    rows = Rows(
        {"image": np.zeros((2, 1, 1, 3), np.uint8), "mask": np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)}, (), True
    )
    (batch,) = batches(rows, 1, keys=("mask",), batch_size=2)
    assert sorted(batch["mask"].ravel()) == [0, 1]


def test_memory_mapped_files_give_what_memory_gives(tmp_path):
    kept = textured()
    mapped = {}
    for key, array in kept.arrays.items():
        array.tofile(tmp_path / key)
        mapped[key] = np.memmap(tmp_path / key, array.dtype, "r", shape=array.shape)
    options = {"keys": ALL, "augment": ("flip", "jitter"), "batch_size": 16}
    files = Rows(mapped, (), in_memory=False)
    same(batches(files, 3, **options), batches(kept, 3, **options))
    options |= {"keys": EVERY, "seed": 1}
    assert dataset(files, **options).element_spec == dataset(kept, **options).element_spec


def test_each_task_has_its_keys():
    side = np.zeros((3, 4, 4, 3), np.uint8)
    pair = Rows({"source": side, "target": side, "label": np.zeros(3, np.int32)}, (), True)
    assert batches(pair, 1, TRANSLATION)[0].keys() == {"source", "target"}
    assert batches(pair, 1, TRANSLATION, keys=("label",))[0].keys() == {"source", "target", "label"}
    patches = Rows({"low": side[:, :2, :2], "high": side}, (), True)
    (batch,) = batches(patches, 1, ENHANCEMENT, augment=("dihedral",))
    assert batch["low"].shape == (4, 2, 2, 3) and batch["high"].shape == (4, 4, 4, 3)


def test_an_absent_key_is_named():
    with pytest.raises(ValueError, match="the rows have no source, target"):
        batches(numbered(4), 1, TRANSLATION)
    with pytest.raises(ValueError, match="the rows have no caption"):
        batches(numbered(4), 1, keys=("label", "caption"))


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(ValueError, match="batch_size=4 cannot be shared evenly by 3 workers"):
        batches(numbered(4), 1, shard=(0, 3))


def test_waiting_share_is_that_since_it_was_last_asked():
    now = tf.Variable(0.0, dtype=tf.float64)
    waiting = Waiting(clock=lambda: now.assign_add(1.0) + 0.0)  # a second passes whenever it is looked at
    arguments = {"batch_size": 4, "seed": 1, "position": 8, "augment": ("flip",)}
    iterator = iter(training(textured(), EVERY, tf.distribute.get_strategy(), waiting, **arguments))
    found = [{key: value.numpy() for key, value in next(iterator).items()} for _ in range(3)]
    same(found, batches(textured(), 3, position=8, augment=("flip",), keys=ALL))
    assert waiting.share() == 3 / 7  # of 7 seconds; a second for each batch
    now.assign_add(11.0)
    assert waiting.share() == 0  # nothing was taken since
    next(iterator)
    now.assign_add(1.0)
    assert waiting.share() == 1 / 4


def test_several_replicas_are_given_the_whole_batch_and_no_clock():
    rows = numbered(8)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    arguments = {"batch_size": 4, "seed": 1, "position": 0, "augment": ()}
    now = tf.Variable(0.0, dtype=tf.float64)
    waiting = Waiting(clock=lambda: now.assign_add(1.0) + 0.0)
    made = training(rows, ("image", "label"), strategy, waiting, **arguments)
    same(list(made.take(2).as_numpy_iterator()), batches(rows, 2, keys=("label",)))
    assert waiting.share() == 0 and now.numpy() == 2  # looked at when it was made and when it was asked


def test_orders_do_not_come_back_and_every_row_is_as_likely_everywhere():
    """The permuting op reads only a byte of each key, so plain epoch numbers would repeat after 256."""
    count, epochs = 7, 1200
    orders = np.concatenate(
        [
            pipeline._shuffled(tf.range(e * count, (e + 1) * count, dtype=tf.int64), count, 7).numpy()[None]
            for e in range(epochs)
        ]
    )
    assert len({tuple(order) for order in orders}) > 0.8 * epochs
    times = np.stack([(orders == row).sum(axis=0) for row in range(count)])
    expected = epochs / count
    assert ((times - expected) ** 2 / expected).sum() < 2 * count * count
    assert any(pipeline._shuffled(tf.range(count, dtype=tf.int64), count, 263).numpy() != orders[0])
