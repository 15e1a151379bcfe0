"""Bags, tableware and furniture of the studio: each function turns a generator and a look into parts.

Units are free (the studio scales a product to its frame). Symmetric pieces are given by their right half.
"""

import numpy as np

from data.sources.studio_curves import curve, mirrored, oval, ribbon
from data.sources.studio_paint import (
    BLACK,
    BRASS,
    CERAMIC,
    CLOTH,
    FLAT,
    GLASS,
    LEATHER,
    METAL,
    OAK,
    SHADE,
    STEEL,
    WALNUT,
    WHITE,
    WOOD,
    Part,
    dim,
)

COFFEE = (0.33, 0.20, 0.13)


def handbag(rng, look):
    """A handbag with a pair of handles: wide or tall, with a flap and clasp or a rim and base of the second colour."""
    top, bottom, height = rng.uniform(0.62, 0.85), rng.uniform(0.78, 0.95), rng.uniform(0.85, 1.25)
    rise, grip = rng.uniform(0.4, 0.75), rng.uniform(0.3, 0.46) * top / 0.7
    leather = look.trim if rng.random() < 0.6 else look.plain
    corner = [(bottom, height * 0.88), (bottom * 0.94, height, 0.6), (0, height + 0.02)]
    body = mirrored([(0, 0, 0), (top * 0.9, 0, 0.3), (top, 0.08, 0.5), *corner])
    half = [(0, -rise * 1.05), (grip * 0.5, -rise * 0.98), (grip * 0.95, -rise * 0.6), (grip, 0.12)]
    arch = np.array([(-x, y) for x, y in half[:0:-1]] + half)
    behind = leather(ribbon(arch * [0.94, 1] - [0, 0.07], 0.07), LEATHER)
    parts = [Part(behind.outline, dim(behind.colour, 0.35), LEATHER), look.body(body, LEATHER)]
    if rng.random() < 0.5:
        drop = rng.uniform(0.4, 0.55) * height
        flap = mirrored(
            [(0, -0.03, 0), (top * 0.92, -0.02, 0.3), (top, 0.08, 0.5), (top * 0.97, drop * 0.7), (top * 0.6, drop),
             (0, drop * 1.06)]
        )  # fmt: skip
        parts += [leather(flap, LEATHER), Part(oval(0, drop, 0.17, 0.14, power=4), BRASS, METAL)]
    else:
        base = mirrored([(0, height * 0.77, 0), (bottom, height * 0.75, 0), *corner]) * [1.012, 1.005]
        parts += [leather(base, LEATHER), leather(ribbon([(-top, 0.05), (0, 0.06), (top, 0.05)], 0.11), LEATHER)]
    rings = [Part(oval(side * grip, 0.13, 0.13, 0.13), BRASS, METAL) for side in (-1, 1)]
    return [*parts, leather(ribbon(arch, 0.085), LEATHER), *rings]


def mug(rng, look):
    """A mug seen a little from above: squat to tall, straight to tapered, empty or with coffee."""
    width, height = rng.uniform(0.52, 0.66), rng.uniform(1.05, 1.45)
    foot, lip = width * rng.uniform(0.72, 1.0), rng.uniform(0.2, 0.28) * width
    reach, thick = rng.uniform(0.38, 0.52), rng.uniform(0.12, 0.17)
    body = mirrored(
        [(0, -lip * 0.2, 0), (width, 0, 0), ((width + foot) / 2 + 0.03, height * 0.55), (foot, height * 0.93, 0.7),
         (foot * 0.8, height + lip * 0.35, 0.9), (0, height + lip * 0.55)]
    )  # fmt: skip
    ear = ribbon(
        [(width * 0.9, height * 0.17), (width + reach * 0.75, height * 0.17), (width + reach, height * 0.42),
         (width + reach * 0.75, height * 0.66), (foot * 0.93, height * 0.78)], thick
    )  # fmt: skip
    other = look.trim if rng.random() < 0.5 else look.plain
    handle = other(ear, LEATHER)
    inside = COFFEE if rng.random() < 0.5 else dim(handle.colour, 0.48)
    return [
        handle,
        look.body(body, CERAMIC, bow=lip),
        look.plain(oval(0, 0, 2 * width, 2 * lip), SHADE, lift=0),
        Part(oval(0, 0.01, 1.86 * width, 1.72 * lip), dim(handle.colour, 0.28), SHADE, lift=0),
        Part(oval(0, lip * 0.34, 1.6 * width, 1.05 * lip), inside, FLAT, lift=0),
    ]


def bottle(rng, look):
    """A glass bottle with a cap and a label: slim to stout, long or short in the neck."""
    body, neck = rng.uniform(0.3, 0.48), rng.uniform(0.11, 0.15)
    throat, shoulder, height = rng.uniform(0.2, 0.5), rng.uniform(0.18, 0.4), rng.uniform(0.9, 1.25)
    fall = throat + shoulder
    end = fall + height
    glass = mirrored(
        [(0, 0, 0), (neck, 0, 0), (neck * 1.02, throat, 0.7), (body * 0.84, fall - shoulder * 0.25),
         (body, fall + 0.08, 0.8), (body, end - 0.1, 0.7), (body * 0.9, end, 0.6), (0, end + 0.03)]
    )  # fmt: skip
    cap = mirrored([(0, -0.12), (neck * 1.15, -0.1, 0.4), (neck * 1.2, 0.12, 0), (0, 0.14)])
    start, stop = fall + height * rng.uniform(0.14, 0.22), end - height * rng.uniform(0.18, 0.28)
    label = mirrored([(0, start + 0.03), (body * 0.985, start, 0), (body * 0.985, stop, 0), (0, stop + 0.03)])
    parts = [look.plain(glass, GLASS), look.trim(cap, METAL)]
    if look.pattern:
        return [*parts, look.body(label, SHADE, bow=0.03, lift=0.1)]
    stamp = oval(0, (start + stop) / 2 + 0.02, body * 0.95, body * 0.95)
    return [*parts, Part(label, WHITE, SHADE, lift=0.1), Part(stamp, look.accent, FLAT, lift=0)]


def lamp(rng, look):
    """A table lamp: a cone or drum shade on a metal stem or a ceramic vase."""
    top, bottom, tall = rng.uniform(0.28, 0.56), rng.uniform(0.6, 0.8), rng.uniform(0.65, 0.9)
    stem, foot = rng.uniform(0.65, 0.95), rng.uniform(0.32, 0.44)
    dip, end = bottom * 0.16, tall + stem
    shade = mirrored([(0, -0.03), (top, 0, 0), (bottom, tall, 0), (bottom * 0.7, tall + dip * 0.7), (0, tall + dip)])
    if rng.random() < 0.5:
        metal = BRASS if rng.random() < 0.5 else STEEL
        plate = mirrored([(0, end - 0.09), (foot * 0.8, end - 0.04), (foot, end + 0.05, 0.5), (0, end + 0.11)])
        base = [Part(plate, metal, METAL), Part(ribbon([(0, tall), (0, end)], 0.11), metal, METAL)]
    else:
        belly = rng.uniform(0.26, 0.38)
        vase = mirrored(
            [(0, tall, 0), (0.08, tall, 0), (0.1, tall + stem * 0.28), (belly, tall + stem * 0.62),
             (foot * 0.62, end - 0.03), (foot * 0.64, end + 0.05, 0.4), (0, end + 0.07)]
        )  # fmt: skip
        base = [look.trim(vase, CERAMIC)]
    hem = ribbon([(-bottom, tall - 0.03), (-bottom * 0.7, tall + dip * 0.65 - 0.03), (0, tall + dip - 0.035),
                  (bottom * 0.7, tall + dip * 0.65 - 0.03), (bottom, tall - 0.03)], 0.07)  # fmt: skip
    rim = [] if look.pattern else [look.trim(hem, SHADE, lift=0, glow=0.1)]
    return [*base, look.body(shade, SHADE, bow=dip, glow=0.3), *rim]


def chair(rng, look):
    """A chair at an angle: upholstered back or back rest between posts, on legs of wood or metal."""
    width, seat, back = rng.uniform(0.44, 0.54), rng.uniform(0.07, 0.14), rng.uniform(0.75, 1.05)
    leg, lean, stout = rng.uniform(0.6, 0.78), rng.uniform(0.04, 0.12), rng.uniform(0.08, 0.11)
    near, far = np.array([-width - 0.18, 0.12]), np.array([width - 0.18, 0.12])
    rear, rear_far = near + [0.36, -0.24], far + [0.36, -0.24]
    timber = (OAK, WALNUT, BLACK, STEEL)[rng.integers(4)]
    rise, thick = np.array([lean, -back]), np.array([0, seat])

    def post(start, stop, widths):
        return Part(ribbon([start, stop], widths), timber, WOOD)

    def legs(left, right, splay):
        widths = (stout * 1.15, stout * 0.75)
        return [post(foot, foot + [turn, leg], widths) for foot, turn in ((left, -splay), (right, splay))]

    parts = legs(rear + [0.06, -0.06], rear_far + [-0.04, -0.06], 0.03)
    if rng.random() < 0.4:
        x, y = (rear + rear_far) / 2 + rise * 0.74
        parts += [post(side, side + rise, stout) for side in (rear + [0.05, 0], rear_far - [0.05, 0])]
        parts += [look.body(oval(x, y, 2 * width, back * 0.48, power=6), CLOTH)]
    else:
        panel = [(*(rear + [0, 0.02]), 0), (*(rear_far + [0, 0.02]), 0), (*(rear_far + rise * 0.9 + [0.02, 0]), 0.8),
                 (*(rear_far + rise + [-0.1, -0.02]), 0.8), (*(rear + rise + [0.12, -0.02]), 0.8),
                 (*(rear + rise * 0.9), 0.8)]  # fmt: skip
        parts += [look.body(curve(panel), CLOTH)]
    parts += legs(near + [0.07, 0.04], far + [-0.06, 0.04], 0.03)
    edge = curve([(*point, 0.3) for point in (near, far, rear_far, rear_far + thick, far + thick, near + thick)])
    cushion = curve([(*point, 0.5) for point in (near, far, rear_far, rear)])
    return [*parts, Part(edge, dim(look.main, 0.25), CLOTH), look.body(cushion, CLOTH)]
