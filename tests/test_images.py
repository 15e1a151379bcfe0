"""Every odd picture people have goes through one door; ranges and resizing are exact."""

import io
import math
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageCms

from data import images
from data.degrade import downscale, modcrop
from data.images import BadPicture, decode

RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def half_and_half(width=40, height=20):
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def with_orientation(orientation, kind="JPEG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(half_and_half(), kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {}))


# Where the red half lies after an upright viewer has applied each EXIF orientation to "red left, blue right".
RED_SIDE = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation, kind):
    picture = decode(with_orientation(orientation, kind)).astype(int)
    upright = orientation < 5
    assert picture.shape == ((20, 40, 3) if upright else (40, 20, 3))
    edges = {
        "left": picture[:, :5],
        "right": picture[:, -5:],
        "top": picture[:5],
        "bottom": picture[-5:],
    }
    reddest = max(edges, key=lambda side: (edges[side][..., 0] - edges[side][..., 2]).mean())
    assert reddest == RED_SIDE[orientation]


@pytest.mark.parametrize("fit", images.FITS)
def test_orientation_and_fit_commute(fit):
    upright = np.rot90(np.asarray(half_and_half()), k=-1)
    turned = decode(with_orientation(6, "PNG"), 16, fit=fit)
    assert np.abs(turned.astype(int) - images.square(upright, 16, fit=fit)).max() <= 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_lose_the_picture():
    content = saved(half_and_half(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(content).shape == (20, 40, 3)


def transparent_red():
    """Left half red and opaque, right half wholly transparent."""
    image = Image.new("RGBA", (40, 20), (*RED, 255))
    image.paste((0, 0, 0, 0), (20, 0, 40, 20))
    return image


@pytest.mark.parametrize("size", [None, 20])
def test_transparency_becomes_white(size):
    picture = decode(saved(transparent_red(), "PNG"), size, fit="stretch")
    assert tuple(picture[10, 2]) == RED and tuple(picture[10, -2]) == WHITE


def test_half_transparent_is_halfway_to_white():
    assert tuple(decode(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG"))[0, 0]) == (127, 127, 127)


def test_palette_transparency_becomes_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 255, 255, 0, 0])
    image.putpixel((0, 0), 1)
    for kind in ("PNG", "GIF"):
        picture = decode(saved(image, kind, transparency=0))
        assert tuple(picture[0, 0]) == RED and tuple(picture[3, 3]) == WHITE


def test_grey_with_alpha_one_bit_and_palette():
    assert tuple(decode(saved(Image.new("LA", (4, 4), (0, 0)), "PNG"))[0, 0]) == WHITE
    assert tuple(decode(saved(Image.new("1", (4, 4), 1), "PNG"))[0, 0]) == WHITE
    assert tuple(decode(saved(Image.new("L", (4, 4), 77), "PNG"))[0, 0]) == (77, 77, 77)
    palette = half_and_half().convert("P", palette=Image.Palette.ADAPTIVE)
    assert tuple(decode(saved(palette, "PNG"))[0, 0]) == RED


def cmyk_red():
    return Image.new("CMYK", (16, 16), (0, 255, 255, 0))


def without_adobe_marker(content):
    """The same JPEG with its APP14 segment cut out, so that its values mean ink as they stand."""
    start = content.index(b"\xff\xee")
    length = struct.unpack(">H", content[start + 2 : start + 4])[0]
    return content[:start] + content[start + 2 + length :]


def test_cmyk_jpeg_with_and_without_adobes_inversion():
    adobe = saved(cmyk_red(), "JPEG", quality=100)
    assert b"\xff\xee" in adobe
    assert np.abs(decode(adobe).astype(int) - RED).max() <= 2
    # Without the marker the stored (inverted) values are ink themselves: much cyan and black, no magenta and yellow.
    assert np.abs(decode(without_adobe_marker(adobe)).astype(int)).max() <= 2
    assert np.abs(decode(saved(cmyk_red(), "TIFF")).astype(int) - RED).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    assert decode(saved(Image.fromarray(values), kind))[0, :, 0].tolist() == [0, 1, 128, 255]


def deep_png(values):
    """PNG bytes of uint16 [height, width, 3 or 4], which Pillow cannot write."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_twelve_bits_in_sixteen_are_as_light_as_they_were(kind):
    values = np.array([[0, 16, 2048, 4095]], np.uint16)
    assert decode(saved(Image.fromarray(values), kind))[0, :, 0].tolist() == [0, 1, 128, 255]
    assert decode(saved(Image.fromarray(values * 0), kind)).max() == 0


@pytest.mark.parametrize("channels", [3, 4])
def test_twelve_bits_of_colour(channels):
    values = np.array([[[0, 16, 2048, 65535], [4095, 255, 300, 65535]]], np.uint16)
    assert decode(deep_png(values[..., :channels]))[0].tolist() == [[0, 1, 128], [255, 16, 19]]
    values = np.array([[[0, 4096, 65535, 65535], [257, 2570, 300, 65535]]], np.uint16)  # full 16 bits are as before
    assert decode(deep_png(values[..., :channels]))[0].tolist() == [[0, 16, 255], [1, 10, 1]]


@pytest.mark.parametrize(
    "values, expected",
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([-1, np.nan, 1], [0, 0, 255]),
        ([0, 100, 255], [0, 100, 255]),
        ([0, 25700, 65535], [0, 100, 255]),
        ([0, 500_000, 1_000_000], [0, 128, 255]),
    ],
)
def test_float_tiff_guesses_its_white(values, expected):
    assert decode(saved(Image.fromarray(np.array([values], np.float32)), "TIFF"))[0, :, 0].tolist() == expected


def test_thirty_two_bit_integers_hold_sixteen():
    content = saved(Image.fromarray(np.array([[0, 25700, 65535]], np.int32)), "TIFF")
    assert decode(content)[0, :, 0].tolist() == [0, 100, 255]


def test_lab_tiff():
    lab = Image.new("LAB", (4, 4), (255, 128, 128))
    assert decode(saved(lab, "TIFF")).min() >= 253


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    for kind in ("GIF", "WEBP"):
        content = saved(
            frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
        )
        assert tuple(decode(content)[4, 4]) == RED


def swapped_profile():
    """A colour profile of sRGB with the places of red and blue exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for index in range(struct.unpack(">I", profile[128:132])[0]):
        entry = 132 + 12 * index
        tag = bytes(profile[entry : entry + 4])
        if tag in (b"rXYZ", b"bXYZ"):
            profile[entry : entry + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}[tag]
    return (
        bytes(profile)
        .replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be"))
        .replace(b"sRGB built", b"odd! built")
    )


def test_embedded_profile_is_converted_and_srgb_is_left_alone():
    red = Image.new("RGB", (8, 8), RED)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert tuple(decode(saved(red, "PNG", icc_profile=srgb))[0, 0]) == RED
    assert np.abs(decode(saved(red, "PNG", icc_profile=swapped_profile()))[0, 0].astype(int) - BLUE).max() <= 2
    assert tuple(decode(saved(red, "PNG", icc_profile=b"not a profile"))[0, 0]) == RED
    grey = Image.new("L", (8, 8), 90)
    assert tuple(decode(saved(grey, "PNG", icc_profile=swapped_profile()))[0, 0]) == (90, 90, 90)


def test_fits():
    wide = saved(half_and_half(), "PNG")
    crop, pad, stretch = (decode(wide, 10, fit=fit) for fit in ("crop", "pad", "stretch"))
    assert crop.shape == pad.shape == stretch.shape == (10, 10, 3)
    for picture in (crop, stretch, pad[3:7]):
        assert tuple(picture[1, 1]) == RED and tuple(picture[1, 8]) == BLUE
    assert (pad[:2] == 255).all() and (pad[-2:] == 255).all() and tuple(pad[5, 0]) == RED
    with pytest.raises(ValueError, match="crop, pad, stretch"):
        decode(wide, 10, fit="cover")


def test_shrinking_is_antialiased():
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * np.uint8(255)
    for kind in ("PNG", "JPEG"):
        small = decode(saved(Image.fromarray(checkers.astype(np.uint8)), kind), 16)
        assert np.abs(small.astype(int) - 127.5).max() < 4


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (7, 3)])
@pytest.mark.parametrize("fit", images.FITS)
def test_extreme_shapes(shape, fit):
    assert decode(saved(Image.fromarray(noise(*shape)), "PNG"), 8, fit=fit).shape == (8, 8, 3)


def test_reduced_jpeg_resembles_the_full_one():
    smooth = Image.fromarray(noise(6, 8)).resize((800, 600), Image.Resampling.BICUBIC)
    content = saved(smooth, "JPEG", quality=95)
    exact = images.square(decode(content), 64)
    assert np.abs(decode(content, 64).astype(int) - exact).mean() < 1.5


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "the file is empty"),
        (b"%PDF-1.7 ...", "PDF document"),
        (b"PK\x03\x04....", "ZIP archive"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b'<?xml version="1.0"?><svg/>', "SVG drawing"),
        ("prix: 10 €".encode(), "text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC picture"),
        (b"\x01\x02\x03\x04", "unknown bytes beginning 01 02 03 04"),
    ],
)
def test_what_is_no_picture_is_named(content, words):
    with pytest.raises(BadPicture, match=words):
        decode(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated(kind, kept):
    content = saved(Image.fromarray(noise(64, 64)), kind)
    with pytest.raises(BadPicture, match="truncated"):
        decode(content[: int(len(content) * kept)], 16)


def huge_png(width, height):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [12_000, 30_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_huge_is_refused_with_a_sentence(side):
    with pytest.raises(BadPicture, match="more than 100 million pixels"):
        decode(huge_png(side, side), 16)


def test_a_large_jpeg_is_reduced_while_decoding(monkeypatch):
    content = saved(Image.new("RGB", (400, 400), RED), "JPEG", quality=100)
    monkeypatch.setattr(images, "MAX_PIXELS", 50_000)
    assert np.abs(decode(content, 16).astype(int) - RED).max() <= 2
    with pytest.raises(BadPicture, match="400x400"):
        decode(content)
    monkeypatch.setattr(images, "MAX_PIXELS", 30_000)
    with pytest.raises(BadPicture, match="400x400"):
        decode(content, 16)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0"]))
def test_garbage_raises_nothing_but_bad_picture(tail, head):
    try:
        assert decode(head + tail, 4).shape == (4, 4, 3)
    except BadPicture as error:
        assert str(error)


def test_all_256_values_survive_the_round_trip():
    values = np.arange(256, dtype=np.uint8)
    floats = images.to_float(values)
    assert floats.dtype == np.float32 and floats[0] == -1 and floats[255] == 1
    assert images.to_uint8(floats).tolist() == values.tolist()
    assert images.to_uint8(np.array([-9.0, 9.0, 0.0], np.float32)).tolist() == [0, 255, 128]  # 127.5: half to even


def test_tensors_convert_as_arrays_do():
    tf = pytest.importorskip("tensorflow")
    values = np.arange(256, dtype=np.uint8)
    floats = images.to_float(tf.constant(values))
    assert floats.dtype == tf.float32 and np.array_equal(floats.numpy(), images.to_float(values))
    assert tf.function(images.to_uint8)(floats).numpy().tolist() == values.tolist()
    between = np.random.default_rng(0).uniform(-1.2, 1.2, 1000).astype(np.float32)
    assert np.array_equal(images.to_uint8(tf.constant(between)).numpy(), images.to_uint8(between))


@settings(max_examples=25, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))))
def test_png_round_trip(array):
    assert np.array_equal(decode(images.encode_png(array)), np.broadcast_to(array, (*array.shape[:2], 3)))


def test_save_png_leaves_only_the_picture(tmp_path):
    path = tmp_path / "new" / "a.png"
    images.save_png(str(path), noise(5, 6))
    images.save_png(str(path), noise(5, 6, seed=1))
    assert np.array_equal(decode(path.read_bytes()), noise(5, 6, seed=1))
    assert os.listdir(path.parent) == ["a.png"]


def test_grid():
    tiles = np.stack([np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)])
    sheet = images.grid(tiles, columns=2, gap=1)
    assert sheet.shape == (9, 13, 3) and sheet.dtype == np.uint8
    assert (sheet[:4, :6] == 10).all() and (sheet[:4, 7:] == 20).all() and (sheet[5:, :6] == 30).all()
    assert (sheet[4] == 255).all() and (sheet[:, 6] == 255).all() and (sheet[5:, 7:] == 255).all()
    assert images.grid(np.repeat(tiles, 3, axis=0), gap=0).shape == (12, 18, 3)
    named = images.grid(tiles, columns=1, row_names=["shoe", "hat", "coat"])
    assert np.array_equal(named[:, -6:], images.grid(tiles, columns=1)) and named[:, :-6].min() < 128
    with pytest.raises(ValueError, match="at least one"):
        images.grid(tiles[:0])


def imresize_slowly(picture, height, width):
    """MATLAB's imresize, one output value at a time, from its formula; height first, rounded to uint8 between."""

    def kernel(x):
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    def line(values, length):
        scale = length / len(values)
        stretch = min(scale, 1)
        out = []
        for i in range(1, length + 1):
            centre = i / scale + 0.5 * (1 - 1 / scale)
            total = weight_sum = 0.0
            for j in range(math.floor(centre - 2 / stretch) - 1, math.ceil(centre + 2 / stretch) + 2):
                weight = stretch * kernel(stretch * (centre - j))
                total += weight * values[min(max(j, 1), len(values)) - 1]
                weight_sum += weight
            out.append(min(max(math.floor(total / weight_sum + 0.5), 0), 255))
        return out

    columns = np.array([[line(picture[:, x, c].tolist(), height) for c in range(3)] for x in range(picture.shape[1])])
    tall = columns.transpose(2, 0, 1)
    rows = np.array([[line(tall[y, :, c].tolist(), width) for c in range(3)] for y in range(height)])
    return rows.transpose(0, 2, 1)


@pytest.mark.parametrize("new", [(4, 3), (6, 6), (5, 4), (24, 18), (30, 31)])
def test_bicubic_is_matlabs(new):
    picture = noise(12, 9, seed=3)
    difference = images.bicubic(picture, new).astype(int) - imresize_slowly(picture, *new)
    # Where a sum falls on a half, the order of the additions decides which way it is rounded.
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 0.002


def test_the_axis_that_shrinks_more_goes_first():
    picture = noise(12, 12, seed=4)
    turned = imresize_slowly(picture.transpose(1, 0, 2), 3, 6).transpose(1, 0, 2)
    assert np.array_equal(images.bicubic(picture, (6, 3)), turned)


def test_bicubic_agrees_with_pillow_inside_and_on_a_stack():
    picture = 64 + noise(64, 48, seed=5) // 2  # where neither clips between its passes, whose order differs
    mine = images.bicubic(picture, (32, 24))
    pillow = np.asarray(Image.fromarray(picture).resize((24, 32), Image.Resampling.BICUBIC))
    assert np.abs(mine.astype(int) - pillow)[3:-3, 3:-3].max() <= 1  # at the border Pillow drops what MATLAB repeats
    stack = np.stack([picture, picture[::-1]])
    assert np.array_equal(images.bicubic(stack, (32, 24))[0], mine)


def test_downscale_crops_to_a_multiple_first():
    picture = noise(14, 17)
    assert modcrop(picture, 4).shape == (12, 16, 3)
    assert np.array_equal(downscale(picture, 4), images.bicubic(picture[:12, :16], (3, 4)))
    assert (downscale(np.full((8, 8, 3), 93, np.uint8), 2) == 93).all()
    with pytest.raises(ValueError, match="too small"):
        downscale(picture[:2], 4)


SET5 = os.environ.get("PACKSHOT_SET5", "")


@pytest.mark.skipif(not SET5, reason="PACKSHOT_SET5 does not name the folder with x2, x3 and x4 of Set5")
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_published_set5_pairs_come_out_bit_for_bit(scale):
    high = sorted((Path(SET5) / f"x{scale}" / "HR").iterdir())
    assert len(high) == 5
    for path in high:
        published = decode((path.parent.parent / "LR" / path.name).read_bytes())
        assert np.array_equal(downscale(decode(path.read_bytes()), scale), published)


def test_the_door_does_not_import_tensorflow():
    code = "import data.catalogue, data.images, data.degrade, sys; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent).returncode == 0


@pytest.mark.parametrize("new", [(24, 24), (9, 40), (64, 11), (30, 50)])
def test_bicubic_float_is_pillows_filter_without_rounding(new):
    """The filter from its definition: as wide as the shrinking, cut off at the border and summing to 1 there; never clipped or rounded."""
    picture = noise(30, 50)

    def weights(old, length):
        scale, found = max(old / length, 1.0), np.zeros((length, old))
        for place in range(length):
            middle = (place + 0.5) * old / length
            for tap in range(old):
                x = abs(tap + 0.5 - middle) / scale
                near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
                found[place, tap] = near if x < 1 else far if x < 2 else 0
        return found / found.sum(axis=1, keepdims=True)

    found = images.bicubic_float(picture, new)
    expected = np.einsum("yh,hwc,xw->yxc", weights(30, new[0]), picture.astype(float), weights(50, new[1]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-3)
    if new == (30, 50):
        assert np.array_equal(found, picture)
