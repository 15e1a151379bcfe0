"""Blur kernels, float32 [SIDE, SIDE] with the sum 1, and the convolution with one.

All are symmetric about their middle, so that convolution and correlation are the same. Lengths and deviations are in px, angles in
radians from the x axis towards the y axis; each may be a scalar tensor.
"""

import math

import tensorflow as tf

SIDE = 21
_REACH = SIDE // 2


def gaussian(deviation_x, deviation_y, *, angle=0.0) -> tf.Tensor:
    """exp(-d / 2), where d is the squared distance by the axes of the ellipse."""
    return _normalised(tf.exp(-0.5 * _distance(deviation_x, deviation_y, angle)))


def generalized(deviation_x, deviation_y, angle, beta) -> tf.Tensor:
    """exp(-d^beta / 2): flatter than a Gaussian above 1, more peaked below (Liu et al. 2020, arXiv 2005.13439)."""
    return _normalised(tf.exp(-0.5 * _distance(deviation_x, deviation_y, angle) ** beta))


def plateau(deviation_x, deviation_y, angle, beta) -> tf.Tensor:
    """1 / (1 + d^beta): Wang et al. 2021, "Real-ESRGAN" (arXiv 2107.10833), section 3.2."""
    return _normalised(1.0 / (1.0 + _distance(deviation_x, deviation_y, angle) ** beta))


def motion(length, angle) -> tf.Tensor:
    """A camera that moves evenly along a line of `length` px: pixels within half a px of it count in full, to a px less and less."""
    x, y = _axes()
    along = x * tf.cos(angle) + y * tf.sin(angle)
    across = y * tf.cos(angle) - x * tf.sin(angle)
    beyond = tf.maximum(tf.abs(along) - (length - 1.0) / 2.0, 0.0)
    return _normalised(tf.clip_by_value(1.0 - tf.sqrt(across**2 + beyond**2), 0.0, 1.0))


def disc(radius) -> tf.Tensor:
    """A lens out of focus: a disc of `radius` px with an edge one px soft."""
    x, y = _axes()
    return _normalised(tf.clip_by_value(radius + 0.5 - tf.sqrt(x**2 + y**2), 0.0, 1.0))


def sinc(cutoff) -> tf.Tensor:
    """The ideal low-pass filter in two dimensions, w J1(w r) / (2 pi r), which rings: "Real-ESRGAN", eq. 6; cutoff w in (0, pi]."""
    x, y = _axes()
    radius = tf.sqrt(x**2 + y**2)
    far = tf.maximum(radius, 0.5)
    values = cutoff * tf.math.special.bessel_j1(cutoff * far) / (2.0 * math.pi * far)
    return _normalised(tf.where(radius > 0.0, values, cutoff**2 / (4.0 * math.pi)))


def cut(kernel, side) -> tf.Tensor:
    """The kernel within a square of `side` px, an odd number, and 0 outside."""
    x, y = _axes()
    inside = tf.maximum(tf.abs(x), tf.abs(y)) <= tf.cast(side // 2, tf.float32)
    return _normalised(tf.where(inside, kernel, 0.0))


def convolve(picture, kernel) -> tf.Tensor:
    """float32 [height, width, 3] with a kernel, mirrored at the border; by Fourier transforms, which do not mind large kernels."""
    height, width = tf.shape(picture)[0], tf.shape(picture)[1]
    padded = tf.gather(tf.gather(picture, _mirrored(height), axis=0), _mirrored(width), axis=1)
    size = tf.shape(padded)[:2]
    spectra = tf.signal.rfft2d(tf.transpose(padded, [2, 0, 1])) * tf.signal.rfft2d(kernel, size)
    filtered = tf.signal.irfft2d(spectra, size)[:, 2 * _REACH :, 2 * _REACH :]
    return tf.ensure_shape(tf.transpose(filtered, [1, 2, 0]), picture.shape)


def _axes():
    line = tf.range(-_REACH, _REACH + 1, dtype=tf.float32)
    return line[tf.newaxis, :], line[:, tf.newaxis]


def _distance(deviation_x, deviation_y, angle):
    x, y = _axes()
    along = (x * tf.cos(angle) + y * tf.sin(angle)) / deviation_x
    across = (y * tf.cos(angle) - x * tf.sin(angle)) / deviation_y
    return along**2 + across**2


def _normalised(kernel):
    return kernel / tf.reduce_sum(kernel)


def _mirrored(length):
    """Indices of a line of `length` px with _REACH more at each end, mirrored as often as it takes."""
    places = tf.abs(tf.range(-_REACH, length + _REACH))
    period = tf.maximum(2 * (length - 1), 1)
    return tf.minimum(places % period, period - places % period) % tf.maximum(length, 1)
