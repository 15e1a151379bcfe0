"""One run, from configuration to export: a list of calls."""

import math
from dataclasses import asdict, dataclass, replace

import tensorflow as tf

from data import pipeline
from data.batch import ENHANCEMENT, GENERATION, TRANSLATION
from data.cache import load_rows
from data.catalogue import open_source
from data.quarantine import Quarantine
from trainer import best, callbacks, history, writers
from trainer.build import configuration, make_model, make_view
from trainer.checkpoints import Checkpoints, best_facts
from trainer.config import Measuring, RunConfig
from trainer.errors import refusing
from trainer.exporting import export_run
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


def describe_data(run: RunConfig) -> dict:
    """What `--dry-run` says of the data, without reading the pictures. ValueError if there is nothing usable."""
    source = open_source(run.data, run.seed)
    return {
        "spec": source.spec,
        "examples": source.count,
        "classes": list(source.classes),
        "keys": sorted(source.keys),
        "left_out": source.left_out.sentence(),
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
        rows = load_rows(source, view, fit=run.fit, quarantine=quarantine, progress=writers.counting, say=say)
        if run.conditional and rows.empty_classes:
            missing = ", ".join(rows.empty_classes)
            raise ValueError(
                f"--conditional: {run.data} has no picture of {missing} to learn from; {quarantine.sentence()}"
            )
        _check_batch(config, strategy)
        checkpoints = Checkpoints(folder.checkpoints, model.state())
        rows_per_step = config.batch_size * model.rows_per_step
        progress = callbacks.Progress(checkpoints.restore(), math.ceil(config.images / rows_per_step), rows_per_step)
        plan = None
        if chief and progress.left:
            plan = make_plan(measuring, run, config, model, view, rows, say)
        if chief:
            folder.open(run)
            folder.forget_metrics_after(progress.step)
            _describe(run, folder, rows, quarantine, say)
    past = history.read(folder.metrics, plan.judge.of if plan else None) if chief else history.History()
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
    quarantine.tell(say, path=folder.quarantine)
    place = "in memory" if rows.in_memory else "on disk"
    classes = f" in {len(rows.classes)} classes ({_shortened(rows.classes)})" if rows.classes else ""
    say(f"{rows.count:,} pictures{classes} to train on from {run.data}, {rows.nbytes / 1e6:,.0f} MB {place}")


def _shortened(names, most=10):
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


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
        # Over several replicas it loses the shapes of batches when it takes steps together.
        usual = model.steps_together if strategy.num_replicas_in_sync == 1 else 1
        for together in (cadence.steps_per_execution or usual, 1):
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
            if best.beats(evaluation, best_facts(folder.checkpoints), metric):
                saving.check()
                checkpoints.keep_best(best.facts(evaluation, metric))

        told = [lines.evaluation, board.evaluation, metrics.pause, console.evaluation, watchdog.evaluation]
        found.insert(0, callbacks.Evaluations(progress, plan, past, keep, told))
    return found, [saving.release, console.close]
