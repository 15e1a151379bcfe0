"""Photos in and out: what a file holds beside its pixels survives, whatever the format."""

import dataclasses
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from data import photo_files
from data.errors import UserError
from data.images import BadPicture, decode
from data.photo_files import encode, read, written

FORMATS = list(photo_files.FORMATS)
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" dc:title="Hat"/></rdf:RDF></x:xmpmeta>'
)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def shaded(width=40, height=24):
    """Red grows to the right and green to the bottom."""
    photo = np.full((height, width, 3), 60, np.uint8)
    photo[:, :, 0] = np.linspace(20, 230, width)
    photo[:, :, 1] = np.linspace(30, 220, height)[:, None]
    return photo


def from_a_phone(kind="JPEG", orientation=6, **more):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Maker"
    exif.get_ifd(ExifTags.IFD.Exif).update({ExifTags.Base.ExifImageWidth: 40, ExifTags.Base.ExifVersion: b"0232"})
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return saved(Image.fromarray(shaded()), kind, exif=exif, xmp=XMP, dpi=(300, 300), **more)


def swapped_profile():
    """A profile in which red and green of sRGB have changed places."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = made.index(b"rXYZ"), made.index(b"gXYZ")
    made[red : red + 4], made[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(made).replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_a_turned_photo_comes_back_upright_with_its_metadata(kind, orientation):
    content = from_a_phone(kind, orientation)
    photo = read(content)
    assert photo.format == kind == written(kind)
    np.testing.assert_array_equal(photo.pixels, decode(content))
    again = encode(photo, kind, quality=100)
    assert np.abs(decode(again).astype(int) - photo.pixels).max() <= (0 if kind == "PNG" else 12)
    exif = Image.open(io.BytesIO(again)).getexif()
    assert exif.get(ExifTags.Base.Orientation, 1) == 1 and exif[ExifTags.Base.Make] == "Maker"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    assert inner[ExifTags.Base.ExifImageWidth] == photo.pixels.shape[1] and inner[ExifTags.Base.ExifVersion] == b"0232"
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    if kind in ("JPEG", "PNG"):
        assert Image.open(io.BytesIO(again)).info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("kind", FORMATS)
def test_xmp_survives_and_says_that_the_photo_is_upright(kind):
    photo = read(from_a_phone("JPEG"))
    assert photo.xmp == XMP.replace(b'="6"', b'="1"')
    assert read(encode(photo, kind)).xmp == photo.xmp


def test_what_a_tiff_tells_of_the_photo_moves_without_what_it_tells_of_itself():
    photo = read(from_a_phone("TIFF", 1))
    exif = Image.open(io.BytesIO(encode(photo, written("TIFF")))).getexif()
    assert exif[ExifTags.Base.Make] == "Maker" and ExifTags.Base.StripOffsets not in exif


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_left_out():
    photo = read(saved(Image.fromarray(shaded()), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"))
    assert encode(photo, "JPEG") and photo.pixels.shape == (24, 40, 3)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_profile_is_converted_and_that_of_srgb_is_written(kind):
    content = saved(Image.fromarray(shaded()), kind, icc_profile=swapped_profile())
    photo = read(content)
    assert photo.profile and np.abs(photo.pixels[:, :, 0].astype(int) - shaded()[:, :, 1]).mean() < 3
    again = encode(photo, kind, quality=100)
    assert Image.open(io.BytesIO(again)).info["icc_profile"] == photo_files._srgb_profile()
    assert np.abs(decode(again).astype(int) - photo.pixels).max() <= 12
    assert "icc_profile" not in Image.open(io.BytesIO(encode(read(from_a_phone(kind)), kind))).info


def test_the_profile_that_is_written_can_be_read_and_is_always_the_same():
    profile = photo_files._srgb_profile()
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).startswith("sRGB")
    assert profile[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
def test_alpha_is_kept(kind):
    alpha = np.zeros((24, 40), np.uint8)
    alpha[4:20, 8:32], alpha[8:16, 12:28] = 128, 255
    content = saved(Image.fromarray(np.dstack([shaded(), alpha])), kind, **({} if kind == "PNG" else {"quality": 100}))
    photo = read(content)
    assert photo.pixels.shape == (24, 40, 4)
    assert np.abs(photo.pixels[:, :, 3].astype(int) - alpha).max() <= (0 if kind == "PNG" else 4)
    again = read(encode(photo, kind, quality=100))
    assert np.abs(again.pixels[:, :, 3].astype(int) - alpha).max() <= (0 if kind == "PNG" else 6)


def test_no_hidden_colour_lies_beside_an_edge():
    cut_out = np.zeros((24, 40, 4), np.uint8)  # hidden black
    cut_out[:, 10:30] = (200, 150, 100, 255)
    cut_out[:, 9] = (200, 150, 100, 60)
    pixels = read(saved(Image.fromarray(cut_out), "PNG")).pixels
    assert (pixels[:, :, :3] == (200, 150, 100)).all()
    np.testing.assert_array_equal(pixels[:, :, 3], cut_out[:, :, 3])
    assert (read(saved(Image.new("RGBA", (4, 4), (9, 8, 7, 0)), "PNG")).pixels == (9, 8, 7, 0)).all()


def test_alpha_that_hides_nothing_is_no_alpha():
    assert read(saved(Image.new("RGBA", (4, 4), (9, 8, 7, 255)), "PNG")).pixels.shape == (4, 4, 3)


def test_transparency_of_other_kinds_is_alpha_too():
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 255, 255, 0, 0])
    palette.putpixel((0, 0), 1)
    for kind in ("PNG", "GIF"):
        pixels = read(saved(palette, kind, transparency=0)).pixels
        assert pixels[0, 0].tolist() == [255, 0, 0, 255] and pixels[3, 3].tolist() == [255, 0, 0, 0]
    grey = Image.new("LA", (4, 4), (120, 0))
    grey.putpixel((1, 1), (90, 200))
    assert read(saved(grey, "PNG")).pixels[1, 1].tolist() == [90, 90, 90, 200]


def test_a_jpeg_of_a_cut_out_lies_on_white():
    cut_out = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    cut_out.paste((10, 20, 30, 255), (0, 0, 8, 16))
    picture = decode(encode(read(saved(cut_out, "PNG")), "JPEG", quality=100))
    assert np.abs(picture[8, 3].astype(int) - (10, 20, 30)).max() <= 2 and (picture[8, 13] >= 253).all()


def png_of_16_bits(values):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def odd_files():
    image = Image.fromarray(shaded())
    animated = [image, Image.new("RGB", image.size, "blue")]
    return {
        "CMYK JPEG": (saved(image.convert("CMYK"), "JPEG", quality=100), "JPEG", 8),
        "grey JPEG": (saved(image.convert("L"), "JPEG", quality=100), "JPEG", 145),
        "16-bit PNG": (png_of_16_bits(shaded().astype(np.uint16) * 257), "PNG", 0),
        "TIFF": (saved(image, "TIFF", compression="tiff_lzw"), "PNG", 0),
        "BMP": (saved(image, "BMP"), "PNG", 0),
        "animated GIF": (saved(image, "GIF", save_all=True, append_images=animated[1:]), "PNG", 24),
        "animated WebP": (saved(image, "WEBP", save_all=True, append_images=animated[1:], lossless=True), "WEBP", 0),
    }


@pytest.mark.parametrize("name", odd_files())
def test_odd_files_are_read_and_written_in_a_format_that_holds_them(name):
    content, format, apart = odd_files()[name]
    photo = read(content)
    assert photo.pixels.shape == (24, 40, 3) and written(photo.format) == format
    assert np.abs(photo.pixels.astype(int) - shaded()).max() <= apart
    np.testing.assert_array_equal(photo.pixels, decode(content))
    assert Image.open(io.BytesIO(encode(photo, format))).format == format


@pytest.mark.parametrize("kind", FORMATS)
def test_a_single_pixel_is_a_photo(kind):
    photo = read(saved(Image.new("RGB", (1, 1), (200, 100, 50)), kind, quality=100))
    assert photo.pixels.shape == (1, 1, 3) and read(encode(photo, kind)).pixels.shape == (1, 1, 3)


def test_what_is_no_photo_is_told_in_a_sentence():
    for content, sentence in (
        (b"", "the file is empty"),
        (b"%PDF-1.7", "not a picture that can be read, but: PDF document"),
        (saved(Image.fromarray(shaded(400, 300)), "JPEG")[:-400], "truncated or damaged JPEG picture"),
        (saved(Image.fromarray(shaded()), "PNG")[:80], "truncated or damaged PNG picture"),
    ):
        with pytest.raises(BadPicture) as raised:
            read(content)
        assert sentence in str(raised.value)


def test_what_a_format_cannot_hold_is_told_in_a_sentence(monkeypatch):
    long = dataclasses.replace(read(from_a_phone()), pixels=np.zeros((1, 16_384, 3), np.uint8))
    with pytest.raises(BadPicture, match="16384x1 is too large for WEBP, which ends at 16,383 px a side"):
        encode(long, "WEBP")
    monkeypatch.setattr(photo_files.features, "check", lambda name: False)
    with pytest.raises(UserError, match="the installed Pillow cannot write AVIF"):
        photo_files.check_format("AVIF")
    photo_files.check_format("PNG")


def test_quality_is_that_of_the_file():
    photo = dataclasses.replace(
        read(from_a_phone()), pixels=np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    )
    for kind in ("JPEG", "WEBP", "AVIF"):
        assert len(encode(photo, kind, quality=30)) < 0.8 * len(encode(photo, kind, quality=95))


def test_metadata_too_long_for_a_jpeg_is_left_out():
    photo = dataclasses.replace(read(from_a_phone()), xmp=b"<x>" + 70_000 * b" ", exif=from_long_exif())
    for kind in FORMATS:
        assert (len(read(encode(photo, kind)).xmp) > 0) == (kind != "JPEG")


def from_long_exif():
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = 70_000 * "x"
    return exif.tobytes()
