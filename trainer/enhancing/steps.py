"""Steps of one photo, from the bytes of its file to those of the result: read, edit, enhance, edit, write."""

import dataclasses
import os
from dataclasses import dataclass

import numpy as np

from data import images, keep, photo_files
from data.edits import Chain
from data.errors import UserError
from data.images import BadPicture
from data.photo_files import ENDINGS, Photo
from serving.export.tiles import Tiled

MOST_PIXELS = 4 * images.MAX_PIXELS  # of a result


@dataclass(frozen=True)
class Plan:
    """before, after: edits before and behind the model. model: None for edits alone. format: of `photo_files.FORMATS`; None: the photo's.
    keep: whether pixels of a mask are kept.

    Raises UserError for settings that contradict each other, or a format that cannot be written here.
    """

    before: Chain = Chain()
    after: Chain = Chain()
    model: Tiled | None = None
    format: str | None = None
    quality: int = 95
    keep: bool = False

    def __post_init__(self):
        if self.format:
            photo_files.check_format(self.format)
        if not self.keep:
            return
        if self.format not in (None, photo_files.LOSSLESS):
            raise UserError(f"{self.format} does not keep every pixel as it is; with a mask of what to keep, write PNG")
        if moving := self.before.moving + self.after.moving:
            raise UserError(
                f"{' and '.join(moving)} would move the pixels that the mask keeps; let a second command do it"
            )

    @property
    def scale(self) -> int:
        """Factor: how many times as large a result is before it is cropped or padded."""
        return self.model.scale if self.model else 1

    def written(self, format: str) -> str:
        """The format in which a photo of `format` is written."""
        return self.format or (photo_files.LOSSLESS if self.keep else photo_files.written(format))

    def ending(self, name: str) -> str:
        """The ending of the result of the file `name`: the same, unless that promises another format."""
        own = os.path.splitext(name)[1]
        format = self.written(ENDINGS.get(own.lower(), ""))
        return own if ENDINGS.get(own.lower()) == format else next(end for end, of in ENDINGS.items() if of == format)


@dataclass(frozen=True)
class Work:
    """A photo under way; `original` and `mask`, bool [height, width], only where pixels are kept."""

    photo: Photo
    original: np.ndarray | None = None
    mask: np.ndarray | None = None


def weight(content: bytes, plan: Plan) -> int:
    """Pixels of the result, from the head of a file. Raises BadPicture for no picture, and for a result of over `MOST_PIXELS`."""
    with images.opened(content) as image:
        width, height = (side * plan.scale for side in image.size)
    if width * height > MOST_PIXELS:
        raise BadPicture(f"it would become {width}x{height}, more than {MOST_PIXELS // 1_000_000} million pixels")
    return width * height


def prepare(content: bytes, plan: Plan, *, mask: bytes | None = None) -> Work:
    """Read a photo and make the edits that come first. Raises BadPicture, also for a mask of another size."""
    photo = photo_files.read(content)
    edited = dataclasses.replace(photo, pixels=plan.before(photo.pixels))
    if mask is None:
        return Work(edited)
    return Work(edited, photo.pixels, keep.read_mask(mask, photo.pixels))


def enhance(work: Work, plan: Plan) -> Work:
    """Send a photo through the model. Raises what `Tiled` raises."""
    if plan.model is None:
        return work
    return with_pixels(work, plan.model(np.ascontiguousarray(work.photo.pixels[:, :, :3])), plan)


def with_pixels(work: Work, enhanced: np.ndarray, plan: Plan) -> Work:
    """The work with what a model made of its colours, uint8 [scale * height, scale * width, 3]; alpha is enlarged apart, by
    bicubic."""
    pixels = work.photo.pixels
    if pixels.shape[2] == 4:
        enhanced = np.dstack([enhanced, keep.enlarged(pixels[:, :, 3], plan.scale)])
    return dataclasses.replace(work, photo=dataclasses.replace(work.photo, pixels=enhanced))


def finish(work: Work, plan: Plan, format: str) -> bytes:
    """Make the edits that come last, put back what is kept, and write the file. Raises BadPicture.

    Kept pixels are those of the photo in sRGB, or those of its bicubic enlargement.
    """
    pixels = plan.after(work.photo.pixels)
    if work.mask is not None:
        pixels = keep.put_back(pixels, work.original, work.mask)
    return photo_files.encode(dataclasses.replace(work.photo, pixels=pixels), format, quality=plan.quality)
