"""Measures of single pictures against what is known of them: blurs of known width, light of known amount."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, ImageFont
from scipy import ndimage
from shelf import product

from benchmarks.defects import ADOBE, deep, saved, turned, wide_gamut
from data.health import header
from data.health.exposure import expose
from data.health.header import read_header
from data.health.lettering import rows
from data.health.overlays import detail, frame_of, marked
from data.health.sharpness import edge_width


def discs(spread, direction=None):
    """Discs of many sizes, whose edges have all directions, blurred by a Gaussian of known spread."""
    down, right = np.mgrid[:400, :400]
    picture = np.zeros((400, 400), np.float32)
    for centre, radius in (((120, 130), 70), ((290, 260), 80), ((90, 310), 40), ((310, 90), 50)):
        picture[np.hypot(down - centre[0], right - centre[1]) < radius] = 0.8
    return ndimage.gaussian_filter(picture, spread)


@pytest.mark.parametrize("spread", [1.0, 1.5, 2.0, 3.0, 5.0])
def test_the_spread_of_a_gaussian_blur_comes_back(spread):
    assert edge_width(discs(spread)) == pytest.approx(spread, rel=0.12)


def test_sharp_and_shaken_and_empty():
    assert edge_width(discs(0)) < 0.5
    assert edge_width(ndimage.uniform_filter1d(discs(0), 15, axis=1)) > 1.5
    assert edge_width(np.full((100, 100), 0.5, np.float32)) is None


def test_sharpness_does_not_depend_on_light():
    picture = discs(2)
    assert edge_width(0.4 * picture + 0.3) == pytest.approx(edge_width(picture), rel=0.05)


def test_light_contrast_and_background():
    picture = np.full((100, 120, 3), (200, 100, 50), np.uint8)
    picture[30:70, 40:80] = (20, 20, 20)
    light = expose(picture)
    assert light.bright == pytest.approx(200 / 255) and light.spread == pytest.approx(180 / 255)
    assert (light.background, light.colour, light.grey, light.burnt) == ("plain", "#c86432", False, 0)
    assert expose(np.full((50, 50, 3), 240, np.uint8)).background == "white"
    assert expose(np.full((50, 50, 3), 240, np.uint8)).grey
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    assert expose(noise).background == "busy"


def test_yellow_that_burns_counts_and_pure_red_does_not():
    yellow, red = (np.full((100, 100, 3), 30, np.uint8) for _ in range(2))
    yellow[:, 50:, :2] = 255
    red[:, 50:, 0] = 255
    assert expose(yellow).burnt == 0.5 and expose(red).burnt == 0


@pytest.mark.parametrize("ink, ground", [("white", "black"), ("black", "white"), ("yellow", "navy"), ("red", "beige")])
def test_letters_of_any_colour_form_a_row(ink, ground):
    picture = Image.new("RGB", (400, 300), ground)
    ImageDraw.Draw(picture).text((100, 270), "Spring sale", ink, ImageFont.load_default(20))
    (row, *_) = sorted(rows(np.asarray(picture)), key=lambda row: -row.letters)
    assert 7 <= row.letters <= 14 and row.in_margin
    assert row.box[1] > 0.85 and 0.2 < row.box[0] < 0.3


def test_stripes_lattices_and_plain_ground_are_no_letters():
    down, right = np.mgrid[:300, :400]
    stripes = np.where(right % 16 < 6, 200, 60)
    lattice = np.where((right % 20 < 8) & (down % 24 < 12), 200, 60)
    for pattern in (stripes, lattice, np.full((300, 400), 120)):
        assert rows(np.repeat(pattern[..., None], 3, axis=2).astype(np.uint8)) == []


def test_pictures_of_a_shape_share_a_frame():
    assert frame_of(400, 533) == frame_of(400, 534) == frame_of(300, 400)
    assert frame_of(533, 400) == frame_of(400, 533)[::-1] and frame_of(191, 191) is None
    assert max(frame_of(400, 800)) == 384
    assert detail(np.full((533, 400, 3), 90, np.uint8), frame_of(400, 533)).max() == 0


def test_a_mark_is_believed_when_some_match_it_closely():
    weak, strong = np.full(50, 0.3), np.concatenate([np.full(40, 0.05), np.full(10, 0.7)])
    assert not marked(weak).any() and marked(strong).sum() == 10 and marked(strong)[40:].all()
    assert not marked(np.array([0.9] * 4)).any()


def test_headers():
    random = np.random.default_rng(0)
    plain = read_header(saved(product(0)))
    assert (plain.format, plain.mode, plain.bits, plain.frames, plain.profile) == ("JPEG", "RGB", 8, 1, "")
    assert not (plain.turned or plain.transparent or plain.wide_gamut)
    tall = product(0).resize((100, 160))
    upright = read_header(turned(tall, random))
    assert upright.turned and (upright.width, upright.height) == (100, 160)
    assert read_header(deep(product(0), random)).bits == 16
    sixteen = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(sixteen, "TIFF")
    assert read_header(sixteen.getvalue()).bits == 16
    assert read_header(b"nothing of the kind") is None


def test_profiles():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read_header(saved(product(0), icc_profile=srgb)).profile == ""
    wide = read_header(wide_gamut(product(0), np.random.default_rng(0)))
    assert wide.wide_gamut and wide.profile == "wide built-in"
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert not read_header(saved(product(0), icc_profile=lab)).wide_gamut
    assert read_header(saved(product(0), icc_profile=b"no profile")).profile == "unreadable profile"
    corners = [(x / (x + y + z), y / (x + y + z)) for x, y, z in ADOBE]
    assert header._area(corners) / header._area(header._SRGB) == pytest.approx(
        0.1512 / 0.1120, rel=0.01
    )  # as published at D65
