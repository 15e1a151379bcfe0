"""Copies are found however they were changed, and told by where they lie; what only looks alike is left apart."""

import numpy as np
import pytest
from PIL import Image
from shelf import inspected, of_kind, product, put

from benchmarks.defects import DEFECTS, saved
from data.health import duplicates

COPIES = {one.title: one for one in DEFECTS if one.where == "beside"}


@pytest.mark.parametrize("title", COPIES)
def test_a_copy_is_found(tmp_path, title):
    defect, original = COPIES[title], saved(product(0))
    put(tmp_path / "a.jpg", original)
    put(tmp_path / "b.jpg", original if defect.make is None else defect.make(product(0), np.random.default_rng(0)))
    for number in range(1, 6):
        put(tmp_path / f"other-{number}.jpg", product(number))
    found = inspected(tmp_path)[2]
    exact = defect.kind == "exact_duplicate"
    assert of_kind(found, defect.kind) == [(("a.jpg", "b.jpg"), "the same bytes" if exact else "the same picture")]
    assert not of_kind(found, "near_duplicate" if exact else "exact_duplicate")


def test_copies_of_copies_are_one_group_and_the_largest_comes_first(tmp_path):
    put(tmp_path / "a.jpg", saved(product(0).resize((150, 150))))
    put(tmp_path / "b.jpg", product(0))
    put(tmp_path / "c.jpg", saved(product(0), quality=40))
    put(tmp_path / "d.jpg", saved(product(0).resize((100, 100))))
    assert of_kind(inspected(tmp_path)[2], "near_duplicate") == [
        (("b.jpg", "c.jpg", "a.jpg", "d.jpg"), "the same picture")
    ]


def test_copies_across_splits_and_classes(tmp_path):
    """Of copies across splits that which is measured with comes first; a copy may be wrong in both ways."""
    put(tmp_path / "train/hat/a.jpg", product(0))
    put(tmp_path / "validation/hat/b.jpg", product(0))
    put(tmp_path / "test/mug/c.jpg", saved(product(0).resize((150, 150))))
    put(tmp_path / "train/mug/d.jpg", product(1))
    put(tmp_path / "train/hat/e.jpg", product(1))
    put(tmp_path / "validation/mug/f.jpg", product(2))
    put(tmp_path / "test/hat/g.jpg", product(3))
    found = inspected(tmp_path)[2]
    three = ("test/mug/c.jpg", "validation/hat/b.jpg", "train/hat/a.jpg")
    assert of_kind(found, "leakage") == [(three, "the same picture in test and validation and train")]
    assert of_kind(found, "label_conflict") == [
        (three, "the same picture in hat and mug"),
        (("train/hat/e.jpg", "train/mug/d.jpg"), "the same bytes in hat and mug"),
    ]
    assert of_kind(found, "exact_duplicate") == [(("train/hat/e.jpg", "train/mug/d.jpg"), "the same bytes")]


def test_what_looks_alike_is_no_copy(tmp_path):
    """Twenty-four products on plain ground, one of them in another colour, and one mirrored."""
    for number in range(24):
        put(tmp_path / f"{number}.jpg", product(number))
    red, green, blue = product(0).split()
    put(tmp_path / "recoloured.jpg", Image.merge("RGB", (blue, red, green)))
    put(tmp_path / "mirrored.jpg", product(5).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    kinds = {finding.kind for finding in inspected(tmp_path)[2]}
    assert not kinds & {"exact_duplicate", "near_duplicate", "leakage", "label_conflict"}


def test_a_known_shift_and_stretch_are_undone():
    """Cells that the crop does not move agree: the middle of a picture, cut by a known frame."""
    whole = product(4).resize((256, 256))
    cut = np.asarray(whole)[8:248, 4:252]
    copies = [duplicates.small_copies(np.asarray(whole)), duplicates.small_copies(cut)]
    colours, details = (np.stack([copy[part] for copy in copies]) for part in (0, 1))
    assert duplicates.are_copies(colours, details)
    other = duplicates.small_copies(np.asarray(product(14).resize((256, 256))))
    assert not duplicates.are_copies(np.stack([colours[0], other[0]]), np.stack([details[0], other[1]]))


def test_small_pictures_are_compared_by_their_bytes_only():
    picture = np.asarray(product(0).resize((63, 80)))
    assert duplicates.small_copies(picture) is None
    assert duplicates.find(["one", "two", "one"], [None, None, None]) == [[0, 2]]
    assert duplicates.find([], []) == []
