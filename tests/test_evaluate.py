"""Runs evaluated and compared as a person does it: pages, numbers for machines, and what is said when something is wrong."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import weight_files
from click.testing import CliRunner
from PIL import Image

from data import edits, views
from data.cache import load_rows
from data.catalogue import open_source
from data.images import decode
from models import catalogue as families
from serving.export import offline
from trainer import cli, task
from trainer.evaluation.pairs import Pair
from trainer.features import catalogue
from trainer.features.extractor import Extractor
from trainer.metrics.artifacts import periodic_artifacts
from trainer.metrics.distribution import kid
from trainer.metrics.fidelity import psnr
from trainer.tasks.enhancement import BICUBIC, UNCHANGED, Enhancement

SIDE = 16


def invoke(*arguments):
    result = CliRunner().invoke(cli.main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def coarse(images):
    """Features that can be worked out by hand: each picture as 2 x 2 pixels."""
    n, side = len(images), images.shape[1] // 2
    return images.astype(np.float32).reshape(n, 2, side, 2, side, 3).mean((2, 4)).reshape(n, -1) / 255


@pytest.fixture(autouse=True)
def coarse_features(monkeypatch):
    extractor = Extractor("coarse-1", SIDE, coarse, lambda batch: [batch / 255])
    monkeypatch.setattr(catalogue, "open_features", {"packshot": extractor}.__getitem__)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two categories of coloured squares, in three splits."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("validation", 21)):
        for category, colour in (("hats", (200, 40, 40)), ("shoes", (40, 40, 200))):
            (root / split / category).mkdir(parents=True)
            for number in range(count):
                picture = np.clip(np.array(colour) + random.integers(-40, 40, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(picture).save(root / split / category / f"{number:02d}.png")
    return root


@pytest.fixture(scope="module")
def runs(photos, tmp_path_factory):
    """A tiny run of each sort."""
    root = tmp_path_factory.mktemp("runs")
    data = f"folder:{photos}/train"
    for name, options in {
        "told": ["--model", "dcgan", "--conditional"],
        "untold": ["--model", "mlp_gan"],
        "edges": ["--model", "pix2pix"],
        "larger": ["--model", "espcn", "--seed", 1],
        "larger2": ["--model", "espcn", "--seed", 2],
        "codes": ["--model", "vqgan"],
    }.items():
        options = [*options, "--preset", "tiny", "--images", 16, "--data", data, "--job-dir", root / name]
        assert CliRunner().invoke(task.main, [str(o) for o in options]).exit_code == 0
    return root


def of(folder, name="evaluation"):
    return json.loads((folder / f"{name}.json").read_text())


def is_one_file(path):
    """A page that loads nothing: no address but data, no script."""
    text = Path(path).read_text()
    sources = re.findall(r"""(?:src|href)=["']([^"']*)""", text)
    return all(s.startswith(("data:", "#")) for s in sources) and "<script" not in text and "url(" not in text


def test_made_pictures_are_measured_with_the_categories_of_the_real_ones(runs, photos):
    result = invoke("evaluate", runs / "told")
    assert result.exit_code == 0, result.output
    found = of(runs / "told")
    labels = np.repeat([0, 1], 24)
    pictures = np.stack([decode(path.read_bytes()) for path in sorted((photos / "train").rglob("*.png"))])
    real = coarse(pictures)
    made = offline.sample(runs / "told" / "export", 48, seed=0, conditions={"label": labels})
    assert found["headline"] == "kid_coarse-1_n48"
    assert found["metrics"]["kid_coarse-1_n48"] == pytest.approx(kid(real, coarse(made))._asdict(), rel=1e-5)
    assert "memorisation_coarse-1_n48x42x48" in found["metrics"]
    assert "kid_coarse-1_n48x42" in found["beside"]["real, held out"]
    alone = kid(real[:24], coarse(made)[:24])
    assert found["categories"]["hats"]["kid_coarse-1_n24"] == pytest.approx(alone._asdict(), rel=1e-5)
    made_grid, real_grid = (periodic_artifacts(shown, 4) for shown in (made, pictures))
    assert found["metrics"]["periodic_artifacts_p4"] == pytest.approx(made_grid._asdict())
    assert found["beside"]["real"] == {"periodic_artifacts_p4": pytest.approx(real_grid._asdict())}
    assert found["protocol"]["held out"] == f"folder:{photos}/validation"
    assert found["model"]["run"]["model"] == "dcgan" and found["model"]["images"] == 16
    assert len(found["copies"]) == 12 and found["copies"][0]["distance"] <= found["copies"][1]["distance"]
    page = (runs / "told" / "evaluation.html").read_text()
    assert is_one_file(runs / "told" / "evaluation.html")
    for part in ("kid_coarse-1_n48", "hats best", "shoes real", "Nearest training pictures", "critic_loss", "<svg"):
        assert part in page
    baselines = found["beside"]["real, held out"]
    assert f"{baselines['kid_coarse-1_n48x42']['value']:.6f}"[:7] in page  # compares, whatever the number of pictures
    assert f"{baselines['fid_coarse-1_n48x42']['value']:.6f}"[:7] not in page
    assert "KID is" in result.output and "recall" in result.output


def test_a_model_without_categories_is_measured_by_those_of_its_neighbours(runs, tmp_path):
    result = invoke("evaluate", runs / "untold", "--n", 30, "--seed", 5, "--out", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    found = of(tmp_path, "page")
    assert found["protocol"]["made pictures"] == 30 and found["copies"][0]["seed"] >= 5
    counts = [found["categories"][name]["made"] for name in ("hats", "shoes")]
    assert sum(counts) == 30
    assert not any(key.startswith("kid") for row in found["categories"].values() for key in row)


def test_translations_are_measured_beside_held_out_targets(runs, photos):
    result = invoke("evaluate", runs / "edges")
    assert result.exit_code == 0, result.output
    found = of(runs / "edges")
    assert found["headline"] == "feature_distance_coarse-1"
    assert found["protocol"]["data"] == f"folder:{photos}/validation" and found["protocol"]["pictures"] == 42
    assert len(found["each"]["psnr_rgb"]) == 42
    assert "kid_coarse-1_n48x42" in found["metrics"] and "kid_coarse-1_n48x42" in found["beside"]["targets"]
    assert found["beside"]["targets"]["periodic_artifacts_p4"]["value"] > 0
    assert "periodic_artifacts_p4" in found["metrics"] and "train" not in str(list(found["metrics"]))
    assert is_one_file(runs / "edges" / "evaluation.html")


def test_lpips_of_pairs_stands_beside_the_others(runs, tmp_path):
    weights = weight_files.write(tmp_path / "vgg16.ckpt", "vgg16")
    options = ["--n", 5, "--lpips", f"vgg16:{weights}", "--out", tmp_path / "p.html"]
    for name, beside in (("edges", ()), ("larger", ("bicubic (Pillow)",))):
        result = invoke("evaluate", runs / name, *options)
        assert result.exit_code == 0, result.output
        found = of(tmp_path, "p")
        (lpips,) = (metric for metric in found["metrics"] if metric.startswith("lpips_vgg_"))
        assert found["metrics"][lpips]["value"] == pytest.approx(np.mean(found["each"][lpips])) and len(lpips) == 18
        assert 0 < found["metrics"][lpips]["value"] and lpips in result.output and found["headline"] != lpips
        assert all(lpips in found["beside"][other] for other in beside)

    for name, asked, sentence in (
        (
            "told",
            f"vgg16:{weights}",
            "lpips_vgg_.* compares pictures with their targets, and those of dcgan have none",
        ),
        ("edges", "packshot", "LPIPS has weights for vgg16:PATH and alexnet:PATH, not for 'packshot'"),
        ("edges", f"vgg16:{tmp_path}/none", "vgg16 cannot be read from .*none: No such file"),
        ("edges", f"alexnet:{weight_files.write(tmp_path / 'a', 'alexnet')}", "from 31 px a side, not 16 x 16"),
    ):
        result = invoke("evaluate", runs / name, "--n", 48, "--lpips", asked, "--out", tmp_path / "never.html")
        assert result.exit_code == 2 and re.search(sentence, result.output), result.output
        assert not (tmp_path / "never.html").exists()


def test_what_was_trained_on_is_measured_with_a_warning(runs, photos, tmp_path):
    result = invoke("evaluate", runs / "edges", "--data", f"{photos}/train/", "--out", tmp_path / "p.html")
    assert "the numbers are too good" in result.output
    assert not any(name.startswith("kid") for name in of(tmp_path, "p")["metrics"])


def test_an_export_is_measured_where_its_training_pictures_are_not(runs, photos, tmp_path):
    away = tmp_path / "away"
    photos.rename(away)
    try:
        for name, headline in (("told", "kid_coarse-1_n42"), ("edges", "feature_distance_coarse-1")):
            options = ["--data", f"folder:{away}/validation", "--out", tmp_path / f"{name}.html"]
            result = invoke("evaluate", runs / name / "export", *options)
            assert result.exit_code == 0, result.output
            assert of(tmp_path, name)["headline"] == headline and of(tmp_path, name)["copies"] == []
        assert "Nearest training pictures" not in (tmp_path / "told.html").read_text()
    finally:
        away.rename(photos)


def test_enlargements_are_measured_beside_bicubic(runs, tmp_path):
    random = np.random.default_rng(1)
    for name, (height, width) in {"a": (40, 24), "b": (24, 32)}.items():
        small = random.integers(0, 256, (height, width, 3), np.uint8)
        large = np.array(Image.fromarray(small).resize((2 * width, 2 * height), Image.Resampling.BICUBIC))
        for folder, picture in (("LR", small), ("HR", large)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / folder / f"{name}.png")
    result = invoke("evaluate", runs / "larger", "--data", f"pairs:{tmp_path}", "--out", tmp_path / "p.html")
    assert result.exit_code == 0, result.output
    found = of(tmp_path, "p")
    assert found["headline"] == "psnr_y_shave2"
    assert found["beside"]["bicubic (Pillow)"]["psnr_y_shave2"] == {"value": None, "error": None}  # equal: infinite
    assert found["beside"]["bicubic (Pillow)"]["ssim_y_shave2"]["value"] == pytest.approx(1)
    grids = [found["metrics"], found["beside"]["bicubic (Pillow)"], found["beside"]["targets"]]
    assert all(values["periodic_artifacts_p4"]["value"] > 0 for values in grids)  # of tiles of 24 px
    made = list(offline.changed(runs / "larger" / "export", [decode((tmp_path / "LR" / "a.png").read_bytes())]))[0]
    expected = psnr(made[None], decode((tmp_path / "HR" / "a.png").read_bytes())[None], space="y", shave=2)
    assert found["each"]["psnr_y_shave2"][0] == pytest.approx(float(expected[0]))


def test_changed_pictures_are_measured_as_a_set_where_the_family_says_so(runs, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(families.load("pix2pix").Model, "EVALUATOR", "set")
    options = ["--data", f"folder:{photos}/validation", "--n", 30, "--out", tmp_path / "s.html"]
    result = invoke("evaluate", runs / "edges", *options)
    assert result.exit_code == 0, result.output
    found = of(tmp_path, "s")
    assert found["headline"] == "kid_coarse-1_n30" and not found.get("each")
    assert found["protocol"]["real pictures"] == found["protocol"]["made pictures"] == 30
    assert {"source", "training_picture", "distance"} == found["copies"][0].keys()
    rows = load_rows(open_source(f"folder:{photos}/validation", 0), views.translation(SIDE, "auto"), fit="crop")
    some = rows.take(np.linspace(0, rows.count - 1, 30).astype(int))
    made = np.stack(list(offline.changed(runs / "edges" / "export", some["source"])))
    expected = kid(coarse(some["target"]), coarse(made))
    assert found["metrics"][found["headline"]]["value"] == pytest.approx(expected.value)


def test_what_is_reconstructed_is_measured_against_its_photo(runs, photos, tmp_path):
    """On the held-out ones, by a page as of pairs."""
    result = invoke("evaluate", runs / "codes", "--out", tmp_path / "p.html")
    assert result.exit_code == 0, result.output
    found = of(tmp_path, "p")
    pictures = [decode(path.read_bytes()) for path in sorted((photos / "validation").rglob("*.png"))]
    made = list(offline.changed(runs / "codes" / "export", pictures))
    assert found["headline"] == "psnr_rgb" and len(found["each"]["psnr_rgb"]) == 42
    expected = psnr(np.stack(made), np.stack(pictures), space="rgb", shave=0)
    np.testing.assert_allclose(found["each"]["psnr_rgb"], expected, rtol=1e-6)
    assert "validation" in found["protocol"]["data"] and is_one_file(tmp_path / "p.html")


def test_models_are_ranked_with_the_difference_picture_by_picture(runs, tmp_path):
    out = tmp_path / "c.html"
    result = invoke("compare", runs / "larger", runs / "larger2", "--n", 10, "--out", out)
    assert result.exit_code == 0, result.output
    found = of(tmp_path, "c")
    first, second = (found["evaluations"][name]["each"]["psnr_y_shave2"] for name in found["ranking"])
    differences = np.subtract(first, second)
    assert len(first) == 10 and differences.mean() > 0
    lead = {"value": differences.mean(), "error": differences.std(ddof=1) / np.sqrt(10)}
    assert found["leads"] == [pytest.approx(lead)]
    assert is_one_file(out) and "larger2" in out.read_text()


def test_sets_are_compared_with_one_reference_and_ratings_stand_beside(runs, tmp_path):
    said = {"score": 0.625, "low": 0.5, "high": 0.75, "wins": 5, "ties": 0, "losses": 3}
    ratings = {"schema": 1, "kind": "packshot ratings", "models": {"told": said}}
    (tmp_path / "ratings.json").write_text(json.dumps(ratings))
    options = ["--out", tmp_path / "c.html", "--ratings", tmp_path / "ratings.json"]
    result = invoke("compare", runs / "told", runs / "untold", *options)
    assert result.exit_code == 0, result.output
    found = of(tmp_path, "c")
    values = [found["evaluations"][name]["metrics"]["kid_coarse-1_n48"]["value"] for name in found["ranking"]]
    assert values == sorted(values) and found["ratings"] == ratings
    page = (tmp_path / "c.html").read_text()
    assert "hats told" in page and "hats untold" in page and "50.0% to 75.0%" in page


def test_what_cannot_be_measured_is_said_in_a_sentence(runs, photos, tmp_path):
    def refused(*arguments):
        result = invoke(*arguments, "--out", tmp_path / "never.html")
        assert result.exit_code == 2 and "Traceback" not in result.output
        assert not (tmp_path / "never.html").exists()
        return result.output

    assert "no exported model in" in refused("evaluate", tmp_path)
    assert "at least 20 are needed" in refused("evaluate", runs / "told", "--n", 5)
    assert "there is no folder" in refused("evaluate", runs / "told", "--data", "folder:nowhere")
    flat = f"folder:{photos}/train/hats"
    assert "was trained on the classes hats, shoes" in refused("evaluate", runs / "told", "--data", flat)
    assert "do not compare" in refused("compare", runs / "told", runs / "edges")
    assert "are measured in different ways: they do not compare" in refused("compare", runs / "told", runs / "codes")
    assert "packshot evaluate" in refused("compare", runs / "told")
    assert "not 2 times as large" in refused("evaluate", runs / "larger", "--data", _alike(tmp_path))
    both = ["compare", runs / "told", runs / "untold", "--ratings"]
    assert "no such file" in refused(*both, "nowhere.json").lower()
    assert "not a packshot ratings" in refused(*both, runs / "told" / "config.json")
    assert "not with itself" in refused("compare", runs / "told", runs / "told")


def test_where_nothing_can_be_written_nothing_is_measured(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.commands.evaluate._measure", None)
    for arguments in (["evaluate", runs / "told"], ["compare", runs / "told", runs / "untold"]):
        for option in ("--out", "--json"):
            result = invoke(*arguments, "--out", tmp_path / "a.html", option, tmp_path)
            assert result.exit_code == 2 and str(tmp_path) in result.output.replace("\n", ""), result.output
    assert not list(tmp_path.iterdir())


def _alike(root):
    for folder in ("A", "B"):
        (root / folder).mkdir()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / folder / "1.png")
    return f"pairs:{root}"


@pytest.mark.parametrize(
    "scale, view, names",
    [
        (2, "auto", [BICUBIC]),
        (2, "noise:25", [BICUBIC, "classic (bilateral:40)"]),
        (1, "noise:25", [UNCHANGED, "classic (bilateral:40)"]),
    ],
)
def test_damaged_pictures_are_measured_beside_a_classic_chain(scale, view, names):
    source = np.random.default_rng(0).integers(100, 130, (20, 24, 3), np.uint8)
    target = np.zeros((20 * scale, 24 * scale, 3), np.uint8)
    run = SimpleNamespace(settings={"scale": scale}, view=view)
    made = Enhancement().alternatives([Pair(source, target, None)], run)
    assert list(made) == names
    for name, chain in zip(names, ("", "bilateral:40"), strict=False):
        large = Image.fromarray(edits.parse(chain)(source)).resize((24 * scale, 20 * scale), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(made[name][0], np.array(large))
