"""One photo through a deep image prior: what `--prior` asks for, and the photo as it improves."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data.images import BadPicture
from trainer.enhancing import steps
from trainer.enhancing.steps import Plan, Work

KINDS = {"denoise": 1, "inpaint": 1, "x2": 2, "x4": 4}  # name -> how many times as large the result is
MOST_PIXELS = 4_000_000  # of a result: every step computes all of them


@dataclass(frozen=True)
class Prior:
    """In the place of a plan's model. kind: of `KINDS`. steps: of the fit, at most."""

    kind: str
    steps: int

    @property
    def scale(self) -> int:
        return KINDS[self.kind]

    def improved(self, work: Work, plan: Plan) -> Iterator[Work | None]:
        """Fit the photo; yields after each step the work with a better result, or None where it is none. Alpha is enlarged by bicubic.

        Raises BadPicture for a photo that is too large, and for inpainting with nothing to fill in or nothing to keep.
        """
        from models import deep_image_prior

        pixels = work.photo.pixels[:, :, :3]
        height, width = (side * self.scale for side in pixels.shape[:2])
        if height * width > MOST_PIXELS:
            raise BadPicture(
                f"the result would have {width}x{height} px, and a prior takes {MOST_PIXELS // 1_000_000} million at most"
            )
        known = work.mask if self.kind == "inpaint" else None
        if known is not None and (known.all() or not known.any()):
            raise BadPicture(
                "its mask is all white or all black; the white part stays, and the black part is filled in"
            )
        config = deep_image_prior.Config(steps=self.steps)
        for result in deep_image_prior.fit(np.ascontiguousarray(pixels), scale=self.scale, known=known, config=config):
            yield None if result.picture is None else steps.with_pixels(work, result.picture, plan)
