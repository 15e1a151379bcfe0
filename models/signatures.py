"""What an exported model answers: signatures, and ready-made sets of them from which a family picks with one line.

Inputs and outputs are dicts of tensors with the batch axis first; pictures are uint8 outside and float32 in [-1, 1]
inside. A row's answer depends on that row only, so a server may put requests of many callers into one batch. The
server checks no shapes, and a picture of the wrong rank aborts its process: hence `tf.ensure_shape` before anything
else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from data.images import to_float, to_uint8


@dataclass(frozen=True)
class Signature:
    """One way to ask a model.

    `function` takes keyword tensors as in `inputs` and returns a dict of tensors; `samples(rng, n)` draws n-row
    requests.
    """

    function: Callable[..., dict[str, tf.Tensor]]
    inputs: dict[str, tf.TensorSpec]
    samples: Callable[[np.random.Generator, int], dict[str, np.ndarray]]


def generation(
    generate: Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor],
    *,
    latent_size: int,
    classes: int = 0,
    class_names: Sequence[str] = (),
    resolution: int,
) -> dict[str, Signature]:
    """The signatures of a model that makes pictures from noise, the default first.

    `generate(z, label)` takes float32 [n, latent_size] and int32 [n] (None when `classes` is 0) and returns
    [n, resolution, resolution, 3] in [-1, 1] in any float type.

    serving_default, generate: seed int64 [n], truncation float32 [n] (multiplies z), label int64 [n]
        -> images uint8 [n, resolution, resolution, 3]
    generate_png: the same -> image_bytes, PNG files [n]
    latents: z float32 [n, latent_size], label int64 [n] -> images
    classes: label int64 [n] -> name string [n], count int64 [n], of all classes; only with `class_names`, in their order

    A label outside 0 .. classes - 1 is answered with INVALID_ARGUMENT.
    """

    def pictures(z, label):
        if classes:
            label = tf.cast(_known_label(label, classes), tf.int32)
        return tf.ensure_shape(to_uint8(generate(z, label)), [None, resolution, resolution, 3])

    def from_seed(seed, truncation, label=None):
        seed, truncation = tf.ensure_shape(seed, [None]), tf.ensure_shape(truncation, [None])
        return pictures(_noise(seed, latent_size) * truncation[:, tf.newaxis], label)

    def from_latents(z, label=None):
        return {"images": pictures(tf.ensure_shape(z, [None, latent_size]), label)}

    def requests(rng, n):
        request = {"seed": rng.integers(2**31, size=n), "truncation": rng.uniform(0.5, 1.0, n).astype(np.float32)}
        return request | labels(rng, n)

    def latent_requests(rng, n):
        return {"z": rng.standard_normal((n, latent_size), np.float32)} | labels(rng, n)

    def labels(rng, n):
        return {"label": rng.integers(classes, size=n)} if classes else {}

    label = {"label": tf.TensorSpec([None], tf.int64)} if classes else {}
    seeded = {"seed": tf.TensorSpec([None], tf.int64), "truncation": tf.TensorSpec([None], tf.float32)} | label
    images = Signature(lambda **request: {"images": from_seed(**request)}, seeded, requests)
    named = {"classes": _names(class_names, label, labels)} if class_names else {}
    return {
        "serving_default": images,
        "generate": images,
        "generate_png": Signature(
            lambda **request: {"image_bytes": tf.io.encode_png(from_seed(**request))}, seeded, requests
        ),
        "latents": Signature(
            from_latents, {"z": tf.TensorSpec([None, latent_size], tf.float32)} | label, latent_requests
        ),
    } | named


def pictures(
    apply: Callable[[tf.Tensor], tf.Tensor], *, size: int | None = None, scale: int = 1
) -> dict[str, Signature]:
    """The signatures of a model that makes a picture from a picture, the default first.

    `apply(x)` takes float32 [n, H, W, 3] in [-1, 1] and returns [n, scale * H, scale * W, 3] in [-1, 1] in any float
    type. `size` fixes H and W; without it pictures of any size are taken.

    serving_default, apply: images uint8 [n, H, W, 3] -> images uint8
    apply_bytes: image_bytes [n], each a JPEG, PNG, GIF, BMP or WebP of any size -> image_bytes, PNG files [n].
        Transparency is laid over white; orientation marks are not read. With `size` each is resized to it, antialiased.

    Bytes that are no picture, and a wrong shape, are answered with INVALID_ARGUMENT.
    """
    side = None if size is None else size * scale

    def to_images(x):
        return tf.ensure_shape(to_uint8(apply(x)), [None, side, side, 3])

    def apply_images(images):
        return {"images": to_images(to_float(tf.ensure_shape(images, [None, size, size, 3])))}

    def apply_bytes(image_bytes):
        image_bytes = tf.ensure_shape(image_bytes, [None])
        if size is None:
            return {"image_bytes": tf.map_fn(lambda row: png_of_any_size(decode(row)), image_bytes)}
        resized = tf.map_fn(
            resized_to_size, image_bytes, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32)
        )
        return {"image_bytes": tf.io.encode_png(to_images(resized))}

    def decode(content):
        return to_float(_over_white(tf.io.decode_image(content, expand_animations=False)))

    def resized_to_size(content):
        return tf.clip_by_value(tf.image.resize(decode(content), [size, size], "bicubic", antialias=True), -1.0, 1.0)

    def png_of_any_size(picture):
        return tf.io.encode_png(to_images(picture[tf.newaxis])[0])

    def requests(rng, n):
        return {"images": rng.integers(256, size=(n, size or 24, size or 32, 3)).astype(np.uint8)}

    def bytes_requests(rng, n):
        # Never two of one size: a signature that only works when all rows are alike must not pass.
        drawn = [rng.integers(256, size=(16 + 4 * row, 24, 3)).astype(np.uint8) for row in range(n)]
        files = [tf.io.encode_png(picture).numpy() for picture in drawn[:1]]
        files += [tf.io.encode_jpeg(picture).numpy() for picture in drawn[1:]]
        return {"image_bytes": np.array(files, object)}

    images = Signature(apply_images, {"images": tf.TensorSpec([None, size, size, 3], tf.uint8)}, requests)
    return {
        "serving_default": images,
        "apply": images,
        "apply_bytes": Signature(apply_bytes, {"image_bytes": tf.TensorSpec([None], tf.string)}, bytes_requests),
    }


def _noise(seed, latent_size):
    """Standard normal float32 [n, latent_size] whose row i is a function of seed[i] alone, on any device."""
    return tf.map_fn(
        lambda row: tf.random.stateless_normal([latent_size], tf.stack([row, 0]), alg="philox"),
        seed,
        fn_output_signature=tf.TensorSpec([latent_size], tf.float32),
    )


def _names(class_names, inputs, samples):
    """What says which class a number is. How many there are goes with every row, since every answer has the batch axis."""
    names = tf.constant(list(class_names), tf.string)

    def answer(label):
        label = _known_label(label, len(class_names))
        return {"name": tf.gather(names, label), "count": tf.fill(tf.shape(label), tf.size(names, tf.int64))}

    return Signature(answer, inputs, samples)


def _known_label(label, classes):
    """The labels themselves, once all are known to lie in range: the model waits for them, so it cannot run before."""
    label = tf.ensure_shape(label, [None])
    fine = tf.reduce_all((label >= 0) & (label < classes))
    with tf.control_dependencies(
        [tf.debugging.Assert(fine, [f"label must lie in 0 .. {classes - 1}, not", label], 16)]
    ):
        return tf.identity(label)


def _over_white(picture):
    """uint8 [H, W, 1 to 4] (grey, grey and alpha, RGB, RGBA) to uint8 [H, W, 3]."""
    picture = tf.cast(picture, tf.float32)
    has_alpha = tf.shape(picture)[2] % 2 == 0
    colour = picture[:, :, : tf.shape(picture)[2] - tf.cast(has_alpha, tf.int32)] * tf.ones([3])
    alpha = tf.where(has_alpha, picture[:, :, -1:] / 255.0, 1.0)
    return tf.cast(tf.round(colour * alpha + 255.0 * (1.0 - alpha)), tf.uint8)
