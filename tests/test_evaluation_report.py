"""Charts, numbers as text, and what is held out: worked out by hand."""

import re

import numpy as np
import pytest
from PIL import Image

from data.held_out import sibling_split
from trainer.evaluation.chart import HEIGHT, WIDTH, chart
from trainer.metrics.estimate import Estimate, format_estimate


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.01234567, 0.00123, "0.01235 ± 0.00123"),
        (28.430428, 1.8485, "28.43 ± 1.85"),
        (1234.5, 20.0, "1234 ± 20"),
        (0.0, 0.01, "0.00000 ± 0.01000"),
        (0.0, 0.0, "0"),
        (2.5, float("nan"), "2.5"),
        (float("inf"), float("nan"), "inf"),
        (-0.00004, 0.0021, "-0.000040 ± 0.002100"),
    ],
)
def test_a_number_is_formatted_with_its_error(value, error, text):
    assert format_estimate(Estimate(value, error)) == text


def points(svg):
    return [[tuple(map(float, p.split(","))) for p in line.split()] for line in re.findall('points="([^"]*)"', svg)]


def test_a_chart_places_its_points_in_its_box():
    svg = chart({"a": ([0, 10, 20], [1.0, 3.0, 2.0]), "b <": ([10, 20], [1.0, float("nan")])})
    first, second = points(svg)
    xs, ys = zip(*first, strict=True)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.11) and len(second) == 1
    assert ys[0] > ys[2] > ys[1]  # up is more
    assert ys[0] - ys[2] == pytest.approx(ys[2] - ys[1], abs=0.11)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in first + second)
    assert second[0] == (xs[1], ys[0])
    assert "b &lt;" in svg and "b <" not in svg


def test_a_chart_averages_long_lines_and_is_empty_without_points():
    (line,) = points(chart({"a": (np.arange(1000), np.arange(1000) + np.tile([0.0, 50.0], 500))}))
    xs, ys = zip(*line, strict=True)
    assert len(line) < 200 and np.corrcoef(xs, ys)[0, 1] < -0.999
    assert chart({"a": ([], []), "b": ([1], [float("nan")])}) == ""
    assert points(chart({"a": ([5], [2.0])})) != []


def test_the_pictures_beside_the_training_ones(tmp_path):
    for folder in ("splits/train/a", "splits/val/a", "apart/training", "apart/test", "alone/a", "pairs/trainA", "pairs/trainB",
                   "pairs/testA", "pairs/testB"):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / folder / "1.png")
    assert sibling_split(f"folder:{tmp_path}/splits") == f"folder:{tmp_path}/splits#validation"
    assert sibling_split(f"folder:{tmp_path}/splits#train") == f"folder:{tmp_path}/splits#validation"
    assert sibling_split(f"folder:{tmp_path}/splits#validation") is None
    assert sibling_split(f"{tmp_path}/splits/train") == f"folder:{tmp_path}/splits/val"
    assert sibling_split(f"folder:{tmp_path}/apart/training/") == f"folder:{tmp_path}/apart/test"
    assert sibling_split(f"folder:{tmp_path}/alone") is None
    assert sibling_split(f"pairs:{tmp_path}/pairs#BtoA") == f"pairs:{tmp_path}/pairs#test,BtoA"
    assert (
        sibling_split("studio:40") is None
        and sibling_split("studio") is None
        and sibling_split("folder:nowhere") is None
    )
