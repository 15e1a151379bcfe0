"""Clothes of the studio: each function turns a generator and a look into the parts of one product.

Units are free (the studio scales a product to its frame). Symmetric pieces are given by their right half.
"""

import numpy as np

from data.sources.studio_curves import curve, flipped, mirrored, oval, ribbon
from data.sources.studio_paint import BRASS, CLOTH, FLAT, KNIT, LEATHER, METAL, RUBBER, WHITE, Part, dim


def t_shirt(rng, look):
    """A t-shirt laid flat: crew or v-neck, short to elbow-long sleeves."""
    chest, length, sleeve = rng.uniform(0.44, 0.54), rng.uniform(1.3, 1.5), rng.uniform(0.34, 0.78)
    neck, scoop, angle = rng.uniform(0.17, 0.21), rng.uniform(0.12, 0.28), rng.uniform(0.7, 1.0)
    smooth = rng.choice([0.0, 1.0], p=[0.35, 0.65])
    bare = look.trim if rng.random() < 0.55 else look.plain

    away = np.array([np.cos(angle), np.sin(angle)])
    shoulder = np.array([chest * 0.88, 0.1])
    tip = shoulder + away * sleeve
    inner = tip + rng.uniform(0.27, 0.33) * np.array([-away[1], away[0]])
    arm = curve([(neck, 0.02, 0), (*shoulder, 0.7), (*tip, 0), (*inner, 0), (chest * 0.97, 0.5, 0), (0.2, 0.4, 0)])
    cuff = ribbon([tip - 0.03 * away, inner - 0.03 * away], 0.07)
    front = mirrored(
        [(0, scoop, smooth), (neck * 0.8, scoop * 0.45), (neck, 0, 0), (chest * 0.88, 0.1, 0.6), (chest * 0.95, 0.5),
         (chest, length - 0.03, 0.2), (chest * 0.97, length, 0.2), (0, length + 0.03)]
    )  # fmt: skip
    half_collar = [(0, scoop, smooth), (neck * 0.8, scoop * 0.45), (neck, 0)]
    collar = [(-x, y) for x, y, *_ in half_collar[:0:-1]] + half_collar
    hem = ribbon([(-chest, length - 0.08), (0, length - 0.05), (chest, length - 0.08)], 0.018)
    inside = mirrored([(0, -0.035), (neck, -0.01, 0), (neck * 0.8, scoop * 0.5), (0, scoop * 1.1)])
    return [
        look.body(arm, CLOTH),
        look.body(flipped(arm), CLOTH),
        bare(cuff, KNIT),
        bare(flipped(cuff), KNIT),
        Part(inside, dim(look.main, 0.4), FLAT),
        look.body(front, CLOTH, holes=(mirrored([(0, -0.1, 0), (neck, -0.1, 0), (neck, 0, 0), *half_collar[1::-1]]),)),
        bare(ribbon(collar, 0.065), KNIT),
        Part(hem, dim(look.main, 0.4), FLAT, lift=0, opacity=0.6),
    ]


def dress(rng, look):
    """A belted dress, narrow to wide and short to long, on straps or with sleeves."""
    waist, hem, length = rng.uniform(0.19, 0.25), rng.uniform(0.46, 0.85), rng.uniform(1.45, 1.95)
    strap, scoop, bust = rng.uniform(0.2, 0.29), rng.uniform(0.16, 0.34), rng.uniform(0.28, 0.33)
    line = rng.uniform(0.62, 0.72)
    bodice = mirrored(
        [(0, scoop), (strap - 0.09, scoop * 0.5, 0.5), (strap - 0.06, 0, 0), (strap + 0.05, 0.02, 0),
         (strap + 0.02, 0.22), (bust, 0.36), (waist, line, 0), (0, line + 0.04, 0)]
    )  # fmt: skip
    skirt = mirrored(
        [(0, line - 0.05, 0), (waist, line - 0.02, 0), ((waist + hem) * 0.57, line + (length - line) * 0.45, 0.8),
         (hem, length, 0), (hem * 0.72, length + 0.06), (hem * 0.4, length + 0.05), (0, length + 0.1)]
    )  # fmt: skip
    belt = ribbon(
        [(-waist - 0.01, line - 0.02), (0, line + 0.01), (waist + 0.01, line - 0.02)], rng.uniform(0.06, 0.12)
    )
    sleeves = []
    if rng.random() < 0.5:
        reach = rng.uniform(0.12, 0.6)
        sleeve = curve(
            [(strap - 0.08, 0, 0), (strap + 0.1, 0.03), (strap + 0.16 + reach * 0.4, 0.2 + reach, 0),
             (strap + 0.02 + reach * 0.3, 0.26 + reach, 0), (strap - 0.02, 0.3, 0)]
        )  # fmt: skip
        sleeves = [look.body(sleeve, CLOTH), look.body(flipped(sleeve), CLOTH)]
    return [
        *sleeves,
        look.body(skirt, CLOTH, pleats=(rng.uniform(24, 36), line - 0.9)),
        look.body(bodice, CLOTH),
        look.trim(belt, LEATHER),
    ]


def trousers(rng, look):
    """Trousers laid flat: tapered to flared, some with turned-up cuffs."""
    waist, hip, length = rng.uniform(0.32, 0.38), rng.uniform(0.4, 0.46), rng.uniform(1.55, 1.9)
    ankle, spread, crotch = rng.uniform(0.14, 0.32), rng.uniform(0.32, 0.42), rng.uniform(0.52, 0.6)
    knee = 0.12 + ankle * 0.45
    outside, inside, bend = spread + ankle * 0.55, spread - ankle * 0.65, spread * 0.62
    leg = curve(
        [(-0.02, 0, 0), (waist, 0, 0), (hip, 0.34), (bend + knee * 0.9, length * 0.6), (outside, length, 0),
         (inside, length + 0.015, 0), (bend - knee * 0.6, length * 0.6), (0, crotch, 0), (-0.02, 0.3, 0)]
    )  # fmt: skip
    pocket = ribbon([(waist * 0.55, 0.06), (waist * 0.72, 0.22), (hip * 0.98, 0.29)], 0.024)
    fly = ribbon([(0, 0.05), (0, crotch)], 0.024)
    crease = ribbon([(hip * 0.5, 0.4), (bend + knee * 0.16, length * 0.6), ((inside + outside) / 2, length)], 0.02)
    band = ribbon([(-waist, 0), (0, 0.015), (waist, 0)], 0.13)
    ink = dim(look.main, 0.45)
    parts = [look.body(flipped(leg), CLOTH, lift=0), look.body(leg, CLOTH, lift=0.15)]
    parts += [Part(line, ink, FLAT, lift=0, opacity=0.25) for line in (crease, flipped(crease))]
    parts += [Part(line, ink, FLAT, lift=0, opacity=0.75) for line in (fly, pocket, flipped(pocket))]
    if rng.random() < 0.4:
        cuff = ribbon([(inside - 0.005, length - 0.04), (outside + 0.005, length - 0.055)], 0.11)
        parts += [look.trim(cuff, KNIT), look.trim(flipped(cuff), KNIT)]
    waistband = (look.trim if rng.random() < 0.5 else look.plain)(band, KNIT)
    return [*parts, waistband, Part(oval(0, 0.01, 0.07, 0.07), BRASS, METAL)]


def sneaker(rng, look):
    """A sneaker from the side: low, mid or high, with a stripe, three bars or neither."""
    high, sole, toe = rng.choice([0.0, 0.1, 0.34]), rng.uniform(0.13, 0.2), rng.uniform(0.0, 0.08)
    top, step = -0.36 - high, 0.5 - sole
    throat = [(-0.17, top - 0.05), (0.02, -0.24 - high * 0.42), (0.33, -0.06 - toe * 0.3)]
    heel = [(-0.93, step + 0.04, 0), (-0.96, 0.12), (-0.92 + high * 0.1, top + 0.05), (-0.83 + high * 0.1, top - 0.02)]
    front = [(0.62, 0.03 - toe), (0.86, 0.1 - toe), (0.97, step + 0.04, 0)]
    collar = [(-0.6, top + 0.13 - high * 0.25), (-0.38, top + 0.05), (-0.3, top - 0.1, 0.6)]
    upper = curve([*heel, *collar, *throat, *front])
    counter = curve([*heel[:2], (-0.95, -0.03, 0), (-0.76, 0.04, 0.6), (-0.56, step + 0.04, 0)])
    cap = curve([(0.46, step + 0.04, 0), (0.52, 0.14), (0.64, 0.03 - toe, 0), *front[1:]])
    midsole = curve(
        [(-0.97, step, 0.4), (-0.5, step + 0.02), (0.2, step + 0.025), (0.7, step - 0.01), (0.985, step - 0.06, 0.4),
         (1.0, step + 0.04), (0.93, 0.47), (0.74, 0.5, 0.7), (-0.85, 0.5, 0.6), (-0.97, 0.45, 0.8)]
    )  # fmt: skip
    tread = ribbon([(-0.93, 0.475), (-0.3, 0.485), (0.75, 0.485), (0.95, 0.44)], 0.05)
    rubber = WHITE if rng.random() < 0.75 else look.second
    parts = [look.body(upper, LEATHER), look.trim(counter, LEATHER)]
    if rng.random() < 0.6:
        parts += [look.trim(cap, LEATHER)]
    mark = rng.integers(3)
    if mark == 0:
        parts += [look.trim(ribbon([(-0.5, 0.12), (-0.25, 0.2), (0.28, -0.02)], (0.05, 0.13)), LEATHER)]
    elif mark == 1:
        bars = [ribbon([(x + 0.14, -0.06), (x - 0.06, step)], 0.075) for x in (-0.36, -0.19, -0.02)]
        parts += [look.trim(bar, LEATHER) for bar in bars]
    lace = WHITE if sum(look.main) < 2.5 else look.second
    eyelets = curve(throat, closed=False)[2:-2]
    for x, y in eyelets[np.linspace(0, len(eyelets) - 1, 5 if high > 0.2 else 4).astype(int)]:
        parts += [Part(ribbon([(x + 0.03, y - 0.01), (x - 0.14, y + 0.1)], 0.055), lace, RUBBER)]
    return [*parts, Part(midsole, rubber, RUBBER), Part(tread, dim(look.second, 0.15), FLAT, lift=0)]


def hat(rng, look):
    """A brimmed hat with a band: narrow to wide brim, low to tall crown, pinched or round."""
    crown, tall, brim = rng.uniform(0.48, 0.57), rng.uniform(0.58, 0.85), rng.uniform(0.76, 1.0)
    taper, pinch, thick = rng.uniform(0.7, 0.92), rng.uniform(0.0, 0.1), rng.uniform(0.22, 0.29)
    lift, height = rng.uniform(0.0, 0.12), rng.uniform(0.12, 0.2)
    edge = mirrored([(0, -thick), (brim * 0.55, -thick * 0.85), (brim, -lift), (brim * 0.55, thick * 0.85), (0, thick)])
    foot = [(crown, -0.02, 0.3), (crown * 0.7, 0.1), (0, 0.14)]
    dome = mirrored(
        [(0, pinch - tall), (crown * taper * 0.6, -tall - 0.02), (crown * taper, 0.12 - tall), *foot]
    )  # fmt: skip
    rim = [(0, 0.13 - height), (crown * 0.7, 0.08 - height), (crown * 0.985, -0.04 - height, 0)]
    return [look.plain(edge, CLOTH), look.body(dome, CLOTH), look.trim(mirrored([*rim, *foot]), KNIT, lift=0.1)]
