"""Every kind of finding is found where it is planted, under its name and for its reason, and nowhere else."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from shelf import inspected, of_kind, product, put

from benchmarks.defects import DEFECTS, caption, date_stamp, saved
from data.health import thresholds as limit
from data.health.kinds import DROPPABLE, KINDS
from data.health.thresholds import Threshold

REASONS = {
    "cut off": "truncated or damaged JPEG picture",
    "a web page named .jpg": "not a picture that can be read, but: web page",
    "first kilobyte overwritten": "not a picture that can be read, but: ",
    "empty": "the file is empty",
    "short side 60 to 75 px": "60x75",
    "turned by EXIF": "its EXIF orientation is not upright",
    "CMYK": "JPEG in CMYK",
    "16 bits a channel": "PNG with 16 bits",
    "palette": "PNG with a palette",
    "transparent": "PNG with transparency",
    "wide-gamut profile": "wide built-in, a wide gamut",
    "grey": "no colour at all",
    "animated": "GIF with 2 frames",
    "strip 1 : 2.5": "2.5 times as long as wide",
    "3 stops too dark": "19 pixels in 20 below",
    "contrast a fifth": "of the range",
}
# Faint on drawings that have few edges or lie on white, and watermarks need many pictures: measured by benchmarks/plant.py.
ELSEWHERE = {"blurred by Gauss, 1.5 px", "enlarged four times", "2 stops too light", "3 stops too light"}
ELSEWHERE |= {"caption near the border", "date stamp"}  # below: they need larger pictures
PLANTED = [one for one in DEFECTS if one.where == "instead" and not one.share and one.title not in ELSEWHERE]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Findings of a flat folder of eight clean pictures and one of each defect that one picture can have."""
    folder = tmp_path_factory.mktemp("planted")
    random = np.random.default_rng(0)
    for number in range(8):
        put(folder / f"clean-{number}.jpg", product(number))
    for number, defect in enumerate(PLANTED):
        put(folder / f"planted-{number}{defect.extension}", defect.make(product(8 + number % 16), random))
    return inspected(folder)[2]


@pytest.mark.parametrize("number", range(len(PLANTED)), ids=lambda number: PLANTED[number].title)
def test_a_planted_defect_is_found_and_named(planted, number):
    defect = PLANTED[number]
    name = f"planted-{number}{defect.extension}"
    found = {pictures[0]: reason for pictures, reason in of_kind(planted, defect.kind)}
    assert REASONS.get(defect.title, "") in found[name]


def test_a_clean_picture_has_no_finding(planted):
    named = {name: finding.kind for finding in planted for name in finding.pictures}
    assert not [kind for name, kind in named.items() if name.startswith("clean")]


def test_findings_come_in_the_order_of_their_kinds_worst_first(planted):
    order = list(KINDS)
    places = [(order.index(finding.kind), -finding.score) for finding in planted]
    assert places == sorted(places)


def test_every_kind_is_tested():
    here = {
        "background",
        "stray",
        "missing_class",
        "rare_class",
        "imbalance",
        "lettering",
        "not_a_picture",
        "overexposed",
    }
    assert {defect.kind for defect in DEFECTS} | here == set(KINDS)
    assert {kind.severity for kind in KINDS.values()} == {"error", "warning", "note"}
    assert set(DROPPABLE) < set(KINDS)


def test_every_threshold_says_its_unit_and_reason():
    numbers = [value for value in vars(limit).values() if isinstance(value, Threshold)]
    assert len(numbers) == len(limit.ALL) > 20
    assert all(number.unit and number.reason for number in numbers)


def test_burnt_parts(tmp_path):
    """A window behind the product burns; a white background does not, and neither does a white product on white."""
    photo = np.asarray(product(0)).copy()
    photo[:110, :140] = 255
    put(tmp_path / "window.png", saved(Image.fromarray(photo), "PNG"))
    white = np.full((240, 240, 3), 255, np.uint8)
    white[80:160, 80:160] = np.random.default_rng(0).integers(150, 255, (80, 80, 3))
    put(tmp_path / "white.png", saved(Image.fromarray(white), "PNG"))
    ((pictures, reason),) = of_kind(inspected(tmp_path)[2], "overexposed")
    assert pictures == ("window.png",) and reason == "26% of it burnt"  # 110 x 140 of 240 x 240


def test_a_white_background_is_meant_where_others_have_one(tmp_path):
    white = np.full((160, 160, 3), 255, np.uint8)
    white[40:120, 40:120] = np.random.default_rng(0).integers(0, 200, (80, 80, 3))
    put(tmp_path / "white.png", saved(Image.fromarray(white), "PNG"))
    for number in range(19):
        put(tmp_path / f"{number}.jpg", product(number))
    assert not of_kind(inspected(tmp_path)[2], "overexposed")  # 1 in 20
    put(tmp_path / "19.jpg", product(19))
    ((pictures, _),) = of_kind(inspected(tmp_path)[2], "overexposed")
    assert pictures == ("white.png",)


def test_a_background_unlike_the_rest(tmp_path):
    random = np.random.default_rng(0)
    for number in range(8):
        photo = np.full((160, 160, 3), 250, np.uint8)
        photo[40:120, 40:120] = random.integers(0, 200, (80, 80, 3))
        put(tmp_path / f"{number}.png", saved(Image.fromarray(photo), "PNG"))
    coloured = np.where(photo == 250, np.uint8([40, 90, 160]), photo)
    put(tmp_path / "blue.png", saved(Image.fromarray(coloured), "PNG"))
    put(tmp_path / "room.png", saved(Image.fromarray(random.integers(0, 255, (160, 160, 3), np.uint8)), "PNG"))
    found = dict(of_kind(inspected(tmp_path)[2], "background"))
    assert found == {
        ("room.png",): "a busy background, where 80% of the catalogue have white",
        ("blue.png",): "plain #285aa0, where 80% of the catalogue have white",
    }


@pytest.mark.parametrize("make", [caption, date_stamp])
def test_text_near_the_border_is_taken_for_an_overlay(tmp_path, make):
    photo = product(5).resize((480, 480)).point(lambda value: value // 4)
    put(tmp_path / "a.jpg", make(photo, np.random.default_rng(0)))
    ((_, reason),) = of_kind(inspected(tmp_path)[2], "overlay")
    assert reason == "a line of writing near the border"


def test_lettering_inside_the_picture_is_only_a_note(tmp_path):
    photo = product(3).resize((480, 480))
    ImageDraw.Draw(photo).text((130, 225), "SUMMER CAMP", "black", ImageFont.load_default(34))
    put(tmp_path / "print.jpg", photo)
    found = inspected(tmp_path)[2]
    ((pictures, reason),) = of_kind(found, "lettering")
    assert pictures == ("print.jpg",) and reason == "a line of writing in the picture"
    (box,) = [finding.box for finding in found if finding.kind == "lettering"]
    assert np.allclose(box, (130 / 480, 232 / 480, 365 / 480, 258 / 480), atol=0.06)
    assert not of_kind(found, "overlay")


def test_a_mark_that_pictures_share(tmp_path):
    """A faint disc of a shop in a third of fifty-one pictures; alone in a picture nothing would tell it."""
    random = np.random.default_rng(1)
    down, right = np.mgrid[:200, :200]
    ring = np.abs(np.hypot(down - 60, right - 140) - 30) < 3
    for number in range(51):
        photo = np.asarray(product(number % 24)).astype(float)
        photo = np.roll(photo, random.integers(-20, 20, 2), (0, 1))[:200, :200] + random.normal(0, 6, (200, 200, 3))
        if number % 3 == 0:
            photo[ring] *= 0.7
        put(tmp_path / f"{number:02d}.jpg", Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8)))
    found = [f for f in inspected(tmp_path)[2] if f.reason == "the same mark as in other pictures"]
    assert {f.kind for f in found} == {"overlay"}
    names = {finding.pictures[0] for finding in found}
    assert names <= {f"{number:02d}.jpg" for number in range(0, 51, 3)} and len(names) >= 15
    assert np.allclose(found[0].box, (0.53, 0.13, 0.87, 0.47), atol=0.06)


def shop(root, counts):
    """A folder with `counts` of tiny drawings, {"split/class": number}; each differs."""
    random = np.random.default_rng(0)
    for folder, number in counts.items():
        for index in range(number):
            noise = random.integers(0, 255, (12, 12, 3), np.uint8)
            put(root / folder / f"{index}.png", saved(Image.fromarray(noise).resize((130, 130)), "PNG"))
    return root


def test_classes_that_are_rare_uneven_or_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(limit, "RARE_CLASS", limit.Threshold(4, "pictures", "for this test"))
    counts = {"train/hat": 12, "train/mug": 2, "train/shoe": 5, "validation/hat": 2, "validation/sock": 1}
    found = inspected(shop(tmp_path, counts))[2]
    assert of_kind(found, "missing_class") == [
        ((), "train has no picture of sock"),
        ((), "validation has no picture of mug"),
        ((), "validation has no picture of shoe"),
    ]
    assert of_kind(found, "rare_class") == [((), "mug has 2 pictures")]
    assert of_kind(found, "imbalance") == [((), "hat has 12 pictures, 6.0 times as many, where mug has 2")]


def test_pictures_beside_the_classes_and_other_files(tmp_path):
    shop(tmp_path, {"hat": 2, "mug": 2})
    put(tmp_path / "loose.jpg", product(0))
    put(tmp_path / "hat" / "notes.txt", b"remember the milk")
    put(tmp_path / "mug" / "clip.mp4", b"\0\0\0\x18ftypisom")
    found = inspected(tmp_path)[2]
    assert of_kind(found, "stray") == [(("loose.jpg",), "lies beside the class folders")]
    assert of_kind(found, "not_a_picture") == [
        (("hat/notes.txt",), "text"),
        (("mug/clip.mp4",), "MP4 or QuickTime video"),
    ]


def test_where_all_are_small_none_is_tiny(tmp_path):
    assert not of_kind(inspected(shop(tmp_path, {"hat": 3}))[2], "tiny")


def test_other_sources_are_inspected_by_example(tmp_path):
    taken, records, found = inspected("studio:12")
    assert len(records) == 12 and not taken.of_files
    assert [record.entry.name for record in records[:2]] == ["example 0", "example 1"]
    assert all(record.width == record.height == 128 and record.header is None for record in records)
    assert {finding.kind for finding in found} <= {"rare_class", "missing_class"}
