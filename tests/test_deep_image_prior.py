"""The deep image prior: fitted to one picture, by what is known of it, until the results vary least."""

import numpy as np
import pytest
import tensorflow as tf

from models.deep_image_prior import Config, build, fit

SMALL = Config(width=8, sizes=2, inputs=4, steps=12, begin=2, window=3, patience=100)


def smooth(side=24):
    ramp = np.linspace(40, 215, side)
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 128.0), axis=-1).round().astype(np.uint8)


def last(results):
    """The newest picture, and the last step."""
    picture = None
    for result in results:
        picture = picture if result.picture is None else result.picture
    return picture, result.step


def test_the_paper_s_sizes_have_its_parameters():
    """Five sizes of 128 channels, skips of 4, as in the authors' notebook of denoising; batch normalisation has two numbers a channel."""
    model = build(Config(width=128), 64, 64)
    down = [32 * 9 * 128 + 128, *[128 * 9 * 128 + 128] * 9]  # two convolutions for each size
    skips = [32 * 4 + 4, *[128 * 4 + 4] * 4]
    up = [132 * 9 * 128 + 128 + 128 * 128 + 128] * 5
    norms = 2 * (10 * 128 + 5 * 4 + 5 * (132 + 128 + 128))
    trainable = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert trainable == sum(down) + sum(skips) + sum(up) + norms + 128 * 3 + 3


def test_it_removes_noise_before_it_fits_it():
    clean = smooth().astype(float)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 25, clean.shape), 0, 255).round().astype(np.uint8)
    picture, _ = last(fit(noisy, config=Config(width=16, sizes=2, steps=300, patience=60)))
    assert np.mean((picture - clean) ** 2) < 0.5 * np.mean((noisy - clean) ** 2)


@pytest.mark.slow
def test_unknown_pixels_have_no_part_in_it_and_are_filled_in():
    photo, known = smooth(), np.ones((24, 24), bool)
    known[8:14, 8:14] = False
    other = np.where(known[..., np.newaxis], photo, 255 - photo)
    one, two = (last(fit(picture, known=known, config=SMALL))[0] for picture in (photo, other))
    np.testing.assert_array_equal(one, two)
    filled, _ = last(fit(other, known=known, config=Config(width=16, sizes=2, steps=250, begin=240)))
    assert np.abs(filled[~known].astype(int) - photo[~known]).mean() < 20


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 4])
def test_shrunk_it_is_the_photo(scale):
    photo = smooth(12)
    picture, _ = last(fit(photo, scale=scale, config=Config(width=16, sizes=2, steps=250, begin=240)))
    assert picture.shape == (12 * scale, 12 * scale, 3) and picture.dtype == np.uint8
    small = tf.image.resize(picture.astype(np.float32), (12, 12), "bicubic", antialias=True).numpy()
    assert np.abs(small - photo).mean() < 12


def test_it_ends_when_the_variance_has_not_fallen_for_so_long():
    changing = Config(
        width=8, sizes=2, inputs=4, steps=500, begin=5, window=3, patience=4, noise=0.5, learning_rate=0.1
    )
    results = list(fit(smooth(), config=changing))
    best = max(result.step for result in results if result.picture is not None)
    assert results[-1].step == best + 4 < 500


def test_a_seed_decides_the_result():
    one, again, other = (last(fit(smooth(16), config=SMALL, seed=seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 30)])
def test_any_size_will_do(size):
    picture, step = last(fit(np.full((*size, 3), 90, np.uint8), config=SMALL))
    assert picture.shape == (*size, 3) and step == 12
