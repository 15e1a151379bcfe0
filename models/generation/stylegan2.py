"""StyleGAN2: a mapping of z to a style w, which modulates the convolutions of a generator that starts from a learned constant.

Karras, Laine, Aittala, Hellsten, Lehtinen and Aila, "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020
(arXiv 1912.04958): modulated and demodulated convolutions, a generator that adds up pictures of all its stages, a residual critic that sees
the deviation of its minibatch, R1 and path length regularisation on some steps only. Style mixing, noise in every layer and the mapping are
those of Karras, Laine and Aila 2019 (arXiv 1812.04948). Conditions are told to the mapping, and to the critic by projection.
It departs in one thing: a regularised step is one step of Adam, together with the main loss, so Adam's settings need no correction.

Batch: `image` [, `label`]. The presets `64` and `256` have the paper's widths; `cpu-64` is narrow and learns faster, for two CPU cores,
and its noise grows slowly: at the rate of other weights dark specks of noise lay over every picture before there were any shapes.

    python -m trainer.task --model stylegan2 --data folder:PHOTOS --conditional --augment ada
    packshot sample runs/stylegan2-cpu-64-PHOTOS --truncation 0.7 --out typical.png
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from data.random import RowRandom
from models import ports
from models.base import Player, TwoPlayer
from models.layers.condition import KnownEmbedding, condition_inputs, logits
from models.layers.equalized import EqualConv2D, EqualDense, EqualEmbedding, ModulatedConv2D
from models.layers.initializers import normal
from models.layers.resample import Blur, Downsample2x, Upsample2x
from models.losses import penalties
from models.losses.adversarial import objective
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.signatures import Endpoint
from models.styles import strongest_steps
from models.tasks import Generation

LEAK = 0.2
ROOT2 = math.sqrt(2.0)  # gain of a leaky ReLU in this paper
GROUP = 4  # rows over which the critic sees a deviation: Karras et al. 2018, section 3
CENTRE_RATE = 0.05  # share of a batch in the average of w
DIRECTIONS = tuple(
    f"direction_{place}" for place in range(1, 7)
)  # that an export can be asked to go, the strongest first
PATH_RATE = 0.01  # share of a batch in the average path length: paper, section 3.2


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown to the critic as reals."""

    resolution: int = 64  # px
    batch_size: int = 32  # pictures a step
    images: int = 25_000_000  # length of training, pictures
    latent_size: int = 512  # numbers in z, in w, and in the embedding of a condition
    mapping_layers: int = 8  # from z to w
    mapping_rate: float = 0.01  # learning rate of the mapping / that of the generator
    channels: tuple[int, ...] = (512,) * 5  # from 4x4 px upwards, each stage twice as wide
    noise_rate: float = 1.0  # learning rate of the strength of noise / that of the generator
    # Stride in px of the critic's first convolution, whose side is twice that (1: 1x1), in place of its widest stages.
    patch: int = 1
    mixing: float = 0.9  # share of pictures with the styles of two z
    gamma: float = 0.05  # weight of R1 (enters as gamma / 2)
    penalty_every: int = 16  # steps between two with R1; it is multiplied by that
    path_weight: float = 2.0  # weight of the path length's deviation, lengths per pixel and layer
    path_every: int = 8  # steps between two with path lengths; they are multiplied by that
    critic_steps: int = 1  # critic steps for one generator step
    learning_rate: float = 2e-3  # of both Adams at the start
    learning_rate_end: float = 2e-3  # after decay_images
    decay_images: int = 25_000_000  # length of the cosine from the one to the other
    beta_1: float = 0.0  # Adam
    beta_2: float = 0.99  # Adam
    ema_images: int = 10_000  # half-life of the averaged generator, pictures
    ada_images: int = 500_000  # pictures in which ADA may go from 0 to 1

    def __post_init__(self):
        check_numbers(self, "latent_size", "mapping_layers", "channels", "path_every")
        made = 4 * 2 ** (len(self.channels) - 1)
        if made != self.resolution:
            raise UserError(
                f"{len(self.channels)} stages from 4x4 px make pictures of {made} px, not resolution={self.resolution}"
            )
        if self.latent_size < len(DIRECTIONS):
            raise UserError(f"latent_size must be {len(DIRECTIONS)} or more, not {self.latent_size}")
        if len(self.channels) < 2:
            raise UserError(f"channels must name two stages or more, not {self.channels}")
        if self.patch not in (1, 2, 4) or self.resolution < 8 * self.patch:
            raise UserError(
                f"patch must be 1, 2 or 4, and leave 8x8 px of resolution={self.resolution}, not {self.patch}"
            )
        if self.mixing > 1:
            raise UserError(f"mixing must be 1 or less, not {self.mixing}")

    @property
    def sides(self) -> tuple[int, ...]:
        """Side in px of the places where each styled convolution adds noise; as many as there are layers of styles."""
        return (4, *(4 * 2**stage for stage in range(1, len(self.channels)) for _ in range(2)))

    @property
    def noise_size(self) -> int:
        """Numbers of noise in a picture."""
        return sum(side**2 for side in self.sides)


PRESETS = {
    "tiny": Config(
        16,
        8,
        64,
        latent_size=8,
        mapping_layers=2,
        channels=(16, 12, 8),
        patch=2,
        gamma=1.0,
        penalty_every=2,
        path_every=2,
        ema_images=500,
    ),
    "cpu-64": Config(
        64,
        16,
        200_000,
        latent_size=128,
        mapping_layers=4,
        mapping_rate=0.1,
        channels=(128, 96, 64, 32, 16),
        noise_rate=0.01,
        patch=2,
        gamma=2.0,
        penalty_every=8,
        learning_rate=6e-3,
        learning_rate_end=1e-3,
        decay_images=200_000,
        ema_images=5_000,
        ada_images=100_000,
    ),
    "64": Config(),
    "256": Config(256, channels=(512,) * 5 + (256, 128), gamma=1.0),
}


class UnitSize(keras.layers.Layer):
    """Each row divided by the root of its mean square: [batch, n] -> [batch, n]; zeros stay zeros."""

    def call(self, inputs):
        return inputs * tf.math.rsqrt(tf.reduce_mean(tf.square(inputs), axis=-1, keepdims=True) + 1e-8)


class Average(keras.layers.Layer):
    """The moving average of w given the conditions: [w [batch, n], condition int32 [batch] ...] -> float32 [batch, n].

    It is the sum of a vector and of one for each known condition, fitted by least squares: for one condition the average of its value, for
    several as if they acted independently. Truncation then leaves a picture its category.
    """

    def __init__(self, facts, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.facts = facts

    def build(self, input_shape):
        size = input_shape[0][-1]
        moving = {"initializer": "zeros", "trainable": False, "aggregation": "mean"}
        self.mean = self.add_weight(shape=(size,), name="mean", **moving)
        self.tables = [
            self.add_weight(shape=(condition.count, size), name=condition.name, **moving) for condition in self.facts
        ]

    def call(self, inputs):
        w, *columns = inputs
        return (
            tf.zeros_like(w)
            + self.mean.value
            + sum(
                tf.matmul(self._chosen(column, table), table.value)
                for column, table in zip(columns, self.tables, strict=True)
            )
        )

    def follow(self, w, columns):
        """Move towards the w of a batch and its conditions, by the same share of each row's error."""
        errors = w - self([w, *columns])
        rate = CENTRE_RATE / tf.cast(tf.shape(w)[0], tf.float32)
        self.mean.assign(self.mean + rate * tf.reduce_sum(errors, axis=0))
        for column, table in zip(columns, self.tables, strict=True):
            table.assign(table + rate * tf.matmul(self._chosen(column, table), errors, transpose_a=True))

    def _chosen(self, column, table):
        return tf.one_hot(column, table.shape[0])

    def compute_output_shape(self, input_shape):
        return input_shape[0]


class LearnedConstant(keras.layers.Layer):
    """The learned picture that every generated one starts from: w [batch, n] -> [batch, 4, 4, channels]."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels

    def build(self, input_shape):
        self.constant = self.add_weight(shape=(1, 4, 4, self.channels), initializer=normal(1.0), name="constant")

    def call(self, inputs):
        return tf.tile(tf.convert_to_tensor(self.constant), [tf.shape(inputs)[0], 1, 1, 1])

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 4, 4, self.channels)


class AddNoise(keras.layers.Layer):
    """Pictures, noise [batch, height, width, 1] -> pictures + bias of each channel + strength * noise; the strength starts at 0.

    rate: learning rate of the strength / that of other weights.
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(input_shape[0][-1],), initializer="zeros", name="bias")
        self.strength = self.add_weight(shape=(), initializer="zeros", name="strength")

    def call(self, inputs):
        pictures, noise = inputs
        return pictures + (tf.convert_to_tensor(self.bias) + noise * (self.rate * self.strength))

    def compute_output_shape(self, input_shape):
        return input_shape[0]


class Patches(keras.layers.Layer):
    """Pixels folded into channels: a 2x2 convolution of what it gives is one of side 2 * patch and stride patch, and faster on CPU.

    [batch, height, width, c] -> [batch, height / patch + 1, width / patch + 1, c * patch^2], padded by half a patch; patch is even.
    """

    def __init__(self, patch, **kwargs):
        super().__init__(**kwargs)
        self.patch = patch

    def call(self, inputs):
        edge = [self.patch // 2, self.patch // 2]
        return tf.nn.space_to_depth(tf.pad(inputs, [[0, 0], edge, edge, [0, 0]]), self.patch)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height // self.patch + 1, width // self.patch + 1, channels * self.patch**2)


class MinibatchDeviation(keras.layers.Layer):
    """One more channel: the deviation over a group of rows, averaged over places and channels (Karras et al. 2018, section 3).

    A group is up to `GROUP` rows that follow each other, so the critic's answer depends on the neighbours of a row.
    """

    def call(self, inputs):
        rows, *shape = inputs.shape
        group = next(size for size in range(GROUP, 0, -1) if rows % size == 0)
        grouped = tf.cast(tf.reshape(inputs, [-1, group, *shape]), tf.float32)
        deviation = tf.sqrt(tf.math.reduce_variance(grouped, axis=1, keepdims=True) + 1e-8)
        value = tf.reduce_mean(deviation, axis=[2, 3, 4], keepdims=True)
        channel = tf.cast(tf.reshape(tf.tile(value, [1, group, *shape[:2], 1]), [-1, *shape[:2], 1]), inputs.dtype)
        return tf.concat([inputs, channel], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 1)


def active(x):
    return keras.layers.LeakyReLU(LEAK)(x)


def build_mapping(config, facts):
    """(latent [batch, latent_size] [, a condition [batch] ...]) -> w and its average, float32 [batch, latent_size] each."""
    latent, conditions = keras.Input((config.latent_size,), name="latent"), condition_inputs(facts)
    parts = [UnitSize(dtype="float32")(latent)]
    for column, condition in zip(conditions, facts, strict=True):
        embedding = KnownEmbedding(condition.count, config.latent_size, normal(1.0), dtype="float32")(column)
        parts.append(UnitSize(dtype="float32")(embedding))
    w = keras.layers.Concatenate(dtype="float32")(parts) if conditions else parts[0]
    for _ in range(config.mapping_layers):
        w = EqualDense(config.latent_size, gain=ROOT2, rate=config.mapping_rate, dtype="float32")(w)
        w = keras.layers.LeakyReLU(LEAK, dtype="float32")(w)
    return keras.Model([latent, *conditions], [w, Average(facts, name="average")([w, *conditions])], name="mapping")


def build_synthesis(config):
    """(w [batch, layers, latent_size], noise [batch, noise_size]) -> pictures float32 [batch, resolution, resolution, 3], near [-1, 1]."""
    styles = keras.Input((len(config.sides), config.latent_size), name="styles", dtype="float32")
    noise = keras.Input((config.noise_size,), name="noise", dtype="float32")
    layer = used = 0
    picture = None
    x = LearnedConstant(config.channels[0])(styles[:, 0])
    for stage, channels in enumerate(config.channels):
        for enlarge in (True, False) if stage else (False,):
            w, side = styles[:, layer], config.sides[layer]
            name = f"styled_{layer}"
            x = ModulatedConv2D(channels, 3, gain=ROOT2, enlarge=enlarge, use_bias=False, name=name)([x, w])
            if enlarge:
                x = Blur(-1, gain=2.0)(x)
            x = active(
                AddNoise(config.noise_rate)([x, keras.layers.Reshape((side, side, 1))(noise[:, used : used + side**2])])
            )
            layer, used = layer + 1, used + side**2
        colours = ModulatedConv2D(3, 1, demodulate=False, name=f"colours_{layer - 1}")([x, w])
        picture = colours if picture is None else Upsample2x()(picture) + colours
    return keras.Model([styles, noise], keras.layers.Activation("linear", dtype="float32")(picture), name="synthesis")


def build_generator(config, facts, name):
    """(latent [batch, latent_size], noise [batch, noise_size] [, a condition [batch] ...]) -> pictures; its layers `mapping` and
    `synthesis` are networks of their own."""
    mapping, synthesis = build_mapping(config, facts), build_synthesis(config)
    latent, conditions = keras.Input((config.latent_size,), name="latent"), condition_inputs(facts)
    noise = keras.Input((config.noise_size,), name="noise")
    w, _ = mapping([latent, *conditions])
    styles = keras.layers.RepeatVector(len(config.sides), dtype="float32")(w)
    return keras.Model([latent, noise, *conditions], synthesis([styles, noise]), name=name)


def build_critic(config, facts, name):
    """(pictures [batch, resolution, resolution, 3] [, a condition [batch] ...]) -> logits float32 [batch]."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    conditions = condition_inputs(facts)
    *others, last = config.channels[: len(config.channels) - int(math.log2(config.patch))]
    if config.patch == 1:
        x = active(EqualConv2D(last, 1, gain=ROOT2)(picture))
    else:
        x = active(EqualConv2D(last, 2, padding="valid", gain=ROOT2)(Patches(config.patch)(picture)))
    for channels in reversed(others):
        y = active(EqualConv2D(x.shape[-1], 3, gain=ROOT2)(x))
        # The gain of the nonlinearity, sqrt(2), and that of the sum, 1 / sqrt(2), leave 1.
        y = active(EqualConv2D(channels, 3, stride=2, padding="valid")(Blur(1)(y)))
        x = y + EqualConv2D(channels, 1, gain=1 / ROOT2, use_bias=False)(Downsample2x()(x))
    x = active(EqualConv2D(config.channels[0], 3, gain=ROOT2)(MinibatchDeviation()(x)))
    x = active(EqualDense(config.channels[0], gain=ROOT2)(keras.layers.Flatten()(x)))
    total = logits(x, conditions, facts, initializer=None, dense=EqualDense, embedding=EqualEmbedding)
    return keras.Model([picture, *conditions], total, name=name)


class Model(Generation, TwoPlayer):
    """The game: minimise softplus(D(fake)) + softplus(-D(real)) + gamma/2 R1 against softplus(-D(fake)) + path lengths (paper, eq. 4)."""

    GIVES = ("styles",)  # to `models.styles`: the methods `noise`, `styles`, `synthesize` and `style_matrices`
    KNOBS = {
        "truncation": ports.Number(
            1.0, 0.0, 2.0, "factor of w's distance from its average; below 1: more typical pictures"
        )
    } | {
        name: ports.Number(0.0, -4.0, 4.0, "moves w along one of its strongest directions, by so many deviations")
        for name in DIRECTIONS
    }

    def __init__(self, config, *, facts=Facts(), seed=0, augment="none"):
        super().__init__(config, facts=facts, seed=seed, augment=augment)
        self.objective = objective("non_saturating")
        self.network, self.ema = self.with_ema(lambda name: build_generator(config, facts, name))
        self.critic = build_critic(config, facts, "critic")
        self.path_length = self._counter("path_length")
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        pace = {"rate": rate, "beta_1": config.beta_1, "beta_2": config.beta_2}
        self.generator_optimizer = adam("generator_adam", self.network, **pace)
        self.critic_optimizer = adam("critic_adam", self.critic, **pace)

    def players(self):
        return {
            "critic": Player((self.critic,), self.critic_optimizer, every=self.config.penalty_every, lazy=("r1",)),
            "generator": Player(
                (self.network,), self.generator_optimizer, every=self.config.path_every, lazy=("path",)
            ),
        }

    def noise(self, random, rows):
        """The noise of all layers of `rows` pictures, float32 [rows, noise_size], from a `StepRandom` or a `RowRandom`."""
        return random.normal(rows, self.config.noise_size)

    def styles(self, latent, conditions, *, training=False, truncation=None):
        """The style of every layer, float32 [n, layers, latent_size], of z float32 [n, latent_size] and conditions.

        Args:
            truncation: float32 [n], the factor of w's distance from its average (Karras et al. 2019, appendix B); None: 1.
        """
        network = self.network if training else self.ema
        w, average = network.get_layer("mapping")([latent, *conditions], training=training)
        if truncation is not None:
            w += (1.0 - truncation)[:, tf.newaxis] * (average - w)
        return self._repeated(w)

    def _repeated(self, w):
        return tf.repeat(w[:, tf.newaxis], len(self.config.sides), axis=1)

    def synthesize(self, styles, noise, *, training=False):
        """float32 [n, layers, latent_size], float32 [n, noise_size] -> float32 [n, resolution, resolution, 3], near [-1, 1]."""
        network = self.network if training else self.ema
        return network.get_layer("synthesis")([styles, noise], training=training)

    def style_matrices(self):
        """The affine maps of the served network, a list of float32 [latent_size, channels of all that read that layer's w]."""
        readers = [[] for _ in self.config.sides]
        for layer in self.ema.get_layer("synthesis").layers:
            if isinstance(layer, ModulatedConv2D):
                readers[int(layer.name.rpartition("_")[2])].append(layer.affine.numpy())
        return [np.concatenate(matrices, axis=1) / math.sqrt(self.config.latent_size) for matrices in readers]

    def generate(self, random, rows, conditions, *, training=False, truncation=None, **directions):
        """Draw pictures. See `models.tasks.Generation.generate`.

        Args:
            truncation: as in `styles`.
            directions: float32 [rows] by names of `DIRECTIONS`, by how many deviations w goes along that one.
        """
        noise, latent = self.noise(random, rows), random.normal(rows, self.config.latent_size)
        styles = self.styles(latent, conditions, training=training, truncation=truncation)
        return self.synthesize(self._moved(styles, directions), noise, training=training)

    def _moved(self, styles, directions):
        if not directions:
            return styles
        with tf.init_scope():  # of the weights as they are now, also where a function is being traced
            steps = strongest_steps(self, len(DIRECTIONS))
        for name, amount in directions.items():
            styles += amount[:, tf.newaxis, tf.newaxis] * steps[DIRECTIONS.index(name)]
        return styles

    def decode(self, latent, conditions, *, training=False):
        """As in other families; the noise is that of seed 0, so that a picture is a function of z."""
        styles = self.styles(latent, conditions, training=training)
        noise = self.noise(RowRandom(tf.zeros([1], tf.int64)), 1)
        return self.synthesize(styles, tf.repeat(noise, tf.shape(latent)[0], axis=0), training=training)

    def fakes(self, batch):
        """Pictures from fresh z, many of them with the styles of a second z from a random layer on (Karras et al. 2019, section 3.1)."""
        rows, conditions = batch["image"].shape[0], self.conditions(batch)
        noise, styles = self.noise(self.random, rows), self._mixed_styles(rows, conditions)
        self.network.get_layer("mapping").get_layer("average").follow(styles[:, 0], conditions)
        return self.synthesize(styles, noise, training=True)

    def _mixed_styles(self, rows, conditions):
        layers = len(self.config.sides)
        first, second = (
            self.styles(self.random.normal(rows, self.config.latent_size), conditions, training=True) for _ in range(2)
        )
        cut = 1.0 + tf.floor(self.random.uniform(rows) * (layers - 1))
        cut = tf.where(self.random.uniform(rows) < self.config.mixing, cut, float(layers))
        return tf.where((tf.range(float(layers)) < cut[:, tf.newaxis])[..., tf.newaxis], first, second)

    def critic_terms(self, batch, fakes, due):
        def logits_of(pictures):
            return self.critic_logits(pictures, batch)

        penalised = {}
        if due:
            real, norm = penalties.squared_gradient_norm(logits_of, batch["image"])
            penalised = {"r1": 0.5 * self.config.gamma * norm}
        else:
            real = logits_of(batch["image"])
        fake = logits_of(fakes)
        self.record_confidence(real, fake)
        return {"adversarial": self.objective.critic(real, fake)} | penalised

    def generator_terms(self, batch, fakes, due):
        terms = {"adversarial": self.objective.generator(None, self.critic_logits(fakes, batch))}
        lengths = self._path_lengths(batch) if due else tf.zeros([1])
        self.record(path_length=tf.reduce_mean(lengths))
        if not due:
            return terms
        return terms | {"path": self.config.path_weight * tf.square(lengths - self.path_length.value)}

    def _path_lengths(self, batch):
        """|J^T y| of half a batch of new pictures and noise y: paper, eq. 4, and appendix B for half."""
        rows = max(batch["image"].shape[0] // 2, 1)
        conditions = [column[:rows] for column in self.conditions(batch)]
        noise, styles = self.noise(self.random, rows), self._mixed_styles(rows, conditions)
        side = self.config.resolution
        directions = self.random.normal(rows, side, side, 3)
        return penalties.path_lengths(lambda w: self.synthesize(w, noise, training=True), styles, directions)

    def observe(self, logs):
        """Let the average path length follow, on the steps that measured it; at first it is their plain mean."""
        length = self.mean_of_replicas(logs["generator_path_length"])
        every = self.config.path_every
        rate = tf.maximum(PATH_RATE, 1.0 / tf.cast(self.step.value // every + 1, tf.float32))
        due = self.step.value % every == 0
        self.path_length.assign_add(tf.where(due, rate * (length - self.path_length.value), 0.0))

    def endpoints(self):
        """Beside its task's: styles: seed, knobs, conditions -> w of every layer. synthesize: w, seed of the noise -> images."""
        conditions = {condition.name: ports.Condition(condition) for condition in self.facts}
        w = ports.Latent((len(self.config.sides), self.config.latent_size))

        def styles(seed, truncation, **given):
            self.noise(seed, seed.rows)  # whose numbers `generate` draws first
            latent = seed.normal(seed.rows, self.config.latent_size)
            columns = [given.pop(name) for name in conditions]
            return {"w": self._moved(self.styles(latent, columns, truncation=truncation), given)}

        def synthesize(w, seed):
            return {"images": self.synthesize(w, self.noise(seed, seed.rows))}

        return super().endpoints() | {
            "styles": Endpoint(styles, {"seed": ports.Seed()} | self.KNOBS | conditions, {"w": w}),
            "synthesize": Endpoint(
                synthesize, {"w": w, "seed": ports.Seed()}, {"images": ports.Picture(self.config.resolution)}
            ),
        }
