"""Augmentation of what the critic sees: differentiable, batched, and random per row.

Every operation is linear in the picture given its random numbers, so penalties on the critic's slope can be differentiated through
it. Geometry is separable: one interpolation matrix per row of the batch for each axis, applied as two small batched matrix
products, which are cheap on CPU and exact under any number of derivatives.

`diffaugment` is the colour, translation and cutout policy of Zhao et al. 2020 (Differentiable Augmentation for Data-
Efficient GAN Training),
section 3; `ada` applies flips, quarter turns, shifts, scaling and colour, each with probability p: Karras et al. 2020
(Training GANs with Limited Data), appendix B, of which it leaves out free rotation (product photos stand upright).
"""

import math

import tensorflow as tf

LUMA = (1 / math.sqrt(3),) * 3  # the grey axis of RGB


def diffaugment(pictures, random):
    """Colour, translation by up to 1/8 and a cutout of half the side, on every picture.

    Args:
        pictures: float32 [batch, height, width, 3k] in [-1, 1]. random: a StepRandom.

    Returns:
        pictures of the same shape; what is shifted in and cut out is 0 (mid grey).
    """
    rows = rows_of(pictures)
    pictures = brightness(pictures, random.uniform(rows, low=-0.5, high=0.5))
    pictures = saturation(pictures, random.uniform(rows, low=0.0, high=2.0))
    pictures = contrast(pictures, random.uniform(rows, low=0.5, high=1.5))
    height, width = pictures.shape[1:3]
    down = tf.round(random.uniform(rows, low=-height / 8, high=height / 8))
    right = tf.round(random.uniform(rows, low=-width / 8, high=width / 8))
    pictures = warp(pictures, down=down, right=right)
    return cutout(pictures, random.uniform(rows), random.uniform(rows))


def ada(pictures, random, p):
    """Flip, quarter turn, shift, scale and colour, each applied to a row with probability p.

    Args:
        pictures: float32 [batch, height, width, 3k] in [-1, 1], square. random: a StepRandom. p: float32 scalar in [0, 1].

    Returns:
        pictures of the same shape; borders are filled by reflection.
    """
    rows = rows_of(pictures)
    side = float(pictures.shape[1])
    # Drawn together: a draw is some forty operations.
    used = iter(tf.unstack(random.uniform(rows, 13) < p, axis=-1))
    even = iter(tf.unstack(random.uniform(rows, 6), axis=-1))
    normal = iter(tf.unstack(random.normal(rows, 7), axis=-1))

    def sometimes(value, neutral):
        return tf.where(next(used), value, neutral)

    def between(limit):
        return limit * (2.0 * next(even) - 1.0)

    turn = sometimes(tf.floor(4.0 * next(even)), 0.0)
    pictures = tf.where(choice(tf.math.floormod(turn, 2.0) == 1.0), tf.transpose(pictures, [0, 2, 1, 3]), pictures)
    mirror = sometimes(tf.sign(between(1.0)), 1.0) * tf.where(turn >= 2.0, -1.0, 1.0)
    upend = tf.where((turn == 1.0) | (turn == 2.0), -1.0, 1.0)
    both = tf.exp(math.log(2.0) * sometimes(0.2 * next(normal), 0.0))
    apart = tf.exp(math.log(2.0) * sometimes(0.2 * next(normal), 0.0))
    along = tf.round(sometimes(between(side / 8), 0.0))
    down = tf.round(sometimes(between(side / 8), 0.0))
    slide = sometimes(side / 8 * next(normal), 0.0)
    drop = sometimes(side / 8 * next(normal), 0.0)
    pictures = warp(
        pictures,
        down=down + drop,
        right=along + slide,
        tall=upend * both * apart,
        wide=mirror * both / apart,
        reflect=True,
    )
    matrix, offset = colour_matrix(
        light=sometimes(0.2 * next(normal), 0.0),
        stretch=tf.exp(math.log(2.0) * sometimes(0.5 * next(normal), 0.0)),
        invert=sometimes(tf.sign(between(1.0)), 1.0),
        turn=sometimes(between(math.pi), 0.0),
        vivid=tf.exp(math.log(2.0) * sometimes(next(normal), 0.0)),
    )
    return recolour(pictures, matrix, offset)


def rows_of(pictures):
    """The number of rows of a batch: an int where the shape is static, else a scalar tensor."""
    return pictures.shape[0] or tf.shape(pictures)[0]


def choice(condition):
    """A boolean [batch] shaped to choose between whole pictures."""
    return condition[:, None, None, None]


def brightness(pictures, amount):
    """Add `amount` float32 [batch] to every channel."""
    return pictures + amount[:, None, None, None]


def saturation(pictures, factor):
    """Scale each pixel's distance from its own grey by `factor` float32 [batch]."""
    matrix = factor[:, None, None] * tf.eye(3) + (1.0 - factor[:, None, None]) / 3.0
    return recolour(pictures, matrix, tf.zeros([1, 3]))


def contrast(pictures, factor):
    """Scale each pixel's distance from the picture's mean by `factor` float32 [batch]."""
    mean = tf.reduce_mean(pictures, axis=[1, 2, 3], keepdims=True)
    return (pictures - mean) * factor[:, None, None, None] + mean


def cutout(pictures, vertical, horizontal):
    """Set a square of half the side to 0; its centre is at (vertical, horizontal), float32 [batch] in [0, 1) of the side."""

    def inside(position, side):
        first = tf.floor(position * (side + 1 - (side // 2) % 2)) - side // 4
        pixel = tf.range(side, dtype=tf.float32)[None]
        return (pixel >= first[:, None]) & (pixel < first[:, None] + side // 2)

    height, width = pictures.shape[1:3]
    hole = inside(vertical, height)[:, :, None] & inside(horizontal, width)[:, None, :]
    return pictures * tf.cast(~hole, pictures.dtype)[..., None]


def warp(pictures, *, down=0.0, right=0.0, tall=1.0, wide=1.0, reflect=False):
    """Shift and scale each picture about its centre, with linear interpolation.

    Args:
        down, right: shift in pixels, float32 [batch]. tall, wide: scale, float32 [batch]; negative mirrors.
        reflect: fill from the reflected picture; otherwise with 0.
    """
    pictures = tf.convert_to_tensor(pictures)
    rows = tf.zeros([rows_of(pictures)])
    vertical = interpolation(pictures.shape[1], down + rows, tall + rows, reflect)
    horizontal = interpolation(pictures.shape[2], right + rows, wide + rows, reflect)
    moved = tf.einsum("bij,bjwc->biwc", tf.cast(vertical, pictures.dtype), pictures)
    return tf.einsum("bij,bhjc->bhic", tf.cast(horizontal, pictures.dtype), moved)


def interpolation(side, shift, scale, reflect):
    """Float32 [batch, side, side]: row i holds the weights of the source pixels that output pixel i is made of."""
    middle = (side - 1) / 2
    pixel = tf.range(side, dtype=tf.float32)[None]
    source = (pixel - middle - shift[:, None]) / scale[:, None] + middle
    if reflect:
        period = 2.0 * max(side - 1, 1)
        source = tf.math.floormod(source, period)
        source = tf.minimum(source, period - source)
    return tf.nn.relu(1.0 - tf.abs(source[:, :, None] - pixel[:, None, :]))


def colour_matrix(*, light, stretch, invert, turn, vivid):
    """One affine map of RGB per row: brightness, contrast, luma flip, hue turn and saturation, in that order.

    Args:
        all float32 [batch]; light is added, stretch multiplies, invert is +1 or -1 along the grey axis, turn is an angle in radians
        about the grey axis, vivid scales the distance from it.

    Returns:
        (matrix float32 [batch, 3, 3], offset float32 [batch, 3]) with colour' = matrix @ colour + offset.
    """
    axis = tf.constant(LUMA)[:, None]
    along = axis @ tf.transpose(axis)
    across = tf.eye(3) - along
    cross = tf.constant([[0.0, -LUMA[2], LUMA[1]], [LUMA[2], 0.0, -LUMA[0]], [-LUMA[1], LUMA[0], 0.0]])

    def each(value):
        return value[:, None, None]

    matrix = each(stretch) * tf.eye(3)
    offset = (light * stretch)[:, None] * tf.ones([1, 3])
    rotate = along + each(tf.cos(turn)) * across + each(tf.sin(turn)) * cross
    after = (each(invert) * along + each(vivid) * across) @ rotate
    return after @ matrix, tf.einsum("bij,bj->bi", after, offset)


def recolour(pictures, matrix, offset):
    """Apply an affine map of RGB per row: pictures [batch, h, w, 3k], matrix [batch, 3, 3], offset [batch or 1, 3]."""
    shape = tf.shape(pictures)
    pixels = tf.reshape(pictures, [shape[0], -1, 3])
    changed = tf.matmul(pixels, tf.cast(matrix, pictures.dtype), transpose_b=True)
    return tf.reshape(changed + tf.cast(offset, pictures.dtype)[:, None], shape)
