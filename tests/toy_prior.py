"""A family that wants an interface: tokens from noise, of which the parent makes a picture.

Batch: `image`.

    python -m trainer.task --model toy_prior --parent RUN
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

from models.base import OnePlayer
from models.optimizers import adam
from models.tasks import Generation

TOKENS, VOCABULARY = 16, 8


@dataclass(frozen=True)
class Config:
    resolution: int = 16  # px
    batch_size: int = 4  # pictures a step
    images: int = 16
    latent_size: int = 4
    learning_rate: float = 1e-2
    ema_images: int = 100  # pictures


PRESETS = {"tiny": Config(), "16": Config()}


def build(config, name):
    """latent [batch, latent_size] -> logits float32 [batch, tokens, vocabulary]."""
    shape = keras.layers.Reshape((TOKENS, VOCABULARY), dtype="float32")
    return keras.Sequential(
        [keras.Input((config.latent_size,)), keras.layers.Dense(TOKENS * VOCABULARY), shape], name=name
    )


class Model(Generation, OnePlayer):
    """Minimises the cross-entropy with the parent's tokens."""

    CONDITIONS = False
    WANTS = "tokens"
    GIVES = ("tokens",)

    def __init__(self, config, **options):
        super().__init__(config, **options)
        self.network, self.ema = self.with_ema(lambda name: build(config, name))
        self.network_optimizer = adam("adam", self.network, rate=config.learning_rate)

    def terms(self, batch):
        tokens = self.parent.encode(batch["image"])
        logits = self.network(self.random.normal(tokens.shape[0], self.config.latent_size), training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tokens, logits)
        return {"cross_entropy": tf.reduce_mean(losses, axis=1)}

    def encode(self, pictures):
        return self.parent.encode(pictures)

    def decode(self, latent, conditions=None, *, training=False):
        """Pictures float32 [n, resolution, resolution, 3] of a latent, or of another prior's tokens int32 [n, 16]."""
        if conditions is None:
            return self.parent.decode(latent)
        network = self.network if training else self.ema
        return self.parent.decode(tf.argmax(network(latent, training=training), axis=-1))
