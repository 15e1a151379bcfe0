"""Classic edits: each against a hand-worked value or another implementation, and what none of them may touch."""

import numpy as np
import pytest
import skimage
from scipy import ndimage
from skimage import exposure as skimage_exposure
from skimage import filters

from data import edits
from data.colour import from_linear, to_linear
from data.edits import parse
from data.errors import UserError

DEFAULTS = [
    *("white_balance", "white_balance:white", "exposure:0.5", "contrast", "saturation:1.4", "sharpen", "median"),
    *("bilateral", "whiten", "crop", "square:48", "square:24:backdrop"),
]


@pytest.fixture(scope="module")
def cat():
    """A real photo, uint8 [144, 224, 3]."""
    return np.ascontiguousarray(skimage.data.chelsea()[:288:2, :448:2])


def on_backdrop(level=243, height=60, width=80):
    """A product on a near-white backdrop: a grey frame around near-white cloth, and a gap of 3 px in the frame."""
    photo = np.full((height, width, 3), level, np.uint8)
    photo[15:45, 20:60] = 90
    photo[19:41, 24:56] = 240
    photo[28:31, 20:24] = 240
    return photo


def grey(height=40, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def test_light_of_srgb():
    assert to_linear(np.array([0, 0.5, 1])) == pytest.approx([0, 0.21404114, 1])  # IEC 61966-2-1
    values = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(from_linear(to_linear(values)), values, atol=1e-7)


@pytest.mark.parametrize("line", DEFAULTS)
def test_an_edit_is_pure_and_leaves_alpha_alone(cat, line):
    before = cat.copy()
    edited = parse(line)(cat)
    np.testing.assert_array_equal(cat, before)
    assert edited.dtype == np.uint8 and edited.ndim == 3 and edited.shape[2] == 3
    opaque = np.dstack([cat, np.full(cat.shape[:2], 255, np.uint8)])
    with_alpha = parse(line)(opaque)
    np.testing.assert_array_equal(with_alpha[:, :, :3], edited)
    assert (with_alpha[:, :, 3] == 255).all()


@pytest.mark.parametrize("line", DEFAULTS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (9, 2, 4)])
def test_the_smallest_photos_are_edited_too(line, shape):
    for level in (0, 200, 255):
        assert parse(line)(np.full(shape, level, np.uint8)).dtype == np.uint8


@pytest.mark.parametrize("line", ["exposure:0", "contrast:1", "saturation:1", "sharpen:0", "crop:10"])
def test_what_changes_nothing_changes_no_pixel(cat, line):
    np.testing.assert_array_equal(parse(line)(cat), cat)


def test_grey_world_gives_all_channels_one_mean_in_linear_light(cat):
    cast = np.rint(cat * [0.9, 0.8, 0.5]).astype(np.uint8)
    means = to_linear(edits.white_balance(cast) / 255).mean(axis=(0, 1))
    wanted = to_linear(cast / 255).mean()
    np.testing.assert_allclose(means, wanted, atol=2e-3)


def test_white_patch_makes_the_brightest_white_of_equal_channels():
    photo = np.full((10, 10, 3), (100, 80, 60), np.uint8)
    photo[:2] = (220, 200, 180)
    balanced = edits.white_balance(photo, "white")
    assert balanced[0, 0].tolist() == [220, 220, 220]
    gains = to_linear(np.array([220, 220, 220]) / 255) / to_linear(np.array([220, 200, 180]) / 255)
    wanted = np.rint(255 * from_linear(to_linear(np.array([100, 80, 60]) / 255) * gains))
    np.testing.assert_array_equal(balanced[5, 5], wanted)


def test_transparent_pixels_do_not_sway_the_balance(cat):
    half = np.dstack([cat, np.full(cat.shape[:2], 255, np.uint8)])
    half[:, 100:, 3] = 0
    half[:, 100:, :3] = (255, 0, 0)
    np.testing.assert_array_equal(
        edits.white_balance(half)[:, :100, :3], edits.white_balance(np.ascontiguousarray(cat[:, :100]))
    )


def test_a_stop_is_twice_the_light():
    photo = np.array([[[0, 100, 137], [188, 200, 255]]], np.uint8)
    wanted = np.rint(255 * from_linear(np.minimum(2 * to_linear(photo / 255), 1)))
    np.testing.assert_array_equal(edits.exposure(photo, 1), wanted)


def test_one_tile_without_a_limit_is_histogram_equalisation():
    small = (grey(15, 15) // 3).astype(np.uint8)  # too small for two tiles
    cumulative = np.cumsum(np.bincount(small.ravel(), minlength=256))
    wanted = 255 * (cumulative - cumulative[0]) / (cumulative[-1] - cumulative[0])
    np.testing.assert_array_equal(edits._equalised(small, 256.0), np.rint(wanted[small]))


def test_contrast_is_close_to_another_clahe(cat):
    """scikit-image's stretches its result, pads by reflection, and spreads what is cut off level by level."""
    luma = np.rint(cat @ [0.299, 0.587, 0.114])
    luma = np.rint((luma - luma.min()) / np.ptp(luma) * 255).astype(np.uint8)
    for limit in (2.0, 4.0):
        theirs = 255 * skimage_exposure.equalize_adapthist(luma, (18, 28), limit / 256, 256)
        assert np.corrcoef(edits._equalised(luma, limit).ravel(), theirs.ravel())[0, 1] > 0.98


def test_contrast_is_nowhere_steeper_than_its_limit():
    counts = np.bincount(grey().ravel() // 8, minlength=256)
    for limit in (1.0, 1.1, 3.0):
        steps = np.diff(edits._table(counts, limit))
        assert 0 <= steps.min() and steps.max() <= limit * 256 / (256 - limit)


def test_contrast_keeps_white_and_black():
    photo = np.repeat(grey(64, 64)[:, :, None], 3, axis=2)
    photo[:20], photo[20:30] = 255, 0
    edited = edits.contrast(photo, 4.0)
    assert (edited[:20] == 255).all() and (edited[20:30] == 0).all()


def test_sharpening_is_another_unsharp_mask(cat):
    ours = edits.sharpen(cat, 1.0, radius=2.0).astype(float)
    theirs = 255 * filters.unsharp_mask(cat, 2.0, 1.0, channel_axis=2)
    assert np.abs(ours - theirs)[8:-8, 8:-8].max() <= 4  # Pillow's Gaussian is three box filters
    assert np.abs(ours - theirs).mean() < 0.6


def test_median_of_a_square(cat):
    windows = np.lib.stride_tricks.sliding_window_view(cat, (5, 5), axis=(0, 1))
    np.testing.assert_array_equal(edits.median(cat, 2)[2:-2, 2:-2], np.median(windows, axis=(-2, -1)))


def test_bilateral_is_the_mean_that_its_equation_says(cat):
    """On grey by SciPy's walk over windows; on colours, whose distance counts, one pixel by hand."""
    down, right = np.mgrid[-3:4, -3:4]
    space = (down**2 + right**2) / (2 * 1.5**2)

    def mean(window):
        weights = np.exp(-np.square(window - window[24]) / (2 * 20**2) - space.ravel())
        return (weights * window).sum() / weights.sum()

    luma = cat[:60, :60, 0]
    ours = edits.bilateral(np.repeat(luma[:, :, None], 3, axis=2), 20.0 * np.sqrt(3), radius=3)
    wanted = ndimage.generic_filter(luma.astype(float), mean, 7, mode="nearest")
    np.testing.assert_allclose(ours[:, :, 0], wanted, atol=0.51)

    part = cat[57:64, 77:84].astype(float)
    weights = np.exp(-np.square(part - part[3, 3]).sum(axis=2) / (2 * 20**2) - space)[:, :, None]
    wanted = (weights * part).sum(axis=(0, 1)) / weights.sum()
    np.testing.assert_allclose(edits.bilateral(cat, 20.0, radius=3)[60, 80], wanted, atol=0.51)


def test_bilateral_removes_noise_and_keeps_edges():
    rng = np.random.default_rng(0)
    step = np.where(np.arange(40) < 20, 60.0, 190.0) + rng.normal(0, 8, (300, 40))  # more rows than it does at once
    noisy = np.repeat(np.rint(step).astype(np.uint8)[:, :, None], 3, axis=2)
    smooth = edits.bilateral(noisy, 40.0, radius=3).astype(float)
    assert smooth[:, :19].std() < 0.5 * noisy[:, :19].std()
    assert smooth[:, :20].max() < 100 and smooth[:, 20:].min() > 150


def test_whitening_whitens_the_backdrop_alone():
    photo = on_backdrop()
    white = edits.whiten(photo)
    outside = np.ones(photo.shape[:2], bool)
    outside[15:45, 20:60] = False
    assert (white[outside] == 255).all()
    np.testing.assert_array_equal(
        white[19:41, 24:56], photo[19:41, 24:56]
    )  # near-white cloth, with a gap towards the backdrop
    np.testing.assert_array_equal(white[17:43, 24:58], photo[17:43, 24:58])
    rim = white[15, 25:55].astype(int) - photo[15, 25:55]
    assert (rim == 4).all()  # a third of the lift of 12


def test_whitening_leaves_no_rim_of_mixed_pixels():
    photo = np.full((30, 60, 3), 240, np.uint8)
    photo[:, 30:] = 60
    photo[:, 30] = 150  # half product, half backdrop
    white = edits.whiten(photo)
    assert (white[:, :30] == 255).all() and (white[:, 31:] == 60).all()
    assert (white[:, 30] == 155).all()


def test_whitening_stops_at_white_cloth_on_white():
    """Cloth of 250 on a backdrop of 240: where they meet nothing tells 2 px of the cloth from the backdrop's rim."""
    photo = np.full((60, 80, 3), 240, np.uint8)
    photo[20:40, 20:60] = 250
    white = edits.whiten(photo)
    np.testing.assert_array_equal(white[24:36, 24:56], photo[24:36, 24:56])
    assert (white[:19] == 255).all() and (white[:, 61:] == 255).all()


def test_whitening_takes_noise_away_and_lets_shadows_fade():
    rng = np.random.default_rng(0)
    shadow = np.interp(np.arange(200), [0, 60, 160], [238, 238, 140])
    photo = np.repeat(np.tile(shadow, (80, 1))[:, :, None], 3, axis=2)
    noisy = np.clip(photo + rng.normal(0, 2.5, photo.shape), 0, 255).astype(np.uint8)
    white = edits.whiten(noisy)
    assert (white[:, :55] == 255).mean() > 0.999
    along = white.mean(axis=(0, 2))
    np.testing.assert_array_equal(white[:, 110:], noisy[:, 110:])
    assert np.abs(np.diff(along)).max() < 4  # no edge where the lift ends


def test_whitening_needs_a_near_white_backdrop():
    photo = on_backdrop(level=200)
    np.testing.assert_array_equal(edits.whiten(photo), photo)
    cut_out = np.dstack([on_backdrop(), np.full((60, 80), 255, np.uint8)])
    cut_out[0, 0, 3] = 254
    np.testing.assert_array_equal(edits.whiten(cut_out), cut_out)


def test_cropping_finds_the_product():
    photo = on_backdrop()
    np.testing.assert_array_equal(edits.crop(photo, 0), photo[15:45, 20:60])
    np.testing.assert_array_equal(edits.crop(photo, 0.1), photo[11:49, 16:64])
    np.testing.assert_array_equal(edits.crop(photo, 9), photo)
    photo[3, 3] = 0  # dust
    np.testing.assert_array_equal(edits.crop(photo, 0), photo[15:45, 20:60])
    empty = np.full((9, 9, 3), 7, np.uint8)
    np.testing.assert_array_equal(edits.crop(empty), empty)


def test_cropping_a_cut_out_goes_by_its_alpha():
    cut_out = np.zeros((20, 30, 4), np.uint8)
    cut_out[4:9, 10:22] = 1
    np.testing.assert_array_equal(edits.crop(cut_out, 0), cut_out[4:9, 10:22])


def test_a_square_is_padded_and_never_enlarged():
    photo = on_backdrop()
    padded = edits.square(photo)
    assert padded.shape == (80, 80, 3) and (padded[:10] == 255).all() and (padded[-10:] == 255).all()
    np.testing.assert_array_equal(padded[10:70], photo)
    large = edits.square(photo, 100, colour="backdrop")
    assert large.shape == (100, 100, 3) and (large[:20] == 243).all() and (large[20:80, 10:90] == photo).all()
    assert edits.square(photo, 40).shape == (40, 40, 3)


def test_a_square_of_a_cut_out_is_padded_with_nothing():
    cut_out = np.dstack([on_backdrop(), np.full((60, 80), 255, np.uint8)])
    assert edits.square(cut_out)[0, 0].tolist() == [255, 255, 255, 255]
    cut_out[0, 0, 3] = 0
    assert edits.square(cut_out)[0, 0].tolist() == [255, 255, 255, 0]


def test_shrinking_a_cut_out_leaves_the_colours_under_its_alpha():
    cut_out = np.full((40, 60, 4), (200, 150, 100, 0), np.uint8)
    cut_out[10:20, 20:40, 3] = 255
    assert (edits.square(cut_out, 30)[5:25, :, :3] == (200, 150, 100)).all()


def test_a_chain_is_its_edits_in_order(cat):
    line = "white_balance:white,contrast:1.1,square:160:backdrop"
    chain = parse(f" {line.replace(',', ' , ')} ")
    assert str(chain) == line and parse(str(chain)) == chain and chain.moving == ["square"]
    by_hand = edits.square(edits.contrast(edits.white_balance(cat, "white"), 1.1), 160, colour="backdrop")
    np.testing.assert_array_equal(chain(cat), by_hand)
    assert parse("") == edits.Chain() and parse("")(cat) is cat


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("whitebalance", "there is no edit 'whitebalance'; there are: white_balance, exposure, contrast, saturation, "),
        ("contrast,,crop", "there is no edit ''; there are: "),
        ("contrast:0.5", "contrast takes limit (a number from 1 to 40), not '0.5'"),
        ("contrast:much", "contrast takes limit (a number from 1 to 40), not 'much'"),
        ("exposure:nan", "exposure takes stops (a number from -5 to 5), not 'nan'"),
        ("median:1.5", "median takes radius (a whole number from 1 to 10), not '1.5'"),
        ("white_balance:blue", "white_balance takes by (grey or white), not 'blue'"),
        ("square:0", "square takes side (a whole number from 1 to 20000), not '0'"),
        ("exposure:1:2", "exposure takes no more than stops (a number from -5 to 5), not 'exposure:1:2'"),
    ],
)
def test_a_chain_that_cannot_be_read_is_told_in_a_sentence(line, sentence):
    with pytest.raises(UserError) as raised:
        parse(line)
    assert sentence in str(raised.value)
