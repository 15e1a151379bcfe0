"""Train the encoder shipped with packshot, on drawings alone: about 20 minutes of processor time, and a file of 1.5 MB.

The network learns at once to classify the product and its print, to estimate its colours and those of the backdrop, to locate it, to
estimate how much a picture was blurred, covered with noise, compressed, faded and reduced, and to match two views of one scene. Then the
heads are dropped, normalisation is folded into the convolutions, and the features of each depth are whitened on fresh scenes. The same
seed and TensorFlow give the same scenes and the same start; sums in threads change the last digits, and so the name.

Example:
  python -m trainer.features.make_encoder --out models/features/encoder.npz
"""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import click
import numpy as np
from tqdm import tqdm

from data import files
from data.images import bicubic_float, to_float
from data.sources.studio import Studio
from models.features import packshot
from models.features.network import digest
from trainer.console import progress
from trainer.features.scenes import PRINTS, Scenes

SCENES = 48  # per step, with two views of each
WHITENED_ON = 3000  # scenes
TEMPERATURE = 0.2
PEAK_RATE = 2e-3


@click.command(help=__doc__.replace("Example:", "\b\nExample:"))
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="file to write, .npz")
@click.option(
    "--steps", default=1000, type=click.IntRange(min=1), show_default=True, help=f"training steps, of {SCENES} scenes"
)
@click.option("--products", default=4000, type=click.IntRange(min=1), show_default=True, help="products in stock")
@click.option("--backdrops", default=1200, type=click.IntRange(min=1), show_default=True, help="backdrops in stock")
@click.option(
    "--whitened-on", default=WHITENED_ON, type=click.IntRange(min=200), show_default=True, help="scenes for whitening"
)
@click.option("--seed", default=0, show_default=True)
def main(*, out, steps, products, backdrops, whitened_on, seed):
    began = time.monotonic()
    scenes = Scenes(seed, products, backdrops, progress=progress)
    weights, terms = train(scenes, steps, seed)
    weights |= whitening(scenes, weights, range(steps * SCENES, steps * SCENES + whitened_on))
    weights = {name: array.astype(np.float16) for name, array in weights.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **weights)
    files.write(out, buffer.getvalue())
    shown = ", ".join(f"{name} {value:.3f}" for name, value in terms.items())
    size, minutes = len(buffer.getvalue()) / 1e6, (time.monotonic() - began) / 60
    click.echo(f"{out}: packshot1-{digest(weights)}, {size:.1f} MB, {minutes:.0f} minutes; last losses: {shown}")


def batches(scenes, numbers):
    """Yields dicts of arrays for `SCENES` scenes: all first views, then all second ones, with float32 pictures in [0, 255]."""

    def made(number):
        side = (packshot.SIZE, packshot.SIZE)
        return [(bicubic_float(np.ascontiguousarray(v.picture), side), s, v) for s, v in scenes.pair(number)]

    with ThreadPoolExecutor(2) as pool:
        waiting, numbers = [], iter(numbers)
        while True:
            while len(waiting) < 3 and (part := list(islice(numbers, SCENES))):
                waiting.append([pool.submit(made, number) for number in part])
            if not waiting:
                return
            pairs = [future.result() for future in waiting.pop(0)]
            pictures, shown, views = zip(*(pair[which] for which in (0, 1) for pair in pairs), strict=True)
            yield {
                "pictures": np.stack(pictures),
                "label": np.array([scene.label for scene in shown], np.int32),
                "print": np.array([scene.print_number for scene in shown], np.int32),
                "colours": np.stack([scene.colours for scene in shown]),
                "mask": np.stack([view.mask for view in views]),
                "damage": np.stack([view.damage for view in views]),
            }


def network(seed):
    """Builds the trunk, from pictures to the map of each depth: the layers of `packshot.maps` with normalisation."""
    import keras

    here = pictures = keras.Input((None, None, 3))
    here = keras.layers.Rescaling(1 / 127.5, -1)(here)
    maps, number = [], 0
    for depth in packshot.DEPTHS:
        for layer, channels in enumerate(depth):
            start = keras.initializers.HeNormal(seed + number)
            stride = 1 if layer else 2
            options = {"use_bias": False, "kernel_initializer": start, "dtype": "mixed_bfloat16"}
            here = keras.layers.Conv2D(channels, 3, stride, "same", name=f"conv{number}", **options)(here)
            here = keras.layers.BatchNormalization(name=f"norm{number}", momentum=0.97, dtype="mixed_bfloat16")(here)
            here = keras.layers.ReLU(dtype="mixed_bfloat16")(here)
            number += 1
        maps.append(here)
    return keras.Model(pictures, maps)


def _with_heads(trunk):
    """Adds the heads of all training targets, by name, to the trunk."""
    import keras
    from keras import layers, ops

    maps = [ops.cast(layer, "float32") for layer in trunk.outputs]
    means = [ops.mean(layer, axis=(1, 2)) for layer in maps]
    deviations = [ops.sqrt(ops.var(layer, axis=(1, 2)) + 1e-4) for layer in maps]
    shallow = ops.concatenate([*means[:3], *deviations[:3]], axis=1)
    deep = ops.concatenate([*means[3:], *deviations[3:]], axis=1)
    content = layers.Dense(256, "relu")(layers.BatchNormalization()(deep))
    damage = layers.Dense(64, "relu")(layers.BatchNormalization()(shallow))
    place = ops.concatenate([maps[3], layers.UpSampling2D(2)(maps[4])], axis=3)
    known = layers.Dense(256, "relu")(layers.BatchNormalization()(ops.concatenate([shallow, deep], axis=1)))
    return keras.Model(
        trunk.inputs,
        {
            "label": layers.Dense(len(Studio.classes))(content),
            "print": layers.Dense(1 + len(PRINTS))(content),
            "colours": layers.Dense(6)(content),
            "damage": layers.Dense(5)(damage),
            "mask": layers.Conv2D(1, 1)(place)[..., 0],
            "known": layers.Dense(128)(known),
        },
    )


def _terms(found, batch):
    """Returns the losses by name: scalars, as they enter the sum."""
    import tensorflow as tf

    labelled = tf.cast(batch["label"] >= 0, tf.float32)

    def mean(values):
        return tf.reduce_sum(values * labelled) / (tf.reduce_sum(labelled) + 1e-6)

    def named(key):
        return mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(batch[key], 0), found[key]))

    mask = tf.nn.sigmoid_cross_entropy_with_logits(batch["mask"], found["mask"])
    known = tf.math.l2_normalize(found["known"], axis=1)
    count = tf.shape(known)[0]
    alike = known @ tf.transpose(known) / TEMPERATURE - 1e9 * tf.eye(count)
    other = (tf.range(count) + count // 2) % count
    return {
        "label": named("label"),
        "print": 0.5 * named("print"),
        "colours": 2.0 * mean(tf.reduce_mean(tf.abs(found["colours"] - batch["colours"]), axis=1)),
        "mask": mean(tf.reduce_mean(mask, axis=(1, 2))),
        "damage": 4.0 * tf.reduce_mean(tf.abs(found["damage"] - batch["damage"])),
        "known": 0.5 * tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(other, alike)),
    }


def train(scenes, steps, seed):
    """Returns folded kernels and biases, float32 by name, and the mean of each loss over the last steps."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    trunk = network(seed)
    model = _with_heads(trunk)
    warm = min(50, steps // 4)
    rate = keras.optimizers.schedules.CosineDecay(0.0, max(steps - warm, 1), 0.01, "rate", PEAK_RATE, warm)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.02)

    @tf.function(reduce_retracing=True)
    def step(batch):
        with tf.GradientTape() as tape:
            terms = _terms(model(batch["pictures"], training=True), batch)
            loss = tf.add_n(list(terms.values()))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return terms

    kept = []
    with tqdm(batches(scenes, range(steps * SCENES)), total=steps, unit="step", disable=None) as bar:
        for batch in bar:
            kept = [*kept[-49:], {name: float(value) for name, value in step(batch).items()}]
            bar.set_postfix({name: f"{np.mean([k[name] for k in kept]):.2f}" for name in kept[-1]}, refresh=False)
    return folded(trunk, sum(map(len, packshot.DEPTHS))), {name: np.mean([k[name] for k in kept]) for name in kept[-1]}


def folded(trunk, count):
    """Folds the normalisations `norm0` ... of a Keras model into its first `count` convolutions `conv0` ...

    Returns {"kernel0": [side, side, in, out], "bias0": [out], ...}, float32.
    """
    weights = {}
    for number in range(count):
        norm = trunk.get_layer(f"norm{number}")
        gamma, beta, mean, variance = norm.get_weights()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        weights[f"kernel{number}"] = trunk.get_layer(f"conv{number}").get_weights()[0] * scale
        weights[f"bias{number}"] = beta - mean * scale
    return weights


def whitening(scenes, weights, numbers):
    """Returns principal components on fresh scenes, of deviation 1: {"centre0": [2 * channels], "matrix0": [2 * channels, share], ...}."""
    import tensorflow as tf

    rounded = {name: tf.constant(array.astype(np.float16), tf.float32) for name, array in weights.items()}
    pooled = [
        [rows.numpy() for rows in packshot.pool(packshot.maps(to_float(batch["pictures"][:SCENES]), rounded))]
        for batch in batches(scenes, numbers)
    ]
    components = {}
    for depth, (parts, share) in enumerate(zip(zip(*pooled, strict=True), packshot.SHARES, strict=True)):
        rows = np.concatenate(parts).astype(np.float64)
        centre, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-3
        _, spread, axes = np.linalg.svd((rows - centre) / deviation, full_matrices=False)
        scale = np.sqrt(len(rows)) / np.maximum(spread[:share], 1e-2 * spread[0])
        components[f"centre{depth}"] = centre.astype(np.float32)
        components[f"matrix{depth}"] = (axes[:share] * scale[:, None] / deviation).T.astype(np.float32)
    return components


if __name__ == "__main__":
    main()
