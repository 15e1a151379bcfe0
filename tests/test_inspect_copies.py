"""Copies are found however they were changed, and told by where they lie; what only looks alike is left apart."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from shelf import inspected, of_kind, product, put

from benchmarks.defects import DEFECTS, saved
from data.inspection import cleaning, duplicates, variants

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
    one, cut = (duplicates.small_copy(picture) for picture in (np.asarray(whole), np.asarray(whole)[8:248, 4:252]))
    assert duplicates.are_copies(one, cut)
    assert not duplicates.are_copies(one, duplicates.small_copy(np.asarray(product(14).resize((256, 256)))))


def test_small_pictures_are_compared_by_their_bytes_only():
    picture = np.asarray(product(0).resize((63, 80)))
    assert duplicates.small_copy(picture) is None
    assert duplicates.find(["one", "two", "one"], [None, None, None]) == [[0, 2]]
    assert duplicates.find([], []) == [] and variants.find([None, None]) == variants.find([]) == []


def test_colours_differ_by_what_exposure_and_cut_off_light_leave_open():
    """A gain of 1.2 and an offset are no difference, nor is what is white there; a part of 8 px is."""
    random = np.random.default_rng(0)
    one = random.uniform(60, 180, (16, 16, 3)).astype(np.float32).repeat(4, 0).repeat(4, 1)
    assert np.allclose(duplicates.colour_differences(one, 1.2 * one + 10), 0, atol=0.1)
    one[:8] = np.linspace(200, 250, 64, dtype=np.float32)[:, None]
    assert max(duplicates.colour_differences(one, np.minimum(1.2 * one, 255))) < 2
    other = one.copy()
    other[40:44, 40:44, 0] += 50
    whole, part = duplicates.colour_differences(one, other)
    assert whole < 2 and part == pytest.approx(50 * 2 / 3, abs=18)


def test_no_gain_makes_a_grey_product_of_a_blue_one():
    """All its colours would become one, which explains any that does not vary."""
    blue = np.full((64, 64, 3), (40, 80, 190), np.float32) + np.random.default_rng(0).normal(0, 5, (64, 64, 1))
    whole, part = duplicates.colour_differences(blue, np.full_like(blue, 195))
    assert whole > 50 and part > 50


def shirt(ink, ground=(250, 250, 250), word="", trim=None, seed=0):
    """A shirt with folds, drawn 256 px wide."""
    random = np.random.default_rng(seed)
    folds = 1 + 0.06 * np.tanh(ndimage.gaussian_filter(random.normal(size=(256, 256)), 6) * 12)
    mask = Image.new("L", (256, 256), 0)
    draw = ImageDraw.Draw(mask)
    draw.polygon(
        [
            (70, 50),
            (186, 50),
            (236, 100),
            (206, 130),
            (186, 110),
            (186, 220),
            (70, 220),
            (70, 110),
            (50, 130),
            (20, 100),
        ],
        255,
    )
    cloth = Image.fromarray(np.clip(folds[..., None] * ink, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(cloth)
    draw.text((95, 110), word, (250, 240, 60), ImageFont.load_default(30))
    if trim:
        draw.rectangle((70, 208, 186, 220), trim)
    return Image.composite(cloth, Image.new("RGB", cloth.size, ground), mask)


@pytest.mark.parametrize("ink", [(60, 60, 70), (200, 40, 40), (195, 195, 195), (60, 140, 90)])
def test_one_product_in_two_colours_is_kept_and_told(tmp_path, ink):
    put(tmp_path / "a.jpg", shirt((40, 80, 190)))
    put(tmp_path / "b.jpg", shirt(ink))
    put(tmp_path / "other.jpg", product(3))
    _, records, found = inspected(tmp_path)
    assert of_kind(found, "colour_variant") == [(("a.jpg", "b.jpg"), "one product in 2 colours")]
    assert not of_kind(found, "near_duplicate") and len(cleaning.kept(records, found)) == 3
    assert [record.entry.name for record in cleaning.kept(records, found, drop=["colour_variant"])] == [
        "a.jpg",
        "other.jpg",
    ]


def test_a_trim_of_another_colour_is_another_product(tmp_path):
    for name, trim in (("a", (230, 130, 40)), ("b", (40, 120, 220)), ("c", None)):
        put(tmp_path / f"{name}.jpg", shirt((50, 50, 55), trim=trim))
    found = inspected(tmp_path)[2]
    assert not of_kind(found, "near_duplicate")
    ((pictures, _),) = of_kind(found, "colour_variant")
    assert {"a.jpg", "b.jpg"} <= set(pictures)


@pytest.mark.parametrize("ground", [(250, 250, 250), (128, 128, 128), (20, 20, 20)])
def test_another_print_on_the_same_shirt_is_another_product(tmp_path, ground):
    """On one cloth, and on one of another colour."""
    put(tmp_path / "north.jpg", shirt((40, 80, 190), ground, "NORTH"))
    put(tmp_path / "wave.jpg", shirt((40, 80, 190), ground, "wave 7"))
    put(tmp_path / "plain.jpg", shirt((40, 80, 190), ground))
    put(tmp_path / "red.jpg", shirt((190, 60, 60), ground, "AB 12"))
    _, records, found = inspected(tmp_path)
    assert not of_kind(found, "near_duplicate") and not of_kind(found, "colour_variant")
    assert len(cleaning.kept(records, found)) == 4


def test_a_copy_of_a_variant_is_a_copy_only(tmp_path):
    put(tmp_path / "blue.jpg", shirt((40, 80, 190)))
    put(tmp_path / "red.jpg", shirt((190, 50, 40)))
    put(tmp_path / "red-small.jpg", saved(shirt((190, 50, 40)).resize((180, 180)), quality=60))
    found = inspected(tmp_path)[2]
    assert of_kind(found, "near_duplicate") == [(("red.jpg", "red-small.jpg"), "the same picture")]
    assert of_kind(found, "colour_variant") == [(("blue.jpg", "red.jpg"), "one product in 2 colours")]
