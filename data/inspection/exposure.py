"""Light, contrast and background of a picture, from a small copy of it.

Light is that of the product. On a plain ground the product is what differs from it; a white ground is meant to be white, and a
white product on it too. On a busy ground the product is unknown, but it stands in the middle: where the middle is darker than
the rest, the picture was taken against the light, and the burnt part is behind the product.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from data.inspection.thresholds import PLAIN, WHITE

_BORDER = 0.04  # of the shorter side
_NEAR = 24  # grey levels of a channel within which two colours pass for one
_LIMIT = 250  # grey level from which on a channel counts as burnt
_LEAST = 0.1  # of the picture: what is no ground counts as at least so much
_BACKLIGHT = 0.3  # of the difference in lightness between the middle and the whole
_COLOURLESS = 6  # grey levels between the channels, in 99 % of a picture without colour


@dataclass(frozen=True)
class Exposure:
    """Fractions in [0, 1]; `background` is "white", "plain" or "busy", `colour` the border's median, as #rrggbb."""

    bright: float  # the 95th percentile of the brightest channel; on a plain ground that of the product, if it is more
    spread: float  # between the 1st and 99th percentile, of the channel where they differ most; likewise, with as much of the ground
    burnt: float  # share at its limit, where one channel alone counts half; more where the middle is light, less against the light
    cut: float  # share with two channels or all at their limit
    lost: float  # of what no white ground is: share with two channels cut off, and not white
    background: str
    colour: str
    grey: bool


def expose(picture: np.ndarray) -> Exposure:
    """Measure uint8 [height, width, 3], best not much larger than 128 px: then noise and specks have gone."""
    border = _border(picture)
    colour = np.median(border, axis=0)
    plain = np.mean(np.abs(border - colour).max(axis=1) < _NEAR) >= PLAIN
    parts = [picture.reshape(-1, 3)]
    if plain and (product := _apart(picture, colour)).any():
        parts.append(np.concatenate([picture[product], np.repeat(colour[None], product.sum(), axis=0)]))
    darkest, middling, brightest = np.moveaxis(np.sort(picture, axis=2), 2, 0)
    cut = float((middling >= _LIMIT).mean())
    return Exposure(
        bright=max(float(np.percentile(part.max(axis=1), 95)) / 255 for part in parts),
        spread=max(float(np.ptp(np.percentile(part, (1, 99), axis=0), axis=0).max()) / 255 for part in parts),
        burnt=max(0.0, float((brightest >= _LIMIT).mean() + cut) / 2 + _BACKLIGHT * _middle_over_whole(picture)),
        cut=cut,
        lost=_lost(darkest, middling),
        background="white" if plain and colour.min() >= WHITE * 255 else "plain" if plain else "busy",
        colour="#{:02x}{:02x}{:02x}".format(*colour.astype(int)),
        grey=bool(np.percentile(brightest - darkest, 99) < _COLOURLESS),
    )


def _apart(picture, colour):
    """Returns the pixels that are not ground of this colour, bool [height, width]."""
    return ~_reached_from_border(np.abs(picture - colour).max(axis=2) < _NEAR)


def _middle_over_whole(picture):
    """Median of the middle minus median of the whole: float in [-1, 1]."""
    height, width, _ = picture.shape
    light = picture.mean(axis=2, dtype=np.float32)
    middle = light[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return float(np.median(middle) - np.median(light)) / 255


def _lost(darkest, middling):
    """Share of the product with two channels cut off: its colour is lost. Vivid colours reach the limit of one channel, white of three."""
    product = ~_reached_from_border(darkest >= _LIMIT)
    gone = product & (middling >= _LIMIT) & (darkest < _LIMIT)
    return float(gone.mean() / max(_LEAST, product.mean()))


def _border(picture):
    height, width, _ = picture.shape
    inside = np.zeros((height, width), bool)
    thick = max(1, round(_BORDER * min(height, width)))
    inside[thick : height - thick, thick : width - thick] = True
    return picture[~inside].astype(np.float32)


def _reached_from_border(mask):
    regions, count = ndimage.label(mask)
    edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    reached = np.zeros(count + 1, bool)
    reached[edge] = True
    reached[0] = False
    return reached[regions]
