"""Light, contrast and background of a picture, from a small copy of it."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from data.health.thresholds import PLAIN, WHITE

_BORDER = 0.04  # of the shorter side
_NEAR = 24  # grey levels of a channel within which two colours pass for one
_LIMIT = 250  # grey level from which on a channel counts as burnt
_LEAST = 0.1  # of the picture: what is no background counts as at least so much
_COLOURLESS = 6  # grey levels between the channels, in 99 % of a picture without colour


@dataclass(frozen=True)
class Exposure:
    """Fractions in [0, 1]; `background` is "white", "plain" or "busy", `colour` the border's median, as #rrggbb."""

    bright: float  # the 95th percentile of the brightest channel
    spread: float  # between the 1st and 99th percentile, of the channel where they differ most
    burnt: float  # share, of what is no white background, in which at least two channels are at their limit
    background: str
    colour: str
    grey: bool


def expose(picture: np.ndarray) -> Exposure:
    """Measure uint8 [height, width, 3], best not much larger than 128 px: then noise and specks have gone."""
    flat = picture.reshape(-1, 3)
    low, high = np.percentile(flat, (1, 99), axis=0)
    border = _border(picture)
    colour = np.median(border, axis=0)
    plain = np.mean(np.abs(border - colour).max(axis=1) < _NEAR) >= PLAIN
    white = plain and colour.min() >= WHITE * 255
    burnt = np.median(picture, axis=2) >= _LIMIT
    behind = _reached_from_border(picture.min(axis=2) >= _LIMIT) if white else np.zeros_like(burnt)
    return Exposure(
        bright=float(np.percentile(flat.max(axis=1), 95)) / 255,
        spread=float((high - low).max()) / 255,
        burnt=float((burnt & ~behind).mean() / max(_LEAST, (~behind).mean())),
        background="white" if white else "plain" if plain else "busy",
        colour="#{:02x}{:02x}{:02x}".format(*colour.astype(int)),
        grey=bool(np.percentile(np.ptp(flat, axis=1), 99) < _COLOURLESS),
    )


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
