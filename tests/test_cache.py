"""The cache of rows: memory and files alike, sets on disk found again, and nothing left behind by a failure."""

import ast
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from data.cache import load_rows
from data.quarantine import Quarantine
from data.views import enhancement, generation

COUNT, SIDE = 7, 4


class Source:
    """Examples made from their number; `broken` raises in place of that example."""

    spec = "made"
    classes = ("hat", "shoe")
    left_out = Quarantine()

    def __init__(self, keys=("image", "label", "caption", "mask"), *, count=COUNT, broken=None, name="a", sizes=None):
        self.keys = frozenset(keys)
        self.count = count
        self.broken = broken
        self.name = name
        self.sizes = sizes
        self.asked = []

    def fingerprint(self):
        return self.name

    def examples(self, size, fit, quarantine):
        self.asked.append((size, fit))
        for number in range(self.count):
            if number == self.broken:
                raise OSError("the disk is gone")
            random = np.random.default_rng(number)
            side = size or self.sizes[number]
            whole = {
                "image": random.integers(0, 256, (side, side, 3)).astype(np.uint8),
                "label": number % 2,
                "caption": f"chapeau brodé {number}",
                "mask": random.integers(0, 256, (side, side, 1)).astype(np.uint8),
            }
            yield {key: whole[key] for key in whole if key in self.keys}


class Unreadable(Source):
    def examples(self, size, fit, quarantine):
        raise AssertionError("the source was read though the set lies on disk")


def load(source, folder, view=None, **options):
    return load_rows(source, view or generation(SIDE), cache_dir=folder, **options)


def same(found, expected):
    assert found.arrays.keys() == expected.arrays.keys()
    assert (found.count, found.classes, found.nbytes) == (expected.count, expected.classes, expected.nbytes)
    for key, array in expected.arrays.items():
        assert found.arrays[key].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[key], array, err_msg=key)


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_rows_in_memory_are_those_of_the_source(tmp_path):
    source = Source()
    rows = load(source, tmp_path, fit="pad")
    assert rows.in_memory and rows.count == COUNT and rows.classes == ("hat", "shoe")
    assert source.asked == [(SIDE, "pad")]
    expected = list(Source().examples(SIDE, "pad", Quarantine()))
    np.testing.assert_array_equal(rows.arrays["image"], [example["image"] for example in expected])
    assert rows.arrays["image"].dtype == np.uint8
    np.testing.assert_array_equal(rows.arrays["label"], [0, 1, 0, 1, 0, 1, 0])
    assert rows.arrays["label"].dtype == np.int32
    assert [caption.decode() for caption in rows.arrays["caption"]] == [example["caption"] for example in expected]
    assert names(tmp_path) == []


@pytest.mark.parametrize("memory", [0, 1, 600])
def test_files_hold_what_memory_would(tmp_path, memory):
    """From the first row on, or from the middle."""
    kept, spilled = load(Source(), tmp_path), load(Source(), tmp_path, memory=memory)
    assert kept.in_memory and not spilled.in_memory
    same(spilled, kept)
    for key, value in kept.take([5, 0, 5]).items():
        np.testing.assert_array_equal(spilled.take([5, 0, 5])[key], value)
        np.testing.assert_array_equal(value, kept.arrays[key][[5, 0, 5]])
    assert len(names(tmp_path)) == 1


def test_several_rows_an_example(tmp_path):
    source = Source({"image"}, sizes=[8, 12, 8, 8, 8, 8, 8])
    kept = load(source, tmp_path, enhancement(8, 2, stride=4))
    assert kept.count == 6 + 4 and kept.arrays["low"].shape == (10, 4, 4, 3)
    same(load(source, tmp_path, enhancement(8, 2, stride=4), memory=1), kept)


def test_a_set_on_disk_is_used_without_reading_the_source(tmp_path):
    first = load(Source(), tmp_path, memory=1)
    again = load(Unreadable(), tmp_path)
    assert not again.in_memory
    same(again, first)


def test_what_a_set_is_made_from_is_its_name(tmp_path):
    load(Source(), tmp_path, memory=1)
    assert len(names(tmp_path)) == 1
    for number, (source, view, fit) in enumerate(
        [
            (Source(), generation(SIDE), "pad"),
            (Source(), generation(8), "crop"),
            (Source(name="b"), generation(SIDE), "crop"),
        ]
    ):
        load(source, tmp_path, view, fit=fit, memory=1)
        assert source.asked and len(names(tmp_path)) == number + 2


def test_a_set_without_its_report_is_made_again(tmp_path):
    load(Source(), tmp_path, memory=1)
    (name,) = names(tmp_path)
    (tmp_path / name / "rows.json").unlink()
    (tmp_path / name / "image.raw").write_bytes(b"half")
    source = Source()
    same(load(source, tmp_path, memory=1), load(Source(), tmp_path / "elsewhere"))
    assert source.asked and names(tmp_path) == [name]
    assert json.loads((tmp_path / name / "rows.json").read_text())["count"] == COUNT


def test_another_process_half_way_is_left_alone(tmp_path):
    other = tmp_path / ".writing-other"
    other.mkdir()
    (other / "image.raw").write_bytes(b"half")
    source = Source()
    assert load(source, tmp_path, memory=1).count == COUNT
    assert source.asked and (other / "image.raw").read_bytes() == b"half"


@pytest.mark.parametrize("memory", [1, None])
def test_a_failure_half_way_leaves_nothing(tmp_path, memory):
    with pytest.raises(OSError, match="the disk is gone"):
        load(Source(broken=4), tmp_path, memory=memory)
    assert names(tmp_path) == []
    assert load(Source(), tmp_path, memory=memory).count == COUNT


def test_nothing_usable_says_what_was_found(tmp_path):
    with pytest.raises(ValueError, match="nothing usable was found in made. no picture was left out"):
        load(Source(count=0), tmp_path)
    with pytest.raises(ValueError, match=r"in made. 7 pictures were left out: example 0 \(too small: 4x4 px"):
        load(Source({"image"}, sizes=[4] * COUNT), tmp_path, enhancement(8, 2), memory=1)
    assert names(tmp_path) == []


def test_a_source_without_what_the_view_needs_is_not_read(tmp_path):
    source = Source({"source", "target"})
    with pytest.raises(ValueError, match="no 'image'"):
        load(source, tmp_path)
    assert not source.asked


def test_quarantine_takes_what_the_view_refuses(tmp_path):
    quarantine = Quarantine()
    rows = load(Source({"image"}, sizes=[8, 4, 8, 6, 8, 8, 8]), tmp_path, enhancement(8, 2), quarantine=quarantine)
    assert rows.count == 5
    assert quarantine.items == [
        ("example 1", "too small: 4x4 px, patches are 8x8"),
        ("example 3", "too small: 6x6 px, patches are 8x8"),
    ]


def test_a_set_on_disk_tells_again_what_was_left_out(tmp_path):
    first, again = Quarantine(), Quarantine()
    options = {"memory": 1, "quarantine": first}
    load(Source({"image"}, sizes=[8, 4, 8, 6, 8, 8, 8]), tmp_path, enhancement(8, 2), **options)
    load(Unreadable({"image"}, sizes=[8, 4, 8, 6, 8, 8, 8]), tmp_path, enhancement(8, 2), quarantine=again)
    assert len(first) == 2 and again.items == first.items


def test_other_code_makes_the_set_again(tmp_path, monkeypatch):
    from data import cache

    def key():
        return cache._key(Source(), generation(SIDE), "crop", 9)

    here = tmp_path / "data"
    shutil.copytree(os.path.dirname(cache.__file__), here)
    before = key()
    monkeypatch.setattr(cache, "__file__", str(here / "cache.py"))
    assert key() == before
    for name in ("pipeline.py", "augment.py", "inspection/findings.py", "quarantine.py"):
        (here / name).write_text("changed")
    assert key() == before
    keys = {before}
    for name in ("views.py", "images.py", "sources/folder.py"):
        (here / name).write_text("changed")
        keys.add(key())
    assert len(keys) == 4


def test_all_code_that_makes_rows_is_part_of_the_name():
    """What views and the door for pictures import of data, but for modules that read files, word messages, or draw damage later."""
    from data import cache

    here = Path(cache.__file__).parent
    named = {path.relative_to(here).as_posix() for pattern in cache._MAKES_ROWS for path in here.glob(pattern)}
    waiting, found = ["views.py", "images.py"], set()
    while waiting:
        found.add(name := waiting.pop())
        for node in ast.walk(ast.parse((here / name).read_text())):
            if not isinstance(node, ast.ImportFrom):
                continue
            module = ".".join(filter(None, ("data" * bool(node.level), node.module)))  # images.py imports relatively
            if module.split(".")[0] == "data":
                modules = [module[5:]]
                if (here / module[5:].replace(".", "/")).is_dir():  # a package, of which modules are imported
                    modules = [f"{module[5:]}.{alias.name}".removeprefix(".") for alias in node.names]
                waiting += {f"{module.replace('.', '/')}.py" for module in modules} - found
    drawing = {"random.py", *(f"corruptions/{name}.py" for name in ("recipes", "steps", "kernels"))}
    assert found - named == {"files.py", "content.py", "errors.py"} | drawing


def test_what_killed_processes_left_is_swept_after_a_day(tmp_path):
    for name, hours in ((".writing-old", 25), (".writing-new", 23), ("kept", 25)):
        (tmp_path / name / "inner").mkdir(parents=True)
        os.utime(tmp_path / name, times=(time.time() - 3600 * hours,) * 2)
    load(Source(), tmp_path, memory=1)
    assert {".writing-new", "kept"} <= set(os.listdir(tmp_path)) and len(os.listdir(tmp_path)) == 3


def spill(source, folder, **options):
    said = []
    return load(source, folder, memory=1, say=said.append, **options), said


@pytest.mark.parametrize("memory", [None, 1])
def test_no_more_rows_than_are_worth_keeping(tmp_path, memory):
    """Drawn from all pictures alike, and always the same ones."""

    def source():
        return Source({"image"}, sizes=[40, 16] + [80] * (COUNT - 2))

    view, said = enhancement(8, 2, stride=4), []
    everything = load(source(), tmp_path / "all", view)
    some = load(source(), tmp_path / "some", view, most=9 * COUNT + 3, memory=memory, say=said.append)
    assert everything.count == 9**2 + 3**2 + 5 * 19**2 and some.count == 9 * COUNT
    assert said[-1] == "of 1,895 patches 63 are used, as many of each picture, always the same ones"
    same(load(source(), tmp_path / "again", view, most=9 * COUNT + 3), some)
    high = {row.tobytes() for row in everything.arrays["high"]}
    assert all(row.tobytes() in high for row in some.arrays["high"])
    np.testing.assert_array_equal(some.arrays["high"][9:18], everything.arrays["high"][81:90])  # all of the second
    assert load(source(), tmp_path / "one", view, most=1).count == COUNT
    assert load(Source(), tmp_path / "single", most=1).count == COUNT


def test_the_size_is_told_before_it_is_written(tmp_path):
    rows, said = spill(Source(count=40_000), tmp_path)
    assert said == [
        f"the data do not fit in memory: about {rows.nbytes / 1e6:,.0f} MB are written to {tmp_path}, and used again by later runs"
    ]
    assert spill(Source(count=40_000), tmp_path)[1] == []


@pytest.mark.parametrize("spoil", ["truncate", "missing", "empty report", "no report"])
def test_a_damaged_set_is_made_again_with_a_sentence(tmp_path, spoil):
    first, _ = spill(Source(), tmp_path)
    expected = {key: np.array(array) for key, array in first.arrays.items()}
    (name,) = names(tmp_path)
    {
        "truncate": lambda: os.truncate(tmp_path / name / "image.raw", 100),
        "missing": lambda: (tmp_path / name / "label.raw").unlink(),
        "empty report": lambda: (tmp_path / name / "rows.json").write_bytes(b""),
        "no report": lambda: (tmp_path / name / "rows.json").unlink(),
    }[spoil]()
    again, said = spill(Source(), tmp_path)
    for key, array in expected.items():
        np.testing.assert_array_equal(again.arrays[key], array)
    assert any("is damaged, and is made again" in line for line in said) == (spoil != "no report") and names(
        tmp_path
    ) == [name]


def test_too_little_disk_is_known_before_anything_is_written(tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(ValueError, match=r"take about 0 MB on disk, and .* has 0 MB free; XDG_CACHE_HOME"):
        spill(Source(count=400), tmp_path)
    assert names(tmp_path) == []


def test_old_sets_are_removed_but_none_that_is_used(tmp_path, monkeypatch):
    from data import cache

    def put(name, days, size=10):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.raw").write_bytes(b"x" * size)
        (tmp_path / name / "rows.json").write_text("{}")
        os.utime(tmp_path / name / "rows.json", times=(time.time() - 86400 * days,) * 2)

    put("a" * 24, 31)
    put("b" * 24, 29, 1500)
    put("weights of something", 99)
    used, _ = spill(Source(name="used"), tmp_path)
    (used_name,) = set(names(tmp_path)) - {"b" * 24, "weights of something"}
    os.utime(tmp_path / used_name / "rows.json", times=(0, 0))
    spill(Source(), tmp_path)
    assert {"b" * 24, used_name, "weights of something"} < set(names(tmp_path)) and len(names(tmp_path)) == 4
    monkeypatch.setattr(cache, "KEPT_BYTES", 4500)
    put("c" * 24, 1, 1500)
    del used
    spill(Source(name="other"), tmp_path)
    assert "c" * 24 in names(tmp_path) and not {"b" * 24, used_name} & set(names(tmp_path))


def test_a_set_that_is_opened_counts_as_used_today(tmp_path):
    spill(Source(), tmp_path)
    (name,) = names(tmp_path)
    os.utime(tmp_path / name / "rows.json", times=(0, 0))
    load(Unreadable(), tmp_path)
    assert time.time() - (tmp_path / name / "rows.json").stat().st_mtime < 3600


def test_without_a_home_everything_works_in_memory(monkeypatch):
    from data import cache

    def nobody(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(cache.Path, "home", nobody)
    assert load_rows(Source(), generation(SIDE)).count == COUNT
    with pytest.raises(ValueError, match="let XDG_CACHE_HOME name a folder"):
        load_rows(Source(), generation(SIDE), memory=1)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert load(Source(), tmp_path / "file" / "deep").count == COUNT
    with pytest.raises(ValueError, match="deep cannot be written: .*XDG_CACHE_HOME may name another place"):
        spill(Source(), tmp_path / "file" / "deep")


def test_classes_without_rows_are_known(tmp_path):
    source = Source({"image", "label"}, count=1)
    assert load(source, tmp_path).empty_classes == ("shoe",)
    assert load(Source({"image"}), tmp_path).empty_classes == ()


class Uneven(Source):
    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def examples(self, size, fit, quarantine):
        for number, example in enumerate(super().examples(size, fit, quarantine)):
            if number == 3:
                self.spoil(example)
            yield example


@pytest.mark.parametrize("memory", [1, None])
@pytest.mark.parametrize(
    "spoil",
    [lambda e: e.pop("label"), lambda e: e.update(image=e["image"][1:]), lambda e: e.update(image=e["image"] / 2)],
)
def test_examples_that_differ_in_keys_shapes_or_types_are_an_error(tmp_path, spoil, memory):
    with pytest.raises(ValueError, match=r"examples differ in what they have: .*; and .*label int32\[\]"):
        load(Uneven(spoil), tmp_path, memory=memory)
    assert names(tmp_path) == []


class Wordy(Source):
    caption = ""

    def examples(self, size, fit, quarantine):
        for example in super().examples(size, fit, quarantine):
            yield example | {"caption": self.caption}


@pytest.mark.parametrize("memory", [1, None])
@pytest.mark.parametrize(
    "caption, kept",
    [
        ("é" * 127 + "ab and more", "é" * 127 + "ab"),  # 256 bytes
        ("a" + "é" * 200, "a" + "é" * 127),  # 255 bytes: the 256th is half a letter
        ("", ""),
    ],
)
def test_a_long_caption_is_cut_between_letters(tmp_path, memory, caption, kept):
    source = Wordy()
    source.caption = caption
    captions = load(source, tmp_path, memory=memory).arrays["caption"]
    assert [bytes(value).decode() for value in captions] == [kept] * COUNT


def test_progress_sees_every_example_and_the_total(tmp_path):
    seen = []

    def progress(examples, total, what):
        seen.append(total)
        for example in examples:
            seen.append(example["label"])
            yield example

    load(Source(), tmp_path, progress=progress)
    assert seen == [COUNT, 0, 1, 0, 1, 0, 1, 0]
