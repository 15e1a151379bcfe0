"""What `packshot inspect` learnt: the fits and networks are made as they say, from what they say."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import ImageFont
from scipy import ndimage, optimize
from shelf import product, put

from benchmarks import make_lettering, make_softness
from data.inspection import softness
from data.inspection.lettering import chart
from data.inspection.softness import products


def test_the_fit_is_that_of_a_general_minimiser():
    """Of the same sum by scipy's BFGS."""
    random = np.random.default_rng(0)
    sound, spoilt = random.normal(0, 1, (60, 2)), random.normal((1.5, -0.5), (1, 2), (60, 2))
    weights = make_softness.fit(sound, spoilt)
    rows = products(np.concatenate([sound, spoilt]), weights["centre"], weights["scale"])
    truth = np.repeat([-1.0, 1.0], 60)

    def loss(w):
        return np.logaddexp(0, -truth * (rows @ w[:-1] + w[-1])).sum() + make_softness.RIDGE * 120 / 2 * w[:-1] @ w[:-1]

    found = np.append(weights["weight"], weights["offset"])
    np.testing.assert_allclose(found, optimize.minimize(loss, np.zeros(6), tol=1e-9).x, atol=2e-3)
    np.testing.assert_allclose([weights["centre"], weights["scale"]], [sound.mean(axis=0), sound.std(axis=0)])


@pytest.mark.parametrize("height, width", [(64, 96), (67, 101), (130, 75)])
def test_the_chart_is_what_keras_computes(height, width):
    """Of one network with weights drawn by chance: sides that 8 does not divide show where it is padded."""
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (height, width, 3), np.uint8)
    model = make_lettering.network(seed=1, dtype="float32")
    for weight in model.weights:
        if "norm" in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    expected = 1 / (1 + np.exp(-np.asarray(model(picture[None].astype(np.float32)))[0, ..., 0]))
    found = chart(picture, make_lettering.frozen(model))
    assert found.shape == (-(-height // 8), -(-width // 8))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_is_learnt_from_is_written_on_where_it_says(monkeypatch):
    """Grey ground changes inside the squares that are marked, and outside as much as compression may change it."""
    grey = np.full((300, 300, 3), 128, np.uint8)
    monkeypatch.setattr(make_lettering, "_font", lambda path, size: ImageFont.load_default(size))
    monkeypatch.setattr(make_lettering, "pattern", lambda random: grey)
    shares = []
    for number in range(40):
        crop, written = make_lettering.example([grey], [None], seed=0, number=number)
        away = crop.astype(int) - np.median(crop, axis=(0, 1)).astype(int)
        near = ndimage.binary_dilation(written > 0, np.ones((3, 3))).repeat(8, axis=0).repeat(8, axis=1)
        assert np.abs(away[~near]).max(initial=0) < 8
        shares += (
            [np.mean(np.abs(away[np.kron(written == 1, np.ones((8, 8), bool))]).max(axis=1) > 30)]
            if (written == 1).any()
            else []
        )
    assert 15 < len(shares) < 40 and np.mean(shares) > 0.2
    again, other = (make_lettering.example([grey], [None], seed, 3)[0] for seed in (0, 1))
    assert (again == make_lettering.example([grey], [None], 0, 3)[0]).all() and (again != other).any()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Six photos, and a file that is none; no drawings."""
    monkeypatch.setattr(make_lettering, "drawings", list)
    monkeypatch.setattr(make_softness, "drawings", list)
    for number in range(12):
        put(tmp_path / "shop" / f"{number:02}.jpg", product(number))
    put(tmp_path / "shop" / "00.jpg", b"no picture")
    return tmp_path / "shop"


def test_softness_is_fitted_to_every_second_photo(shop, tmp_path):
    done = CliRunner().invoke(make_softness.main, [str(shop), "--out", str(tmp_path / "made.npz")])
    assert done.exit_code == 0, done.output
    assert "made.npz: 5 photos" in done.output  # of 00, 02 ... 10, of which the first is no picture
    with np.load(tmp_path / "made.npz") as made, np.load(softness.FILE) as shipped:
        assert {name: made[name].shape for name in made} == {name: shipped[name].shape for name in shipped}


def test_the_network_of_lettering_is_made(shop, tmp_path):
    fonts = tmp_path / "fonts"
    put(fonts / "deep" / "a.ttf", ImageFont.load_default(10).path.getvalue())
    put(fonts / "b.otf", b"no font")
    arguments = ["--photos", str(shop), "--fonts", str(fonts), "--out", str(tmp_path / "made.npz"), "--steps", "1"]
    done = CliRunner().invoke(make_lettering.main, arguments)
    assert done.exit_code == 0, done.output
    assert "5 photos, 1 fonts" in done.output
    with np.load(tmp_path / "made.npz") as made:
        sure = chart(np.asarray(product(0)), {name: made[name].astype(np.float32) for name in made})
    assert sure.shape == (30, 30) and (sure > 0).all() and (sure < 1).all()
    done = CliRunner().invoke(make_lettering.main, [*arguments[:3], str(shop), *arguments[4:]])
    assert done.exit_code == 2 and "no font with Latin letters" in done.output


@pytest.mark.parametrize("main, option", [(make_softness.main, []), (make_lettering.main, ["--photos"])])
def test_what_nothing_can_be_made_of_is_refused(main, option, shop, tmp_path):
    fonts = ["--fonts", str(tmp_path / "fonts")] if option else []
    put(tmp_path / "fonts" / "a.ttf", ImageFont.load_default(10).path.getvalue())
    for source, out, sentence in (
        (tmp_path / "nowhere", "made.npz", "is neither an existing folder"),
        (shop, "shop/01.jpg/made.npz", "Not a directory"),
    ):
        done = CliRunner().invoke(main, [*option, str(source), *fonts, "--out", str(tmp_path / out)])
        assert done.exit_code == 2 and sentence in " ".join(done.output.split()), done.output
