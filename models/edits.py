"""Classic edits as functions of tensors, for exports that hold a chain of them.

Each takes and returns one picture, uint8 [height, width, 3] of any size, and does what the edit of that name in `data/edits.py` does, where
its source stands: pixels go to the same places, and levels differ by 1 at most, after `sharpen` by 2.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from data import edits
from data.colour import to_linear
from data.edits import Chain
from data.errors import UserError
from data.images import to_float, to_uint8
from models.ports import Picture
from models.signatures import IMAGES, Endpoint, derive

_LIGHT = to_linear(np.arange(256) / 255)  # linear light of each level


class Edited:
    """A model that enhances, and edits before and behind it, as what is exported.

    Its `apply` edits, enhances and edits again. `network` is the model alone, for those who send a large picture in tiles and edit the
    whole of it. Raises UserError for a model that does not take and give pictures of any size, and for chains that `check` refuses.
    """

    def __init__(self, model, before: Chain, after: Chain):
        self.model, self.before, self.after = model, check(before), check(after)
        self.apply = model.endpoints().get("apply")
        ends = [self.apply.inputs.get(IMAGES), self.apply.outputs.get(IMAGES)] if self.apply else [None]
        if ends != [Picture(), Picture()]:
            raise UserError("edits are exported with models that enhance: that take and give pictures of any size")

    def signatures(self):
        """As of any model, see `models.signatures.derive`."""
        edited = dataclasses.replace(self.apply, function=self._run)
        network = Endpoint(self.apply.function, self.apply.inputs, self.apply.outputs, files=False)
        return derive(self.model.endpoints() | {"apply": edited, "network": network})

    def _run(self, images, **others):
        made = self.apply.function(images=to_float(_edited(self.before, to_uint8(images))), **others)
        return made | {IMAGES: to_float(_edited(self.after, to_uint8(made[IMAGES])))}


def check(chain: Chain) -> Chain:
    """The chain. Raises UserError if pictures of one size would come out of it in several, which no batch can hold."""
    places = [place for place, (name, _) in enumerate(chain.edits) if name == "crop"]
    squares = [place for place, (name, values) in enumerate(chain.edits) if name == "square" and values]
    if places and not (squares and squares[-1] > places[-1]):
        raise UserError(
            f"crop gives each photo another size: in an export square:SIDE has to follow it, not as in {chain}"
        )
    return chain


def _edited(chain, pictures):
    """uint8 [n, height, width, 3] through a chain that `check` accepts."""
    if not chain.edits:
        return pictures
    return tf.map_fn(
        lambda pixels: _run(chain, pixels), pictures, fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8)
    )


def _run(chain, pixels):
    for name, values in chain.named():
        pixels = tf.ensure_shape(EDITS[name](pixels, **values), [None, None, 3])
    return pixels


def white_balance(pixels, by="grey"):
    if by == "grey":
        levels = tf.reduce_mean(tf.gather(tf.constant(_LIGHT), _whole(pixels)), axis=[0, 1])
        wanted = tf.reduce_mean(levels)
    else:
        counts = tf.stack([_histogram(_whole(pixels[:, :, channel]), 256) for channel in range(3)])
        enough = tf.cumsum(counts, axis=1) >= 0.99 * tf.reduce_sum(counts, axis=1, keepdims=True)
        levels = tf.gather(tf.constant(_LIGHT), tf.argmax(enough, axis=1))
        wanted = tf.reduce_max(levels)
    return _brighter(pixels, tf.where(levels > 0, tf.math.divide_no_nan(wanted, levels), 1.0))


def exposure(pixels, stops=0.0):
    return _brighter(pixels, tf.fill([3], tf.constant(2.0**stops, tf.float64)))


def contrast(pixels, limit=2.0):
    luma = tf.cast(_luma(pixels), tf.int32)
    added = tf.cast(tf.round(_equalised(luma, limit)), tf.int32) - luma
    return _levels(_whole(pixels) + added[:, :, tf.newaxis])


def saturation(pixels, factor=1.0):
    grey = tf.cast(_luma(pixels), tf.float32)[:, :, tf.newaxis]
    mixed = grey + factor * (tf.cast(pixels, tf.float32) - grey)
    return _levels(tf.cast(mixed, tf.int32))  # towards zero, as Pillow


def sharpen(pixels, amount=0.6, *, radius=1.5):
    picture = tf.cast(pixels, tf.float32)
    added = amount * (picture - tf.round(_gaussian(picture, radius)))
    return _levels(_whole(pixels) + tf.cast(added, tf.int32))  # towards zero, as Pillow


def median(pixels, radius=1):
    side, shape = 2 * radius + 1, tf.shape(pixels)
    padded = _padded(pixels, radius)

    def row(top):  # by rows, for the memory
        columns = tf.signal.frame(padded[top : top + side], side, 1, axis=1)  # [side, width, side, 3]
        values = tf.sort(tf.reshape(tf.transpose(columns, [1, 3, 0, 2]), [shape[1], 3, side * side]), axis=-1)
        return values[:, :, side * side // 2]

    return tf.map_fn(row, tf.range(shape[0]), fn_output_signature=tf.TensorSpec([None, 3], tf.uint8))


def bilateral(pixels, sigma=20.0, *, radius=3):
    side, shape = 2 * radius + 1, tf.shape(pixels)
    centre, padded = tf.cast(pixels, tf.float32), tf.cast(_padded(pixels, radius), tf.float32)

    def add(place, total, weights):
        down, right = place // side, place % side
        near = padded[down : down + shape[0], right : right + shape[1]]
        space = 2 * tf.cast((down - radius) ** 2 + (right - radius) ** 2, tf.float32) / radius**2
        weight = tf.exp(-0.5 / sigma**2 * tf.reduce_sum(tf.square(near - centre), axis=2, keepdims=True) - space)
        return place + 1, total + weight * near, weights + weight

    start = tf.constant(0), tf.zeros_like(centre), tf.zeros_like(centre[:, :, :1])
    _, total, weights = tf.while_loop(lambda place, *_: place < side**2, add, start)
    return _levels(tf.cast(tf.round(total / weights), tf.int32))


def whiten(pixels, tolerance=24):
    level, darkest = tf.reduce_min(_whole(pixels), axis=2), 255 - 2 * tolerance
    calm = _box(level, edits.BLUR)
    backdrop = _from_border((calm > darkest) & (_highest(calm, 3) - _lowest(calm, 3) <= edits.STEP))
    backdrop = (_highest(tf.cast(backdrop, tf.int32), 2 * edits.BLUR + 3) > 0) & (level > darkest)
    shares = np.rint(np.clip((np.arange(256) - darkest) / tolerance, 0, 1) * 255).astype(np.int32)
    share = tf.gather(tf.constant(shares), tf.maximum(calm, level) * tf.cast(backdrop, tf.int32))
    missing = 255 - _whole(pixels)
    product = missing * share[:, :, tf.newaxis] + 128
    lift = (product // 256 + product) // 256  # a product of two levels over 255, rounded
    beside = tf.minimum(tf.stack([_box(lift[:, :, channel], 1) for channel in range(3)], axis=2), missing)
    return _levels(_whole(pixels) + tf.where(backdrop[:, :, tf.newaxis], lift, beside))


def crop(pixels, margin=0.05, *, tolerance=24):
    distance = tf.reduce_max(tf.abs(_whole(pixels) - _border_colour(pixels)), axis=2)
    product = tf.cast(~_from_border(distance <= tolerance), tf.int32)
    # A binary opening: what lies outside counts as no product.
    product = _highest(_lowest(tf.pad(product, [[1, 1], [1, 1]]), 3)[1:-1, 1:-1], 3) > 0
    rows, columns = (tf.cast(tf.where(tf.reduce_any(product, axis=axis))[:, 0], tf.int32) for axis in (1, 0))

    def cut():
        longer = tf.maximum(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        added = tf.cast(tf.round(margin * tf.cast(longer, tf.float64)), tf.int32)
        top, left = tf.maximum(rows[0] - added, 0), tf.maximum(columns[0] - added, 0)
        return pixels[top : rows[-1] + 1 + added, left : columns[-1] + 1 + added]

    return tf.cond(tf.size(rows) > 0, cut, lambda: pixels)


def square(pixels, side=0, *, colour="white"):
    shape = tf.shape(pixels)[:2]
    side = tf.constant(side) if side else tf.reduce_max(shape)
    pixels = tf.cond(tf.reduce_max(shape) > side, lambda: _contained(pixels, side), lambda: pixels)
    fill = tf.fill([3], tf.constant(255, tf.uint8)) if colour == "white" else tf.cast(_border_colour(pixels), tf.uint8)
    before = (side - tf.shape(pixels)[:2]) // 2
    behind = side - tf.shape(pixels)[:2] - before
    margins = tf.concat([tf.stack([before, behind], axis=1), [[0, 0]]], axis=0)
    inside = tf.pad(tf.ones_like(pixels[:, :, :1], tf.bool), margins)
    return tf.where(inside, tf.pad(pixels, margins), fill)


EDITS = {
    edit.__name__: edit
    for edit in (white_balance, exposure, contrast, saturation, sharpen, median, bilateral, whiten, crop, square)
}


def _whole(pixels):
    return tf.cast(pixels, tf.int32)


def _levels(values):
    return tf.cast(tf.clip_by_value(values, 0, 255), tf.uint8)


def _luma(pixels):
    """As Pillow converts to its mode L: int32 [height, width]."""
    return (tf.reduce_sum(_whole(pixels) * [19595, 38470, 7471], axis=2) + 0x8000) // 0x10000


def _histogram(values, count):
    ones = tf.ones([tf.size(values)], tf.float64)
    return tf.math.unsorted_segment_sum(ones, tf.reshape(values, [-1]), count)


def _brighter(pixels, gains):
    light = tf.minimum(gains * _LIGHT[:, np.newaxis], 1.0)
    encoded = tf.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    table = _levels(tf.cast(tf.round(255.0 * encoded), tf.int32))
    return tf.stack([tf.gather(table[:, channel], _whole(pixels[:, :, channel])) for channel in range(3)], axis=2)


def _padded(pixels, radius, axes=(True, True)):
    """The picture with its edge pixels repeated `radius` times along the axes."""
    for axis, wanted in enumerate(axes):
        if wanted:
            side = tf.shape(pixels)[axis]
            pixels = tf.gather(pixels, tf.clip_by_value(tf.range(-radius, side + radius), 0, side - 1), axis=axis)
    return pixels


def _gaussian(picture, deviation):
    """float32 [height, width, 3], blurred as Pillow does: by three boxes with soft ends (Gwosdek et al. 2011, "Theoretical foundations of
    Gaussian convolution by extended box filtering").
    """
    variance = deviation**2 / 3
    whole = int((np.sqrt(12 * variance + 1) - 1) / 2)
    end = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    box = np.array([end, *[1.0] * (2 * whole + 1), end], np.float32)
    taps = tf.constant(np.tile((box / box.sum())[:, np.newaxis, np.newaxis, np.newaxis], [1, 1, 3, 1]))
    for kernel in (taps, tf.transpose(taps, [1, 0, 2, 3])):
        for _ in range(3):
            padded = _padded(picture, whole + 1, axes=[kernel.shape[1] == 1, kernel.shape[0] == 1])
            picture = tf.nn.depthwise_conv2d(padded[tf.newaxis], kernel, [1, 1, 1, 1], "VALID")[0]
    return picture


def _box(levels, radius):
    """int32 [height, width]: the rounded mean along rows of 2 radius + 1, then along columns, with the edges repeated."""
    side = 2 * radius + 1
    height, width = tf.unstack(tf.shape(levels))
    padded = _padded(levels, radius)
    across = tf.add_n([padded[:, place : place + width] for place in range(side)])
    rounded = (2 * across + side) // (2 * side)
    return (2 * tf.add_n([rounded[place : place + height] for place in range(side)]) + side) // (2 * side)


def _highest(values, side):
    """int32 [height, width]: the highest of each square of `side`."""
    pooled = tf.nn.max_pool2d(tf.cast(values, tf.float32)[tf.newaxis, :, :, tf.newaxis], side, 1, "SAME")
    return tf.cast(pooled[0, :, :, 0], tf.int32)


def _lowest(values, side):
    return -_highest(-values, side)


def _from_border(passable):
    """As `data.edits` does: the part of bool [height, width] that is connected to the border by ways of a certain width."""
    wide = _lowest(tf.cast(passable, tf.int32), edits.GAP) > 0
    height, width = tf.unstack(tf.shape(wide))
    row, column = tf.range(height)[:, tf.newaxis], tf.range(width)
    border = (row == 0) | (row == height - 1) | (column == 0) | (column == width - 1)
    runs = [(_runs(wide), False), (_runs(tf.transpose(wide)), True)]

    def spread(reached, _):
        before = reached
        for (
            numbers,
            turned,
        ) in runs:  # what is reached anywhere in a run of a row is reached in all of it; so in columns
            there = tf.reshape(tf.transpose(reached) if turned else reached, [-1])
            most = tf.math.unsorted_segment_max(tf.cast(there, tf.int32), numbers, height * width + 1)
            whole = tf.reshape(tf.gather(most, numbers) > 0, [width, height] if turned else [height, width])
            reached = (tf.transpose(whole) if turned else whole) & wide
        return reached, tf.reduce_any(reached != before)

    outer, _ = tf.while_loop(lambda _, changed: changed, spread, (wide & border, tf.constant(True)))
    return (_highest(tf.cast(outer, tf.int32), edits.GAP) > 0) & passable


def _runs(wide):
    """The number of the run of True in its row for each pixel, row by row: int32 [height * width]; of the others, any."""
    starts = wide & ~tf.pad(wide[:, :-1], [[0, 0], [1, 0]])
    return tf.cumsum(tf.cast(tf.reshape(starts, [-1]), tf.int32))


def _border_colour(pixels):
    """int32 [3], the median colour of the outermost pixels, rounded down."""
    border = tf.sort(tf.concat([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]], axis=0), axis=0)
    middle = tf.shape(border)[0] // 2
    return (_whole(border[middle - 1]) + _whole(border[middle])) // 2


def _contained(pixels, side):
    """The picture shrunk so that its longer side has `side` px."""
    shape = tf.cast(tf.shape(pixels)[:2], tf.float64)
    size = tf.round(shape / tf.reduce_max(shape) * tf.cast(side, tf.float64))
    height, width = tf.unstack(tf.maximum(tf.cast(size, tf.int32), 1))
    for rows, columns in ((tf.shape(pixels)[0], width), (height, width)):  # Pillow rounds to levels between the axes
        pixels = tf.image.resize(pixels, tf.stack([rows, columns]), "lanczos3", antialias=True)
        pixels = _levels(tf.cast(tf.round(pixels), tf.int32))
    return pixels


def _equalised(grey, limit):
    """CLAHE of int32 [height, width], as `data.edits` does it: float64."""
    counts, places, mixed = [], [], []
    for side in tf.unstack(tf.shape(grey)):
        count = tf.clip_by_value(side // edits.LEAST_TILE, 1, edits.TILES)
        ends = tf.cast(tf.range(count + 1), tf.float64) * (tf.cast(side, tf.float64) / tf.cast(count, tf.float64))
        ends = tf.cast(ends, tf.int32)
        middles, pixel = tf.cast(ends[:-1] + ends[1:] - 1, tf.float64) / 2, tf.range(side)
        place = tf.cast(pixel, tf.float64)
        tile = tf.maximum(tf.searchsorted(middles, place, side="right") - 1, 0)
        beyond = tf.minimum(tile + 1, count - 1)
        way = tf.math.divide_no_nan(
            place - tf.gather(middles, tile), tf.gather(middles, beyond) - tf.gather(middles, tile)
        )
        counts.append(count)
        places.append(tf.searchsorted(ends[1:], pixel, side="right"))
        mixed.append((tile, beyond, tf.clip_by_value(way, 0.0, 1.0)))
    row, column = places
    tiles = counts[0] * counts[1]
    which = (row[:, tf.newaxis] * counts[1] + column) * 256 + grey
    tables = tf.reshape(_tables(tf.reshape(_histogram(which, tiles * 256), [tiles, 256]), limit), [-1])
    (upper, lower, down), (left, right, across) = mixed

    def through(rows, columns):
        return tf.gather(tables, (rows[:, tf.newaxis] * counts[1] + columns) * 256 + grey)

    down = down[:, tf.newaxis]
    above = (1 - across) * through(upper, left) + across * through(upper, right)
    below = (1 - across) * through(lower, left) + across * through(lower, right)
    return (1 - down) * above + down * below


def _tables(counts, limit):
    """The equalising tables of histograms [tiles, 256], nowhere steeper than `limit`."""
    highest = limit * tf.reduce_sum(counts, axis=1, keepdims=True) / 256
    low, high = tf.zeros_like(highest), highest
    for _ in range(40):
        cut = (low + high) / 2
        above = cut + tf.reduce_sum(tf.maximum(counts - cut, 0), axis=1, keepdims=True) / 256 > highest
        low, high = tf.where(above, low, cut), tf.where(above, cut, high)
    spread = tf.minimum(counts, low) + tf.reduce_sum(tf.maximum(counts - low, 0), axis=1, keepdims=True) / 256
    rising = tf.cumsum(spread, axis=1) - spread[:, :1]
    return 255 * rising / rising[:, -1:]
