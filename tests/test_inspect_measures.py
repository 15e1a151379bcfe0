"""Measures of single pictures against what is known of them: blurs of known width, light of known amount."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, ImageFont
from scipy import ndimage
from shelf import product

from benchmarks import make_lettering
from benchmarks.defects import ADOBE, deep, saved, turned, wide_gamut
from data.catalogue import open_source
from data.inspection import header
from data.inspection.exposure import expose
from data.inspection.header import read_header
from data.inspection.lettering import lines
from data.inspection.overlays import Mark, detail, frame_of, marked
from data.inspection.softness import measures, odds, sharpness, softness
from data.inspection.thresholds import SOFT


def noise_of_slope(slope, side=256):
    """Grey noise whose power falls with the frequency to the power of `slope`."""
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = 1
    grey = np.fft.irfft2(np.fft.rfft2(random.normal(size=(side, side))) * frequency ** (-slope / 2))
    return (128 + 40 * grey / grey.std()).astype(np.float32)


def moved(grey, length):
    """By a camera that moved to the right over so many px."""
    return ndimage.uniform_filter1d(grey, length, axis=1)


@pytest.mark.parametrize("slope", [0, 1, 2])
def test_the_slope_of_a_spectrum_comes_back(slope):
    """From the middles of the bands, 0.045, 0.105, 0.18 and 0.33 cycles per px, in every direction."""
    _, _, near, far, fine, *most = measures(noise_of_slope(slope))
    expected = slope * np.log10(np.array([0.105, 0.18, 0.33]) / [0.045, 0.045, 0.105])
    np.testing.assert_allclose([near, far, fine], expected, atol=0.15)
    np.testing.assert_allclose(most, expected, atol=0.35)


def test_blur_and_enlarging_break_the_spectrum_off():
    grey = noise_of_slope(2)
    blurred = ndimage.gaussian_filter(grey, 1.5)
    expected = (
        (2 * np.pi * 1.5) ** 2 * (0.30**2 - 0.09**2) / np.log(10)
    )  # of the power; the low end of a band weighs most
    assert measures(blurred)[4] - measures(grey)[4] == pytest.approx(expected, abs=0.2)
    small = Image.fromarray(grey).resize((64, 64), Image.Resampling.LANCZOS)
    assert measures(np.asarray(small.resize((256, 256), Image.Resampling.LANCZOS)))[4] > 2.5


@pytest.mark.parametrize("length", [9, 15, 25])
def test_a_moved_camera_leaves_dips(length):
    """Every 1 / length of the frequencies is gone along the way, and no other picture has such a comb."""
    still, shaken = (measures(grey) for grey in (noise_of_slope(2), moved(noise_of_slope(2), length)))
    turned = measures(moved(noise_of_slope(2), length).T)
    blurred = measures(ndimage.gaussian_filter(noise_of_slope(2), length / 4))
    assert (shaken[:2] > 3 * still[:2]).all() and (shaken[:2] > 2 * blurred[:2]).all()
    np.testing.assert_allclose(
        turned, shaken, rtol=0.01
    )  # of the directions, those at the half plane's edge count once


def test_a_flat_and_a_tiny_picture():
    np.testing.assert_allclose(measures(np.full((80, 80), 90, np.float32)), 0, atol=0.01)
    assert measures(np.zeros((63, 200), np.float32)) is None and softness(np.zeros((63, 200), np.float32)) is None


def test_softness_tells_blur_from_noise_of_natural_slope():
    sound = softness(noise_of_slope(2))
    for spoilt in (ndimage.gaussian_filter(noise_of_slope(2), 2), moved(noise_of_slope(2), 15)):
        assert sound < SOFT - 1 and softness(spoilt) > SOFT + 1


def test_odds_by_hand():
    """Levels 2 and -1 of two measures: their products are 4, -2 and 1, of which half counts."""
    weights = {
        "centre": np.array([1.0, 2.0]),
        "scale": np.array([0.5, 4.0]),
        "weight": np.arange(1.0, 6.0),
        "offset": 0.5,
    }
    expected = 1 * 2 + 2 * -1 + (3 * 4 + 4 * -2 + 5 * 1) / 2 + 0.5
    assert odds(np.array([2.0, -2.0]), weights) == pytest.approx(expected)
    np.testing.assert_allclose(odds(np.array([[2.0, -2.0], [1.0, 2.0]]), weights), [expected, 0.5])


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


def test_where_one_channel_burns_half_counts():
    yellow, red = (np.full((100, 100, 3), 30, np.uint8) for _ in range(2))
    yellow[:50, :, :2] = 255
    red[:50, :, 0] = 255
    assert expose(yellow).cut == 0.5 and expose(red).cut == 0
    for picture, share in ((yellow, 0.5), (red, 0.25)):
        assert expose(picture).burnt == pytest.approx(share, abs=1e-6)


def test_against_the_light_less_counts_as_burnt():
    """The middle is darker than the median by 155 grey levels, of which three tenths are taken off."""
    photo = np.full((100, 100, 3), 255, np.uint8)
    photo[25:75, 25:75] = 100
    assert expose(photo).burnt == pytest.approx(0.75 - 0.3 * 155 / 255)


def test_a_colour_is_lost_where_two_channels_are_cut_off():
    photo = np.full((100, 100, 3), 255, np.uint8)
    photo[30:70, 30:70] = (200, 150, 90)
    assert expose(photo).lost == 0
    photo[30:40, 30:70] = (255, 255, 90)
    assert expose(photo).lost == pytest.approx(0.25)
    photo[30:40, 30:70] = (255, 90, 90)
    assert expose(photo).lost == 0


def test_what_is_bright_is_judged_without_the_ground():
    """A product of a fiftieth of a black picture; on busy ground nobody knows it."""
    photo = np.zeros((100, 100, 3), np.uint8)
    photo[43:57, 43:57] = 180
    assert expose(photo).bright == pytest.approx(180 / 255)


def test_sharp_edges_are_not_blurred():
    """Discs, sharp and blurred: an edge blurred by a Gaussian of 1.5 px rises by half of its height within 2 px at the most."""
    disc = Image.new("L", (800, 800), 90)
    ImageDraw.Draw(disc).ellipse((200, 200, 600, 600), 200)
    sharp = np.asarray(disc.resize((200, 200), Image.Resampling.BOX), np.float32)
    assert sharpness(sharp) > 0.9 and softness(sharp) <= SOFT
    blurred = ndimage.gaussian_filter(sharp, 1.5)
    assert 0.38 < sharpness(blurred) < 0.5
    assert sharpness(ndimage.gaussian_filter1d(sharp, 4, axis=1)) < 0.6  # in one direction only
    assert sharpness(np.full((80, 80), 90, np.float32)) == 0


@pytest.mark.parametrize("ink, ground", [("white", "black"), ("black", "white"), ("yellow", "navy"), ("red", "beige")])
@pytest.mark.parametrize("upright", [False, True])
def test_a_line_of_any_colour_is_found_where_it_stands(ink, ground, upright):
    picture = Image.new("RGB", (400, 300), ground)
    ImageDraw.Draw(picture).text((100, 270), "Spring sale", ink, font := ImageFont.load_default(20))
    picture = picture.transpose(Image.Transpose.ROTATE_90) if upright else picture
    line, *others = lines(np.asarray(picture))
    assert not others and line.laid_over and line.sure > 0.9
    right, top, bottom = 100 + font.getlength("Spring sale"), 275, 295
    expected = (100 / 400, top / 300, right / 400, bottom / 300)
    box = (1 - line.box[3], line.box[0], 1 - line.box[1], line.box[2]) if upright else line.box
    np.testing.assert_allclose(box, expected, atol=12 / 300)


def test_drawn_fabrics_and_products_and_plain_ground_are_no_writing():
    fabrics = [make_lettering.pattern(np.random.default_rng(number)) for number in range(20)]
    small = [row["image"] for row in open_source("studio:20").examples(128)]
    for picture in (*fabrics, *small, np.full((300, 400, 3), 120, np.uint8)):
        assert lines(picture) == []


def test_a_mark_is_found_in_pictures_of_another_shape():
    """It goes with the width, or with the height, and keeps to the middle or to a border."""
    random = np.random.default_rng(0)
    pattern = random.choice([-9.0, 9.0], (20, 60)).repeat(2, 0).repeat(2, 1)
    window = slice(300, 340), slice(84, 204)
    mark = Mark((288, 384), window, np.ones(pattern.shape, bool), pattern.ravel().astype(np.float32))
    for height, width, top, left in ((500, 288, 416, 84), (384, 576, 300, 228)):  # 44 px from below; in the middle
        picture = 128 + random.normal(0, 3, (height, width, 3))
        assert mark.placed(picture.astype(np.uint8))[0] < 0.2
        picture[top : top + 40, left : left + 120] += pattern[..., None]
        like, box = mark.placed(picture.astype(np.uint8))
        assert like > 0.5
        assert box == pytest.approx((left / width, top / height, (left + 120) / width, (top + 40) / height))


def test_pictures_of_a_shape_share_a_frame():
    assert frame_of(400, 533) == frame_of(400, 534) == frame_of(300, 400)
    assert frame_of(533, 400) == frame_of(400, 533)[::-1] and frame_of(191, 191) is None
    assert max(frame_of(400, 800)) == 384
    assert detail(np.full((533, 400, 3), 90, np.uint8), frame_of(400, 533)).max() == 0


def test_a_mark_is_believed_when_some_match_it_closely():
    weak, strong = np.full(50, 0.3), np.concatenate([np.full(40, 0.05), np.full(10, 0.7)])
    carries, true = marked(np.stack([weak, strong], axis=1))
    assert true.tolist() == [False, True] and carries.sum() == 10 and carries[40:].all()
    assert not any(found.any() for found in marked(np.full((4, 1), 0.9)))


def test_parts_of_a_mark_speak_together():
    """0.1 of both is 0.2 / sqrt(2) = 0.14 together; of one alone, or beside a part that nobody believes, it is nothing."""
    sure = np.full((10, 2), 0.7)
    faint = np.array([[0.1, 0.1], [0.1, 0.0], [0.02, 0.14], [0.02, 0.16]])
    carries, true = marked(np.concatenate([sure, faint]))
    assert true.all() and carries[10:].tolist() == [True, False, False, True]
    sure[:, 1] = 0.0
    carries, true = marked(np.concatenate([sure, faint]))
    assert true.tolist() == [True, False] and not carries[10:].any()


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
