"""Converts pictures to the bytes that a signature takes, and answers to arrays and files.

    client.predict("espcn", {"image_bytes": to_files(["small.jpg", array])}, signature="apply_bytes")["image_bytes"]

Files are decoded here by default, through `data/images.py`, and sent as PNG: TensorFlow ignores EXIF orientation,
misreads CMYK and 16 bits, and does not read every format.
"""

import os
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageOps

if __package__ == "serving.client":
    from data import files, images
    from data.colour import plain, to_srgb
    from data.images import BadPicture
else:  # installed as packshot_client, with its own copies of these
    from ..data import files, images
    from ..data.colour import plain, to_srgb
    from ..data.images import BadPicture


def to_file(picture, as_is: bool = False) -> bytes:
    """The bytes of a picture file: of a path, of the bytes of a file, of a Pillow image, or of a uint8 array.

    An array is [height, width] or [height, width, 1, 3 or 4]. With `as_is` files and bytes are returned without
    decoding. Raises BadPicture if it is not a picture, ValueError for any other array, and OSError.
    """
    if isinstance(picture, str | os.PathLike):
        picture = files.read(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        content = bytes(picture)
        return content if as_is else images.encode_png(images.decode(content))
    if isinstance(picture, np.ndarray):
        return images.encode_png(images.square(_checked(picture), None))
    if isinstance(picture, Image.Image):
        image = ImageOps.exif_transpose(picture)
        return images.encode_png(np.array(to_srgb(plain(image), image.info.get("icc_profile"))))
    raise ValueError(f"a picture is a path, bytes, a Pillow image or an array, not a {type(picture).__name__}")


def to_files(pictures: Iterable, as_is: bool = False) -> np.ndarray:
    """The bytes of several pictures, each as for `to_file`: an array [n] of dtype object.

    The message of an error has the index of the picture.
    """
    made = []
    for place, picture in enumerate(pictures):
        try:
            made.append(to_file(picture, as_is))
        except ValueError as error:
            raise BadPicture(f"picture {place}: {error}") from error
    rows = np.empty(len(made), object)
    rows[:] = made
    return rows


def to_arrays(contents: Iterable[bytes]) -> list[np.ndarray]:
    """Decodes the files in an answer: a uint8 [height, width, 3] for each. Raises BadPicture."""
    return [images.decode(content) for content in contents]


def save(contents: Iterable[bytes], paths: Iterable[str | os.PathLike]) -> None:
    """Write the files in an answer to `paths`, each atomically. Raises OSError, and ValueError for another number of paths."""
    for content, path in zip(contents, paths, strict=True):
        files.write(os.fspath(path), content)


def _checked(array):
    if array.dtype != np.uint8:
        raise ValueError(f"a picture is uint8, not {array.dtype}")
    return array[:, :, np.newaxis] if array.ndim == 2 else array
