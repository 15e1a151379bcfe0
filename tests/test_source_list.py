"""`list:FILE` reads what a folder would, of the files it names and of no others."""

import numpy as np
import pytest
from PIL import Image

from data.catalogue import open_source
from data.quarantine import Quarantine
from data.sources.folder import Folder
from data.sources.listed import Listed, read_list, write_list
from data.sources.protocol import SourceError


def paint(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value,) * 3).save(path)


def read(source):
    quarantine = Quarantine()
    examples = list(source.examples(8, "crop", quarantine))
    assert len(quarantine) == 0
    return [(int(example["image"][0, 0, 0]), example.get("label")) for example in examples]


@pytest.fixture
def shop(tmp_path):
    root = tmp_path / "photos"
    names = (
        "train/hat/1.png",
        "train/hat/deep/2.png",
        "train/shoe/3.png",
        "validation/hat/4.png",
        "validation/sock/5.png",
    )
    for value, name in enumerate(names):
        paint(root / name, value)
    return root


def test_a_list_of_everything_is_the_folder(shop):
    lines = [str(path) for path in sorted(shop.rglob("*.png"))]
    (shop.parent / "all.txt").write_bytes(write_list(lines, ["everything"]))
    for split in ("", "#validation"):
        listed, folder = open_source(f"list:{shop.parent / 'all.txt'}{split}"), Folder(f"{shop}{split}")
        assert listed.classes == folder.classes == ("hat", "shoe", "sock")
        assert listed.keys == folder.keys and listed.count == folder.count
        assert read(listed) == read(folder)
        assert listed.fingerprint() == folder.fingerprint()


def test_only_what_is_listed_is_read_each_once_in_sorted_order(shop):
    text = "\ufeff# two of five\r\n\nphotos/train/shoe/3.png\r\nphotos/train/hat/1.png\nphotos/train/hat/../hat/1.png\n"
    (shop.parent / "some.txt").write_text(text, newline="")
    source = Listed(str(shop.parent / "some.txt"))
    assert source.classes == ("hat", "shoe") and source.count == 2 and not source.left_out
    assert read(source) == [(0, 0), (2, 1)]
    assert source.fingerprint() != Folder(str(shop)).fingerprint()


def test_a_list_of_one_folder_has_no_classes(shop):
    (shop / "hats.txt").write_text("train/hat/1.png\n")
    source = Listed(str(shop / "hats.txt"))
    assert source.classes == () and read(source) == [(0, None)]


def test_names_of_any_bytes_come_back(shop):
    odd = shop / "train" / "hat" / " #1 \udcff.png"
    paint(odd, 9)
    (shop / "odd.txt").write_bytes(write_list([str(odd)], []))
    assert read_list(str(shop / "odd.txt")) == (str(odd.parent), [odd.name])
    assert read(Listed(str(shop / "odd.txt"))) == [(9, None)]


def test_a_list_says_what_is_wrong(shop):
    file = shop / "list.txt"
    with pytest.raises(SourceError, match="list.txt cannot be read: No such file"):
        Listed(str(file))
    file.write_text("# nothing\n")
    with pytest.raises(SourceError, match="names no picture"):
        Listed(str(file))
    file.write_text("train/hat/1.png\ntrain/hat/gone.png\n")
    with pytest.raises(SourceError, match="names files that are not there, 1 of 2: 'train/hat/gone.png'"):
        Listed(str(file))
    file.write_text("train/hat/1.png\ngs://shop/hat/1.png\n")
    with pytest.raises(SourceError, match="no folder in common"):
        Listed(str(file))
    file.write_text("train/hat/1.png\n")
    with pytest.raises(SourceError, match="no split test"):
        Listed(f"{file}#test")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_as_people_save_them(shop, encoding, end, monkeypatch):
    paint(shop / "train" / "schürze" / "6.png", 6)
    monkeypatch.setenv("HOME", str(shop.parent))
    lines = [
        "# Zürich",
        "",
        "train/schürze/6.png",
        "~/photos/train/hat/1.png",
        "./train/hat/deep/../1.png",
        str(shop / "train/shoe/3.png"),
    ]
    (shop / "shop#1.txt").write_bytes(end.join(lines).encode(encoding))
    assert read(open_source(f"list:{shop}/shop#1.txt")) == [(0, 0), (6, 1), (2, 2)]


def test_a_list_in_another_coding_is_named_for_it(shop):
    file = shop / "list.txt"
    file.write_bytes("train/hat/1.png\n".encode("utf-16-le"))
    with pytest.raises(SourceError, match="no text in UTF-8: it holds bytes of 0, as UTF-16 does"):
        Listed(str(file))
    file.write_bytes("train/hat/1.png\n".encode("utf-16")[:-1])
    with pytest.raises(SourceError, match="begins as UTF-16, but is damaged"):
        Listed(str(file))


@pytest.mark.parametrize(
    "line", ["train/hat/1.png ", '"train/hat/1.png"', "train/hat/1.png,3", "train\\hat\\1.png", "\ttrain/hat/1.png"]
)
def test_what_cannot_be_found_is_shown_as_it_was_typed(shop, line):
    (shop / "list.txt").write_text(f"{line}\ntrain/shoe/3.png\n")
    with pytest.raises(SourceError) as caught:
        Listed(str(shop / "list.txt"))
    assert f"1 of 2: {line!r}; the first was looked for at '{shop}/" in str(caught.value)


def test_a_list_of_an_unknown_scheme(shop):
    (shop / "list.txt").write_text("s3://shop/hat/1.png\n")
    with pytest.raises(ValueError, match="s3:// is not known"):
        Listed(str(shop / "list.txt"))


def test_remote_lists_keep_their_scheme(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("gs://shop/photos/hat/1.png\ngs://shop/photos/shoe/2.png\n")
    assert read_list(str(file)) == ("gs://shop/photos", ["hat/1.png", "shoe/2.png"])


def test_pictures_are_what_the_folder_gives(shop):
    (shop / "one.txt").write_text("train/shoe/3.png\ntrain/hat/1.png")
    first = next(Listed(str(shop / "one.txt")).examples(None, "crop", Quarantine()))
    assert np.array_equal(first["image"], np.zeros((8, 8, 3), np.uint8))
