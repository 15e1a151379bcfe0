"""Damage drawn in the graph, against Pillow, SciPy and formulas written again in NumPy; and that it depends on seed and place alone."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage, special

from data import pipeline, views
from data.cache import Rows
from data.corruptions import kernels, recipes, steps
from data.corruptions.steps import Draw
from data.errors import UserError

SIDE = 48
LINES = [*recipes.STEPS, "blur+noise:10+jpeg:40", "photo"]


@pytest.fixture(scope="module")
def pictures():
    """Smooth colours with edges, uint8 [4, SIDE, SIDE, 3]."""
    noise = np.random.default_rng(0).uniform(0, 255, (4, SIDE, SIDE, 3))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3, 0))
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 200 + 25
    smooth[:, 12:30, 20:40] = 255 - smooth[:, 12:30, 20:40]
    return np.rint(smooth).astype(np.uint8)


def unit(picture):
    return picture.astype(np.float32) / 255


@pytest.mark.parametrize("deviation", [0.5, 1.0, 3.0])
def test_gaussian_blur_is_scipys(pictures, deviation):
    blurred = kernels.convolve(unit(pictures[0]), kernels.gaussian(deviation, deviation))
    reach = kernels.SIDE // 2
    expected = ndimage.gaussian_filter(
        unit(pictures[0]), (deviation, deviation, 0), mode="mirror", radius=(reach, reach, 0)
    )
    np.testing.assert_allclose(blurred, expected, atol=2e-5)


def test_any_kernel_is_convolved_as_by_scipy_however_small_the_picture(pictures):
    for kernel in (kernels.motion(9.0, 0.7), kernels.disc(3.0), kernels.sinc(1.5), kernels.plateau(2.0, 0.6, 0.3, 1.5)):
        np.testing.assert_allclose(tf.reduce_sum(kernel), 1.0, atol=1e-5)
        np.testing.assert_allclose(kernel, np.asarray(kernel)[::-1, ::-1], atol=1e-6)
        for picture in (unit(pictures[1]), unit(pictures[1, :13, :30])):
            expected = np.dstack(
                [ndimage.convolve(picture[:, :, c], np.asarray(kernel), mode="mirror") for c in range(3)]
            )
            np.testing.assert_allclose(kernels.convolve(picture, kernel), expected, atol=2e-5)
    assert np.isfinite(kernels.convolve(unit(pictures[0, :3, :1]), kernels.disc(3.0))).all()


def test_kernels_by_their_formulas():
    y, x = np.mgrid[-10:11, -10:11].astype(float)
    angle, wide, narrow = 0.4, 3.0, 1.2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    inverse = turn.T @ np.diag([wide**-2, narrow**-2]) @ turn
    distance = np.einsum("ij,ikl,jkl->kl", inverse, np.stack([x, y]), np.stack([x, y]))
    for kernel, values in [
        (kernels.gaussian(wide, narrow, angle=angle), np.exp(-distance / 2)),
        (kernels.generalized(wide, narrow, angle, 0.7), np.exp(-(distance**0.7) / 2)),
        (kernels.plateau(wide, narrow, angle, 1.5), 1 / (1 + distance**1.5)),
    ]:
        np.testing.assert_allclose(kernel, values / values.sum(), rtol=2e-3, atol=1e-6)
    radius, cutoff = np.hypot(x, y), 2.0
    with np.errstate(invalid="ignore"):
        values = np.where(
            radius > 0, cutoff * special.j1(cutoff * radius) / (2 * np.pi * radius), cutoff**2 / (4 * np.pi)
        )
    np.testing.assert_allclose(kernels.sinc(cutoff), values / values.sum(), atol=1e-5)
    line = np.asarray(kernels.motion(7.0, 0.0))
    np.testing.assert_allclose(line[10], [0] * 7 + [1 / 7] * 7 + [0] * 7, atol=1e-6)
    area = np.asarray(kernels.disc(4.0))
    assert area.sum() / area.max() == pytest.approx(np.pi * 16, rel=0.05)


@pytest.mark.parametrize("quality", [5, 10, 40, 75, 95])
def test_jpeg_is_libjpegs(pictures, quality):
    """Within a grey level of Pillow's libjpeg for 99.9 % of values, and never further than four."""
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        with Image.open(file) as image:
            expected = np.asarray(image).astype(int)
        apart = np.abs(np.rint(255 * steps.jpeg(unit(picture), quality).numpy()) - expected)
        assert (apart <= 1).mean() > 0.999 and apart.max() <= 4


def test_resizing_is_pillows(pictures):
    for size in ((24, 16), (60, 72)):
        for kernel, filter in ((1, Image.Resampling.BILINEAR), (2, Image.Resampling.BICUBIC)):
            resized = steps.resize(unit(pictures[0]), tf.constant(size), tf.constant(kernel))
            expected = unit(np.asarray(Image.fromarray(pictures[0]).resize(size[::-1], filter)))
            np.testing.assert_allclose(np.clip(resized, 0, 1), expected, atol=1.6 / 255)
    halved = steps.resize(unit(pictures[0]), tf.constant((24, 24)), tf.constant(0))
    np.testing.assert_allclose(halved, unit(pictures[0]).reshape(24, 2, 24, 2, 3).mean((1, 3)), atol=1e-5)


def test_noise_has_the_deviation_that_is_asked_for():
    grey = tf.fill([96, 96, 3], 0.25)
    added = (steps.noise(grey, Draw(0, 1), 25.0) - grey).numpy() * 255
    assert abs(added.mean()) < 1 and added.std() == pytest.approx(25, rel=0.02)
    assert abs(np.corrcoef(added[:, :, 0].ravel(), added[:, :, 1].ravel())[0, 1]) < 0.05
    alike = (steps.noise(grey, Draw(0, 1), 25.0, grey=True) - grey).numpy()
    np.testing.assert_allclose(alike[:, :, 0], alike[:, :, 2], atol=1e-6)
    shot = (steps.poisson(grey, Draw(0, 1), 1.0) - grey).numpy()
    assert shot.std() == pytest.approx(np.sqrt(64) / 256, rel=0.03)  # 64 photons of 256
    assert np.isin(np.rint((shot[:4] + 0.25) * 256 * 1e3) % 1000, (0,)).all()  # whole photons


def test_light_is_linear():
    grey = np.full((2, 2, 3), 188 / 255, np.float32)  # linear 0.5
    np.testing.assert_allclose(steps.exposure(grey, -1.0), 137 / 255, atol=2e-3)  # 0.25
    turned = steps.cast(grey, tf.constant([1.0, 0.5, 2.0]))
    np.testing.assert_allclose(turned[0, 0], [188 / 255, 137 / 255, 1.0], atol=2e-3)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("line", LINES)
def test_a_place_decides_the_damage_whatever_stands_beside_it(pictures, line, scale):
    recipe = recipes.parse(line, scale)
    places = np.array([3, 900, 2**40, 3])
    many = recipe(pictures[[0, 1, 2, 0]], 5, places).numpy()
    assert many.shape == (4, SIDE // scale, SIDE // scale, 3) and many.dtype == np.uint8
    np.testing.assert_array_equal(many[0], many[3])
    alone = recipe(pictures[1:2], 5, places[1:2]).numpy()[0]
    assert np.abs(alone.astype(int) - many[1]).max() <= 1
    traced = tf.function(recipe)(tf.constant(pictures[1:2]), 5, tf.constant(places[1:2])).numpy()[0]
    assert np.abs(traced.astype(int) - many[1]).max() <= 1
    assert np.abs(recipe.numpy(pictures[1], 5, 900).astype(int) - many[1]).max() <= 1
    if line not in ("blur", "jpeg") or recipe.steps[0][1] is None:
        for seed, place in ((6, 900), (5, 901)):
            assert not np.array_equal(recipe(pictures[1:2], seed, np.array([place])).numpy()[0], many[1])


def test_the_stream_draws_afresh_and_anywhere_the_same(pictures):
    recipe = recipes.parse("noise:25", 2)
    rows = Rows({"high": pictures}, (), in_memory=True, drawn=recipe)
    options = {"batch_size": 4, "seed": 7, "augment": ("dihedral",)}
    epochs = [next(iter(pipeline.dataset(rows, ("low", "high"), position=position, **options))) for position in (0, 4)]
    ahead = iter(pipeline.dataset(rows, ("low", "high"), position=0, **options))
    for expected, batch in zip(epochs, (next(ahead), next(ahead)), strict=True):
        np.testing.assert_array_equal(batch["low"], expected["low"])
    halves = [next(iter(pipeline.dataset(rows, ("low", "high"), position=4, shard=(n, 2), **options))) for n in (0, 1)]
    np.testing.assert_array_equal(np.concatenate([half["low"] for half in halves]), epochs[1]["low"])
    low = 127.5 * (np.asarray(epochs[1]["low"]) + 1)
    high = np.rint(127.5 * (np.asarray(epochs[1]["high"]) + 1)).astype(np.uint8)
    expected = recipe(high, 7, np.arange(4, 8)).numpy()
    assert np.abs(low - expected).max() <= 1.01
    taken = rows.take([2, 0])
    np.testing.assert_array_equal(taken["low"], recipe(pictures[[2, 0]], 0, np.array([2, 0])).numpy())


def test_rows_hold_no_damage_that_is_drawn(pictures):
    view = views.enhancement(16, 2, recipe="noise:10")
    assert {key for row in view.rows({"image": pictures[0]}) for key in row} == {"high"}
    plain = views.enhancement(16, 2, recipe="bicubic")
    assert plain.describe() == views.enhancement(16, 2).describe() != view.describe()
    assert {key for row in plain.rows({"image": pictures[0]}) for key in row} == {"high", "low"}
    with pytest.raises(UserError, match="a model of scale 1 needs pairs, or damage to undo: --view photo"):
        views.enhancement(16, 1).check({"image"})


@pytest.mark.parametrize(
    "line, words",
    [
        ("rain", "there is no damage 'rain'; --view takes auto, bicubic, photo, or some of blur, oval_blur"),
        (
            "noise:loud",
            "noise takes a number from 0 to 100 .normal noise, standard deviation in grey levels., not 'loud'",
        ),
        ("jpeg:0", "jpeg takes a number from 1 to 100 .JPEG, quality., not '0'"),
        ("blur+", "there is no damage ''"),
        ("blur:nan", "blur takes a number from 0.1 to 5"),
    ],
)
def test_a_wrong_recipe_is_told(line, words):
    with pytest.raises(UserError, match=words):
        recipes.parse(line, 2)
