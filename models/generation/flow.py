"""Flow: a transformer that moves noise to pictures, in many small steps or in one.

The network is a DiT (Peebles and Xie 2023, arXiv 2212.09748) in pixels: patches are tokens, and the time and the conditions scale, shift
and gate its blocks (adaLN-zero). Patches are large, so that a picture has few tokens. Between them and the pixels lie convolutional
stages with skips, modulated alike, which draw what is small (as in the U-ViT of "simple diffusion": Hoogeboom, Heek and Salimans 2023,
arXiv 2301.11093). Two objectives:

- `rectified` (Liu et al. 2022, arXiv 2209.03003, at logit-normal times: Esser et al. 2024, arXiv 2403.03206, section 3.1): the velocity at
  which noise becomes a picture, solved by Euler's or Heun's method (`models/flows.py`).
- `mean` (MeanFlow, Geng et al. 2025, arXiv 2505.13447, as in its successor in pixels, Lu et al. 2026, arXiv 2601.22158): the mean velocity
  between two times, which makes a picture in one step. It learns faster from a `rectified` run: both have the same network.

Batch: `image` [, `label`]. Captions, when it is told them (`--condition caption`), are added up as sentences and looked at word by word
behind each block. An export takes the number of steps and, if the model is told anything, the strength of guidance by row.

    python -m trainer.task --model flow --data folder:PHOTOS --conditional
    python -m trainer.task --model flow --preset mean-64 --data folder:PHOTOS --conditional --init runs/flow-64-PHOTOS
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from models import flows, ports
from models.base import UNKNOWN_SHARE, OnePlayer
from models.layers.attention import HEAD_SIZE, WordAttention, attend, heads_of, joined, unit
from models.layers.condition import KnownEmbedding, condition_inputs, hide
from models.layers.conv import StridedConv2D
from models.layers.initializers import fan_in, normal
from models.layers.places import Places
from models.layers.resample import PixelShuffle
from models.layers.text import TextEncoder
from models.losses.reconstruction import squared
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.spectrum import photo_power, to_pictures, to_waves
from models.tasks import Generation

MOST = 2  # times the usual number of steps: as many as a request may ask for
STEADY = 1e-2  # added to a squared error by which MeanFlow divides it (2505.13447, section 4.3)
SOLVERS = {"euler": flows.euler, "heun": flows.heun}


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown."""

    resolution: int = 64  # px, a multiple of a token's side: 4 px with one stage, 8 px with two, ...
    batch_size: int = 16  # pictures a step
    images: int = 200_000  # length of training, pictures
    objective: str = "rectified"  # or "mean"
    channels: tuple[int, ...] = (64, 128)  # of the stages before the tokens, with cells of 2 px, 4 px, ...
    width: int = 192  # numbers in a token, a multiple of 32
    blocks: int = 4
    pixel_channels: int = 16  # of the last convolution, at full size
    words_size: int = 96  # numbers in the vector of a word, a multiple of 32
    words_depth: int = 2  # blocks of the encoder of words
    time_mean: float = 0.0  # of the normal distribution whose sigmoids are the times; above 0: more noise
    time_deviation: float = 1.0
    steps: int = 25  # of the solver, where a request says nothing
    solver: str = "euler"  # or "heun"
    guidance: float = 1.0  # where a request says nothing; 1: none
    learning_rate: float = 1e-3  # of Adam at the start
    learning_rate_end: float = 1e-5  # at the end of decay_images
    decay_images: int = 200_000  # length of the cosine from the one to the other
    beta_2: float = 0.99  # Adam
    ema_images: int = 10_000  # half-life of the averaged network, pictures; 0: serve the trained one

    def __post_init__(self):
        check_numbers(self, "channels", "width", "blocks", "pixel_channels", "words_size", "words_depth", "steps")
        patch = 2 ** (len(self.channels) + 1)
        if self.resolution % patch:
            raise UserError(
                f"{len(self.channels)} stages before the tokens make patches of {patch} px, which do not divide"
                f" resolution={self.resolution}"
            )
        for name in ("width", "words_size"):
            if getattr(self, name) % HEAD_SIZE:
                raise UserError(f"{name} must be a multiple of {HEAD_SIZE}, not {getattr(self, name)}")
        if self.solver not in SOLVERS:
            raise UserError(f"unknown solver {self.solver!r}; have: {', '.join(SOLVERS)}")
        if self.objective not in ("rectified", "mean"):
            raise UserError(f"unknown objective {self.objective!r}; have: rectified, mean")
        if self.objective == "mean" and self.solver != "euler":
            raise UserError("objective=mean knows means over steps, which solver=euler takes")


PRESETS = {
    "tiny": Config(
        16,
        8,
        64,
        channels=(8,),
        width=32,
        blocks=1,
        pixel_channels=4,
        words_size=32,
        words_depth=1,
        steps=2,
        ema_images=500,
    ),
    "64": Config(),
    "mean-64": Config(objective="mean", steps=1),
}


class Waves(keras.layers.Layer):
    """Times [batch, n] in [0, 1] -> their cosines and sines at 16 frequencies, float32 [batch, 32 n].

    The highest is low: MeanFlow differentiates by the time.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)

    def call(self, inputs):
        angles = inputs[:, :, tf.newaxis] * tf.constant([64.0 ** (i / 15.0) for i in range(16)])
        return tf.reshape(tf.concat([tf.cos(angles), tf.sin(angles)], axis=2), [-1, 32 * inputs.shape[1]])

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 32 * input_shape[1])


class Modulate(keras.layers.Layer):
    """Tokens of length 1 (Zhang and Sennrich 2019, arXiv 1910.07467) times 1 + scale, plus shift: DiT, section 3.2, "adaLN".

    Inputs: tokens [batch, tokens, width], scale and shift [batch, width].
    """

    def call(self, inputs):
        tokens, scale, shift = inputs
        return unit(tokens) * (1.0 + scale[:, tf.newaxis]) + shift[:, tf.newaxis]

    def compute_output_shape(self, input_shape):
        return input_shape[0]


class Block(keras.layers.Layer):
    """One block of DiT: attention and two dense layers, each modulated before and gated behind; it begins as the identity.

    Queries and keys have length 1 (Henry et al. 2020, arXiv 2010.04245), and the activation is a squared ReLU (So et al. 2021, arXiv
    2109.08668), which costs least on CPU. Inputs: tokens [batch, tokens, width], told [batch, width]. Output: tokens.
    """

    def build(self, input_shape):
        (_, self.tokens, width), _ = input_shape
        self.heads = width // HEAD_SIZE

        def dense(inputs, units, kernel, **options):
            layer = keras.layers.Dense(units, kernel_initializer=kernel, dtype=self.dtype_policy, **options)
            layer.build([None, inputs])
            return layer

        self.modulation = dense(width, 6 * width, "zeros")
        self.asked = dense(width, 3 * width, fan_in(), use_bias=False)
        self.found = dense(width, width, fan_in())
        self.up = dense(width, 4 * width, fan_in())
        self.down = dense(4 * width, width, fan_in())

    def call(self, inputs):
        x, told = inputs
        width = x.shape[-1]
        scale1, shift1, gate1, scale2, shift2, gate2 = tf.split(self.modulation(told), 6, axis=-1)
        y = Modulate.call(self, (x, scale1, shift1))
        x += gate1[:, tf.newaxis] * self._attend(tf.reshape(y, [-1, width]))
        y = Modulate.call(self, (x, scale2, shift2))
        y = self.down(tf.square(tf.nn.relu(self.up(tf.reshape(y, [-1, width])))))
        return x + gate2[:, tf.newaxis] * tf.reshape(y, [-1, self.tokens, width])

    def _attend(self, rows):
        """[batch * tokens, width] -> [batch, tokens, width]."""
        asked = tf.reshape(self.asked(rows), [-1, self.tokens, 3 * rows.shape[1]])
        query, key, value = heads_of(asked, 3, self.heads)
        seen = joined(attend(unit(query), unit(key), value))
        return tf.reshape(self.found(tf.reshape(seen, [-1, seen.shape[2]])), [-1, self.tokens, seen.shape[2]])

    def compute_output_shape(self, input_shape):
        return input_shape[0]


class ConvBlock(keras.layers.Layer):
    """Two 3x3 convolutions, modulated before and gated behind, added to their input; it begins as the identity.

    Inputs: maps [batch, height, width, channels], told [batch, size]. Output: maps.
    """

    def build(self, input_shape):
        (*_, channels), (_, size) = input_shape
        self.modulation = keras.layers.Dense(3 * channels, kernel_initializer="zeros", dtype=self.dtype_policy)
        self.modulation.build([None, size])

        def conv(gain):
            layer = keras.layers.Conv2D(
                channels, 3, padding="same", kernel_initializer=fan_in(gain), dtype=self.dtype_policy
            )
            layer.build([None, None, None, channels])
            return layer

        self.first, self.second = conv(2**0.5), conv(1.0)

    def call(self, inputs):
        x, told = inputs
        scale, shift, gate = tf.split(self.modulation(told)[:, tf.newaxis, tf.newaxis], 3, axis=-1)
        return x + gate * self.second(tf.nn.silu(self.first(unit(x) * (1.0 + scale) + shift)))

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def build(config, facts, name):
    """(z and a filtered z [batch, resolution, resolution, 6], t and t - r [batch, 2] [, words int32 [batch, length]] [, a condition
    [batch] ...]) -> float32 like z."""
    noisy = keras.Input((config.resolution, config.resolution, 6), name="noisy")
    times, inputs = keras.Input((2,), name="times", dtype="float32"), condition_inputs(facts)
    told = keras.layers.Dense(config.width, "silu", kernel_initializer=fan_in())(Waves()(times))
    told = keras.layers.Dense(config.width, kernel_initializer=fan_in())(told)
    conditions = inputs[len(inputs) - len(facts.conditions) :]
    for column, condition in zip(conditions, facts, strict=True):
        told = told + KnownEmbedding(condition.count, config.width, normal(1.0))(column)
    if facts.words:
        shape = {"depth": config.words_depth, "heads": config.words_size // HEAD_SIZE}
        encoder = TextEncoder(facts.words.count, facts.words.length, config.words_size, **shape)
        sentence, words, seen = encoder(inputs[0])
        told = told + keras.layers.Dense(config.width, use_bias=False, kernel_initializer=fan_in())(sentence)
    told = keras.layers.Activation("silu")(told)

    x, skips = noisy, []
    for channels in config.channels:
        x = ConvBlock()([StridedConv2D(channels, 2, kernel_initializer=fan_in())(x), told])
        skips.append(x)
    side = x.shape[1] // 2
    x = StridedConv2D(config.width, 2, kernel_initializer=fan_in())(x)
    x = Places()(keras.layers.Reshape((side * side, config.width))(x))
    for _ in range(config.blocks):
        x = Block()([x, told])
        if facts.words:
            x = x + WordAttention()([x, words, seen])
    scale, shift = (keras.layers.Dense(config.width, kernel_initializer="zeros")(told) for _ in range(2))
    x = Modulate()([x, scale, shift])

    def enlarged(x, channels):
        return PixelShuffle(2)(keras.layers.Conv2D(4 * channels, 1, kernel_initializer=fan_in())(x))

    x = keras.layers.Reshape((side, side, config.width))(x)
    for channels in reversed(config.channels):
        x = ConvBlock()([enlarged(x, channels) + skips.pop(), told])
    seen = keras.layers.Conv2D(config.pixel_channels, 3, padding="same", kernel_initializer=fan_in())(noisy)
    x = keras.layers.Activation("silu")(enlarged(x, config.pixel_channels) + seen)
    x = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer=fan_in(0.1))(x)
    return keras.Model([noisy, times, *inputs], keras.layers.Activation("linear", dtype="float32")(x), name=name)


class Model(Generation, OnePlayer):
    """Minimises the squared error of the velocity (2209.03003, section 2.1), or of the one that a mean implies (2512.02012, eq. 12)."""

    WORDS = "optional"

    def __init__(self, config, *, facts=Facts(), seed=0):
        super().__init__(config, facts=facts, seed=seed)
        self.network, self.ema = self.with_ema(lambda name: build(config, facts, name))
        self.power = photo_power(config.resolution)
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = adam("adam", self.network, rate=rate, beta_2=config.beta_2)

    @property
    def KNOBS(self):
        config = self.config
        steps = ports.Number(
            float(config.steps), 1.0, float(MOST * config.steps), "steps from noise to picture, a whole number"
        )
        guidance = ports.Number(config.guidance, 0.0, 10.0, "above 1: closer to what was asked for, less varied")
        return {"steps": steps} | ({"guidance": guidance} if self.facts else {})

    @property
    def calls(self):
        return self.config.steps * (2 if self.config.solver == "heun" else 1)

    @property
    def latent_shape(self):
        return (self.config.resolution, self.config.resolution, 3)

    def velocity(self, network, z, time, way, conditions, *, training=False):
        """The mean velocity from t to t - way, float32 like z [n, resolution, resolution, 3]; times float32 [n].

        That of normal pictures with the power of photos, which filters noise as well as any linear filter can, and of the network what
        it misses, in units of the deviation over all waves of what there is to be missed.
        """
        waves, t, r = to_waves(z), flows.column(time, z), flows.column(time - way, z)
        mean, missed = flows.gaussian_velocity(t, r, self.power)
        instant, _ = flows.gaussian_velocity(t, t, self.power)
        inputs = [tf.concat([z, z - t * to_pictures(instant * waves)], axis=3), tf.stack([time, way], axis=1)]
        found = network([*inputs, *conditions], training=training)
        scale = tf.sqrt(tf.reduce_mean(tf.square(missed), axis=[1, 2, 3], keepdims=True))
        return to_pictures(mean * waves) - scale * found

    def terms(self, batch):
        pictures, conditions = batch["image"], self.conditions(batch)
        rows = pictures.shape[0]
        known = self.random.uniform(rows) >= UNKNOWN_SHARE  # all of a row's conditions: what guidance leads away from
        conditions = hide(conditions, known)
        noise = self.random.normal(rows, *pictures.shape[1:])
        time = self._times(rows)
        if self.config.objective == "mean":
            return self._mean_terms(pictures, noise, time, conditions)
        z = flows.between(pictures, noise, time)
        velocity = self.velocity(self.network, z, time, tf.zeros_like(time), conditions, training=True)
        return {"velocity": squared(velocity, noise - pictures)}

    def _times(self, rows):
        return tf.sigmoid(self.config.time_mean + self.config.time_deviation * self.random.normal(rows))

    def generate(self, random, rows, conditions, *, training=False, steps=None, guidance=None):
        """Draw pictures. See `models.tasks.Generation.generate`.

        Args:
            steps: float32 [rows], rounded and cut to 1 .. MOST * config.steps; None: `config.steps`.
            guidance: float32 [rows], Ho and Salimans 2022 (arXiv 2207.12598), eq. 6, where it is 1 + w; None: `config.guidance`.
        """
        noise = random.normal(rows, *self.latent_shape)
        return self.decode(noise, conditions, training=training, steps=steps, guidance=guidance)

    def _mean_terms(self, pictures, noise, time, conditions):
        """Every second row learns the mean velocity u from t to r by u + (t - r) du/dt = v, the others v itself, where r = t."""
        other = self._times(pictures.shape[0])
        columns = [pictures, noise, time, other, *conditions]
        x, e, time, other, *told = (each[::2] for each in columns)
        t, way = tf.maximum(time, other), tf.abs(time - other)
        mean, change = self.mean_and_change(flows.between(x, e, t), t, way, told)
        mean_error = squared(mean + flows.column(way, x) * change, e - x)
        x, e, t, _, *told = (each[1::2] for each in columns)
        velocity = self.velocity(self.network, flows.between(x, e, t), t, tf.zeros_like(t), told, training=True)
        error = squared(velocity, e - x)
        self.record(mean_error=tf.reduce_mean(mean_error), error=tf.reduce_mean(error))
        errors = tf.concat([mean_error, error], axis=0)
        return {"velocity": errors / tf.stop_gradient(errors + STEADY)}

    def mean_and_change(self, z, time, way, conditions):
        """(u, du/dt), float32 like z: the trained network's mean velocity from t - way to t, and how it changes with t while r stays and z
        moves by the velocity that the network knows at t (2512.02012, section 4). No gradient goes through the change."""
        along = tf.stop_gradient(self.velocity(self.network, z, time, tf.zeros_like(time), conditions, training=True))
        moves = [along, tf.ones_like(time), tf.ones_like(way)]
        with tf.autodiff.ForwardAccumulator([z, time, way], moves) as forward:
            mean = self.velocity(self.network, z, time, way, conditions, training=True)
        return mean, tf.stop_gradient(forward.jvp(mean))

    def decode(self, latent, conditions, *, training=False, steps=None, guidance=None):
        """Noise float32 [n, resolution, resolution, 3], [int32 [n]] -> pictures alike, in [-1, 1]; the numbers as in `generate`."""
        network = self.network if training else self.ema
        usual, every = float(self.config.steps), tf.ones([tf.shape(latent)[0]])
        steps = every * usual if steps is None else tf.clip_by_value(tf.round(steps), 1.0, MOST * usual)
        guidance = every * self.config.guidance if guidance is None else guidance
        untold = hide(conditions, tf.zeros_like(steps, tf.bool))

        def plain(z, time, way):
            return self.velocity(network, z, time, way, conditions, training=training)

        def guided(z, time, way):
            known = plain(z, time, way)
            unknown = self.velocity(network, z, time, way, untold, training=training)
            return known + flows.column(guidance - 1.0, z) * (known - unknown)

        def velocity(z, time, until):
            way = time - until if self.config.objective == "mean" else tf.zeros_like(time)
            if not conditions:
                return plain(z, time, way)
            asked = tf.reduce_any(guidance != 1.0)
            return tf.cond(asked, lambda: guided(z, time, way), lambda: plain(z, time, way))

        pictures = SOLVERS[self.config.solver](velocity, latent, steps)
        return tf.clip_by_value(pictures, -1.0, 1.0)
