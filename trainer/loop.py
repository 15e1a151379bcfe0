"""One run, from configuration to export: a list of calls."""

import math
import posixpath
from dataclasses import asdict, dataclass, replace

import keras
import tensorflow as tf

from data import pipeline, views
from data.batch import ENHANCEMENT, GENERATION, TRANSLATION
from data.cache import load_rows
from data.catalogue import open_source
from data.quarantine import Quarantine
from models import catalogue
from models.base import TwoPlayer
from serving.export import export, latest, report, versions
from trainer import best, callbacks, history, writers
from trainer.checkpoints import Checkpoints, best_facts, newest_step
from trainer.config import Measuring, RunConfig
from trainer.errors import refusing
from trainer.measuring import make_plan
from trainer.rundir import RunDir
from trainer.sheets import make_draw
from trainer.strategy import is_chief, make_strategy, set_precision
from trainer.watchdog import Watchdog

AUGMENT_ROWS = {GENERATION: ("flip",), TRANSLATION: ("flip", "jitter"), ENHANCEMENT: ("dihedral",)}


@dataclass(frozen=True)
class Cadence:
    """What a run writes how often; none of it changes what is computed."""

    log_steps: int | None = None  # steps between two lines of metrics; None: about 1,000 lines a run
    sample_images: int | None = None  # pictures between two sample sheets; None: 20 sheets a run
    checkpoint_minutes: float = 5.0
    steps_per_execution: int | None = None  # steps TensorFlow takes in one call; None: what suits the family


def make_view(run: RunConfig, config):
    """What the run's family trains on, made from an example. ValueError if the settings do not fit together."""
    task = catalogue.names()[run.model]
    if task == GENERATION:
        return views.generation(config.resolution)
    if task == TRANSLATION:
        return views.translation(config.resolution, run.view)
    return views.enhancement(config.resolution, config.scale)


def make_model(run: RunConfig, classes: int):
    """The family's model for the run. ValueError if the configuration is contradictory."""
    family = catalogue.load(run.model)
    config = configuration(run)
    keras.utils.set_random_seed(run.seed)
    options = {"augment": run.augment} if issubclass(family.Model, TwoPlayer) else {}
    return family.Model(config, classes=classes, seed=run.seed, **options)


def configuration(run: RunConfig):
    """The family's config dataclass that `run.settings` describes."""
    family = catalogue.load(run.model)
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in run.settings.items()}
    return family.Config(**settings)


def describe_data(run: RunConfig) -> dict:
    """What `--dry-run` says of the data, without reading the pictures. ValueError if there is nothing usable."""
    source = open_source(run.data, run.seed)
    return {
        "spec": source.spec,
        "examples": source.count,
        "classes": list(source.classes),
        "keys": sorted(source.keys),
        "fingerprint": source.fingerprint(),
        "view": make_view(run, configuration(run)).describe(),
    }


def train(
    run: RunConfig, root: str, cadence: Cadence, measuring: Measuring, export_to: tuple[str, str] | None, say
) -> str | None:
    """Train, or go on training, the run in folder `root`, and export it: as it ends, or at its best if the user named what is best or
    gave a patience, which makes a run go on past its best.

    Args:
        export_to: (folder, name) of the export; None: do not export.
        say: function (sentence) for the user.

    Returns:
        The exported version's folder, or None.

    Raises:
        Refused, Stopped, Interrupted: see `trainer.errors`.
    """
    with refusing():
        strategy = make_strategy(run.strategy)
        set_precision(run.precision)
        config = configuration(run)
        folder, chief = RunDir(root), is_chief(strategy)
        folder.check(run)
        _check_patience(measuring, strategy)
        source = open_source(run.data, run.seed)
        classes = len(source.classes) if run.conditional else 0
        if run.conditional and not classes:
            raise ValueError(f"--conditional needs categories, and {run.data} has none")
        with strategy.scope():
            model = make_model(run, classes)
        quarantine, view = Quarantine(), make_view(run, config)
        rows = load_rows(source, view, fit=run.fit, quarantine=quarantine, progress=writers.counting)
        _check_batch(config, strategy)
        checkpoints = Checkpoints(folder.checkpoints, model.state())
        rows_per_step = config.batch_size * model.rows_per_step
        progress = callbacks.Progress(checkpoints.restore(), math.ceil(config.images / rows_per_step), rows_per_step)
        plan = None
        if chief and progress.left:
            plan = make_plan(measuring, run, config, model, source, view, rows, say)
        if chief:
            folder.open(run)
            folder.forget_metrics_after(progress.step)
            _describe(run, folder, rows, quarantine, say)
    past = history.read(folder.metrics, plan.judge.of if plan else None)
    planned = progress.steps
    if plan and plan.patience_is_over(past):
        progress.end()
    elif progress.step:
        say(f"going on at {progress.images:,} of {progress.steps * rows_per_step:,} pictures")
    if progress.left:
        _fit(run, config, folder, cadence, strategy, chief, model, rows, checkpoints, progress, plan, past)
    if progress.steps < planned:
        say(_ended_early(plan, past))
    if not (chief and export_to):
        return None
    with refusing():
        facts = None
        if (measuring.best or measuring.patience) and best_facts(folder.checkpoints):
            facts = checkpoints.restore_best()
        return export_run(run, model, source, progress.step, export_to, say, facts=facts)


def _describe(run, folder, rows, quarantine, say):
    if len(quarantine):
        quarantine.write(folder.quarantine)
        say(f"{quarantine.sentence()}; the list is in {folder.quarantine}")
    place = "in memory" if rows.in_memory else "on disk"
    say(f"{rows.count:,} pictures to train on from {run.data}, {rows.nbytes / 1e6:,.0f} MB {place}")


def _ended_early(plan, past):
    comparable = best.comparable(past.evaluations, plan.metric)
    top = best.best(comparable, plan.metric)
    return (
        f"ended early at {comparable[-1].images:,} pictures: {plan.metric} has not become better by more than its error for"
        f" {plan.patience} evaluations; its best is {top.found[plan.metric].value:.4g} at {top.images:,} pictures"
    )


def _check_batch(config, strategy):
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise ValueError(f"batch_size={config.batch_size} cannot be shared evenly by {replicas} replicas")


def _check_patience(measuring, strategy):
    if measuring.patience and isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise ValueError("--patience is for one worker: only the first evaluates, and the others would wait for it")


def _fit(run, config, folder, cadence, strategy, chief, model, rows, checkpoints, progress, plan, past):
    waiting = pipeline.Waiting()
    watchers, release = [callbacks.Steps(progress)], []
    if chief:
        found, release = _watchers(
            run, config, folder, cadence, model, rows, checkpoints, progress, plan, past, waiting
        )
        watchers += found
    try:
        # Keras takes whole executions only, so what is left over after the last whole one is taken step by step.
        for together in (cadence.steps_per_execution or model.steps_together, 1):
            steps = progress.left // together * together
            if steps:
                dataset = pipeline.training(
                    rows,
                    model.task,
                    strategy,
                    waiting,
                    batch_size=progress.rows,
                    seed=run.seed,
                    position=progress.images,
                    augment=AUGMENT_ROWS[model.task],
                    keys=("label",) if model.classes else (),
                )
                model.compile(steps_per_execution=together)
                model.fit(dataset, epochs=1, steps_per_epoch=steps, verbose=0, callbacks=watchers, shuffle=False)
    finally:
        for close in release:
            close()


def _watchers(run, config, folder, cadence, model, rows, checkpoints, progress, plan, past, waiting):
    """(callbacks, functions to call at the end) of the process that writes the run folder."""
    lines = writers.JsonLines(folder.metrics)
    board = writers.TensorBoard(folder.tensorboard, asdict(replace(run, settings={})) | run.settings)
    metric = plan.metric if plan else None
    console = writers.Console(progress, metric)
    watchdog = Watchdog(past, metric, record=[lines.warning, board.warning], say=console.warning)
    draw = make_draw(model, rows, config, run.seed)
    sheet_steps = max(1, (cadence.sample_images or config.images // 20) // progress.rows)
    sheets = callbacks.SampleSheets(progress, sheet_steps, draw, folder.sample_path, [board.sheet])
    rates = {f"learning_rate_{o.name}": lambda o=o: float(o.learning_rate) for o in model.optimizers()}
    rates |= {"data_wait": waiting.share, "sample_spread": sheets.spread}
    every = cadence.log_steps or max(1, min(50, progress.steps // 200))
    metrics = callbacks.Metrics(progress, every, rates, [lines, board, watchdog, console])
    saving = callbacks.Saving(progress, checkpoints, cadence.checkpoint_minutes, metrics)
    # What may end the run stands before what does something at its end.
    found = [sheets, metrics, saving]
    if plan:

        def keep(evaluation):
            saving.check()
            value, error = evaluation.found[metric]
            facts = {"metric": metric, "value": value, "error": error, "of": evaluation.of}
            checkpoints.keep_best(facts | {"step": evaluation.step, "images": evaluation.images})

        told = [lines.evaluation, board.evaluation, metrics.pause, console.evaluation, watchdog.evaluation]
        found.insert(0, callbacks.Evaluations(progress, plan, past, keep, told))
    return found, [saving.release, console.close]


def export_run(run, model, source, step, export_to, say, version=None, facts=None):
    """Export the model's served network, computing in float32, with what it was made from; returns the version's folder.

    Args:
        step: how far the run has come. facts: what best.json says, when the model is as it was at its best.
    """
    if run.precision != "float32":
        set_precision("float32")
        trained, model = model.state(), make_model(run, model.classes)
        for identifier, variable in model.state().items():
            variable.assign(trained[identifier])
    to, name = export_to
    shown = facts["step"] if facts else step
    made_from = {
        "model": run.model,
        "task": model.task,
        "configuration": asdict(run),
        "classes": list(source.classes) if model.classes else [],
        "data": {"spec": run.data, "fingerprint": source.fingerprint()},
        "step": shown,
        "images_seen": shown * model.config.batch_size * model.rows_per_step,
        "of_run_at_step": step,
    }
    if facts:
        made_from["best"] = facts
        say(f"the best of the run: {facts['metric']} {facts['value']:.4g} at {facts['images']:,} pictures")
    path = export(model, to, name, version, facts=made_from)
    say(f"exported and verified: {path}")
    return path


def export_checkpoint(root: str, to: str, name: str | None, version: int | None, say, at_best=False) -> str:
    """Export the newest checkpoint of the run in folder `root`, or its best; returns the version's folder. ValueError if there is none."""
    folder = RunDir(root)
    run = folder.read_config()
    set_precision(run.precision)
    source = open_source(run.data, run.seed)
    model = make_model(run, len(source.classes) if run.conditional else 0)
    checkpoints = Checkpoints(folder.checkpoints, model.state())
    facts = checkpoints.restore_best() if at_best else None
    step = newest_step(folder.checkpoints) if at_best else checkpoints.restore()
    if not step and not at_best:
        raise ValueError(f"{root} holds no checkpoint yet")
    return export_run(run, model, source, step, (to, name or run.model), say, version, facts)


def find_export(path: str, say, at_best=False) -> str:
    """The newest exported version of a run, of a model's folder, or that folder itself. ValueError if there is none.

    A run that has been saved since its newest export, or has none, is exported as it stands first; with `at_best`, which is for runs
    only, one whose newest export is not of its best.
    """
    folder = RunDir(path)
    if not tf.io.gfile.exists(folder.config):
        if at_best:
            raise ValueError(f"--best is for run folders, and {path} is none")
        return latest(path)
    run = folder.read_config()
    exported = posixpath.join(folder.exports, run.model)
    if versions(exported):
        newest = latest(exported)
        facts = report(newest)["facts"]
        if at_best and facts.get("best") and facts["best"] == best_facts(folder.checkpoints):
            return newest
        if not at_best and facts.get("of_run_at_step", facts["step"]) >= newest_step(folder.checkpoints):
            return newest
    say(f"exporting the {'best' if at_best else 'newest'} checkpoint of {path}")
    return export_checkpoint(path, folder.exports, run.model, None, say, at_best)


def split_model_dir(uri: str) -> tuple[str, str]:
    """AIP_MODEL_DIR as (folder, name), so that versions lie directly in it, as TensorFlow Serving wants them."""
    return posixpath.split(uri.rstrip("/"))
