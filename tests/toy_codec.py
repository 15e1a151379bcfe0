"""A family that lends an interface: a picture as 4 x 4 tokens of a small vocabulary, and back.

Batch: `image`.

    python -m trainer.task --model toy_codec
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

from models import ports
from models.base import OnePlayer
from models.losses.reconstruction import squared
from models.optimizers import adam
from models.signatures import Endpoint
from models.tasks import Generation

SIDE, VOCABULARY = 4, 8


@dataclass(frozen=True)
class Config:
    resolution: int = 16  # px
    batch_size: int = 4  # pictures a step
    images: int = 16
    learning_rate: float = 1e-2
    ema_images: int = 100  # pictures


PRESETS = {"tiny": Config(), "16": Config()}


def build(config, name):
    """pictures [batch, resolution, resolution, 3] -> the same, through shares of tokens."""
    patch = config.resolution // SIDE
    picture = keras.Input((config.resolution, config.resolution, 3))
    shares = keras.layers.Conv2D(VOCABULARY, patch, patch, activation="softmax")
    pixels = keras.layers.Conv2DTranspose(3, patch, patch, activation="tanh", dtype="float32")
    encoder = keras.Sequential([keras.Input(picture.shape[1:]), shares], name="encoder")
    decoder = keras.Sequential([keras.Input((SIDE, SIDE, VOCABULARY)), pixels], name="decoder")
    return keras.Model(picture, decoder(encoder(picture)), name=name)


class Model(Generation, OnePlayer):
    """Minimises the squared difference."""

    CONDITIONS = False
    KNOBS = {}
    GIVES = ("tokens",)

    def __init__(self, config, **options):
        super().__init__(config, **options)
        self.network, self.ema = self.with_ema(lambda name: build(config, name))
        self.network_optimizer = adam("adam", self.network, rate=config.learning_rate)

    def terms(self, batch):
        return {"squared": squared(self.network(batch["image"], training=True), batch["image"])}

    def encode(self, pictures):
        """float32 [n, resolution, resolution, 3] -> int32 [n, 16]."""
        shares = self.ema.get_layer("encoder")(pictures, training=False)
        return tf.reshape(tf.argmax(shares, axis=-1, output_type=tf.int32), [-1, SIDE * SIDE])

    def decode(self, tokens):
        """int32 [n, 16] -> float32 [n, resolution, resolution, 3] in [-1, 1]."""
        shares = tf.one_hot(tf.reshape(tokens, [-1, SIDE, SIDE]), VOCABULARY)
        return self.ema.get_layer("decoder")(shares, training=False)

    def generate(self, random, rows, conditions, *, training=False):
        return self.decode(
            tf.argmax(tf.reshape(random.normal(rows, SIDE * SIDE * VOCABULARY), [-1, SIDE * SIDE, VOCABULARY]), -1)
        )

    def endpoints(self):
        picture = {"images": ports.Picture(self.config.resolution)}

        def generate(seed):
            return {"images": self.generate(seed, seed.rows, [])}

        def reconstruct(images):
            return {"images": self.decode(self.encode(images))}

        return {
            "generate": Endpoint(generate, {"seed": ports.Seed()}, picture),
            "reconstruct": Endpoint(reconstruct, picture, picture),
        }
