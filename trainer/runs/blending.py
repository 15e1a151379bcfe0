"""Blends two runs into a version: the weights between theirs."""

import numpy as np
import tensorflow as tf

from data.errors import UserError
from trainer.runs.exporting import export_run
from trainer.runs.folder import RunDir
from trainer.runs.parents import Parent, open_parent


def blend(
    first: str, second: str, *, weight: float, export_to: tuple[str, str], version: int | None = None, say
) -> str:
    """Exports the model with (1 - weight) of the first run's weights plus weight of the second's; returns the version's folder.

    Wang et al. 2018 (ESRGAN, arXiv 1809.00219), section 3.4. The served weights of the newest checkpoints are blended, in float64: with
    weight 0 the version answers as the first run does, with 1 as the second, bit for bit.

    Args:
        first, second: run folders. weight: from 0 to 1. export_to: (folder, name of the model). say: function (sentence).

    Raises:
        UserError: no such runs, or networks that are not the same, so that weights between theirs mean nothing.
    """
    one, two = (open_parent(RunDir(root, of_another=True), newest=True) for root in (first, second))
    _check(one, two, f"{first} and {second} do not blend")
    ours, theirs = one.model.ema.get_weights(), two.model.ema.get_weights()
    one.model.ema.set_weights([_between(a, b, weight) for a, b in zip(ours, theirs, strict=True)])
    runs = zip((first, second), (one, two), (1 - weight, weight), strict=True)
    more = {
        "made_from": [
            {"run": root, "weight": share, "step": run.step, "configuration": run.run.as_values()}
            for root, run, share in runs
        ],
        "borrowed": sorted({*one.model.borrowed(), *two.model.borrowed()}),
    }
    say(f"{1 - weight:.4g} of {first} at step {one.step:,} and {weight:.4g} of {second} at step {two.step:,}")
    return export_run(
        one.run,
        one.model,
        data=one.record.data,
        step=one.step,
        export_to=export_to,
        say=say,
        version=version,
        more=more,
    )


def _between(a, b, weight):
    return ((1 - weight) * a.astype(np.float64) + weight * b.astype(np.float64)).astype(a.dtype)


def _check(one: Parent, two: Parent, words: str) -> None:
    """Raises UserError, which begins with `words`, unless the first network with the second's weights is the second network."""
    if one.model.task != two.model.task:
        raise UserError(f"{words}: one is for {one.model.task}, the other for {two.model.task}")
    if one.model.facts != two.model.facts:
        raise UserError(f"{words}: they are told different conditions, or the same with other values")
    shapes, others = ([list(weight.shape) for weight in run.model.ema.weights] for run in (one, two))
    if shapes != others:
        raise UserError(f"{words}: their networks differ: {_difference(one.run, two.run)}")
    kept = one.model.ema.get_weights()
    one.model.ema.set_weights(two.model.ema.get_weights())
    if not _answer_alike(one.model, two.model):
        raise UserError(
            f"{words}: they compute different things from the same weights: {_difference(one.run, two.run)}"
        )
    one.model.ema.set_weights(kept)


def _answer_alike(model, other):
    ours, theirs = model.signatures(), other.signatures()
    if ours.keys() != theirs.keys():
        return False
    for name, signature in ours.items():
        if signature.inputs != theirs[name].inputs:
            return False
        request = {alias: tf.constant(rows) for alias, rows in signature.samples(np.random.default_rng(0), 2).items()}
        answer, expected = signature.function(**request), theirs[name].function(**request)
        if any(not np.array_equal(answer[alias], expected[alias]) for alias in expected):
            return False
    return True


def _difference(one, two):
    """Describes the settings that differ, of those that both have, and the families."""
    families = [f"model: {one.model} and {two.model}"] if one.model != two.model else []
    return "; ".join(
        families
        + [
            f"{name}: {one.settings[name]} and {two.settings[name]}"
            for name in one.settings
            if name in two.settings and one.settings[name] != two.settings[name]
        ]
    )
