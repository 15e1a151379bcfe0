"""Random changes to training rows: batched, and joint over all pictures of a row.

Each function takes a dict of picture batches uint8 [batch, side, side, channels] and uniform numbers float32 [batch, 3] on [0, 1), and
returns a dict of the same shapes and types.
"""

import tensorflow as tf


def flip(pictures, numbers):
    """Mirror left to right with probability 1/2."""
    return {key: _where(numbers[:, 0], _mirror(batch), batch) for key, batch in pictures.items()}


def dihedral(pictures, numbers):
    """One of the eight symmetries of the square, all equally likely."""
    changed = {}
    for key, batch in pictures.items():
        batch = _where(numbers[:, 0], _mirror(batch), batch)
        batch = _where(numbers[:, 1], tf.reverse(batch, [1]), batch)
        changed[key] = _where(numbers[:, 2], tf.transpose(batch, [0, 2, 1, 3]), batch)
    return changed


def jitter(pictures, numbers):
    """Enlarge by 286/256 and cut the old size out at random: Isola et al. 2017, section 6.2."""
    corner = numbers[:, :2] * (1.0 - 256.0 / 286.0)
    boxes = tf.concat([corner, corner + 256.0 / 286.0], axis=1)
    rows = tf.range(tf.shape(boxes)[0])

    def cut(batch):
        side = tf.shape(batch)[1:3]
        made = tf.image.crop_and_resize(tf.cast(batch, tf.float32), boxes, rows, side)
        return tf.ensure_shape(tf.cast(tf.clip_by_value(tf.round(made), 0.0, 255.0), batch.dtype), batch.shape)

    return {key: cut(batch) for key, batch in pictures.items()}


AUGMENTATIONS = {"flip": flip, "dihedral": dihedral, "jitter": jitter}


def apply(names, pictures, numbers):
    """Apply augmentations by name, in order; numbers is float32 [batch, len(names), 3], uniform on [0, 1)."""
    for place, name in enumerate(names):
        pictures = AUGMENTATIONS[name](pictures, numbers[:, place])
    return pictures


def _mirror(batch):
    """Left and right exchanged; as lines of pixels, for which TensorFlow has a kernel more than twice as fast."""
    _, _, width, channels = batch.shape
    return tf.reshape(tf.reverse(tf.reshape(batch, [-1, width, channels]), [1]), tf.shape(batch))


def _where(number, changed, batch):
    """`changed` where the row's number is below 1/2. The raw op takes whole rows; `tf.where` would decide every byte."""
    return tf.raw_ops.Select(condition=number < 0.5, x=changed, y=batch)
