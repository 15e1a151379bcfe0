"""MaskGIT: a transformer that fills in the codes of a picture, many at a time, those it is surest of first.

Chang, Zhang, Jiang, Liu and Freeman, "MaskGIT: Masked Generative Image Transformer", CVPR 2022 (arXiv 2202.04200): in training a
share cos(pi u / 2) of the codes that another model makes of a picture is masked, for a uniform u, and the transformer learns to tell these
codes from the others (eq. 1); pictures are drawn from masks alone, in `steps` steps (section 3.2). Conditions are added to every place, and
hidden now and then, so that the drawing can be guided (Ho and Salimans 2022, arXiv 2207.12598).

It departs in four things, for CPU cores: the vectors of codes begin as alike as the entries of the parent's codebook, without which the
transformer learned next to nothing of clothes in 8,000 pictures (a cross-entropy of 5.9 nats, 5.5 after 1,500 with it); `patch` x
`patch` codes are one place of the transformer, a quarter of the work at 2, while each is masked and told on its own; no dropout and
no smoothed labels; the rate falls along a cosine.

Batch: `image` [, `label`]. Captions, when it is told them (`--condition caption`), are added up as sentences and looked at word by word
behind each block. The codes are those of a parent that gives tokens, such as a run of `vqgan` at the same resolution. Beside
`generate`, an export answers `fill`: the masked region of a picture, drawn anew.

    python -m trainer.task --model vqgan --data folder:PHOTOS --job-dir runs/codes
    python -m trainer.task --model maskgit --data folder:PHOTOS --parent runs/codes --conditional
    packshot apply runs/maskgit-64-PHOTOS photo.jpg --signature fill --input mask=mask.png --out filled/
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from models import ports
from models.base import OnePlayer
from models.layers.attention import HEAD_SIZE, WordAttention, attend, heads_of, joined
from models.layers.condition import KnownEmbedding, condition_inputs, hide
from models.layers.initializers import normal
from models.layers.places import Places
from models.layers.text import TextEncoder
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.signatures import Endpoint
from models.tasks import Generation

TEMPERATURE = 1.0  # of the order of codes; at the authors' 4.5 pictures of 64 px come apart into spots


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown."""

    resolution: int = 64  # px, that of the parent
    batch_size: int = 16  # pictures a step
    images: int = 200_000  # length of training, pictures
    patch: int = 2  # codes along a side that are one place of the transformer
    code_size: int = 64  # numbers in the embedding of a code
    width: int = 192  # numbers of a place
    depth: int = 4  # blocks
    heads: int = 4  # of attention
    words_size: int = 96  # numbers in the vector of a word, a multiple of 32
    words_depth: int = 2  # blocks of the encoder of words
    steps: int = 10  # in which a picture is drawn
    hidden: float = 0.1  # share of the rows whose conditions are all hidden in training
    learning_rate: float = 1e-3  # of Adam at the start
    learning_rate_end: float = 1e-5  # at the end of decay_images
    decay_images: int = 200_000  # length of the cosine from the one to the other
    beta_2: float = 0.99  # Adam
    ema_images: int = 5_000  # half-life of the averaged network, pictures; 0: serve the trained one

    def __post_init__(self):
        check_numbers(self, "patch", "code_size", "width", "depth", "heads", "words_size", "words_depth", "steps")
        for name in ("width", "words_size"):
            if getattr(self, name) % HEAD_SIZE:
                raise UserError(f"{name} must be a multiple of {HEAD_SIZE}, not {getattr(self, name)}")
        if self.width % self.heads:
            raise UserError(f"width={self.width} must be a multiple of heads={self.heads}")
        if self.hidden > 1:
            raise UserError(f"hidden must be 1 or less, not {self.hidden}")


PRESETS = {
    "tiny": Config(
        16, 8, 64, code_size=4, width=32, depth=1, heads=2, words_size=32, words_depth=1, steps=3, ema_images=500
    ),
    "64": Config(),
    "32": Config(32, patch=1),
    "128": Config(128, width=256, depth=6),
}


class Attend(keras.layers.Layer):
    """Attention of all places to all, in several heads: queries, keys and values [batch, places, 3 width] -> [batch, places, width]."""

    def __init__(self, heads, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def call(self, inputs):
        return joined(attend(*heads_of(inputs, 3, self.heads)))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], input_shape[2] // 3)


def block(x, heads):
    """x + attention, then x + dense layers, both of the normalised x and both starting at zero (Xiong et al. 2020, arXiv 2002.04745)."""
    width = x.shape[-1]
    y = keras.layers.Dense(3 * width, use_bias=False)(keras.layers.LayerNormalization(epsilon=1e-5)(x))
    x = x + keras.layers.Dense(width, kernel_initializer="zeros")(Attend(heads)(y))
    y = keras.layers.Dense(4 * width, activation="gelu")(keras.layers.LayerNormalization(epsilon=1e-5)(x))
    return x + keras.layers.Dense(width, kernel_initializer="zeros")(y)


def spread(entries, size):
    """The directions `entries` [n, d] in `size` numbers of deviation 1, float32 [n, size]; those that are alike stay alike."""
    return entries @ np.asarray(normal(1.0)((entries.shape[1], size)))


def build(config, side, entries, facts, name):
    """(codes int32 [batch, places], `vocabulary` where masked [, words int32 [batch, length]] [, a condition [batch] ...]) -> logits
    float32 [batch, places, vocabulary].

    There are side * side places. Codes begin as alike as their `entries` float32 [vocabulary, d], of length 1, both where they are read
    and where they are told.
    """
    codes, inputs = keras.Input((side * side,), dtype="int32", name="codes"), condition_inputs(facts)
    patch, coarse, size = config.patch, side // config.patch, config.code_size
    vocabulary, table = len(entries), spread(np.pad(entries, ((0, 1), (0, 0))), size)
    x = keras.layers.Embedding(vocabulary + 1, size, keras.initializers.Constant(table))(codes)
    x = keras.layers.Permute((1, 3, 2, 4))(keras.layers.Reshape((coarse, patch, coarse, patch * size))(x))
    x = Places()(keras.layers.Dense(config.width)(keras.layers.Reshape((coarse**2, patch**2 * size))(x)))
    told = inputs[len(inputs) - len(facts.conditions) :]
    for column, condition in zip(told, facts, strict=True):
        x = x + keras.layers.Reshape((1, config.width))(KnownEmbedding(condition.count, config.width, normal())(column))
    if facts.words:
        shape = {"depth": config.words_depth, "heads": config.words_size // HEAD_SIZE}
        encoder = TextEncoder(facts.words.count, facts.words.length, config.words_size, **shape)
        sentence, words, seen = encoder(inputs[0])
        x = x + keras.layers.Reshape((1, config.width))(keras.layers.Dense(config.width, use_bias=False)(sentence))
    for _ in range(config.depth):
        x = block(x, config.heads)
        if facts.words:
            x = x + WordAttention()([x, words, seen])
    x = keras.layers.Dense(patch**2 * size)(keras.layers.LayerNormalization(epsilon=1e-5)(x))
    x = keras.layers.Permute((1, 3, 2, 4))(keras.layers.Reshape((coarse, coarse, patch, patch * size))(x))
    x = keras.layers.Reshape((side * side, size))(x)
    x = keras.layers.Dense(vocabulary, kernel_initializer=keras.initializers.Constant(table[:-1].T / size))(x)
    return keras.Model([codes, *inputs], keras.layers.Activation("linear", dtype="float32")(x), name=name)


def most_random(keys, counts):
    """bool [n, places]: the `counts` int32 [n] places of the smallest keys float32 [n, places] of each row."""
    return tf.argsort(tf.argsort(keys, axis=-1), axis=-1) < counts[:, tf.newaxis]


def draw(logits, uniform):
    """Codes int32 [n, places] drawn from logits float32 [n, places, vocabulary] by uniform numbers in [0, 1) [n, places]; their log
    probabilities float32."""
    sums = tf.cumsum(tf.nn.softmax(logits), axis=-1)
    below = tf.cast(sums <= uniform[..., tf.newaxis] * sums[..., -1:], tf.int32)
    codes = tf.minimum(tf.reduce_sum(below, axis=-1), logits.shape[-1] - 1)
    return codes, tf.gather(tf.nn.log_softmax(logits), codes, batch_dims=2)


class Model(Generation, OnePlayer):
    """Minimises the cross-entropy of the masked codes: paper, eq. 1, as a mean over them."""

    WANTS = "tokens"
    WORDS = "optional"

    latent_shape = None

    def __init__(self, config, *, facts=Facts(), seed=0, parent=None):
        super().__init__(config, facts=facts, seed=seed, parent=parent)
        if parent.config.resolution != config.resolution:
            raise UserError(
                f"the parent makes codes of pictures of {parent.config.resolution} px, not of resolution={config.resolution}"
            )
        if parent.side % config.patch:
            raise UserError(f"patch={config.patch} does not divide the parent's {parent.side} codes a side")
        self.side, self.masked = parent.side, parent.vocabulary  # the number after the last code stands for a mask
        entries = np.asarray(parent.entries())
        self.network, self.ema = self.with_ema(lambda name: build(config, self.side, entries, facts, name))
        rate = Cosine(config.learning_rate, config.learning_rate_end, config.decay_images // config.batch_size)
        self.network_optimizer = adam("adam", self.network, rate=rate, beta_2=config.beta_2)

    @property
    def calls(self):
        return self.config.steps

    @property
    def KNOBS(self):
        """temperature; and guidance where there is something to be guided by."""
        doc = "randomness of the order in which codes are settled: below, cleaner and less varied pictures"
        knobs = {"temperature": ports.Number(TEMPERATURE, 0.0, 10.0, doc)}
        if self.facts:
            doc = "weight of the conditions: above 1 they are followed more, and pictures vary less"
            knobs["guidance"] = ports.Number(1.0, 0.0, 5.0, doc)
        return knobs

    def terms(self, batch):
        codes = self.parent.encode(batch["image"])
        rows, places = codes.shape
        shares = tf.cos(0.5 * np.pi * self.random.uniform(rows))
        counts = tf.cast(tf.math.ceil(shares * places), tf.int32)
        chosen = most_random(self.random.uniform(rows, places), counts)
        told = self.random.uniform(rows) >= self.config.hidden
        conditions = hide(self.conditions(batch), told)
        logits = self.network([tf.where(chosen, self.masked, codes), *conditions], training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(codes, logits)
        weights = tf.cast(chosen, tf.float32)
        return {"cross_entropy": tf.reduce_sum(weights * losses, axis=1) / tf.reduce_sum(weights, axis=1)}

    def generate(self, random, rows, conditions, *, training=False, temperature=None, guidance=None):
        codes = tf.fill([rows, self.side**2], self.masked)
        knobs = {"training": training, "temperature": temperature, "guidance": guidance}
        return self.parent.decode(self.filled(random, codes, conditions, **knobs))

    def filled(self, random, codes, conditions, *, training=False, temperature=None, guidance=None):
        """Draw the masked ones of codes int32 [n, places], `masked` where masked; paper, section 3.2. Other arguments as of `generate`."""
        rows, places, steps = tf.shape(codes)[0], self.side**2, self.config.steps
        temperature = tf.fill([rows], TEMPERATURE) if temperature is None else temperature
        uniform = random.uniform(rows, steps, places, 2)
        total = tf.reduce_sum(tf.cast(codes == self.masked, tf.float32), axis=1)
        done = np.arange(1, steps + 1, dtype=np.float32) / steps
        left = np.append(np.cos(0.5 * np.pi * done[:-1]), 0.0).astype(np.float32)  # share that stays masked

        def step(codes, given):
            done, left, uniform = given
            free = codes == self.masked
            logits = self.logits(codes, conditions, guidance=guidance, training=training)
            drawn, confidence = draw(logits, uniform[..., 0])
            inside = (uniform[..., 1] * 2.0**24 + 0.5) / 2.0**24  # never 0 or 1
            gumbel = -tf.math.log(-tf.math.log(inside))
            confidence += (temperature * (1.0 - done))[:, tf.newaxis] * gumbel
            counts = tf.cast(tf.math.ceil(left * total), tf.int32)
            again = most_random(tf.where(free, confidence, np.inf), counts)
            return tf.where(again, self.masked, tf.where(free, drawn, codes))

        return tf.foldl(step, (done, left, tf.transpose(uniform, [1, 0, 2, 3])), codes)

    def logits(self, codes, conditions, *, guidance=None, training=False):
        """float32 [n, places, vocabulary]: those without conditions plus `guidance` [n] times what the conditions change; None: 1."""
        network = self.network if training else self.ema
        told = network([codes, *conditions], training=training)
        if guidance is None:
            return told

        def guided():
            untold = hide(conditions, tf.zeros_like(guidance, tf.bool))
            free = network([codes, *untold], training=training)
            return told + (guidance - 1.0)[:, tf.newaxis, tf.newaxis] * (told - free)

        return tf.cond(tf.reduce_all(guidance == 1.0), lambda: told, guided)

    def endpoints(self):
        """Beside its task's: fill: images, mask, seed, knobs, text, conditions -> images, redrawn wherever the mask is not 0. What a
        request does not tell of the picture is unknown."""
        asked, told = self.asked(optional=True)
        picture, mask = ports.Picture(self.config.resolution), ports.Mask(self.config.resolution)

        def fill(images, mask, seed, **given):
            columns = told(given)
            cell = self.config.resolution // self.side
            free = tf.reshape(tf.nn.max_pool2d(mask, cell, cell, "VALID") > 0.0, [-1, self.side**2])
            codes = tf.where(free, self.masked, self.parent.encode(images))
            return {"images": self.parent.decode(self.filled(seed, codes, columns, **given))}

        inputs = {"images": picture, "mask": mask, "seed": ports.Seed(default=0)} | self.KNOBS | asked
        return super().endpoints() | {"fill": Endpoint(fill, inputs, {"images": picture}, within="mask")}
