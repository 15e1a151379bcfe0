"""Line drawings of shapes whose lines are known."""

import numpy as np
import pytest
from scipy import ndimage

from data.lines import edges, outline


def square(height=64, width=64, inside=255, outside=0):
    """(picture of a square, its mask); it stands a quarter of the way in."""
    product = np.zeros((height, width), bool)
    product[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    picture = np.where(product, inside, outside).astype(np.uint8)
    return np.repeat(picture[..., None], 3, axis=2), (product * np.uint8(255))[..., None]


def border(mask):
    product = mask[..., 0] > 0
    return product & ~ndimage.binary_erosion(product)


def is_drawing(drawn, shape):
    assert drawn.dtype == np.uint8 and drawn.shape == shape
    assert set(np.unique(drawn)) <= {0, 255}
    assert (drawn == drawn[..., :1]).all()
    return drawn[..., 0] == 0


@pytest.mark.parametrize("height, width", [(32, 32), (64, 64), (96, 96), (256, 256), (48, 80), (81, 57)])
def test_edges_of_a_square_lie_on_its_border_and_are_thin(height, width):
    picture, mask = square(height, width)
    lines = is_drawing(edges(picture), picture.shape)
    truth = border(mask)
    reach = 2 if max(height, width) <= 96 else 3  # a corner is rounded by the smoothing, which grows with the picture
    assert ndimage.distance_transform_edt(~truth)[lines].max() <= reach
    assert ndimage.distance_transform_edt(~lines)[truth].max() <= reach
    row, column = lines[height // 2], lines[:, width // 2]
    for across in (row, column):
        _, pieces = ndimage.label(across)
        assert pieces == 2  # the square's two sides
        assert across.sum() <= 4  # each of them 2 px wide at most


def test_lines_are_dark_on_white_whichever_side_is_lighter():
    lines = [edges(square(inside=a, outside=b)[0]) for a, b in ((255, 0), (0, 255), (200, 60))]
    for drawn in lines:
        assert 0.01 < (drawn == 0).mean() < 0.2
    np.testing.assert_array_equal(lines[0], lines[1])


@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_flat_picture_has_no_lines(level):
    assert (edges(np.full((40, 50, 3), level, np.uint8)) == 255).all()


def test_faint_noise_and_a_soft_ramp_have_no_lines():
    noise = np.random.default_rng(0).integers(127, 131, (64, 64, 3)).astype(np.uint8)
    assert (edges(noise) == 255).all()
    ramp = np.broadcast_to(np.linspace(50, 150, 64).astype(np.uint8)[None, :, None], (64, 64, 3))
    assert (edges(ramp) == 255).all()


@pytest.mark.parametrize("side", [64, 96, 128, 256])
def test_a_pale_product_is_drawn_at_every_size(side):
    """A step of 12 grey levels is a line and one of 5 is not, however large the picture."""
    lines = edges(square(side, side, inside=240, outside=252)[0])[..., 0] == 0
    assert ndimage.label(lines[side // 2])[1] == ndimage.label(lines[:, side // 2])[1] == 2
    assert (edges(square(side, side, inside=240, outside=245)[0]) == 255).all()
    noise = np.random.default_rng(3).integers(124, 133, (side, side, 1)).repeat(3, axis=2).astype(np.uint8)
    assert (edges(noise) == 255).all()


def test_weak_lines_stay_when_joined_to_strong_ones():
    """A border that fades from strong to weak is drawn from end to end."""
    fading = np.zeros((64, 64, 3), np.uint8)
    fading[:, 32:] = np.linspace(200, 110, 64).astype(np.uint8)[:, None, None]
    assert (edges(fading)[4:-4, 30:34] == 0).any(axis=(1, 2)).all()


def test_outline_follows_the_mask_whatever_the_picture():
    flat = np.full((64, 64, 3), 90, np.uint8)
    _, mask = square()
    np.testing.assert_array_equal(is_drawing(outline(flat, mask), flat.shape), border(mask))
    y, x = np.mgrid[:64, :64]
    disc = (((y - 31.5) ** 2 + (x - 31.5) ** 2 < 20**2) * np.uint8(255))[..., None]
    np.testing.assert_array_equal(outline(flat, disc)[..., 0] == 0, border(disc))


def test_outline_draws_what_is_inside_and_nothing_outside():
    _, mask = square()
    product = mask[..., 0] > 0
    picture = np.full((64, 64, 3), 200, np.uint8)
    picture[28:36, 28:36] = 20  # inside
    picture[2:8, 2:60] = 20  # outside
    lines = outline(picture, mask)[..., 0] == 0
    assert not lines[~product].any()
    inner = lines & ~border(mask)
    assert inner[26:38, 26:38].sum() == inner.sum() > 20


def test_mask_counts_from_one_half():
    flat = np.full((16, 16, 3), 90, np.uint8)
    faint = np.full((16, 16, 1), 127, np.uint8)
    assert (outline(flat, faint) == 255).all()
    assert (outline(flat, faint + np.uint8(1))[0] == 0).all()


def test_the_same_picture_gives_the_same_drawing_and_is_left_alone():
    picture = np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    mask = square(40, 60)[1]
    kept = picture.copy(), mask.copy()
    np.testing.assert_array_equal(edges(picture), edges(picture))
    np.testing.assert_array_equal(outline(picture, mask), outline(picture, mask))
    np.testing.assert_array_equal(picture, kept[0])
    np.testing.assert_array_equal(mask, kept[1])


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 7, 3), (33, 5, 3), (100, 17, 3)])
def test_any_size(shape):
    picture = np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)
    is_drawing(edges(picture), shape)
    is_drawing(outline(picture, picture[..., :1]), shape)
