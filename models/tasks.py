"""What the families of one task have in common: how samples are made and what the exported model answers."""

from data.batch import ENHANCEMENT, GENERATION, TRANSLATION
from models import signatures


class Generation:
    """From z, and the category when `classes` > 0, to a picture.

    Expects networks called as network([latent] or [latent, label]) and a config with `latent_size` and `resolution`.
    """

    task = GENERATION
    conditional = True  # can be told the categories
    class_names = ()  # in the order of the labels: what an export answers when it is asked for them

    def fakes(self, batch):
        """Pictures float32 [batch, resolution, resolution, 3] from fresh z, the generator in training mode."""
        latent = self.random.normal(batch["image"].shape[0], self.config.latent_size)
        return self.network([latent, *self.labels(batch)], training=True)

    def labels(self, batch):
        """[label int32 [batch]] for a conditional model, else []."""
        return [batch["label"]] if self.classes else []

    def generate(self, latent, label=None):
        """float32 [n, latent_size] [, int32 [n]] -> float32 [n, resolution, resolution, 3], by the served network."""
        return self.ema([latent, *([label] if self.classes else [])], training=False)

    def sample(self, batch):
        return self.generate(batch["latent"], batch.get("label"))

    def signatures(self):
        config = self.config
        return signatures.generation(
            self.generate,
            latent_size=config.latent_size,
            classes=self.classes,
            class_names=self.class_names,
            resolution=config.resolution,
        )


class Translation:
    """From one picture to another of the same fixed size, `config.resolution`."""

    task = TRANSLATION
    conditional = False

    def apply(self, pictures):
        """float32 [n, resolution, resolution, 3] in [-1, 1] -> the same shape, by the served network."""
        return self.ema(pictures, training=False)

    def sample(self, batch):
        return self.apply(batch["source"])

    def signatures(self):
        return signatures.pictures(self.apply, size=self.config.resolution)


class Enhancement:
    """From a picture of any size to one `config.scale` times as large."""

    task = ENHANCEMENT
    conditional = False

    def apply(self, pictures):
        """float32 [n, height, width, 3] in [-1, 1] -> [n, scale * height, scale * width, 3], by the served network."""
        return self.ema(pictures, training=False)

    def sample(self, batch):
        return self.apply(batch["low"])

    def signatures(self):
        return signatures.pictures(self.apply, scale=self.config.scale)
