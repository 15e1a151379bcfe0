"""The shapes of the studio: each kind of product is a function from a generator and a look to a list of parts.

Units are free here (the source scales a product to its frame); x runs right, y down, and the right half is drawn first where
a product is symmetric. A control point is (x, y) or (x, y, smoothness): 1, the default, flows through the point, 0 makes a corner.
"""

from dataclasses import dataclass

import numpy as np

from data.sources.studio_paint import (
    CERAMIC,
    FABRIC,
    FLAT,
    GLASS,
    KNIT,
    LEATHER,
    METAL,
    RGB,
    RUBBER,
    SHADE,
    WOOD,
    Material,
    Part,
    Pattern,
)

STEEL, BRASS = (0.72, 0.73, 0.75), (0.80, 0.64, 0.36)
OAK, WALNUT, BLACK = (0.80, 0.61, 0.40), (0.46, 0.29, 0.19), (0.17, 0.17, 0.19)
WHITE = (0.95, 0.945, 0.93)


@dataclass(frozen=True)
class Look:
    """The colours of one product and its print, if it has one."""

    main: RGB
    second: RGB
    pattern: Pattern | None

    def body(self, outline, material: Material, **more) -> Part:
        """A part in the main colour with the print."""
        return Part(outline, self.main, material, self.second, self.pattern, **more)

    def plain(self, outline, material: Material, **more) -> Part:
        """A part in the main colour without the print."""
        return Part(outline, self.main, material, **more)

    def trim(self, outline, material: Material, **more) -> Part:
        """A part in the second colour."""
        return Part(outline, self.second, material, **more)


def dim(colour: RGB, amount: float) -> RGB:
    """The colour darkened: 0 as it is, 1 black."""
    return tuple(channel * (1.0 - amount) for channel in colour)


def curve(points, closed: bool = True, steps: int = 10):
    """A smooth line through control points: float [n, 2]."""
    knots = np.array([point[:2] for point in points], np.float64)
    smooth = np.array([point[2] if len(point) > 2 else 1.0 for point in points])
    if closed:
        tangent = 0.5 * (np.roll(knots, -1, 0) - np.roll(knots, 1, 0)) * smooth[:, None]
        start, stop, leave, arrive = knots, np.roll(knots, -1, 0), tangent, np.roll(tangent, -1, 0)
    else:
        padded = np.concatenate([knots[:1], knots, knots[-1:]])
        tangent = 0.5 * (padded[2:] - padded[:-2]) * smooth[:, None]
        start, stop, leave, arrive = knots[:-1], knots[1:], tangent[:-1], tangent[1:]
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    t2, t3 = t * t, t * t * t
    pieces = (
        (2 * t3 - 3 * t2 + 1) * start[:, None]
        + (t3 - 2 * t2 + t) * leave[:, None]
        + (3 * t2 - 2 * t3) * stop[:, None]
        + (t3 - t2) * arrive[:, None]
    ).reshape(-1, 2)
    return pieces if closed else np.concatenate([pieces, knots[-1:]])


def mirrored(half):
    """The closed curve whose right half, from top to bottom, is `half`."""
    left = [(-point[0], *point[1:]) for point in reversed(half) if point[0] != 0]
    return curve([*half, *left])


def flipped(outline):
    """The outline mirrored left to right."""
    return outline * np.array([-1.0, 1.0])


def ribbon(points, width, closed: bool = False):
    """A band of `width` (a number, or one at each end) along a smooth line."""
    line = curve(points, closed=closed)
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    half = 0.5 * np.linspace(*(width if isinstance(width, tuple) else (width, width)), len(line))[:, None]
    normal = along[:, ::-1] * np.array([1.0, -1.0]) * half
    return np.concatenate([line + normal, (line - normal)[::-1]])


def oval(x, y, width, height, square: float = 2.0):
    """An ellipse about (x, y); `square` above 2 makes it a rounded box."""
    turn = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    power = 2.0 / square
    return np.stack(
        [x + width / 2 * np.sign(cos) * np.abs(cos) ** power, y + height / 2 * np.sign(sin) * np.abs(sin) ** power], 1
    )


def t_shirt(rng, look):
    chest, length, sleeve = rng.uniform(0.46, 0.56), rng.uniform(1.2, 1.45), rng.uniform(0.34, 0.8)
    neck, scoop, angle = rng.uniform(0.17, 0.21), rng.uniform(0.12, 0.3), rng.uniform(0.65, 0.95)
    pointed = 0.0 if rng.random() < 0.35 else 1.0
    away = np.array([np.cos(angle), np.sin(angle)])
    down = np.array([-away[1], away[0]])
    shoulder = np.array([chest * 0.86, 0.09])
    tip = shoulder + away * sleeve
    inner = tip + down * rng.uniform(0.27, 0.33)
    arm = curve(
        [(neck + 0.1, 0.03, 0), (*shoulder, 0.6), (*tip, 0), (*inner, 0), (chest * 0.98, 0.52, 0), (0.2, 0.4, 0)]
    )
    cuff = ribbon([tip + down * -0.01 - away * 0.03, inner - away * 0.03 + down * 0.005], 0.07)
    neckline = [(0, scoop, pointed), (neck * 0.8, scoop * 0.45), (neck, 0, 0)]
    front = [*neckline, (chest * 0.9, 0.1, 0.5), (chest * 0.97, 0.5), (chest, length, 0), (0, length + 0.025)]
    collar = [(-neck, 0), (-neck * 0.8, scoop * 0.45), (0, scoop, pointed), (neck * 0.8, scoop * 0.45), (neck, 0)]
    contrast = look.trim if rng.random() < 0.55 else look.plain
    parts = [look.body(arm, FABRIC), look.body(flipped(arm), FABRIC)]
    parts += [contrast(cuff, KNIT), contrast(flipped(cuff), KNIT)]
    parts += [Part(oval(0, 0.0, 2 * neck, 0.1), dim(look.main, 0.35), KNIT), look.body(mirrored(front), FABRIC)]
    parts += [contrast(ribbon(collar, 0.065), KNIT)]
    seam = ribbon([(-chest, length - 0.07), (chest, length - 0.07)], 0.016)
    return [*parts, Part(seam, dim(look.main, 0.4), FLAT, lift=0, opacity=0.6)]


def dress(rng, look):
    waist, hem, length = rng.uniform(0.19, 0.25), rng.uniform(0.42, 0.85), rng.uniform(1.45, 2.0)
    strap, scoop, bust = rng.uniform(0.2, 0.29), rng.uniform(0.16, 0.34), rng.uniform(0.28, 0.33)
    line = rng.uniform(0.62, 0.72)
    bodice = [
        (0, scoop), (strap - 0.09, scoop * 0.5, 0.5), (strap - 0.06, 0, 0), (strap + 0.05, 0.02, 0),
        (strap + 0.02, 0.22), (bust, 0.36), (waist, line, 0), (0, line + 0.04, 0),
    ]  # fmt: skip
    skirt = [
        (0, line - 0.05, 0), (waist, line - 0.02, 0), ((waist + hem) * 0.56, line + (length - line) * 0.45, 0.8),
        (hem, length, 0), (hem * 0.5, length + 0.06), (0, length + 0.08),
    ]  # fmt: skip
    parts = []
    if rng.random() < 0.5:
        reach = rng.uniform(0.12, 0.5)
        sleeve = curve(
            [(strap - 0.08, 0.0, 0), (strap + 0.1, 0.03), (strap + 0.16 + reach * 0.4, 0.2 + reach, 0),
             (strap + 0.02 + reach * 0.3, 0.26 + reach, 0), (strap - 0.02, 0.3, 0)]
        )  # fmt: skip
        parts += [look.body(sleeve, FABRIC), look.body(flipped(sleeve), FABRIC)]
    parts += [look.body(mirrored(skirt), FABRIC, pleats=(rng.uniform(9, 15), 0.0, -0.35))]
    parts += [look.body(mirrored(bodice), FABRIC)]
    belt = ribbon(
        [(-waist - 0.01, line - 0.02), (0, line + 0.01), (waist + 0.01, line - 0.02)], rng.uniform(0.06, 0.12)
    )
    return [*parts, look.trim(belt, LEATHER)]


def trousers(rng, look):
    waist, hip, length = rng.uniform(0.3, 0.36), rng.uniform(0.38, 0.44), rng.uniform(1.65, 2.0)
    ankle, spread, crotch = rng.uniform(0.13, 0.28), rng.uniform(0.3, 0.4), rng.uniform(0.52, 0.6)
    knee = (0.2 + ankle) / 2
    leg = curve(
        [(-0.02, 0.0, 0), (waist, 0, 0), (hip, 0.34), (0.03 + spread * 0.62 + knee * 0.82, length * 0.6), (spread + ankle * 0.5 + 0.02, length, 0),
         (spread - ankle * 0.7, length + 0.01, 0), (spread * 0.62 - knee * 0.6, length * 0.6), (0.0, crotch, 0), (-0.02, 0.3, 0)]
    )  # fmt: skip
    band = ribbon([(-waist, 0.0), (0, 0.015), (waist, 0.0)], 0.12)
    ink = dim(look.main, 0.45)
    parts = [look.body(flipped(leg), FABRIC, lift=0), look.body(leg, FABRIC, lift=0)]
    lines = [[(0, 0.05), (0.0, crotch)], [(waist * 0.55, 0.06), (waist * 0.75, 0.24), (hip * 0.97, 0.3)]]
    lines += [[(-x, y) for x, y in lines[1]]]
    parts += [Part(ribbon(line, 0.022), ink, FLAT, lift=0, opacity=0.8) for line in lines]
    if rng.random() < 0.4:
        cuff = ribbon([(spread - ankle * 0.7, length - 0.04), (spread + ankle * 0.5 + 0.02, length - 0.05)], 0.1)
        parts += [look.trim(cuff, KNIT), look.trim(flipped(cuff), KNIT)]
    parts += [(look.trim if rng.random() < 0.5 else look.plain)(band, LEATHER)]
    return [*parts, Part(oval(0, 0.01, 0.07, 0.07), BRASS, METAL)]


def sneaker(rng, look):
    high, sole, toe = rng.choice([0.0, 0.12, 0.4]), rng.uniform(0.15, 0.24), rng.uniform(0.0, 0.1)
    top = -0.3 - high
    upper = curve(
        [(-0.93, 0.36, 0), (-0.95, 0.05), (-0.9, top + 0.03, 0.5), (-0.82, top - 0.02), (-0.6, top + 0.13), (-0.38, top + 0.06),
         (-0.3, top - 0.08, 0.5), (-0.14, top - 0.04, 0.5), (0.12, -0.18 - high * 0.3), (0.45, 0.02 - toe * 0.4), (0.78, 0.09 - toe), (0.97, 0.36, 0)]
    )  # fmt: skip
    under = curve(
        [(-0.99, 0.33, 0.4), (0.0, 0.345), (0.99, 0.31, 0.4), (1.0, 0.36 + sole * 0.4), (0.85, 0.34 + sole, 0.8), (0, 0.35 + sole, 0.6), (-0.92, 0.35 + sole, 0.7),
         (-1.0, 0.36 + sole * 0.5)]
    )  # fmt: skip
    cap = curve([(0.5, 0.36, 0), (0.54, 0.14), (0.66, 0.05 - toe * 0.6, 0), (0.79, 0.09 - toe), (0.97, 0.36, 0)])
    heel = curve(
        [
            (-0.93, 0.36, 0),
            (-0.95, 0.05),
            (-0.9, top + 0.03, 0.5),
            (-0.82, top - 0.02, 0),
            (-0.72, 0.05),
            (-0.62, 0.36, 0),
        ]
    )
    parts = [look.body(upper, LEATHER), look.trim(heel, LEATHER), look.trim(cap, LEATHER)]
    stripe = rng.choice(3)
    if stripe == 0:
        swoop = [(-0.55, 0.18), (-0.25, 0.22), (0.3, -0.02)]
        parts += [look.trim(ribbon(swoop, (0.05, 0.13)), LEATHER)]
    elif stripe == 1:
        parts += [look.trim(ribbon([(x + 0.1, -0.08), (x - 0.05, 0.34)], 0.07), LEATHER) for x in (-0.35, -0.18, -0.01)]
    tongue = [(-0.3, top + 0.1), (-0.05, -0.05 - high * 0.5), (0.36, 0.06)]
    parts += [Part(ribbon(tongue, 0.025), dim(look.main, 0.45), FLAT, lift=0, opacity=0.7)]
    for step in np.linspace(0.08, 0.9, 5 if high > 0.3 else 4):
        x, y = -0.24 + step * 0.52, top + 0.02 + step * (-0.05 - top)
        parts += [Part(ribbon([(x - 0.07, y + 0.1), (x + 0.08, y - 0.02)], 0.05), WHITE, RUBBER)]
    return [*parts, Part(under, WHITE if rng.random() < 0.75 else look.second, RUBBER)]


def handbag(rng, look):
    top, bottom, height = rng.uniform(0.55, 0.85), rng.uniform(0.8, 1.0), rng.uniform(0.75, 1.15)
    rise, grip = rng.uniform(0.4, 0.75), rng.uniform(0.3, 0.48) * top / 0.7
    body = mirrored(
        [
            (0, 0, 0),
            (top * 0.9, 0, 0.3),
            (top, 0.08, 0.5),
            (bottom, height * 0.88),
            (bottom * 0.93, height, 0.6),
            (0, height + 0.02),
        ]
    )
    arch = [
        (-grip, 0.12),
        (-grip * 0.95, -rise * 0.6),
        (-grip * 0.5, -rise * 0.98),
        (0, -rise * 1.05),
        (grip * 0.5, -rise * 0.98),
        (grip * 0.95, -rise * 0.6),
        (grip, 0.12),
    ]
    back = [(x * 0.94, y - 0.07) for x, y in arch]
    leather = look.trim if rng.random() < 0.6 else look.plain
    strap = Part(ribbon(back, 0.07), dim(leather(body, LEATHER).colour, 0.35), LEATHER)
    parts = [strap, look.body(body, LEATHER)]
    if rng.random() < 0.5:
        drop = rng.uniform(0.35, 0.55) * height
        flap = mirrored(
            [
                (0, -0.03, 0),
                (top * 0.92, -0.02, 0.3),
                (top * 1.0, 0.08, 0.5),
                (top * 0.96, drop * 0.7),
                (top * 0.6, drop * 0.97),
                (0, drop * 1.06),
            ]
        )
        parts += [leather(flap, LEATHER), Part(oval(0, drop * 0.98, 0.16, 0.13, 4), BRASS, METAL)]
    else:
        base = mirrored(
            [
                (0, height * 0.76, 0),
                (bottom * 0.97, height * 0.74, 0),
                (bottom, height * 0.88),
                (bottom * 0.93, height, 0.6),
                (0, height + 0.02),
            ]
        )
        rim = ribbon([(-top, 0.05), (0, 0.06), (top, 0.05)], 0.11)
        parts += [leather(base, LEATHER), leather(rim, LEATHER)]
    front = leather(ribbon(arch, 0.085), LEATHER)
    rings = [Part(oval(side * grip, 0.13, 0.13, 0.13), BRASS, METAL) for side in (-1, 1)]
    return [*parts, front, *rings]


def mug(rng, look):
    width, height = rng.uniform(0.52, 0.66), rng.uniform(1.05, 1.5)
    foot, lip = width * rng.uniform(0.72, 1.0), rng.uniform(0.2, 0.3) * width
    body = mirrored(
        [
            (0, -lip * 0.2, 0),
            (width, 0, 0),
            ((width + foot) / 2 + 0.03, height * 0.55),
            (foot, height * 0.93, 0.7),
            (foot * 0.8, height + lip * 0.35, 0.9),
            (0, height + lip * 0.55),
        ]
    )
    reach, thick = rng.uniform(0.38, 0.52), rng.uniform(0.12, 0.17)
    ear = [
        (width * 0.9, height * 0.17),
        (width + reach * 0.75, height * 0.17),
        (width + reach, height * 0.42),
        (width + reach * 0.75, height * 0.66),
        (foot * 0.93, height * 0.78),
    ]
    rim, inside = oval(0, 0, 2 * width, 2 * lip), oval(0, 0.01, 1.86 * width, 1.72 * lip)
    two_tone = rng.random() < 0.5
    lining = look.second if two_tone else look.main
    parts = [(look.trim if two_tone else look.plain)(ribbon(ear, thick), LEATHER)]
    parts += [look.body(body, CERAMIC, bow=lip), look.plain(rim, SHADE, lift=0)]
    parts += [Part(inside, dim(lining, 0.32), SHADE, lift=0)]
    if rng.random() < 0.5:
        parts += [Part(oval(0, lip * 0.32, 1.62 * width, 1.12 * lip), (0.33, 0.2, 0.13), FLAT, lift=0)]
    return parts


def lamp(rng, look):
    top, bottom, tall = rng.uniform(0.28, 0.5), rng.uniform(0.58, 0.78), rng.uniform(0.65, 0.9)
    stem, foot = rng.uniform(0.7, 1.0), rng.uniform(0.3, 0.42)
    dip = bottom * 0.16
    shade = mirrored([(0, -0.03), (top, 0, 0), (bottom, tall, 0), (bottom * 0.7, tall + dip * 0.7), (0, tall + dip)])
    end = tall + stem
    if rng.random() < 0.5:
        metal = BRASS if rng.random() < 0.5 else STEEL
        base = [Part(ribbon([(0, tall), (0, end)], 0.1), metal, METAL)]
        base += [
            Part(
                mirrored(
                    [
                        (0, end - 0.09),
                        (foot * 0.8, end - 0.04, 0.6),
                        (foot, end + 0.05, 0.5),
                        (foot * 0.6, end + 0.1),
                        (0, end + 0.11),
                    ]
                ),
                metal,
                METAL,
            )
        ]
    else:
        belly = rng.uniform(0.24, 0.36)
        vase = [
            (0, tall, 0),
            (0.07, tall, 0),
            (0.09, tall + stem * 0.3),
            (belly, tall + stem * 0.62),
            (foot * 0.6, end - 0.03),
            (foot * 0.62, end + 0.05, 0.4),
            (0, end + 0.07),
        ]
        base = [look.trim(mirrored(vase), CERAMIC)]
    return [*base, look.body(shade, SHADE, bow=dip, glow=0.28)]


def bottle(rng, look):
    body, neck = rng.uniform(0.27, 0.42), rng.uniform(0.1, 0.14)
    throat, shoulder, height = rng.uniform(0.2, 0.55), rng.uniform(0.15, 0.4), rng.uniform(1.0, 1.3)
    fall = throat + shoulder
    end = fall + height
    glass = mirrored(
        [
            (0, 0, 0),
            (neck, 0, 0),
            (neck * 1.02, throat, 0.7),
            (body * 0.86, fall - shoulder * 0.25),
            (body, fall + 0.08, 0.8),
            (body, end - 0.1, 0.7),
            (body * 0.88, end, 0.6),
            (0, end + 0.03),
        ]
    )
    cap = mirrored([(0, -0.12), (neck * 1.15, -0.1, 0.4), (neck * 1.22, 0.12, 0), (0, 0.14)])
    start, stop = fall + height * rng.uniform(0.14, 0.22), end - height * rng.uniform(0.2, 0.3)
    label = mirrored([(0, start + 0.03), (body * 0.99, start, 0), (body * 0.99, stop, 0), (0, stop + 0.03)])
    paper = Part(
        label, WHITE if look.pattern is None else look.main, SHADE, look.second, look.pattern, bow=0.03, lift=0.1
    )
    stamp = (
        [] if look.pattern else [look.trim(oval(0, (start + stop) / 2 + 0.02, body * 0.9, body * 0.9), FLAT, lift=0)]
    )
    return [look.plain(glass, GLASS), look.trim(cap, METAL), paper, *stamp]


def chair(rng, look):
    width, seat, back = rng.uniform(0.42, 0.52), rng.uniform(0.06, 0.14), rng.uniform(0.75, 1.1)
    leg, lean, stout = rng.uniform(0.6, 0.8), rng.uniform(0.04, 0.12), rng.uniform(0.07, 0.1)
    depth = np.array([0.36, -0.24])
    near, far = np.array([-width - 0.18, 0.12]), np.array([width - 0.18, 0.12])
    rear_near, rear_far = near + depth, far + depth
    timber = [OAK, WALNUT, BLACK, WHITE][rng.integers(4)]

    def post(top, drop, splay):
        return Part(ribbon([top, top + np.array([splay, drop])], (stout * 1.15, stout * 0.75)), timber, WOOD)

    parts = [post(rear_near + [0.06, 0.0], leg - 0.06, 0.02), post(rear_far + [-0.04, 0.0], leg - 0.06, 0.06)]
    top = np.array([lean, -back])
    panel = curve(
        [
            (*(rear_near + [0.0, 0.02]), 0),
            (*(rear_far + [0.0, 0.02]), 0),
            (*(rear_far + top * 0.9 + [0.02, 0]), 0.8),
            (*(rear_far + top + [-0.1, -0.02]), 0.8),
            (*(rear_near + top + [0.12, -0.02]), 0.8),
            (*(rear_near + top * 0.9), 0.8),
        ]
    )
    if rng.random() < 0.4:
        centre = (rear_near + rear_far + top) / 2
        for side in (rear_near + [0.05, 0], rear_far + [-0.05, 0]):
            parts += [Part(ribbon([side, side + top * 0.98], stout), timber, WOOD)]
        parts += [look.body(oval(centre[0] + lean * 0.3, centre[1] - back * 0.2, 2 * width, back * 0.48, 6), FABRIC)]
    else:
        parts += [look.body(panel, FABRIC)]
    parts += [post(near + [0.07, 0.04], leg, -0.04), post(far + [-0.06, 0.04], leg, 0.02)]
    cushion = curve([(*near, 0.5), (*far, 0.5), (*rear_far, 0.5), (*rear_near, 0.5)])
    edge = curve(
        [
            (*near, 0.3),
            (*far, 0.3),
            (*rear_far, 0.3),
            (*(rear_far + [0, seat]), 0.3),
            (*(far + [0, seat]), 0.3),
            (*(near + [0, seat]), 0.3),
        ]
    )
    return [*parts, Part(edge, dim(look.main, 0.25), FABRIC), look.body(cushion, FABRIC)]


def hat(rng, look):
    crown, tall, brim = rng.uniform(0.46, 0.56), rng.uniform(0.5, 0.72), rng.uniform(0.85, 1.1)
    taper, pinch, thick = rng.uniform(0.68, 0.92), rng.uniform(0.0, 0.1), rng.uniform(0.34, 0.48)
    droop = rng.uniform(-0.08, 0.1)
    edge = curve(
        [
            (-brim, droop),
            (-brim * 0.55, -thick * 0.42),
            (0, -thick * 0.5),
            (brim * 0.55, -thick * 0.42),
            (brim, droop),
            (brim * 0.55, thick * 0.42),
            (0, thick * 0.5),
            (-brim * 0.55, thick * 0.42),
        ]
    )
    dome = mirrored(
        [
            (0, -tall + pinch),
            (crown * taper * 0.6, -tall - 0.02),
            (crown * taper, -tall + 0.12),
            (crown, -0.02, 0.4),
            (crown * 0.7, 0.1),
            (0, 0.14),
        ]
    )
    height = rng.uniform(0.12, 0.2)
    band = mirrored(
        [
            (0, 0.1 - height),
            (crown * 0.7, 0.06 - height),
            (crown * 0.985, -0.04 - height, 0),
            (crown * 1.0, -0.02, 0),
            (crown * 0.7, 0.1),
            (0, 0.14),
        ]
    )
    return [look.body(edge, LEATHER), look.body(dome, FABRIC), look.trim(band, KNIT, lift=0.1)]


@dataclass(frozen=True)
class Kind:
    """A class of products: how it is drawn and shown. `noun` is its name in a caption, with {} where colour and print go."""

    draw: object
    noun: str
    prints: tuple[str, ...]
    stands: bool
    flips: bool = False


ALL = ("striped", "checked", "dotted", "chevron")
KINDS = {
    "t-shirt": Kind(t_shirt, "{} t-shirt", ALL, stands=False),
    "dress": Kind(dress, "{} dress", ALL, stands=False),
    "trousers": Kind(trousers, "pair of {} trousers", ("striped", "checked"), stands=False),
    "sneaker": Kind(sneaker, "{} sneaker", ("checked", "dotted"), stands=True, flips=True),
    "hat": Kind(hat, "{} hat", ("striped", "checked"), stands=True),
    "handbag": Kind(handbag, "{} handbag", ALL, stands=True),
    "mug": Kind(mug, "{} mug", ALL, stands=True, flips=True),
    "bottle": Kind(bottle, "{} bottle", ("striped", "dotted", "chevron"), stands=True),
    "lamp": Kind(lamp, "{} lamp", ALL, stands=True),
    "chair": Kind(chair, "{} chair", ("striped", "checked", "dotted"), stands=True, flips=True),
}
