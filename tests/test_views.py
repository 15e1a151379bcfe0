"""What each task trains on: rows, the sentences that refuse, and patches that lie where they should."""

import numpy as np
import pytest

from data.degrade import downscale, modcrop
from data.lines import edges, outline
from data.views import PALETTE, enhancement, generation, translation


def picture(height=32, width=None, seed=0):
    """Smooth random uint8 [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    width = width or height
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    return coarse[rows][:, columns]


def mask(side=32):
    """uint8 [side, side, 1] with a full middle, a half-full column and an empty rest."""
    made = np.zeros((side, side, 1), np.uint8)
    made[8:24, 8:24] = 255
    made[8:24, 24] = 128
    return made


def test_generation_keeps_the_picture_its_category_and_its_caption():
    example = {"image": picture(), "label": 2, "caption": "a hat", "mask": mask()}
    view = generation(32)
    assert view.size == 32
    (row,) = view.rows(example)
    assert row.keys() == {"image", "label", "caption"}
    assert all(row[key] is example[key] for key in row)


def test_translation_of_a_pair_is_the_pair():
    example = {"source": picture(seed=1), "target": picture(seed=2), "label": 3, "caption": "shoe", "mask": mask()}
    (row,) = translation(32, "pair").rows(example)
    assert row.keys() == {"source", "target", "label", "caption"}
    assert all(row[key] is example[key] for key in row)


def test_translation_draws_edges_and_outlines():
    example = {"image": picture(), "mask": mask(), "caption": "cup"}
    (drawn,) = translation(32, "edges").rows(example)
    np.testing.assert_array_equal(drawn["source"], edges(example["image"]))
    assert drawn["target"] is example["image"] and drawn["caption"] == "cup" and "label" not in drawn
    (drawn,) = translation(32, "outline").rows(example)
    np.testing.assert_array_equal(drawn["source"], outline(example["image"], example["mask"]))


@pytest.mark.parametrize("label", [0, 1, 11, 12, 25])
def test_a_mask_has_the_colour_of_its_category_on_white(label):
    (row,) = translation(32, "mask").rows({"image": picture(), "mask": mask(), "label": label})
    colour = PALETTE[label % 12]
    source = row["source"]
    assert source.dtype == np.uint8 and source.shape == (32, 32, 3) and row["label"] == label
    assert (source[8:24, 8:24] == colour).all() and (source[:8] == 255).all()
    half = 255 + 128 / 255 * (colour.astype(float) - 255)
    np.testing.assert_allclose(source[10, 24], half, atol=0.51)


def test_a_mask_without_a_category_has_the_first_colour():
    (row,) = translation(32, "mask").rows({"image": picture(), "mask": mask()})
    assert tuple(row["source"][16, 16]) == (230, 25, 75)


def test_colours_of_categories_differ():
    distance = np.abs(PALETTE[:, None].astype(int) - PALETTE[None]).sum(axis=2)
    assert distance[~np.eye(len(PALETTE), dtype=bool)].min() >= 70


def test_auto_takes_a_pair_then_an_outline_then_edges():
    auto = translation(32)
    whole = {"image": picture(), "mask": mask()}
    pair = {"source": picture(seed=1), "target": picture(seed=2)}
    assert auto.rows(pair)[0]["source"] is pair["source"]
    np.testing.assert_array_equal(auto.rows(whole)[0]["source"], translation(32, "outline").rows(whole)[0]["source"])
    np.testing.assert_array_equal(auto.rows({"image": whole["image"]})[0]["source"], edges(whole["image"]))


@pytest.mark.parametrize(
    "view, keys, absent",
    [
        (generation(32), {"source", "target"}, "image"),
        (translation(32, "edges"), {"source", "target"}, "image"),
        (translation(32, "outline"), {"image", "label"}, "mask"),
        (translation(32, "mask"), {"image"}, "mask"),
        (translation(32, "pair"), {"image"}, "source"),
        (translation(32, "auto"), {"label"}, "image"),
        (enhancement(32, 2), {"label"}, "image"),
    ],
)
def test_check_says_what_is_absent_and_what_there_is(view, keys, absent):
    with pytest.raises(ValueError, match=f"the data has no '{absent}' \\(it has: {', '.join(sorted(keys))}\\)"):
        view.check(keys)


@pytest.mark.parametrize(
    "view, keys",
    [
        (generation(32), {"image"}),
        (translation(32, "auto"), {"source", "target"}),
        (translation(32, "auto"), {"image"}),
        (translation(32, "outline"), {"image", "mask"}),
        (enhancement(32, 2), {"image", "label"}),
        (enhancement(32, 2), {"source", "target"}),
        (enhancement(32, 1), {"source", "target"}),
    ],
)
def test_check_passes_what_suffices(view, keys):
    view.check(keys)


def test_unknown_kind_names_the_known():
    with pytest.raises(ValueError, match="unknown view 'edge'; have: auto, edges, outline, mask, pair"):
        translation(32, "edge")


@pytest.mark.parametrize(
    "scale, stride, height, width", [(2, None, 40, 40), (3, 6, 50, 61), (4, 8, 37, 90), (2, 2, 24, 24)]
)
def test_patches_are_cut_from_the_picture_and_from_its_smaller_version(scale, stride, height, width):
    """Every `high` is found at a place of the grid, and its `low` at that place of the whole picture made smaller."""
    side = 24
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)
    whole = modcrop(image, scale)
    small = downscale(image, scale)
    rows = enhancement(side, scale, stride=stride).rows({"image": image, "label": 1})
    covered, places = np.zeros(whole.shape[:2], bool), []
    for row in rows:
        assert row.keys() == {"high", "low"}
        assert row["high"].shape == (side, side, 3) and row["low"].shape == (side // scale, side // scale, 3)
        assert row["high"].dtype == row["low"].dtype == np.uint8
        windows = np.lib.stride_tricks.sliding_window_view(whole, (side, side), axis=(0, 1))
        (place,) = np.argwhere((windows == np.moveaxis(row["high"], 2, 0)[None, None]).all(axis=(2, 3, 4)))
        top, left = place
        assert top % scale == 0 and left % scale == 0
        y, x = top // scale, left // scale
        np.testing.assert_array_equal(row["low"], small[y : y + side // scale, x : x + side // scale])
        covered[top : top + side, left : left + side] = True
        places.append((top, left))
    assert covered.all()
    assert len(set(places)) == len(places)


def test_patches_of_pairs_are_cut_from_both_at_the_same_place():
    low, high = picture(20, 24), picture(40, 48)
    rows = enhancement(16, 2, stride=8).rows({"source": low, "target": high})
    assert len(rows) == 4 * 5
    places = [(top, left) for top in range(0, 25, 8) for left in range(0, 33, 8)]
    for row, (top, left) in zip(rows, places, strict=True):
        np.testing.assert_array_equal(row["high"], high[top : top + 16, left : left + 16])
        np.testing.assert_array_equal(row["low"], low[top // 2 : top // 2 + 8, left // 2 : left // 2 + 8])


def test_pairs_of_another_scale_and_recipes_for_pairs_are_refused():
    with pytest.raises(ValueError, match="the target of 48x40 px is not 4 times as large as the source of 24x20 px"):
        enhancement(16, 4).rows({"source": picture(20, 24), "target": picture(40, 48)})
    with pytest.raises(ValueError, match="the data are pairs, whose sources are damaged already: leave --view out"):
        enhancement(16, 2, recipe="photo").check({"source", "target"})


def test_grid_by_hand():
    """Side 8, step 4 on 18 px at scale 2: starts 0, 4, 8 of the grid, and 10 at the border."""
    image = np.arange(18 * 8 * 3).reshape(18, 8, 3).astype(np.uint8)
    rows = enhancement(8, 2, stride=4).rows({"image": image})
    np.testing.assert_array_equal([row["high"][0, 0, 0] for row in rows], image[[0, 4, 8, 10], 0, 0])


def test_default_step_is_about_half_a_patch():
    assert enhancement(96, 4).stride == 48
    assert enhancement(48, 3).stride == 24
    assert enhancement(20, 4).stride == 8
    assert enhancement(4, 4).stride == 4


def test_enhancement_reads_pictures_as_they_are():
    assert enhancement(32, 2).size is None


@pytest.mark.parametrize("resolution, scale, stride", [(33, 2, None), (32, 3, None), (32, 2, 5)])
def test_patches_and_steps_are_multiples_of_the_scale(resolution, scale, stride):
    with pytest.raises(ValueError, match=f"multiples of the scale, {scale}"):
        enhancement(resolution, scale, stride=stride)


def test_too_small_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match="too small: 31x40 px, patches are 32x32"):
        enhancement(32, 1, stride=16).rows({"image": picture(40, 31)})
    with pytest.raises(ValueError, match="too small: 32x30 px"):  # 31 px high is 30 once made even
        enhancement(32, 2).rows({"image": picture(31, 33)})


def test_a_picture_of_exactly_one_patch_is_one_row():
    image = picture(32)
    (row,) = enhancement(32, 2).rows({"image": image})
    np.testing.assert_array_equal(row["high"], image)


def test_describe_differs_when_the_rows_do():
    views = [
        generation(32), generation(64),
        translation(32), translation(64), translation(32, "edges"), translation(32, "mask"), translation(32, "pair"),
        enhancement(32, 2), enhancement(64, 2), enhancement(32, 4), enhancement(32, 2, stride=8),
    ]  # fmt: skip
    described = [tuple(sorted(view.describe().items())) for view in views]
    assert len(set(described)) == len(views)
    assert enhancement(32, 2).describe() == enhancement(32, 2, stride=16).describe()
