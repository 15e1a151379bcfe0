"""PSNR, SSIM, MS-SSIM and Delta-E 2000 against published values, other libraries, and slow programs written from the formulas."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from skimage import color
from skimage import metrics as skimage_metrics

from data.images import decode
from data.sources.studio import Studio
from trainer.metrics.colour import ciede2000, lab, luma
from trainer.metrics.fidelity import delta_e_2000, delta_e_2000_product, ms_ssim, psnr, ssim, white_lost

# Sharma, Wu & Dalal 2005, table 1: L1 a1 b1, L2 a2 b2, Delta-E.
PUBLISHED = """
50.0000   2.6772 -79.7751  50.0000   0.0000 -82.7485  2.0425
50.0000   3.1571 -77.2803  50.0000   0.0000 -82.7485  2.8615
50.0000   2.8361 -74.0200  50.0000   0.0000 -82.7485  3.4412
50.0000  -1.3802 -84.2814  50.0000   0.0000 -82.7485  1.0000
50.0000  -1.1848 -84.8006  50.0000   0.0000 -82.7485  1.0000
50.0000  -0.9009 -85.5211  50.0000   0.0000 -82.7485  1.0000
50.0000   0.0000   0.0000  50.0000  -1.0000   2.0000  2.3669
50.0000  -1.0000   2.0000  50.0000   0.0000   0.0000  2.3669
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0009  7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0010  7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0011  7.2195
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0012  7.2195
50.0000  -0.0010   2.4900  50.0000   0.0009  -2.4900  4.8045
50.0000  -0.0010   2.4900  50.0000   0.0010  -2.4900  4.8045
50.0000  -0.0010   2.4900  50.0000   0.0011  -2.4900  4.7461
50.0000   2.5000   0.0000  50.0000   0.0000  -2.5000  4.3065
50.0000   2.5000   0.0000  73.0000  25.0000 -18.0000 27.1492
50.0000   2.5000   0.0000  61.0000  -5.0000  29.0000 22.8977
50.0000   2.5000   0.0000  56.0000 -27.0000  -3.0000 31.9030
50.0000   2.5000   0.0000  58.0000  24.0000  15.0000 19.4535
50.0000   2.5000   0.0000  50.0000   3.1736   0.5854  1.0000
50.0000   2.5000   0.0000  50.0000   3.2972   0.0000  1.0000
50.0000   2.5000   0.0000  50.0000   1.8634   0.5757  1.0000
50.0000   2.5000   0.0000  50.0000   3.2592   0.3350  1.0000
60.2574 -34.0099  36.2677  60.4626 -34.1751  39.4387  1.2644
63.0109 -31.0961  -5.8663  62.8187 -29.7946  -4.0864  1.2630
61.2901   3.7196  -5.3901  61.4292   2.2480  -4.9620  1.8731
35.0831 -44.1164   3.7933  35.0232 -40.0716   1.5901  1.8645
22.7233  20.0904 -46.6940  23.0331  14.9730 -42.5619  2.0373
36.4612  47.8580  18.3852  36.2715  50.5065  21.2231  1.4146
90.8027  -2.0831   1.4410  91.1528  -1.6435   0.0447  1.4441
90.9257  -0.5406  -0.9208  88.6381  -0.8985  -0.7239  1.5381
 6.7747  -0.2908  -2.4247   5.8714  -0.0985  -2.2286  0.6377
 2.0776   0.0795  -1.1350   0.9033  -0.0636  -0.5514  0.9082
"""
TABLE = np.array([[float(value) for value in line.split()] for line in PUBLISHED.strip().splitlines()])


def noise(height, width, count=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def products(size, count=3):
    """(drawn products, the same shrunk and enlarged again), uint8 [count, size, size, 3]."""
    sharp = np.stack([Studio().example(index, size)["image"] for index in range(count)])
    soft = [Image.fromarray(x).resize((size // 4,) * 2, Image.Resampling.BICUBIC) for x in sharp]
    return sharp, np.stack([np.asarray(x.resize((size,) * 2, Image.Resampling.BICUBIC)) for x in soft])


def test_the_table_has_all_pairs():
    assert TABLE.shape == (34, 7)


def test_delta_e_of_the_published_pairs():
    np.testing.assert_allclose(ciede2000(TABLE[:, :3], TABLE[:, 3:6]), TABLE[:, 6], rtol=0, atol=5e-5)
    np.testing.assert_allclose(ciede2000(TABLE[:, 3:6], TABLE[:, :3]), TABLE[:, 6], rtol=0, atol=5e-5)


def test_delta_e_agrees_with_scikit_image_anywhere():
    random = np.random.default_rng(1)
    first, second = (random.uniform([0, -100, -100], [100, 100, 100], (5000, 3)) for _ in range(2))
    second[::2] = first[::2] + random.normal(0, 2, (2500, 3))
    np.testing.assert_allclose(ciede2000(first, second), color.deltaE_ciede2000(first, second), rtol=1e-9, atol=1e-9)
    assert (ciede2000(first, first) == 0).all()


def test_lab_of_known_colours():
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    expected = [[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20], [87.74, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab(colours), expected, atol=0.03)
    greys = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    np.testing.assert_allclose(lab(greys)[:, 1:], 0, atol=1e-10)


def test_lab_agrees_with_scikit_image():
    pictures = noise(40, 40)
    np.testing.assert_allclose(lab(pictures), color.rgb2lab(pictures), atol=0.02)  # their white is rounded


def test_lost_white_is_counted_by_hand():
    """Of 16 pixels left: white is lost at two, kept at one, and won at one; a pixel white in two channels is not white."""
    target, picture = noise(6, 6) // 2, noise(6, 6, seed=1) // 2
    target[0, 1, 1:4] = target[0, 0, 0] = picture[0, 1, 3] = picture[0, 4, 4] = 255
    picture[0, 1, 1], picture[0, 1, 2] = (255, 254, 255), 254
    assert white_lost(picture, target, shave=1) == 2 / 16
    assert white_lost(picture, target, shave=0) == 3 / 36
    assert white_lost(target, target, shave=0) == white_lost(picture, target // 2, shave=0) == 0


def test_delta_e_of_the_product_is_that_of_its_pixels():
    a, b, masks = noise(5, 6), noise(5, 6, seed=1), np.zeros((1, 5, 6), np.uint8)
    masks[0, 2, 2:4], masks[0, 2, 4], masks[0, 0] = (128, 255), 127, 255
    expected = ciede2000(lab(a), lab(b))[0, 2, 2:4].mean()
    np.testing.assert_allclose(delta_e_2000_product(a, b, masks, shave=1), expected)
    assert np.isnan(delta_e_2000_product(a, b, 0 * masks, shave=1)).all()


def test_delta_e_is_the_mean_of_what_is_left_after_shaving():
    a, b = noise(12, 10, 2), noise(12, 10, 2, seed=1)
    expected = color.deltaE_ciede2000(color.rgb2lab(a), color.rgb2lab(b))
    np.testing.assert_allclose(delta_e_2000(a, b, shave=0), expected.mean(axis=(1, 2)), rtol=1e-3)
    np.testing.assert_allclose(delta_e_2000(a, b, shave=3), expected[:, 3:-3, 3:-3].mean(axis=(1, 2)), rtol=1e-3)


def test_luma_by_hand():
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 51]], np.uint8)
    np.testing.assert_allclose(luma(colours), [16, 235, 81.481, 144.553, 16 + 24.966 / 5])


def psnr_slowly(picture, target, space, shave):
    """One pixel at a time, in Python's own arithmetic."""
    total = count = 0
    for y in range(shave, picture.shape[0] - shave):
        for x in range(shave, picture.shape[1] - shave):
            a, b = ([int(value) for value in array[y, x]] for array in (picture, target))
            if space == "y":
                a, b = ([(65.481 * r + 128.553 * g + 24.966 * b) / 255 + 16] for r, g, b in (a, b))
            total += sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
            count += len(a)
    return 10 * math.log10(255 * 255 / (total / count))


@pytest.mark.parametrize("space", ["rgb", "y"])
@pytest.mark.parametrize("shave", [0, 4])
def test_psnr_of_enlarged_products(space, shave):
    sharp, soft = products(48)
    expected = [psnr_slowly(a, b, space, shave) for a, b in zip(soft, sharp, strict=True)]
    np.testing.assert_allclose(psnr(soft, sharp, space=space, shave=shave), expected, rtol=1e-12)


def test_psnr_by_hand():
    black = np.zeros((3, 4, 5, 3), np.uint8)
    grey = black + np.array([1, 5, 255], np.uint8)[:, None, None, None]
    expected = [20 * math.log10(255), 20 * math.log10(51), 0]
    np.testing.assert_allclose(psnr(black, grey, space="rgb", shave=0), expected, atol=1e-12)
    # A grey's luma moves by 219 / 255 of it.
    np.testing.assert_allclose(psnr(black, grey, space="y", shave=1), np.add(expected, 20 * math.log10(255 / 219)))
    assert psnr(grey, grey, space="rgb", shave=0).tolist() == [math.inf] * 3


def test_shaving_takes_the_border_off():
    target = noise(20, 20)
    picture = target.copy()
    picture[:, :2] = picture[:, -2:] = picture[:, :, :2] = picture[:, :, -2:] = 0
    assert psnr(picture, target, space="y", shave=2) == math.inf > psnr(picture, target, space="y", shave=1)
    assert ssim(picture, target, space="rgb", shave=2) == 1 > ssim(picture, target, space="rgb", shave=1)
    assert delta_e_2000(picture, target, shave=2) == 0 < delta_e_2000(picture, target, shave=1)


def test_ssim_of_one_window_by_its_formula():
    """Eleven pixels a side hold the window once: eq. 13 with weights written out."""
    picture, target = noise(11, 11)[0], noise(11, 11, seed=1)[0]
    weight = np.array([[math.exp(-(y * y + x * x) / 4.5) for x in range(-5, 6)] for y in range(-5, 6)])
    weight /= weight.sum()
    x, y = luma(picture), luma(target)
    mx, my = (weight * x).sum(), (weight * y).sum()
    vx, vy, cov = (weight * (x - mx) ** 2).sum(), (weight * (y - my) ** 2).sum(), (weight * (x - mx) * (y - my)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    np.testing.assert_allclose(ssim(picture[None], target[None], space="y", shave=0), [expected], rtol=1e-10)


def test_ssim_agrees_with_scikit_image():
    sharp, soft = products(40)
    settings = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    pairs = list(zip(soft, sharp, strict=True))
    rgb = [skimage_metrics.structural_similarity(a, b, channel_axis=2, **settings) for a, b in pairs]
    np.testing.assert_allclose(ssim(soft, sharp, space="rgb", shave=0), rgb, rtol=1e-9)
    grey = [
        skimage_metrics.structural_similarity(luma(a)[3:-3, 3:-3], luma(b)[3:-3, 3:-3], **settings) for a, b in pairs
    ]
    np.testing.assert_allclose(ssim(soft, sharp, space="y", shave=3), grey, rtol=1e-9)


@pytest.mark.parametrize("height, width", [(176, 176), (187, 202)])
def test_ms_ssim_agrees_with_tensorflow(height, width):
    target = noise(height, width, 2) // 4 + np.linspace(0, 150, width).astype(np.uint8)[:, None]
    picture = target // 2 + noise(height, width, 2, seed=1) // 3
    expected = tf.image.ssim_multiscale(tf.constant(picture), tf.constant(target), 255)
    np.testing.assert_allclose(ms_ssim(picture, target, space="rgb", shave=0), expected, rtol=2e-4)
    grey = [tf.constant(luma(x[:, 5:-5, 5:-5])[..., None], tf.float32) for x in (picture, target)]
    np.testing.assert_allclose(
        ms_ssim(picture, target, space="y", shave=5), tf.image.ssim_multiscale(*grey, 255), rtol=2e-4
    )


def test_fewer_scales():
    sharp, soft = products(48)
    np.testing.assert_allclose(  # one scale is SSIM
        ms_ssim(soft, sharp, space="y", shave=0, scales=1), ssim(soft, sharp, space="y", shave=0), rtol=1e-12
    )
    expected = tf.image.ssim_multiscale(
        tf.constant(soft), tf.constant(sharp), 255, power_factors=(0.0448 / 0.3304, 0.2856 / 0.3304)
    )
    np.testing.assert_allclose(ms_ssim(soft, sharp, space="rgb", shave=0, scales=2), expected, rtol=2e-4)
    assert ms_ssim(sharp, sharp, space="rgb", shave=0, scales=3).tolist() == [1.0] * 3


@pytest.mark.parametrize(
    "measure, arguments, words",
    [
        (psnr, dict(space="ycbcr", shave=0), "unknown space 'ycbcr'; have: rgb, y"),
        (psnr, dict(space="y", shave=6), "12x14 pixels, 6 shaved from each border: at least 1x1 must be left"),
        (psnr, dict(space="y", shave=-1), "-1 shaved"),
        (ssim, dict(space="y", shave=1), "at least 11x11 must be left"),
        (ms_ssim, dict(space="rgb", shave=0), "at least 161x161 must be left"),
        (ms_ssim, dict(space="rgb", shave=0, scales=6), "scales must be 1 to 5, not 6"),
        (delta_e_2000, dict(shave=7), "at least 1x1 must be left"),
    ],
)
def test_protocols_that_cannot_be(measure, arguments, words):
    with pytest.raises(ValueError, match=words):
        measure(noise(12, 14), noise(12, 14), **arguments)


def test_pictures_that_cannot_be():
    with pytest.raises(ValueError, match=r"\[1, 12, 14, 3\] and targets \[1, 14, 12, 3\] differ"):
        psnr(noise(12, 14), noise(14, 12), space="y", shave=0)
    with pytest.raises(ValueError, match=r"targets must be uint8 .* not float64 \[1, 12, 14, 3\]"):
        delta_e_2000(noise(12, 14), noise(12, 14) / 255, shave=0)
    with pytest.raises(ValueError, match=r"pictures must be uint8 \[n, height, width, 3\], not uint8 \[12, 14, 3\]"):
        ssim(noise(12, 14)[0], noise(12, 14)[0], space="y", shave=0)


SET5 = os.environ.get("PACKSHOT_SET5", "")


@pytest.mark.skipif(not SET5, reason="PACKSHOT_SET5 does not name the folder with x2, x3 and x4 of Set5")
@pytest.mark.parametrize("scale, published", [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_bicubic_on_set5_has_the_published_psnr(scale, published):
    found = []
    for path in sorted((Path(SET5) / f"x{scale}" / "HR").iterdir()):
        target, small = decode(path.read_bytes()), decode((path.parent.parent / "LR" / path.name).read_bytes())
        large = Image.fromarray(small).resize(target.shape[1::-1], Image.Resampling.BICUBIC)
        found.append(psnr(np.asarray(large)[None], target[None], space="y", shave=scale)[0])
    assert len(found) == 5 and abs(np.mean(found) - published) < 0.02
