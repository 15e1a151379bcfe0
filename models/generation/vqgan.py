"""VQGAN: pictures as short grids of codes, and back, with a critic so that what comes back is sharp.

Esser, Rombach and Ommer, "Taming Transformers for High-Resolution Image Synthesis", CVPR 2021 (arXiv 2012.09841), section 3.1: a
convolutional encoder, the nearest entry of a codebook for each place, a convolutional decoder; a distance in the layers of a feature
network and a critic of patches judge what is decoded. Codes are compared as directions (Yu et al. 2022, "Vector-quantized Image Modeling
with Improved VQGAN", arXiv 2110.04627, section 3.2). The codebook follows what is assigned to it by an exponential average instead of
gradients (van den Oord et al. 2017, "Neural Discrete Representation Learning", arXiv 1711.00937, appendix A.1), and an entry that is hardly
ever used is set to a place of the batch (Dhariwal et al. 2020, "Jukebox", arXiv 2005.00341, section 3.1).

It departs in two things, for CPU cores: blocks have neither normalisation nor attention, and the weight of the game is fixed.

Batch: `image`. It makes no pictures of its own: `maskgit` does, with a run of this family as its parent. An export answers
`reconstruct`, `encode` (the codes, from left to right and top to bottom) and `decode`. The log tells the share of the codebook that a batch
uses (`usage`).

    python -m trainer.task --model vqgan --data folder:PHOTOS --job-dir runs/codes
    python -m trainer.task --model maskgit --data folder:PHOTOS --parent runs/codes
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

from data.errors import UserError
from data.facts import Facts
from models import ports
from models.base import TwoPlayer
from models.features.catalogue import open_network
from models.layers.conv import StridedConv2D
from models.layers.initializers import fan_in, normal
from models.layers.resample import Downsample2x, Upsample2x
from models.losses.adversarial import objective
from models.losses.perceptual import perceptual
from models.losses.reconstruction import absolute
from models.optimizers import adam
from models.schedules import Cosine
from models.settings import check_numbers
from models.signatures import Endpoint
from models.tasks import Reconstruction

DEAD = 0.1  # of its even share of the places: an entry that is used less is set anew


@dataclass(frozen=True)
class Config:
    """Hyperparameters. Counts of pictures are pictures shown."""

    resolution: int = 64  # px
    batch_size: int = 16  # pictures a step
    images: int = 100_000  # length of training, pictures
    channels: tuple[int, ...] = (64, 24)  # of the stages, from the grid of codes upwards, to half the resolution
    blocks: tuple[int, ...] = (2, 1)  # residual blocks of the stages
    vocabulary: int = 512  # entries of the codebook
    code_size: int = 8  # numbers in an entry
    code_decay: float = 0.99  # of the average that the codebook follows, a step
    critic_width: int = 32  # channels of the critic's first layer, doubled at every halving
    critic_layers: int = 3  # times that the critic halves the picture
    features: str = "packshot"  # feature network of the perceptual distance
    content: float = 1.0  # weight of the absolute difference
    perceptual: float = 1.0  # weight of the distance in the layers of `features`
    adversarial: float = 0.03  # weight of the game
    commitment: float = 0.25  # weight of the distance to the nearest entry
    objective: str = "hinge"
    critic_steps: int = 1  # critic steps for one generator step
    learning_rate: float = 1e-3  # of the generator's Adam at the start
    critic_learning_rate: float = 4e-4  # of the critic's Adam at the start
    decay_images: int = 100_000  # length of the cosine from there to a hundredth
    beta_1: float = 0.5  # Adam
    ema_images: int = 3_000  # half-life of the averaged network, pictures; 0: serve the trained one
    ada_images: int = 100_000  # pictures in which ADA may go from 0 to 1

    def __post_init__(self):
        check_numbers(self, "channels", "blocks", "vocabulary", "code_size", "critic_width", "critic_layers")
        if len(self.blocks) != len(self.channels):
            raise UserError(f"channels={self.channels} and blocks={self.blocks} must name as many stages")
        for name, halvings in (("channels", len(self.channels)), ("critic_layers", self.critic_layers)):
            if self.resolution % 2**halvings:
                raise UserError(
                    f"{name} halve the picture {halvings} times, and resolution={self.resolution} cannot be"
                )
        if not self.code_decay < 1:
            raise UserError(f"code_decay must be less than 1, not {self.code_decay}")

    @property
    def side(self):
        """Codes in a row of the grid."""
        return self.resolution // 2 ** len(self.channels)


PRESETS = {
    "tiny": Config(
        16, 8, 64, channels=(8, 8), blocks=(1, 1), vocabulary=16, code_size=4, critic_width=8, critic_layers=2,
        ema_images=500,
    ),
    "64": Config(),
    "32": Config(32, critic_layers=2),
    "128": Config(128, channels=(128, 64, 32), blocks=(2, 1, 1), images=200_000, decay_images=200_000),
}  # fmt: skip


class Codebook(keras.layers.Layer):
    """Vectors of length 1 -> (the entries nearest to them, with the gradient of the vectors; their numbers).

    Input float32 [batch, height, width, size]; outputs the same and int32 [batch, height, width]. An entry is the direction of a row of
    `sums` [vocabulary, size]: the mean over places and the exponential average over steps of what is assigned to it. The length of the row
    is about the share of the places that it is nearest to.
    """

    def __init__(self, vocabulary, size, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.vocabulary = vocabulary
        self.size = size

    def build(self, input_shape):
        self.sums = self.add_weight(
            shape=(self.vocabulary, self.size),
            initializer=normal(1.0 / (self.vocabulary * self.size**0.5)),  # rows of about an even share
            trainable=False,
            aggregation="only_first_replica",
            name="sums",
        )

    def entries(self):
        """float32 [vocabulary, size], of length 1."""
        return tf.math.l2_normalize(tf.convert_to_tensor(self.sums.value), axis=-1)

    def call(self, inputs):
        likeness = tf.matmul(tf.stop_gradient(inputs), self.entries()[tf.newaxis], transpose_b=True)
        codes = tf.argmax(likeness, axis=-1, output_type=tf.int32)
        return inputs + tf.stop_gradient(self.look_up(codes) - inputs), codes

    def look_up(self, codes):
        """int32 [...] -> float32 [..., size]."""
        return tf.gather(self.entries(), codes)

    def follow(self, vectors, codes, keys, decay):
        """Move the entries towards the vectors that they are nearest to, and set those that are hardly used to vectors drawn from these.

        Args:
            vectors: float32 [n, size]. codes: int32 [n], their entries. keys: random float32 [n]; vectors with the largest are drawn.
            decay: of the average.
        """
        count, share = vectors.shape[0], 1.0 / self.vocabulary
        found = tf.matmul(tf.one_hot(codes, self.vocabulary), vectors, transpose_a=True) / float(count)
        sums = decay * self.sums.value + (1.0 - decay) * found
        drawn = tf.math.top_k(keys, min(self.vocabulary, count)).indices
        places = tf.gather(drawn, tf.range(self.vocabulary) % drawn.shape[0])
        dead = tf.norm(sums, axis=-1, keepdims=True) < DEAD * share
        self.sums.assign(tf.where(dead, share * tf.gather(vectors, places), sums))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, "float32"), keras.KerasTensor(inputs.shape[:-1], "int32")


def block(x):
    """x + conv3(act(conv3(act x))), the second starting at zero."""
    y = keras.layers.Activation("silu")(x)
    y = keras.layers.Conv2D(x.shape[-1], 3, padding="same", kernel_initializer=keras.initializers.HeNormal())(y)
    y = keras.layers.Activation("silu")(y)
    return x + keras.layers.Conv2D(x.shape[-1], 3, padding="same", kernel_initializer="zeros")(y)


def project(x, channels):
    return keras.layers.Conv2D(channels, 1, kernel_initializer=fan_in())(x)


def build_encoder(config):
    """pictures [batch, resolution, resolution, 3] -> float32 [batch, side, side, code_size] of length 1."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    x = picture
    for channels, blocks in zip(reversed(config.channels), reversed(config.blocks), strict=True):
        if x is picture:
            x = StridedConv2D(channels, 2, kernel_initializer=fan_in())(x)
        else:
            x = Downsample2x()(project(x, channels))
        for _ in range(blocks):
            x = block(x)
    x = project(keras.layers.Activation("silu")(x), config.code_size)
    return keras.Model(picture, keras.layers.UnitNormalization(dtype="float32")(x), name="encoder")


def build_decoder(config):
    """[batch, side, side, code_size] -> pictures float32 [batch, resolution, resolution, 3], near [-1, 1]."""
    vectors = x = keras.Input((config.side, config.side, config.code_size), name="vectors")
    for channels, blocks in zip(config.channels, config.blocks, strict=True):
        x = project(x, channels) if x is vectors else Upsample2x()(project(x, channels))
        for _ in range(blocks):
            x = block(x)
    x = Upsample2x()(keras.layers.Activation("silu")(x))
    x = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer=fan_in())(x)
    return keras.Model(vectors, keras.layers.Activation("linear", dtype="float32")(x), name="decoder")


def build(config, name):
    """pictures -> (pictures decoded from their codes; vectors of the encoder; the codes int32 [batch, side, side])."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    vectors = build_encoder(config)(picture)
    nearest, codes = Codebook(config.vocabulary, config.code_size, name="codebook")(vectors)
    return keras.Model(picture, [build_decoder(config)(nearest), vectors, codes], name=name)


def build_critic(config, name):
    """Pictures [batch, resolution, resolution, 3] -> logits float32 [batch, patches, patches]: Isola et al. 2017 (arXiv 1611.07004).

    The last layer has no bias, whose gradient is 0 while all answers lie within the margin of the hinge.
    """
    pictures = x = keras.Input((config.resolution, config.resolution, 3), name="pictures")
    for layer in range(config.critic_layers):
        channels = config.critic_width * 2**layer
        if x is pictures:
            x = StridedConv2D(channels, 2, kernel_initializer="he_normal")(x)
        else:
            x = keras.layers.Conv2D(channels, 4, 2, "same", kernel_initializer=keras.initializers.HeNormal())(x)
        x = keras.layers.LeakyReLU(0.2)(x)
    x = keras.layers.Conv2D(1, 3, padding="same", use_bias=False, kernel_initializer=fan_in())(x)
    return keras.Model(pictures, keras.layers.Reshape(x.shape[1:3], dtype="float32")(x), name=name)


class Model(Reconstruction, TwoPlayer):
    """Absolute and perceptual differences, the game and the commitment: paper, eq. 4 to 6; van den Oord et al., eq. 3.

    Gives "tokens": `encode`, `decode`, `side` and `vocabulary`, which say what codes there are, and `entries`, which say how alike they
    are.
    """

    GIVES = ("tokens",)

    def __init__(self, config, *, facts=Facts(), seed=0, augment="none"):
        super().__init__(config, facts=facts, seed=seed, augment=augment)
        self.side, self.vocabulary = config.side, config.vocabulary
        self.objective = objective(config.objective)
        self.features = self.frozen(open_network(config.features))
        names = [name.replace("relu", "conv") for name in self.features.compared]  # maps before their ReLU
        self.distances = {name: config.perceptual / len(names) for name in names}
        self.network, self.ema = self.with_ema(lambda name: build(config, name))
        self.critic = build_critic(config, "critic")
        self.generator_optimizer = self._adam("generator_adam", self.network, config.learning_rate)
        self.critic_optimizer = self._adam("critic_adam", self.critic, config.critic_learning_rate)

    def _adam(self, name, network, rate):
        steps = self.config.decay_images // self.config.batch_size
        return adam(name, network, rate=Cosine(rate, rate / 100, steps), beta_1=self.config.beta_1)

    def critic_logits(self, pictures, batch):
        return self.critic(self.augmented(pictures), training=True)

    def fakes(self, batch):
        """(pictures decoded from codes, vectors of the encoder, codes)."""
        return self.network(batch["image"], training=True)

    def critic_terms(self, batch, fakes, due):
        real, fake = self.critic_logits(batch["image"], batch), self.critic_logits(fakes[0], batch)
        self.record_confidence(real, fake, relativistic=self.objective.relativistic)
        return {"adversarial": tf.reduce_mean(self.objective.critic(real, fake), axis=[1, 2])}

    def generator_terms(self, batch, fakes, due):
        pictures, (seen, vectors, codes) = batch["image"], fakes
        fake = self.critic_logits(seen, batch)
        real = self.critic_logits(pictures, batch) if self.objective.relativistic else None
        game = tf.reduce_mean(self.objective.generator(real, fake), axis=[1, 2])
        nearest = tf.stop_gradient(self.network.get_layer("codebook").look_up(codes))
        distance = tf.reduce_mean(tf.reduce_sum(tf.square(vectors - nearest), axis=-1), axis=[1, 2])
        self._follow_codes(tf.stop_gradient(vectors), codes)
        return {
            "content": self.config.content * absolute(seen, pictures),
            "perceptual": perceptual(self.features, seen, pictures, self.distances, difference=absolute),
            "adversarial": self.config.adversarial * game,
            "commitment": self.config.commitment * distance,
        }

    def _follow_codes(self, vectors, codes):
        """Move the codebook by the places of all replicas."""
        keys = self.random.uniform(*codes.shape)
        places = [tf.reshape(vectors, [-1, vectors.shape[-1]]), tf.reshape(codes, [-1]), tf.reshape(keys, [-1])]
        context = tf.distribute.get_replica_context()
        if (replicas := context.num_replicas_in_sync) > 1:
            shapes = [[replicas * each.shape[0], *each.shape[1:]] for each in places]
            gathered = [context.all_gather(each, axis=0) for each in places]
            places = [tf.ensure_shape(each, shape) for each, shape in zip(gathered, shapes, strict=True)]
        self.network.get_layer("codebook").follow(*places, self.config.code_decay)
        used = tf.reduce_max(tf.one_hot(places[1], self.vocabulary), axis=0)
        self.record(usage=tf.reduce_mean(used))

    def entries(self):
        """The directions that the codes stand for, float32 [vocabulary, code_size], of length 1."""
        return self.ema.get_layer("codebook").entries()

    def encode(self, pictures):
        """The codes, int32 [n, side * side], of pictures float32 [n, resolution, resolution, 3] in [-1, 1]."""
        codebook = self.ema.get_layer("codebook")
        _, codes = codebook(self.ema.get_layer("encoder")(pictures, training=False))
        return tf.reshape(codes, [-1, self.side**2])

    def decode(self, codes):
        """Pictures float32 [n, resolution, resolution, 3] near [-1, 1] of codes int32 [n, side * side]."""
        vectors = self.ema.get_layer("codebook").look_up(tf.reshape(codes, [-1, self.side, self.side]))
        return self.ema.get_layer("decoder")(vectors, training=False)

    def apply(self, pictures):
        return self.decode(self.encode(pictures))

    def endpoints(self):
        """Beside its task's: encode: images -> codes. decode: codes -> images."""
        images = {"images": ports.Picture(self.config.resolution)}
        codes = {"codes": ports.Codes((self.side**2,), self.vocabulary)}
        return super().endpoints() | {
            "encode": Endpoint(lambda images: {"codes": self.encode(images)}, images, codes),
            "decode": Endpoint(lambda codes: {"images": self.decode(codes)}, codes, images, files=False),
        }
