"""Interface of tasks, and the base class of tasks with pairs of pictures."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from data.errors import UserError
from data.images import grid, to_float, to_uint8
from trainer.evaluation import live, pairs, sets
from trainer.evaluation.live import Evaluator, evenly
from trainer.evaluation.pairs import Pair, PairEvaluator
from trainer.evaluation.report import Evaluation, Example
from trainer.evaluation.request import Request
from trainer.metrics.table import KID, Measure
from trainer.runs.build import configuration

MIRRORING = {"flip", "dihedral"}  # of `data.augment.AUGMENTATIONS`
ROWS, COLUMNS = 8, 8  # of a sample grid
PERIOD = 4  # px, of periodic artifacts: its frequencies include those of layers that double, once or twice


class Task:
    """Base class of the tasks.

    name: as in `data.batch.TASKS`. augmentations: of its rows, see `data.augment`. measure: ranks
    evaluations by default. count: default number of pictures per evaluation. price: of measuring one picture, in
    training pictures, so that evaluations take about a twentieth of the time; call_price: of each call after the first
    in which a network makes it. deciding: settings that decide the pictures to measure with; models that differ in
    them do not compare.
    """

    name: str
    augmentations: Sequence[str] = ()
    measure: Measure
    count: int
    price = 25
    call_price = 3
    deciding: Sequence[str] = ()

    def view(self, config, kind: str = "auto", *, keys: Sequence[str] = ()):
        """Returns the view of a family with this config, see `data.views`; keys: besides those of its task.

        Raises UserError if the settings are contradictory.
        """
        raise NotImplementedError

    def side(self, config, key: str) -> int:
        """Returns the side in px of the pictures in a batch under a key."""
        return config.resolution

    def row_augmentations(self, mirror: bool) -> tuple[str, ...]:
        """Returns names of `data.augment.AUGMENTATIONS` for the rows; without `mirror` only those that do not mirror."""
        return tuple(name for name in self.augmentations if mirror or name not in MIRRORING)

    def sample_grid(self, model, rows, seed: int) -> Callable[[], tuple[np.ndarray, float | None]]:
        """Returns a function () -> (grid uint8 [height, width, 3] of samples of the current EMA, spread).

        The inputs are the same every time. The spread is the variation between the samples, as a share of the variation between as many
        training pictures; None for samples that have sources.
        """
        raise NotImplementedError

    def evaluator(self, model, rows, extractor, *, count: int, held_out=None, seed: int = 0) -> Evaluator:
        """Returns the evaluator of the EMA of `model` in training.

        Args:
            rows, held_out: `data.cache.Rows` of training and of held-out pictures. extractor: see `trainer.features.catalogue`.
            count: pictures per evaluation, or pairs at most. Rows are taken evenly over the set.

        Raises UserError if there are too few pictures.
        """
        raise NotImplementedError

    def gather(self, model, request: Request, extractor, progress):
        """Returns what exported models comparable with `model` are measured against; takes an `EvaluatedModel`.

        Raises UserError if the data cannot be read.
        """
        raise NotImplementedError

    def evaluate(self, model, reference, request: Request, extractor, progress) -> Evaluation:
        """Measure an exported model against what `gather` gave. Raises UserError when model and data do not fit."""
        raise NotImplementedError


class PairTask(Task):
    """Base class of tasks with pairs: a batch holds pictures under the key `source` and their targets under `target`."""

    source: str
    target: str
    count = 200
    made_by: str  # origin of the sources, for the protocol

    def shave(self, settings: dict) -> int:
        """Returns the px of each border that are not measured."""
        return 0

    def period(self, settings: dict) -> int:
        """Returns the period of periodic artifacts in px."""
        return PERIOD

    def references(self, pair: Pair) -> tuple[slice, list[tuple[str, np.ndarray]]]:
        """Returns (part of the target that an example shows, (caption, picture) of each baseline)."""
        return np.s_[:, :], [("source", pair.source), ("target", pair.target)]

    def alternatives(self, pairs: Sequence[Pair], run) -> dict[str, list[np.ndarray]]:
        """Returns baselines: pictures made from the sources without a model, by name; `run` is the model's `RunConfig`."""
        return {}

    def read(self, model, source, quarantine, count: int, progress) -> Iterator[Pair]:
        """Up to `count` pairs of an opened source, made as the run of an exported model made them."""
        raise NotImplementedError

    def rated_view(self, side: int, kind: str, setting: Callable[[str], object]) -> tuple[int, object]:
        """Returns (side of the pictures, view) for the pairs of a rating: one row per picture, of about `side` px.

        Args:
            kind: of the view. setting: function (name) -> that setting of all models; raises UserError if they differ.
        """
        raise NotImplementedError

    def enlarged(self, sources: np.ndarray, settings: dict) -> np.ndarray:
        """Returns sources uint8 [n, height, width, 3] in the size of their targets, for the sample grid."""
        return sources

    def sample_grid(self, model, rows, seed):
        sample = tf.function(model.sample)
        some = rows.take(np.linspace(0, rows.count - 1, min(2 * ROWS, rows.count)).astype(int))
        batch = {self.source: to_float(tf.constant(some[self.source]))}
        sources = self.enlarged(some[self.source], vars(model.config))

        def draw():
            shown = [sources, to_uint8(sample(batch)).numpy()]
            if self.target != self.source:
                shown.append(some[self.target])
            return grid(np.concatenate(shown, axis=2), columns=2), None

        return draw

    def evaluator(self, model, rows, extractor, *, count, held_out=None, seed=0):
        chosen = rows if held_out is None else held_out
        some = chosen.take(evenly(chosen.count, min(count, chosen.count)))
        make = live.maker(model, {self.source: to_float(tf.constant(some[self.source])).numpy()})
        against = self.pair_evaluator(some[self.target], vars(model.config), extractor, trained_with=model.borrowed())
        return live.of_pairs(make, against, seen=held_out is None)

    def pair_evaluator(
        self, targets: Sequence[np.ndarray], settings: dict, extractor, *, lpips=None, trained_with=(), masks=None
    ) -> PairEvaluator:
        """Returns the evaluator of pictures with these targets; settings: of the family's config; others: see `PairEvaluator`."""
        return PairEvaluator(
            targets,
            extractor,
            self.shave(settings),
            self.period(settings),
            self.measure,
            lpips=lpips,
            trained_with=trained_with,
            masks=masks,
        )

    def gather(self, model, request, extractor, progress):
        if request.attributes:
            raise UserError(
                f"--attributes asks whether pictures show what they were to show; {model.name} was told nothing but a picture"
            )
        return pairs.gather(model, request, lambda *arguments: self.read(model, *arguments, progress))

    def evaluate(self, model, reference, request, extractor, progress):
        def show(pair, made, name):
            part, references = self.references(pair)
            return Example(name, references, [made[part]])

        targets, masks = ([getattr(pair, name) for pair in reference.pairs] for name in ("target", "mask"))
        masks = None if any(mask is None for mask in masks) else masks
        return pairs.evaluate(
            model,
            reference,
            self.pair_evaluator(
                targets,
                model.run.settings,
                extractor,
                lpips=request.lpips,
                trained_with=model.borrowed,
                masks=masks,
            ),
            made_by=self.made_by.format(view=model.run.view),
            alternatives=self.alternatives(reference.pairs, model.run),
            show=show,
            progress=progress,
        )


class AsSet(PairTask):
    """Measures the changed pictures of a `PairTask` as a set, against real pictures under the key `target`: a family has
    `EVALUATOR = "set"` where no picture has a target of its own."""

    measure = KID
    count = 1_000

    def evaluator(self, model, rows, extractor, *, count, held_out=None, seed=0):
        chosen = rows if held_out is None else held_out
        count = min(count, chosen.count)
        sources = chosen.take(evenly(chosen.count, count))[self.source]
        make = live.maker(model, {self.source: to_float(tf.constant(sources)).numpy()})
        period = self.period(vars(model.config))
        return live.of_sets(
            make, count, rows=rows, held_out=held_out, extractor=extractor, period=period, key=self.target
        )

    def gather(self, model, request, extractor, progress):
        view, period = self.view(configuration(model.run), model.run.view), self.period(model.run.settings)
        keys = {"key": self.target, "source": self.source}
        return sets.gather(model.run, view, request, extractor=extractor, period=period, progress=progress, **keys)

    def evaluate(self, model, reference, request, extractor, progress):
        return sets.evaluate(model, reference, request, progress)
