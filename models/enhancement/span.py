"""SPAN: super-resolution whose attention has no weights, trained with convolutions of several parts and served with plain ones.

Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPRW 2024 (arXiv 2311.12770), section 3: six blocks
of three 3x3 convolutions at the small size. A block multiplies (features + input) by a function of its own features that is symmetric about
the origin, sigmoid(features) - 1/2: eq. 3 to 5.

In training a convolution is 1x1 -> 3x3 -> 1x1 plus a 1x1 skip. These parts are linear, so they are merged into one 3x3 kernel before it is
applied: same numbers, a fraction of the cost. The averaged network holds merged kernels only; it is what checkpoints call `ema`,
and what is exported.

It departs in three things: `residual` adds the repeated pixels of the input; the objective is L1 alone; batches and lengths are for
two cores.

Batch: `low`, `high`.

    python -m trainer.task --model span --preset x4 --data folder:PHOTOS
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from models.base import OnePlayer
from models.layers.resample import PixelShuffle
from models.losses.reconstruction import absolute
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.tasks import Enhancement


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are patches shown."""

    resolution: int = 96  # px, side of the high-resolution patches
    batch_size: int = 16  # patches a step
    images: int = 1_000_000  # length of training, patches
    scale: int = 4  # 2, 3 or 4
    width: int = 28  # channels of the features
    blocks: int = 6  # 1 or more
    expansion: int = 2  # channels between the parts of a convolution in training, as a multiple of those outside
    value_range: float = (
        255.0  # of the pixels that the features are computed of: large values give attention its full reach
    )
    residual: bool = True  # add the repeated pixels of the input
    learning_rate: float = 1e-3  # of Adam at the start
    learning_rate_end: float = 1e-5  # at the end of decay_images
    decay_images: int = 1_000_000  # length of the cosine from the one to the other
    ema_images: int = 5_000  # half-life of the averaged network, patches; 0: serve the trained one, merged

    def __post_init__(self):
        check_numbers(self, "scale", "width", "blocks", "expansion")
        if self.scale not in (2, 3, 4) or self.resolution % self.scale:
            raise UserError(f"scale must be 2, 3 or 4 and divide resolution={self.resolution}, not {self.scale}")


PRESETS = {
    "tiny": Config(16, 4, 64, scale=2, width=8, blocks=2, value_range=2.0, ema_images=500),
    "x4": Config(scale=4),
    "x3": Config(scale=3),
    "x2": Config(scale=2),
    "x4-48": Config(scale=4, width=48),
    "x2-48": Config(scale=2, width=48),
    "x4-52": Config(scale=4, width=52),
    "x2-52": Config(scale=2, width=52),
}


def merged_kernel(expand, middle, squeeze, skip):
    """The kernel [3, 3, in, out] of 1x1 -> 3x3 -> 1x1 plus a 1x1 skip; kernels of 1x1 are matrices [in, out]."""
    kernel = tf.einsum("hwbc,cd->hwbd", tf.einsum("ab,hwbc->hwac", expand, middle), squeeze)
    return kernel + tf.pad(skip[tf.newaxis, tf.newaxis], [[1, 1], [1, 1], [0, 0], [0, 0]])


def merged_bias(expand_bias, middle, middle_bias, squeeze, squeeze_bias):
    """The bias [out] of the same. It is one for all places if the zeros at the border are put around the input."""
    inner = tf.einsum("b,hwbc->c", expand_bias, middle) + middle_bias
    return tf.linalg.matvec(squeeze, inner, transpose_a=True) + squeeze_bias


@keras.saving.register_keras_serializable("packshot")
class MergedConv2D(keras.layers.Layer):
    """A 3x3 convolution with "same" padding, whose kernel is made of 1x1 -> 3x3 -> 1x1 plus a 1x1 skip: figure 3.

    [batch, height, width, channels] -> [batch, height, width, filters]. The parts are float32 in every precision until they are merged.
    The skip has no bias of its own, which would only be added to that of the last part.
    """

    def __init__(self, filters, expansion, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.expansion = expansion

    def build(self, input_shape):
        channels, filters = input_shape[-1], self.filters
        wide, inner = channels * self.expansion, filters * self.expansion

        def kernel(name, *shape):
            return self.add_weight(shape=shape, initializer=_lecun(), autocast=False, name=name)

        def bias(name, size):
            return self.add_weight(shape=(size,), initializer="zeros", autocast=False, name=name)

        self.expand, self.expand_bias = kernel("expand", channels, wide), bias("expand_bias", wide)
        self.middle, self.middle_bias = kernel("middle", 3, 3, wide, inner), bias("middle_bias", inner)
        self.squeeze, self.squeeze_bias = kernel("squeeze", inner, filters), bias("squeeze_bias", filters)
        self.skip = kernel("skip", channels, filters)

    def parts(self):
        """[(function, weights)] of the weights of the plain convolution: its kernel and its bias."""
        return [
            (merged_kernel, (self.expand, self.middle, self.squeeze, self.skip)),
            (merged_bias, (self.expand_bias, self.middle, self.middle_bias, self.squeeze, self.squeeze_bias)),
        ]

    def call(self, inputs):
        kernel, bias = (
            tf.cast(merge(*map(tf.convert_to_tensor, weights)), inputs.dtype) for merge, weights in self.parts()
        )
        return tf.nn.bias_add(tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME"), bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return super().get_config() | {"filters": self.filters, "expansion": self.expansion}


def _lecun():
    """Keeps the variance, so that the sum of the two ways doubles it: He's gain."""
    return keras.initializers.LecunNormal()


def build(config, name, *, merged):
    """low [batch, height, width, 3] -> pictures float32 [batch, scale * height, scale * width, 3], near [-1, 1].

    Convolutions are plain if `merged`, and made of parts if not; the two networks have the same layers in the same order.
    """

    def conv(x):
        if merged:
            return keras.layers.Conv2D(config.width, 3, padding="same")(x)
        return MergedConv2D(config.width, config.expansion)(x)

    def block(x):
        first = keras.layers.Activation("silu")(conv(x))
        features = conv(keras.layers.Activation("silu")(conv(first)))
        attention = keras.layers.Activation("sigmoid")(features) - 0.5
        return (features + x) * attention, first

    low = keras.Input((None, None, 3), name="low")
    shallow = x = conv(low * (config.value_range / 2))
    outputs = []
    for _ in range(config.blocks):
        x, first = block(x)
        outputs.append(x)
    joined = keras.layers.Concatenate()([shallow, conv(x), outputs[0], first])
    x = keras.layers.Conv2D(config.width, 1)(joined)
    x = keras.layers.Conv2D(
        3 * config.scale**2, 3, padding="same", kernel_initializer="zeros" if config.residual else "glorot_uniform"
    )(x) * (2 / config.value_range)
    if config.residual:
        x = x + keras.layers.Concatenate()([low] * config.scale**2)
    return keras.Model(
        low, keras.layers.Activation("linear", dtype="float32")(PixelShuffle(config.scale)(x)), name=name
    )


class Model(Enhancement, OnePlayer):
    """Minimises the absolute difference: paper, section 4.1."""

    default_steps_per_execution = 4

    def __init__(self, config, *, facts=Facts(), seed=0):
        super().__init__(config, facts=facts, seed=seed)
        self.network = build(config, "network", merged=False)
        self.ema = build(config, "ema", merged=True)
        for target, (merge, weights) in zip(self.ema.weights, self.followed(), strict=True):
            target.assign(merge(*(weight.value for weight in weights)))
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = adam("adam", self.network, rate=rate)

    def followed(self):
        """The merged kernels and biases of the trained network."""
        pairs = []
        for layer in self.network.layers:
            pairs += layer.parts() if isinstance(layer, MergedConv2D) else [(tf.identity, (w,)) for w in layer.weights]
        return pairs

    def terms(self, batch):
        return {"absolute": absolute(self.network(batch["low"], training=True), batch["high"])}
