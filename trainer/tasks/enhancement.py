"""Enhancement: pictures enlarged by a whole factor, with bicubic enlargement as the baseline."""

from dataclasses import replace

import numpy as np
from PIL import Image

from data import edits, views
from data.batch import ENHANCEMENT
from data.corruptions.recipes import parse
from data.degrade import downscale
from data.errors import UserError
from trainer.evaluation import grey_cards
from trainer.evaluation.pairs import Pair
from trainer.metrics.table import PSNR_Y
from trainer.tasks.task import PERIOD, PairTask

BICUBIC = "bicubic (Pillow)"
UNCHANGED = "unchanged"
CLASSIC = "bilateral:40"  # before the bicubic enlargement: the best of a few on photos damaged by the recipe `photo`
_WINDOW = 160  # side in px of the part shown of a large picture


class Enhancement(PairTask):
    """Measures enlarged patches in training, and whole pictures of an exported model, against their originals."""

    name = ENHANCEMENT
    source, target = "low", "high"
    augmentations = ("dihedral",)
    measure = PSNR_Y
    deciding = ("scale",)
    made_by = "the recipe {view}, one seed for all"

    def view(self, config, kind="auto", *, keys=()):
        return views.enhancement(config.resolution, config.scale, keys=keys, recipe=kind)

    def side(self, config, key):
        return config.resolution // config.scale if key == self.source else config.resolution

    def rated_view(self, side, kind, setting):
        scale = setting("scale")
        size = side // scale * scale
        return size, views.enhancement(size, scale, recipe=kind)

    def shave(self, settings):
        return settings["scale"]

    def period(self, settings):
        """Returns the scale, unless the frequencies of `PERIOD` include its own."""
        return settings["scale"] if PERIOD % settings["scale"] else PERIOD

    def enlarged(self, sources, settings):
        return sources.repeat(settings["scale"], axis=1).repeat(settings["scale"], axis=2)

    def alternatives(self, pairs, run):
        unchanged = BICUBIC if run.settings["scale"] > 1 else UNCHANGED
        made = {unchanged: [_bicubic(pair) for pair in pairs]}
        if parse(run.view, run.settings["scale"]):  # damage that a classic method can remove
            chain = edits.parse(CLASSIC)
            made[f"classic ({CLASSIC})"] = [_bicubic(pair._replace(source=chain(pair.source))) for pair in pairs]
        return made

    def references(self, pair):
        """Returns the part of a large picture where bicubic enlargement is worst."""
        times = len(pair.target) // len(pair.source)
        bicubic = _bicubic(pair)
        part = _hardest(bicubic, pair.target)
        blocks = pair.source.repeat(times, axis=0).repeat(times, axis=1)
        return part, [("source", blocks[part]), ("bicubic", bicubic[part]), ("target", pair.target[part])]

    def evaluate(self, model, reference, request, extractor, progress):
        """Adds what the model makes of grey cards to the measures of pairs."""
        evaluation = super().evaluate(model, reference, request, extractor, progress)
        return replace(evaluation, metrics=evaluation.metrics | grey_cards.measure(model.change))

    def read(self, model, source, quarantine, count, progress):
        examples = _whole(source, model.run, quarantine)
        examples = progress(examples, source.count and min(source.count, count), "reading")
        return (pair for _, pair in zip(range(count), examples, strict=False))


def _whole(source, run, quarantine):
    """Yields pictures in their own size with their smaller versions: given ones (`pairs:`), or made as in training."""
    scale = run.settings["scale"]
    recipe = parse(run.view, scale)
    quarantine.extend(source.left_out)
    for number, example in enumerate(source.examples(None, run.fit, quarantine)):
        try:
            low, high = views.sides(example, scale)
            if low is None:
                low = recipe.numpy(high, 0, number) if recipe else downscale(high, scale)
        except UserError as error:
            quarantine.add(f"example {number}", str(error))
            continue
        mask = example.get("mask")
        yield Pair(low, high, example.get("label"), None if mask is None else mask[: len(high), : high.shape[1]])


def _bicubic(pair):
    height, width = pair.target.shape[:2]
    return np.array(Image.fromarray(pair.source).resize((width, height), Image.Resampling.BICUBIC))


def _hardest(enlarged, target):
    """Returns the part of a picture, at most `_WINDOW` px a side, that bicubic enlargement is furthest from."""
    lost = np.abs(enlarged.astype(int) - target).sum(axis=2)
    height, width = lost.shape
    tops, lefts = (range(0, max(1, side - _WINDOW + 1), 16) for side in (height, width))
    parts = [np.s_[top : top + _WINDOW, left : left + _WINDOW] for top in tops for left in lefts]
    return max(parts, key=lambda part: lost[part].sum())
