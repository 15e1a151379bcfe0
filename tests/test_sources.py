"""Every kind of source: what it yields, in which order, and what it leaves out."""

import gzip
import json
import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from data import files
from data.images import decode, save_png
from data.quarantine import Quarantine
from data.sources.folder import Folder
from data.sources.idx import FASHION, Idx
from data.sources.listed import Listed
from data.sources.pairs import Pairs
from data.sources.parallel import ordered_map
from data.sources.protocol import SourceError


def paint(path, value, height=8, width=8):
    """A picture of one grey value, in whatever format the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"format": "JPEG", "quality": 100} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    Image.new("RGB", (width, height), (value,) * 3).save(path, **options)


def read(source, size=4, fit="crop"):
    quarantine = Quarantine()
    quarantine.extend(source.left_out)
    return list(source.examples(size, fit, quarantine)), quarantine


def greys(examples, key="image"):
    return [int(example[key][0, 0, 0]) for example in examples]


@pytest.fixture
def shop(tmp_path):
    paint(tmp_path / "shoe" / "b.JPG", 40)
    paint(tmp_path / "shoe" / "deep" / "er" / "a.png", 50)
    paint(tmp_path / "hat" / "z.png", 10)
    paint(tmp_path / "hat" / ".hidden.png", 99)
    paint(tmp_path / ".cache" / "x.png", 98)
    (tmp_path / "hat" / "notes.txt").write_text("not a picture")
    (tmp_path / "LICENSE").write_text("CC0")
    return tmp_path


def test_folder_of_classes(shop):
    source = Folder(str(shop))
    assert source.classes == ("hat", "shoe") and source.count == 3 and source.left_out.others == {".txt": 1, "": 1}
    assert source.keys == {"image", "label"} and source.spec == f"folder:{shop}"
    examples, quarantine = read(source)
    assert greys(examples) == [10, 40, 50] and [e["label"] for e in examples] == [0, 1, 1]
    assert examples[0]["image"].shape == (4, 4, 3) and examples[0]["image"].dtype == np.uint8
    assert quarantine.items == [("hat/.hidden.png", "its name begins with a dot")]
    assert read(source, size=None)[0][0]["image"].shape == (8, 8, 3)


def test_folder_leaves_bad_pictures_out_by_name(shop):
    (shop / "hat" / "a.jpg").write_bytes(b"%PDF-1.4")
    (shop / "shoe" / "empty.png").write_bytes(b"")
    paint(shop / "loose.png", 3)
    examples, quarantine = read(Folder(str(shop)))
    assert greys(examples) == [10, 40, 50]
    assert quarantine.items == [
        ("hat/.hidden.png", "its name begins with a dot"),
        ("loose.png", "lies beside the class folders"),
        ("hat/a.jpg", "not a picture that can be read, but: PDF document"),
        ("shoe/empty.png", "the file is empty"),
    ]


def test_flat_folder_has_no_labels(tmp_path):
    for value in (20, 10):
        paint(tmp_path / f"{value}.png", value)
    source = Folder(str(tmp_path))
    assert source.classes == () and source.keys == {"image"}
    examples, _ = read(source)
    assert greys(examples) == [10, 20] and "label" not in examples[0]


def test_splits_share_their_labels(tmp_path):
    for name, value in (("train/a/1.png", 1), ("train/c/2.png", 2), ("val/b/3.png", 3), ("val/c/4.png", 4)):
        paint(tmp_path / name, value)
    train, validation = Folder(str(tmp_path)), Folder(f"{tmp_path}#validation")
    assert train.classes == validation.classes == ("a", "b", "c")
    assert [e["label"] for e in read(train)[0]] == [0, 2]
    assert [(e["label"], grey) for e, grey in zip(*(lambda x: (x, greys(x)))(read(validation)[0]), strict=True)] == [
        (1, 3),
        (2, 4),
    ]
    assert greys(read(Folder(f"{tmp_path}#val"))[0]) == [3, 4]
    assert Folder(str(tmp_path / "val")).classes == ("b", "c")
    with pytest.raises(SourceError, match="no split test .* it has train, validation"):
        Folder(f"{tmp_path}#test")


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "car"):
        paint(tmp_path / name / "1.png", 1)
    assert Folder(str(tmp_path)).classes == ("car", "train")


def test_without_train_a_split_must_be_named(tmp_path):
    paint(tmp_path / "test" / "a" / "1.png", 1)
    with pytest.raises(SourceError, match=r"choose one, such as .*#test"):
        Folder(str(tmp_path))


def test_a_folder_name_may_hold_the_split_sign(tmp_path):
    paint(tmp_path / "lot #3" / "1.png", 7)
    assert greys(read(Folder(str(tmp_path / "lot #3")))[0]) == [7]


def test_a_split_of_what_is_not_there_is_shown_as_it_was_typed(tmp_path):
    for source in (Folder, Pairs, Idx, Listed):
        with pytest.raises(SourceError, match="there is no .*/lot #3, and no .*/lot  with a split 3"):
            source(f"{tmp_path}/lot #3")


def test_folder_says_why_nothing_is_usable(tmp_path):
    with pytest.raises(SourceError, match="there is no folder .*missing"):
        Folder(str(tmp_path / "missing"))
    with pytest.raises(SourceError, match="is empty"):
        Folder(str(tmp_path))
    for name in ("a.txt", "b.txt", "c.csv"):
        (tmp_path / name).write_text("x")
    with pytest.raises(
        SourceError, match=r"nothing usable was found .*: 3 other files were passed over \(2 .txt, 1 .csv\)"
    ):
        Folder(str(tmp_path))
    (tmp_path / "d.png").write_text("text")
    with pytest.raises(SourceError, match=r"nothing usable was found .* d.png \(not a picture .* text\)"):
        read(Folder(str(tmp_path)))


def test_folder_fingerprint_follows_names_sizes_and_labels(shop):
    before = Folder(str(shop)).fingerprint()
    assert before == Folder(str(shop)).fingerprint()
    (shop / "shoe" / "b.JPG").rename(shop / "hat" / "b.JPG")
    moved = Folder(str(shop)).fingerprint()
    paint(shop / "hat" / "z.png", 10, 200, 300)
    assert len({before, moved, Folder(str(shop)).fingerprint()}) == 3


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100])
def test_ordered_map_keeps_the_order(length):
    def slow_when_early(i):
        time.sleep(0.002 * (i % 8 == 0))
        return i * i

    assert list(ordered_map(slow_when_early, range(length), workers=3)) == [i * i for i in range(length)]


def test_ordered_map_stays_near_its_consumer_and_stops():
    taken = []
    endless = iter(lambda: taken.append(1), 0)
    mapped = ordered_map(lambda item: item, endless, workers=2)
    next(mapped)
    assert len(taken) <= 48
    mapped.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("packshot-read")]


def test_ordered_map_raises_what_the_function_raises():
    with pytest.raises(ZeroDivisionError):
        list(ordered_map(lambda i: 1 // (9 - i), range(20)))


def test_quarantine(tmp_path):
    quarantine = Quarantine()
    assert quarantine.sentence(3) == "none of 3 pictures was left out"
    threads = [threading.Thread(target=lambda i=i: quarantine.add(f"{i}.jpg", "truncated")) for i in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    quarantine.add("0.jpg", "again")
    assert len(quarantine) == 7 and dict(quarantine.items)["0.jpg"] == "truncated"
    assert quarantine.sentence(120).startswith("7 of 120 pictures were left out: ")
    assert quarantine.sentence().endswith("(truncated) and 2 more")
    quarantine.write(str(tmp_path / "left_out.json"))
    rows = json.loads((tmp_path / "left_out.json").read_text())
    assert {row["name"] for row in rows} == {f"{i}.jpg" for i in range(7)} and rows[0]["reason"] == "truncated"


def test_pairs_side_by_side(tmp_path):
    both = np.concatenate([np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 200, np.uint8)], axis=1)
    save_png(str(tmp_path / "1.png"), both)
    paint(tmp_path / "2.png", 5)
    examples, quarantine = read(Pairs(str(tmp_path)))
    assert [sorted(example) for example in examples] == [["source", "target"]]
    assert (examples[0]["source"] == 10).all() and (examples[0]["target"] == 200).all()
    assert quarantine.items == [("2.png", "is 8x8, and two pictures side by side are wider than high")]
    (tmp_path / "2.png").unlink()
    swapped, _ = read(Pairs(f"{tmp_path}#BtoA"), size=None)
    assert (swapped[0]["source"] == 200).all() and swapped[0]["target"].shape == (8, 8, 3)
    assert Pairs(str(tmp_path)).fingerprint() != Pairs(f"{tmp_path}#BtoA").fingerprint()


@pytest.mark.parametrize(
    "left, right, option",
    [
        ("A", "B", ""),
        ("trainA", "trainB", ""),
        ("source", "target", ""),
        ("testA", "testB", "#test"),
        ("A/test", "B/test", "#test"),
        ("test/A", "test/B", "#test"),
        ("A/train", "B/train", ""),
    ],
)
def test_pairs_in_two_folders(tmp_path, left, right, option):
    for name, value in (("1.png", 10), ("2.png", 20), ("only.png", 30)):
        paint(tmp_path / left / name, value)
    for name, value in (("2.jpg", 120), ("1.bmp", 110), ("other.png", 130)):
        paint(tmp_path / right / name, value)
    if "train" in left or option:
        paint(tmp_path / left.replace("train", "val").replace("test", "val") / "9.png", 1)
    source = Pairs(f"{tmp_path}{option}")
    examples, quarantine = read(source)
    assert source.count == 2 and source.keys == {"source", "target"} and source.classes == ()
    assert greys(examples, "source") == [10, 20] and greys(examples, "target") == [110, 120]
    assert quarantine.items == [
        (f"{left}/only.png", f"has no partner in {right}"),
        (f"{right}/other.png", f"has no partner in {left}"),
    ]


def test_pairs_may_be_a_small_picture_and_its_larger_one(tmp_path):
    for name, sides in (("1.png", (4, 12)), ("2.png", (4, 10)), ("3.png", (8, 4))):
        for folder, side in zip(("LR", "HR"), sides, strict=True):
            paint(tmp_path / folder / name, 10, side, side)
    examples, quarantine = read(Pairs(str(tmp_path)), size=None)
    assert [(e["source"].shape[0], e["target"].shape[0]) for e in examples] == [(4, 12)]
    assert [name for name, _ in quarantine.items] == ["2", "3"]


def test_pairs_of_different_native_sizes_are_left_out(tmp_path):
    for name, side in (("1.png", 8), ("2.png", 6)):
        paint(tmp_path / "A" / name, 10)
        paint(tmp_path / "B" / name, 20, side, side)
    examples, quarantine = read(Pairs(str(tmp_path)), size=None)
    assert len(examples) == 1 and quarantine.items == [("2", "source is 8x8, but target is 6x6")]
    assert len(read(Pairs(str(tmp_path)))[0]) == 2


def test_pairs_say_why_there_are_none(tmp_path):
    paint(tmp_path / "A" / "1.png", 1)
    paint(tmp_path / "B" / "2.png", 1)
    with pytest.raises(SourceError, match="no picture in .*A has a partner of its name in B"):
        Pairs(str(tmp_path))
    with pytest.raises(SourceError, match="names two splits"):
        Pairs(f"{tmp_path}#train,test")


def write_idx(path, values):
    header = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">i4").tobytes()
    content = header + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture(params=["train-images-idx3-ubyte.gz", "train-images.idx3-ubyte"])
def fashion(tmp_path, request):
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    pictures = np.zeros((3, 28, 28), np.uint8)
    pictures[1], pictures[2, 0, 0] = 200, 90
    write_idx(folder / request.param, pictures)
    write_idx(folder / "train-labels-idx1-ubyte", np.array([0, 9, 5]))
    write_idx(folder / "t10k-images-idx3-ubyte.gz", pictures[:1])
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.array([3]))
    return folder


def test_idx(fashion):
    source = Idx(str(fashion))
    assert source.classes == FASHION and source.count == 3 and source.keys == {"image", "label"}
    examples, quarantine = read(source, size=None)
    assert [e["label"] for e in examples] == [0, 9, 5] and len(quarantine) == 0
    assert examples[2]["image"].shape == (28, 28, 3) and examples[2]["image"][0, 0].tolist() == [90, 90, 90]
    test = Idx(f"{fashion}#test")
    assert test.count == 1 and test.fingerprint() != source.fingerprint() == Idx(f"{fashion}#train").fingerprint()
    digits = fashion.rename(fashion.parent / "digits")
    assert Idx(str(digits)).classes == tuple("0123456789")


@pytest.mark.parametrize("size, margin", [(28, 0), (32, 2), (64, 4), (128, 8), (14, 0)])
def test_idx_stands_on_black(fashion, size, margin):
    full = read(Idx(str(fashion)), size=size)[0][1]["image"]
    inside = np.zeros((size, size), bool)
    inside[margin : size - margin, margin : size - margin] = True
    assert full.shape == (size, size, 3)
    assert (full[inside] == 200).all() and (full[~inside] == 0).all()


def test_idx_at_32_is_the_picture_itself(fashion):
    native, bordered = (read(Idx(str(fashion)), size=size)[0][2]["image"] for size in (None, 32))
    assert np.array_equal(bordered[2:-2, 2:-2], native)


def test_idx_says_what_is_wrong(fashion, tmp_path):
    with pytest.raises(SourceError, match="there is no folder"):
        Idx(str(tmp_path / "missing"))
    with pytest.raises(SourceError, match="there is no train-images-idx3-ubyte"):
        Idx(str(tmp_path))
    with pytest.raises(SourceError, match="there is no split dev .* have: train, test"):
        Idx(f"{fashion}#dev")
    write_idx(fashion / "t10k-labels-idx1-ubyte.gz", np.array([3, 4]))
    with pytest.raises(SourceError, match="1 pictures, but 2 labels"):
        Idx(f"{fashion}#test")
    (fashion / "t10k-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(SourceError, match="cannot be read"):
        Idx(f"{fashion}#test")


def test_decode_and_folder_agree(shop):
    content = (shop / "shoe" / "b.JPG").read_bytes()
    assert np.array_equal(read(Folder(str(shop)), 6, "pad")[0][1]["image"], decode(content, 6, fit="pad"))


def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError) as caught:
        files.write(str(tmp_path / "taken"), b"content")
    assert caught.value.filename == str(tmp_path / "taken") and caught.value.filename2 is None
    assert os.listdir(tmp_path) == ["taken"]


def test_what_cannot_be_written_is_known_before_the_work(tmp_path):
    files.check_writable(str(tmp_path / "deep" / "new"), "gs://bucket/anything")
    assert os.listdir(tmp_path / "deep") == []
    (tmp_path / "old").write_bytes(b"kept")
    files.check_writable(str(tmp_path / "old"))
    assert (tmp_path / "old").read_bytes() == b"kept"
    for name, wrong in (("deep", IsADirectoryError), ("old/inside", OSError)):
        with pytest.raises(wrong) as caught:
            files.check_writable(str(tmp_path / "old"), str(tmp_path / name))
        assert str(caught.value.filename).startswith(str(tmp_path))
