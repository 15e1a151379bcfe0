"""Base classes of the families of each task: how samples are made, and what the exported model answers.

A family may declare more than its task does: `endpoints()` returns a dict by name, the first of which is the default, and a family adds
its own to it.
"""

import functools
from dataclasses import replace

import tensorflow as tf

from data.batch import ENHANCEMENT, GENERATION, TRANSLATION
from data.facts import LABEL, UNKNOWN
from data.random import RowRandom
from data.words import PADDING, TOKENS
from models import ports, signatures
from models.signatures import Endpoint
from models.words import Tokenizer


class Generation:
    """Models that make a picture from z and from conditions.

    Expects networks called as network([latent, *conditions]) and a config with `latent_size` and `resolution`. A family whose z is no list
    of numbers overrides `latent_shape`, with None where it has none; one that draws its pictures in another way overrides `generate`,
    and `KNOBS` with the numbers that its `generate` takes.
    """

    task = GENERATION
    CONDITIONS = True
    KNOBS = {"truncation": ports.Number(1.0, 0.0, 2.0, "factor of z; below 1: more typical, less varied pictures")}

    @property
    def latent_shape(self):
        """Of one z."""
        return (self.config.latent_size,)

    def conditions(self, batch):
        """Facts that it is told, by `facts.keys`: words int32 [batch, length] if it is told any, and int32 [batch] of each condition.

        One that a batch has not got is unknown.
        """
        rows = tf.shape(next(iter(batch.values())))[0]
        unknown = {name: tf.fill([rows], UNKNOWN) for name in self.facts.names}
        if self.facts.words:
            unknown[TOKENS] = tf.fill([rows, self.facts.words.length], PADDING)
        return [batch.get(key, unknown[key]) for key in self.facts.keys]

    @functools.cached_property
    def tokenizer(self):
        """The `models.words.Tokenizer` of the words that the model knows."""
        return Tokenizer(self.facts.words)

    def serving_tables(self):
        """Layers with lookup tables that the signatures read."""
        return [self.tokenizer.layer] if self.facts.words else []

    def generate(self, random, rows, conditions, *, training=False, truncation=None):
        """Draw pictures: the one function by which sample grids, evaluations and the export draw them, and training unless `fakes` does so
        in another way.

        Args:
            random: a `StepRandom` or a `RowRandom`. rows: how many pictures, an int or an int32 scalar tensor.
            conditions: tensors of `rows` rows, as `self.conditions` has them.
            training: True for the trained network in training mode, False for the served one.
            truncation: float32 [rows], which multiplies z; None: 1.

        Returns:
            float32 [rows, resolution, resolution, 3] in [-1, 1].
        """
        latent = random.normal(rows, *self.latent_shape)
        if truncation is not None:
            latent *= truncation[:, tf.newaxis]
        return self.decode(latent, conditions, training=training)

    def decode(self, latent, conditions, *, training=False):
        """float32 [n, *latent_shape], what the model is told -> float32 [n, resolution, resolution, 3] in [-1, 1]."""
        network = self.network if training else self.ema
        return network([latent, *conditions], training=training)

    def fakes(self, batch):
        """Pictures float32 [batch, resolution, resolution, 3] from fresh z, the generator in training mode."""
        return self.generate(self.random, batch["image"].shape[0], self.conditions(batch), training=True)

    def sample(self, batch):
        """`seed` int64 [n] and what the model is told -> pictures float32 [n, resolution, resolution, 3], as the export draws them."""
        random = RowRandom(batch["seed"])
        return self.generate(random, random.rows, self.conditions(batch))

    def asked(self, *, optional=False):
        """Returns what a request says of the pictures: ({name: input}, function that takes these inputs out of a dict and gives them as
        `conditions` does). optional: whether each may be left out; otherwise those that may be unknown in training."""
        facts = [replace(condition, optional=optional or condition.optional) for condition in self.facts]
        text = {"text": ports.Text(self.facts.words.vocabulary, optional=True)} if self.facts.words else {}

        def told(given):
            words = [self.tokenizer(given.pop("text"))] if text else []
            return words + [given.pop(name) for name in self.facts.names]

        return text | {condition.name: ports.Condition(condition) for condition in facts}, told

    def endpoints(self):
        """generate: seed, knobs, text, conditions -> images. latents: z, text, conditions -> images. classes (for a condition `colour`:
        colour_values): the names of a condition's values. unknown_words: text -> the words in it that the model does not know."""
        images = {"images": ports.Picture(self.config.resolution)}
        asked, told = self.asked()

        def generate(seed, **given):
            columns = told(given)
            return {"images": self.generate(seed, seed.rows, columns, **given)}  # what is left are the knobs

        def decode(z, **given):
            return {"images": self.decode(z, told(given))}

        def unknown_words(text):
            return {"words": self.tokenizer.unknown(text)}

        made = {"generate": Endpoint(generate, {"seed": ports.Seed()} | self.KNOBS | asked, images)}
        if self.latent_shape:
            latent = {"z": ports.Latent(self.latent_shape)}
            made["latents"] = Endpoint(decode, latent | asked, images, files=False)
        if self.facts.words:
            made["unknown_words"] = Endpoint(unknown_words, {"text": ports.Text()}, {"words": ports.Text()})
        return made | {
            "classes" if condition.name == LABEL else f"{condition.name}_values": signatures.names_of(condition)
            for condition in self.facts
        }

    def signatures(self):
        return signatures.derive(self.endpoints())


class Autoencoding(Generation):
    """Models that also make z of a picture, and that picture again of z.

    Expects networks with the layers `encoder`, called as encoder(pictures) -> (mean of z, its log variance), and `decoder`, called as
    decoder([latent, *conditions]).
    """

    def decode(self, latent, conditions, *, training=False):
        network = self.network if training else self.ema
        return network.get_layer("decoder")([latent, *conditions], training=training)

    def encode(self, pictures):
        """The mean of z, float32 [n, latent_size], of pictures float32 [n, resolution, resolution, 3] in [-1, 1]."""
        return self.ema.get_layer("encoder")(pictures, training=False)[0]

    def endpoints(self):
        """Beside those of generation: encode: images -> z, the mean. reconstruct: images, conditions -> images."""
        conditions = {condition.name: ports.Condition(condition) for condition in self.facts}
        images = {"images": ports.Picture(self.config.resolution)}

        def encode(images):
            return {"z": self.encode(images)}

        def reconstruct(images, **given):
            return {"images": self.decode(self.encode(images), [given[name] for name in conditions])}

        return super().endpoints() | {
            "encode": Endpoint(encode, images, {"z": ports.Latent((self.config.latent_size,))}),
            "reconstruct": Endpoint(reconstruct, images | conditions, images),
        }


class _PictureToPicture:
    """Models that make a picture from a picture, by `apply(pictures)`. One that takes more than a picture declares its own `endpoints`."""

    def apply(self, pictures):
        """float32 [n, height, width, 3] in [-1, 1] -> the pictures made of them, by the served network."""
        return self.ema(pictures, training=False)

    def signatures(self):
        return signatures.derive(self.endpoints())

    def _applied(self, before, after):
        return {"apply": Endpoint(lambda images: {"images": self.apply(images)}, {"images": before}, {"images": after})}


class Reconstruction(_PictureToPicture):
    """Models of generation that encode pictures and decode them, by `apply(pictures)`, and make none of nothing."""

    task = GENERATION
    CONDITIONS = False
    EVALUATOR = "pairs"

    def sample(self, batch):
        return self.apply(batch["image"])

    def endpoints(self):
        """reconstruct: images -> images, resized to `config.resolution` in files."""
        images = {"images": ports.Picture(self.config.resolution)}
        return {"reconstruct": Endpoint(lambda images: {"images": self.apply(images)}, images, images)}


class Translation(_PictureToPicture):
    """Models that make a picture from another of the same fixed size, `config.resolution`."""

    task = TRANSLATION

    def sample(self, batch):
        return self.apply(batch["source"])

    def endpoints(self):
        """apply: images -> images, resized to `config.resolution` in files."""
        picture = ports.Picture(self.config.resolution)
        return self._applied(picture, picture)


class Enhancement(_PictureToPicture):
    """Models that make a picture `config.scale` times as large as a picture of any size. At scale 1 they take a strength."""

    task = ENHANCEMENT
    STRENGTH = ports.Number(1.0, 0.0, 1.0, "share of the restored picture in the result; 0: the picture as it was")

    def sample(self, batch):
        return self.apply(batch["low"])

    def endpoints(self):
        """apply: images -> images `config.scale` times as large. At scale 1: images, strength -> images."""
        if self.config.scale > 1:
            return self._applied(ports.Picture(), ports.Picture())

        def apply(images, strength):
            share = strength[:, tf.newaxis, tf.newaxis, tf.newaxis]
            return {"images": share * self.apply(images) + (1.0 - share) * images}

        inputs = {"images": ports.Picture(), "strength": self.STRENGTH}
        return {"apply": Endpoint(apply, inputs, {"images": ports.Picture()})}
