"""Whatever a caller has becomes the bytes of an upright picture, and answers become arrays and files."""

import io

import numpy as np
import pytest
from PIL import Image

from data.images import BadPicture, encode_png
from serving.client import picture_files

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(256, size=(5, 7, 3)).astype(np.uint8)


def _pixels(content):
    return np.array(Image.open(io.BytesIO(content)))


def _file(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _turned():
    """A picture stored on its side, with the mark that says so: bytes, and how it is meant."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _file(Image.fromarray(PICTURE), "PNG", exif=exif), np.rot90(PICTURE, -1)


def test_a_path_bytes_a_pillow_image_and_an_array_are_the_same_picture(tmp_path):
    content = encode_png(PICTURE)
    (tmp_path / "a.png").write_bytes(content)
    for picture in (tmp_path / "a.png", str(tmp_path / "a.png"), content, bytearray(content), PICTURE):
        np.testing.assert_array_equal(_pixels(picture_files.to_file(picture)), PICTURE)
    np.testing.assert_array_equal(_pixels(picture_files.to_file(Image.fromarray(PICTURE))), PICTURE)


def test_orientation_is_applied_unless_the_file_goes_as_it_is():
    content, meant = _turned()
    for picture in (content, Image.open(io.BytesIO(content))):
        np.testing.assert_array_equal(_pixels(picture_files.to_file(picture)), meant)
    assert picture_files.to_file(content, as_is=True) == content
    assert picture_files.to_file(b"anything", as_is=True) == b"anything"


@pytest.mark.parametrize("mode", ["L", "1", "RGBA", "CMYK", "P", "I;16"])
def test_every_mode_becomes_rgb(mode):
    image = Image.new(mode, (4, 3))
    assert _pixels(picture_files.to_file(image)).shape == (3, 4, 3)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 4)])
def test_grey_and_transparent_arrays_become_rgb(shape):
    array = np.full(shape, 255, np.uint8)
    np.testing.assert_array_equal(_pixels(picture_files.to_file(array)), np.full((5, 7, 3), 255))


@pytest.mark.parametrize(
    "picture, words",
    [
        (PICTURE.astype(np.float32), "uint8, not float32"),
        (np.zeros((2, 2, 2), np.uint8), r"not \[2, 2, 2\]"),
        (b"no picture", "not a picture"),
        (3, "not a int"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_place(picture, words):
    with pytest.raises(ValueError, match=words):
        picture_files.to_file(picture)
    with pytest.raises(BadPicture, match=f"picture 1: .*{words}"):
        picture_files.to_files([PICTURE, picture])


def test_files_are_an_array_of_bytes_and_come_back_as_arrays_and_files(tmp_path):
    rows = picture_files.to_files([PICTURE, PICTURE[:2]])
    assert rows.shape == (2,) and rows.dtype == object and all(type(row) is bytes for row in rows)
    first, second = picture_files.to_arrays(rows)
    np.testing.assert_array_equal(first, PICTURE)
    np.testing.assert_array_equal(second, PICTURE[:2])
    picture_files.save(rows, [tmp_path / "new" / "a.png", tmp_path / "b.png"])
    assert (tmp_path / "new" / "a.png").read_bytes() == rows[0] and (tmp_path / "b.png").read_bytes() == rows[1]
    with pytest.raises(ValueError):
        picture_files.save(rows, [tmp_path / "c.png"])
