"""NIQE: distributions fitted to samples of them, features against a slow program, and scores that rise with damage."""

import io
import math

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFilter
from scipy import optimize, stats

from trainer.metrics import naturalness
from trainer.metrics.fit_naturalness import main
from trainer.metrics.naturalness import Naturalness, default_model, fit, niqe, patch_features


def leaves(seed, size=128):
    """Overlapping discs of random colour and stripes, large and small, with a little noise: the occlusions of a photo, uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    picture = np.full((size, size, 3), 128.0)
    for _ in range(size):
        radius = 1 / math.sqrt(random.uniform(1 / 60**2, 1 / 3**2))
        down, right = random.uniform(-10, size + 10, 2)
        disc = (y - down) ** 2 + (x - right) ** 2 < radius**2
        stripes = 12 * np.sin(0.5 * (x * random.normal() + y * random.normal()))
        picture[disc] = random.uniform(20, 235, 3) + stripes[disc][:, None]
    return np.clip(picture + random.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures():
    return np.stack([leaves(seed) for seed in range(6)])


@pytest.fixture(scope="module")
def model():
    return fit((leaves(seed) for seed in range(100, 112)), patch=32)


def blurred(picture, radius):
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def noisy(picture, deviation):
    return np.clip(picture + np.random.default_rng(0).normal(0, deviation, picture.shape), 0, 255).astype(np.uint8)


def compressed(picture, quality):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("left, right", [(1.0, 1.0), (0.5, 2.0)])
def test_a_generalised_gaussian_is_recognised(shape, left, right):
    """Its two sides are those of symmetric ones, each as probable as it is wide."""
    random = np.random.default_rng(0)
    halves = np.abs(stats.gennorm.rvs(shape, size=200_000, random_state=random))
    side = random.random(200_000) < right / (left + right)
    samples = np.where(side, right * halves, -left * halves).reshape(1, 400, 500)
    found = np.ravel(naturalness._generalised_gaussian(samples))
    np.testing.assert_allclose(found, [shape, left, right], rtol=0.04)


def features_slowly(picture, patch):
    """The features of each patch, from the paper: 2-D windows one pixel at a time, the moment equation solved by bisection."""
    window = np.array([[math.exp(-(y * y + x * x) / (2 * (7 / 6) ** 2)) for x in range(-3, 4)] for y in range(-3, 4)])
    window /= window.sum()

    def parameters(values):
        left, right = (math.sqrt(np.mean(values[side] ** 2)) for side in (values < 0, values > 0))
        lean = left / right
        ratio = np.mean(np.abs(values)) ** 2 / np.mean(values**2) * (lean**3 + 1) * (lean + 1) / (lean**2 + 1) ** 2

        def excess(a):
            return math.gamma(2 / a) ** 2 / (math.gamma(1 / a) * math.gamma(3 / a)) - ratio

        a = 0.2 if excess(0.2) > 0 else 10 if excess(10) < 0 else optimize.brentq(excess, 0.2, 10)
        stretch = math.sqrt(math.gamma(1 / a) / math.gamma(3 / a))
        return a, left * stretch, right * stretch

    grey = picture @ [0.299, 0.587, 0.114]
    rows = []
    for scale in (1, 2):
        height, width = grey.shape
        padded = np.pad(grey, 3, "edge")
        views = [[padded[y : y + 7, x : x + 7] for x in range(width)] for y in range(height)]
        mean = np.array([[(window * view).sum() for view in line] for line in views])
        deviation = np.array(
            [
                [math.sqrt((window * (v - m) ** 2).sum()) for v, m in zip(*pair, strict=True)]
                for pair in zip(views, mean, strict=True)
            ]
        )
        plane, side, columns = (grey - mean) / (deviation + 1), patch // scale, []
        for top in range(0, height, side):
            for left in range(0, width, side):
                square = plane[top : top + side, left : left + side]
                a, b_left, b_right = parameters(square.ravel())
                row = [a, (b_left + b_right) / 2]
                for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    products = [
                        square[y, x] * square[(y - down) % side, (x - right) % side]
                        for y in range(side)
                        for x in range(side)
                    ]
                    a, b_left, b_right = parameters(np.array(products))
                    row += [a, (b_right - b_left) * math.gamma(2 / a) / math.gamma(1 / a), b_left, b_right]
                columns.append(row)
        rows.append(columns)
        grey = np.asarray(
            Image.fromarray(grey.astype(np.float32)).resize((width // 2, height // 2), Image.Resampling.BICUBIC)
        )
    return np.concatenate(rows, axis=1)


def test_features_agree_with_the_slow_program(pictures):
    picture = pictures[0, :64, :32]
    found, sharpness = patch_features(np.pad(picture, ((0, 5), (0, 9), (0, 0))), 32)  # what fills no patch is cut off
    assert found.shape == (2, 36) and sharpness.shape == (2,)
    np.testing.assert_allclose(found, features_slowly(picture, 32), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "damage, amounts",
    [(blurred, (0.6, 1.2, 2.5)), (noisy, (5, 15, 40)), (compressed, (60, 25, 5))],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_scores_rise_with_damage(damage, amounts, pictures, model):
    scores = [niqe(pictures, model).mean()]
    scores += [niqe(np.stack([damage(picture, amount) for picture in pictures]), model).mean() for amount in amounts]
    assert (np.diff(scores) > 0.5).all(), scores


def test_the_model_of_photos_finds_blur_and_noise_in_what_it_has_not_seen():
    model = default_model()
    assert model.digest == "30f662ac" and model.patch == 96
    sharp = np.stack([leaves(seed, 192) for seed in range(4)])
    for damage, amounts in ((blurred, (1, 2, 4)), (noisy, (5, 15, 40))):
        scores = [niqe(sharp, model).mean()]
        scores += [niqe(np.stack([damage(picture, amount) for picture in sharp]), model).mean() for amount in amounts]
        assert (np.diff(scores) > 0).all(), scores


def test_the_distance_is_the_papers(pictures, model):
    """Eq. 10, with the inverse written out."""
    rows, _ = patch_features(pictures[1], 32)
    shift = rows.mean(axis=0) - model.mean
    pooled = (model.covariance + np.cov(rows.T)) / 2
    np.testing.assert_allclose(
        niqe(pictures[1:2], model), [math.sqrt(shift @ np.linalg.solve(pooled, shift))], rtol=1e-6
    )


def test_a_model_counts_only_the_sharpest_patches():
    half_soft = np.stack([leaves(seed) for seed in range(16)])
    half_soft[:, :, 64:] = [blurred(picture, 4) for picture in half_soft[:, :, 64:]]
    kept = []
    for picture in half_soft:
        rows, sharpness = patch_features(picture, 16)
        assert sharpness.argmin() % 8 >= 4
        kept.append(rows[sharpness >= 0.75 * sharpness.max()])
    kept = np.concatenate(kept)
    found = fit(half_soft, patch=16)
    np.testing.assert_allclose(found.mean, kept.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(kept.T))


def test_backdrops_without_contrast_are_left_out(pictures, model):
    picture = pictures[:1].copy()
    picture[:, 64:] = 255
    assert len(patch_features(picture[0], 32)[0]) == 8
    assert np.isfinite(niqe(picture, model)).all()
    for level in (0, 77, 255):
        assert np.isnan(niqe(np.full((1, 64, 64, 3), level, np.uint8), model)).all()


def test_a_model_is_kept_in_a_file_and_known_by_its_numbers(tmp_path, model):
    path = str(tmp_path / "new" / "model.npz")
    model.save(path)
    found = Naturalness.load(path)
    assert np.array_equal(found.mean, model.mean) and np.array_equal(found.covariance, model.covariance)
    assert found.patch == 32 and found.digest == model.digest
    others = {
        Naturalness(model.mean + 1e-9, model.covariance, 32).digest,
        Naturalness(model.mean, model.covariance * 2, 32).digest,
        Naturalness(model.mean, model.covariance, 34).digest,
    }
    assert len(others | {model.digest}) == 4


def test_files_that_hold_no_model(tmp_path):
    path = tmp_path / "model.npz"
    for content in (b"", b"PK\x03\x04 broken", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="holds no model of naturalness"):
            Naturalness.load(str(path))
    np.savez(path, mean=np.zeros(36), patch=96)
    with pytest.raises(ValueError, match="holds no model of naturalness"):
        Naturalness.load(str(path))
    np.savez(path, mean=np.zeros(35), covariance=np.eye(35), patch=96)
    with pytest.raises(ValueError, match=r"the mean must be \[36\]"):
        Naturalness.load(str(path))
    with pytest.raises(OSError):
        Naturalness.load(str(tmp_path / "none.npz"))


def test_arguments_that_cannot_be(pictures, model):
    with pytest.raises(ValueError, match=r"pictures must be uint8 .* not float64"):
        niqe(pictures / 255, model)
    with pytest.raises(ValueError, match="pictures of 63x33 hold fewer than two patches of 32x32 pixels"):
        niqe(pictures[:, :63, :33], model)
    with pytest.raises(ValueError, match="more than 36 patches of 32 px; there are 0"):
        fit([pictures[0, :31]], patch=32)
    with pytest.raises(ValueError, match="even number of pixels, at least 16, not 33"):
        fit(pictures, patch=33)
    with pytest.raises(ValueError, match=r"a picture must be uint8 \[height, width, 3\], not uint8 \[128, 128\]"):
        fit(pictures[..., 0], patch=32)


def test_the_command_that_makes_a_model(tmp_path, pictures):
    folder, out = tmp_path / "photos", tmp_path / "model.npz"
    folder.mkdir()
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{index}.png")
    (folder / "notes.txt").write_text("none of them")
    done = CliRunner().invoke(main, [str(folder), "--patch", "16", "--out", str(out)])
    assert done.exit_code == 0, done.output
    expected = fit(pictures, patch=16)
    assert Naturalness.load(str(out)).digest == expected.digest and expected.digest in done.output
    assert "left out notes.txt: not a picture" in done.output
    for index in range(100, 112):
        Image.fromarray(leaves(index)).save(folder / f"{index}.png")
    half = CliRunner().invoke(main, [str(folder), "--patch", "16", "--shrink", "2", "--out", str(out)])
    assert half.exit_code == 0 and Naturalness.load(str(out)).digest != expected.digest
    kept = out.read_bytes()
    for refused in (["--patch", "15"], ["--shrink", "8"], ["--shrink", "0"]):
        done = CliRunner().invoke(main, [str(folder), "--patch", "32", *refused, "--out", str(out)])
        assert done.exit_code == 2 and "Error" in done.output and out.read_bytes() == kept
