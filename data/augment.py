"""Random changes to training rows: batched, and joint over all pictures and maps of a row.

Each function takes a dict of batches uint8 [batch, side, side, channels] and its uniform numbers, float32 [batch, n] on [0, 1).
It returns a dict of the same shapes and types, with the keys that it adds.
"""

import tensorflow as tf

AUGMENTATIONS = {}
DRAWN = 3  # numbers are drawn in multiples of this; another value changes every training stream


def augmentation(numbers, adds=()):
    """Enter a function in `AUGMENTATIONS`, under its own name: the numbers a row that it needs, and the keys that it adds."""

    def enter(function):
        function.numbers, function.adds = numbers, adds
        AUGMENTATIONS[function.__name__] = function
        return function

    return enter


@augmentation(numbers=1)
def flip(pictures, numbers):
    """Mirror left to right with probability 1/2."""
    return {key: _some(batch, numbers[:, 0], _mirror) for key, batch in pictures.items()}


@augmentation(numbers=3)
def dihedral(pictures, numbers):
    """One of the eight symmetries of the square, all equally likely."""
    changed = {}
    for key, batch in pictures.items():
        batch = _some(batch, numbers[:, 0], _mirror)
        batch = _some(batch, numbers[:, 1], _overturn)
        changed[key] = _some(batch, numbers[:, 2], lambda rows: tf.transpose(rows, [0, 2, 1, 3]))
    return changed


@augmentation(numbers=2)
def jitter(pictures, numbers):
    """Enlarge by 286/256 and cut the old size out at random: Isola et al. 2017, section 6.2."""
    corner = numbers[:, :2] * (1.0 - 256.0 / 286.0)
    boxes = tf.concat([corner, corner + 256.0 / 286.0], axis=1)
    rows = tf.range(tf.shape(boxes)[0])

    def cut(batch):
        side = tf.shape(batch)[1:3]
        resized = tf.image.crop_and_resize(tf.cast(batch, tf.float32), boxes, rows, side)
        return tf.ensure_shape(tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), batch.dtype), batch.shape)

    return {key: cut(batch) for key, batch in pictures.items()}


def numbers_of(names) -> int:
    """The numbers a row that `apply` is given for these names."""
    return sum(map(_drawn, names))


def added_by(names) -> set[str]:
    """The keys that `apply` adds for these names."""
    return {key for name in names for key in AUGMENTATIONS[name].adds}


def apply(names, pictures, numbers):
    """Apply augmentations by name, in order; `numbers` is float32 [batch, numbers_of(names)], uniform on [0, 1)."""
    for name in names:
        pictures = AUGMENTATIONS[name](pictures, numbers[:, : AUGMENTATIONS[name].numbers])
        numbers = numbers[:, _drawn(name) :]
    return pictures


def _drawn(name):
    return -(-AUGMENTATIONS[name].numbers // DRAWN) * DRAWN


def _some(batch, number, change):
    """`change(rows)` in place of the rows whose number is below 1/2; only those are computed."""
    chosen = number < 0.5
    changed = change(tf.gather(batch, tf.where(chosen)[:, 0]))
    rows = tf.shape(batch)[0]
    places = tf.where(chosen, rows - 1 + tf.cumsum(tf.cast(chosen, tf.int32)), tf.range(rows))
    # Whole rows copied from their places: scattering or selecting them takes several times as long.
    return tf.ensure_shape(tf.gather(tf.concat([batch, changed], axis=0), places), batch.shape)


def _mirror(batch):
    """Left and right exchanged; as lines of pixels, for which TensorFlow has a kernel more than twice as fast."""
    _, _, width, channels = batch.shape
    return tf.reshape(tf.reverse(tf.reshape(batch, [-1, width, channels]), [1]), tf.shape(batch))


def _overturn(batch):
    """Top and bottom exchanged; lines of pixels copied whole, which is faster than `tf.reverse`."""
    return tf.gather(batch, tf.range(batch.shape[1])[::-1], axis=1)
