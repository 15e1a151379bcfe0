"""Runs a training from configuration to export, as a list of calls."""

import contextlib
import errno
import math
import re
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import tensorflow as tf

from data import files, pipeline
from data.cache import Rows, enough_rows, load_rows
from data.catalogue import open_source
from data.errors import UserError
from data.facts import LABEL
from data.quarantine import Quarantine
from data.words import CAPTION, TOKENS
from models import catalogue
from models.words import tokens
from trainer import console, tasks
from trainer.errors import Refused, Stopped, refusing
from trainer.runs import history, parents, record
from trainer.runs.build import configuration, find_words, make_facts, make_model
from trainer.runs.checkpoints import Checkpoints, best_facts, newest_step, steps
from trainer.runs.cluster import workers
from trainer.runs.config import EvaluationOptions, RunConfig
from trainer.runs.exporting import export_run
from trainer.runs.folder import RunDir
from trainer.runs.lock import Lock
from trainer.runs.strategy import is_chief, make_strategy, set_precision
from trainer.training import best, callbacks, loggers, memory, precision
from trainer.training.evaluation_schedule import make_schedule
from trainer.training.watchdog import Watchdog


@dataclass(frozen=True)
class Cadence:
    """Intervals of a run's output; none of them changes the computation."""

    log_steps: int | None = None  # steps between two lines of metrics; None: 200 lines per run, at most 50 steps
    sample_images: int | None = None  # pictures between two sample grids; None: 20 grids per run
    checkpoint_minutes: float = 5.0
    steps_per_execution: int | None = None  # steps in one TensorFlow call; None: by family


@dataclass(frozen=True)
class Ready:
    """A checked run, before anything is written.

    data: what the source holds now. known: the record of its folder. changed: how the data differ from those it was trained on, None when
    they do not. choice: what `--precision auto` found, None when it had nothing to choose. parent: the run that lends it networks, if any.
    init: whose weights it begins with, see `parents.initialise`. say: function (sentence) for the user.
    """

    run: RunConfig
    folder: RunDir
    config: object
    strategy: tf.distribute.Strategy
    source: object
    data: record.Data
    known: record.Record | None
    changed: str | None
    choice: precision.Choice | None
    parent: parents.Parent | None
    init: dict | None
    model: object
    view: object
    say: Callable[[str], None]

    @property
    def chief(self) -> bool:
        """Returns whether this process writes the run folder."""
        return is_chief(self.strategy)


@dataclass(frozen=True)
class Job(Ready):
    """A run in progress. restored: the step it resumes from, 0 for a new run."""

    rows: Rows
    quarantine: Quarantine
    checkpoints: Checkpoints
    restored: int
    progress: callbacks.StepCount


def describe(
    run: RunConfig, folder: RunDir, *, evaluation_options: EvaluationOptions, accept_new_data: bool = False, say
) -> tuple[RunConfig, dict]:
    """Returns (the run with its precision resolved, a description of its data), for `--dry-run`.

    Builds the model and reads up to the first usable picture. Changes nothing. Raises UserError or OSError, as `train` would.
    """
    run = _as_begun(run, folder, say)
    strategy = make_strategy(run.strategy) if workers() < 2 else tf.distribute.get_strategy()
    ready = _prepare(
        run, folder, strategy, evaluation_options=evaluation_options, accept_new_data=accept_new_data, say=say
    )
    quarantine = Quarantine()
    for example in ready.source.examples(ready.view.size, run.fit, quarantine):
        try:
            ready.view.rows(example)
            break
        except UserError as error:
            quarantine.add("an example", str(error))
    else:
        raise UserError(f"nothing usable was found in {run.data}. {quarantine.sentence()}")
    return ready.run, {
        "spec": ready.data.spec,
        "examples": ready.data.count,
        "classes": list(ready.data.classes),
        "keys": sorted(ready.source.keys),
        "left_out": ready.source.left_out.sentence(),
        "fingerprint": ready.data.fingerprint,
        "view": ready.view.describe(),
    }


def train(
    run: RunConfig,
    folder: RunDir,
    *,
    cadence: Cadence,
    evaluation_options: EvaluationOptions,
    export_to: tuple[str, str] | None = None,
    accept_new_data: bool = False,
    say,
) -> str | None:
    """Trains the run in `folder`, or resumes it, and exports its newest state, or its best if the options name a measure or a patience.

    Args:
        export_to: (folder, name) of the export; None: do not export.
        accept_new_data: resume although the data are not those that the run was trained on.
        say: function (sentence) for the user.

    Returns:
        The exported version's folder, or None.

    Raises:
        Refused, Stopped, Interrupted: see `trainer.errors`.
    """
    with Lock(folder.root) as lock:
        with refusing():
            run = _as_begun(run, folder, say)
            strategy = make_strategy(run.strategy, say)
            ready = _prepare(
                run, folder, strategy, evaluation_options=evaluation_options, accept_new_data=accept_new_data, say=say
            )
            was_there = files.exists(folder.root)
            if ready.chief and was_there:
                lock.take()
            job = _load(ready)
            schedule = _make_schedule(job, evaluation_options)
        with _stopping(folder):
            if job.chief:
                _enter(folder, lock, was_there)
                _open(job)
            past = _read_history(job, schedule)
            planned = job.progress.steps
            _begin(job, schedule, past)
            if job.progress.left:
                _fit(job, cadence, schedule=schedule, past=past)
            if job.progress.steps < planned:
                say(_ended_early(schedule, past))
            if not (job.chief and export_to):
                return None
            return _export(job, export_to, at_best=bool(evaluation_options.best or evaluation_options.patience))


def _as_begun(run, folder, say) -> RunConfig:
    """Returns the run with `auto` resolved to the precision it began in; a new run is unchanged.

    Raises UserError for a new run of several workers, which must agree.
    """
    if run.precision != "auto":
        return run
    known = record.read(folder.record)
    if files.exists(folder.config):
        name = folder.read_config().precision
    elif known and known.precision:
        name = known.precision["chosen"]
    elif workers() > 1:
        raise UserError(
            f"--precision auto measures one machine, and TF_CONFIG names {workers()} workers, which must use the same: name a precision"
        )
    else:
        return run
    say(f"--precision auto: {name}, in which this run was begun")
    return replace(run, precision=name)


def _choose_precision(run, facts, *, lender, strategy, say):
    """(the run with its precision settled, the `precision.Choice` of `auto` or None); layers compute in it from here on."""
    choice, tried = None, replace(run, parent=lender and lender.root)
    if run.precision == "auto":
        choice = precision.choose(tried, facts, strategy=strategy, say=say)
        say(f"--precision auto takes {choice.chosen}: {choice.why}")
        run = replace(run, precision=choice.chosen)
    else:
        precision.check(tried, facts)
    set_precision(run.precision)
    return run, choice


def _prepare(run, folder, strategy, *, evaluation_options, accept_new_data, say) -> Ready:
    """Makes all checks that need no pictures. Raises UserError or OSError."""
    config = configuration(run)
    folder.check(run)
    _check_evaluation(evaluation_options, strategy)
    _check_batch(config, strategy)
    source = open_source(run.data, run.seed)
    folder.check_apart(source)
    begun, known, changed = bool(steps(folder.checkpoints)), record.read(folder.record), None
    data = record.Data.of(source, find_words(run, source, known.data.words if begun and known else None))
    facts = make_facts(run, data)
    family = catalogue.load(run.model).Model
    view = tasks.of(family).view(config, run.view, keys=family.KEYS)
    view.check(source.keys)
    if begun:
        if not files.exists(folder.config):
            say(f"{folder.config} is missing: the settings of this command are assumed to be those of the run")
        if known:
            changed = record.difference(known.data, data, conditions=run.told)
            if not changed and known.data.spec != data.spec:
                say(f"{data.spec} holds the same pictures, by names and sizes, as {known.data.spec} did")
        else:
            say(
                f"{folder.record} is missing: the current content of {run.data} is assumed to be what the run was trained on"
            )
    if changed and not accept_new_data:
        raise UserError(
            f"{folder.root} was trained on other data: {changed}. Put the data back, or resume with the new ones by --accept-new-data,"
            " which is noted in the run"
        )
    lender = parents.lender(run, folder)
    run, choice = _choose_precision(run, facts, lender=lender, strategy=strategy, say=say)
    try:
        with strategy.scope():
            parent = lender and parents.open_parent(lender)
            model = make_model(run, facts, parent=parent and parent.model)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise UserError(f"the model is too large for the memory of this machine: {_first_line(error)}") from error
    init = None
    if begun:
        record.check_frozen(folder.record, known, model)
    elif run.init:
        init = parents.initialise(model, run.init, say)
    if parent:
        say(f"works with the {model.WANTS} of {lender.root} at step {parent.step:,}")
    memory.check(model, config.batch_size // strategy.num_replicas_in_sync)
    return Ready(
        run=run,
        folder=folder,
        config=config,
        strategy=strategy,
        source=source,
        data=data,
        known=known,
        changed=changed,
        choice=choice,
        parent=parent,
        init=init,
        model=model,
        view=view,
        say=say,
    )


def _load(ready) -> Job:
    """Reads the pictures and the newest checkpoint. Raises UserError or OSError."""
    run, config, model, folder, quarantine = ready.run, ready.config, ready.model, ready.folder, Quarantine()
    rows = load_rows(
        ready.source,
        ready.view,
        fit=run.fit,
        most=enough_rows(config.images),
        quarantine=quarantine,
        progress=console.progress,
        say=ready.say,
    )
    _check_values(run, model.facts, rows, quarantine)
    if model.facts.words:
        rows.add(TOKENS, tokens(model.tokenizer, rows.arrays[CAPTION]))
    checkpoints = Checkpoints(folder.checkpoints, model.state())
    restored = checkpoints.restore(ready.say)
    if not restored:
        _check_beginning(folder, ready.known, ready.say)
    rows_per_step = config.batch_size * model.rows_per_step
    progress = callbacks.StepCount(restored, math.ceil(config.images / rows_per_step), rows_per_step)
    return Job(
        **vars(ready),
        rows=rows,
        quarantine=quarantine,
        checkpoints=checkpoints,
        restored=restored,
        progress=progress,
    )


def _make_schedule(job, evaluation_options):
    if not (job.chief and job.progress.left):
        return None
    return make_schedule(evaluation_options, job.run, job.model, view=job.view, rows=job.rows, say=job.say)


def _open(job):
    """Sets the run folder back to the restored step, and reports the training data."""
    folder, progress = job.folder, job.progress
    folder.open(job.run)
    if job.parent:
        parents.keep(job.parent, folder)
    job.checkpoints.tidy()
    folder.forget_metrics_after(progress.step)
    loggers.forget_events_after(folder.tensorboard, progress.images if progress.step else -1)
    _write_record(job)
    _describe(job)


def _read_history(job, schedule):
    """Returns the history of the run; empty in processes that do not write the run folder."""
    if not job.chief:
        return history.History()
    return history.read(job.folder.metrics, schedule.evaluator.of if schedule else None)


def _begin(job, schedule, past):
    """Reports where the run resumes, or ends it if its patience is over."""
    progress = job.progress
    if schedule and schedule.patience_is_over(past):
        progress.end()
    elif progress.step:
        left = f"going on at {progress.images:,} of {progress.steps * progress.rows:,} pictures"
        job.say(left if progress.left else f"trained on {progress.images:,} pictures before: nothing is left to do")


def _export(job, export_to, *, at_best):
    best_metadata = _restore_best(job.checkpoints, job.say) if at_best else None
    try:
        return export_run(
            job.run,
            job.model,
            data=job.data,
            step=job.progress.step,
            export_to=export_to,
            say=job.say,
            best=best_metadata,
        )
    except UserError as error:
        raise Refused(str(error)) from error


def _enter(folder, lock, was_there):
    """Makes the run's folder if it is missing, and takes its lock. Raises Refused, and Stopped for a full disk."""
    with refusing():
        files.make_folder(folder.root)
        lock.take()
        if not was_there and steps(folder.checkpoints):
            raise UserError(f"another training has started in {folder.root} meanwhile; repeat the command to resume it")


def _check_values(run, facts, rows, quarantine):
    """Raises UserError if a value of a condition has no picture."""
    for condition in facts:
        numbers = set(np.unique(rows.arrays[condition.name]).tolist())
        missing = ", ".join(name for number, name in enumerate(condition.values) if number not in numbers)
        if missing:
            option = "--conditional" if condition.name == LABEL else f"--condition {condition.name}"
            raise UserError(f"{option}: {run.data} has no picture of {missing} to learn from; {quarantine.sentence()}")


def _check_beginning(folder, known, say):
    """Raises UserError if this folder has lost its checkpoints: a new run would overwrite the rest."""
    written = history.lines(folder.metrics)
    if known.saved if known else written:
        raise UserError(
            f"{folder.root} holds a run, but {folder.checkpoints} holds no checkpoint any more: put them back (AIP_CHECKPOINT_DIR names"
            " their folder if it is set), or start again in another --job-dir"
        )
    if written:
        say(f"nothing was saved before this run stopped at {written[-1]['images']:,} pictures: it starts again")


def _write_record(job):
    path, known = job.folder.record, job.known
    if job.changed:
        job.say(f"resuming with other data, as --accept-new-data allows: {job.changed}; recorded in {path}")
        new = known.changed(job.data, job.restored)
    elif known and job.restored:
        new = replace(known, data=job.data)
    else:
        new = record.Record(job.data, saved=job.restored > 0, precision=known and known.precision, init=job.init)
        if job.parent:
            new = replace(new, parent={"run": job.run.parent, "step": job.parent.step})
    new = replace(new, frozen=job.model.borrowed())
    if job.choice:
        new = replace(new, precision=asdict(job.choice))
    if new != known:
        record.write(path, new)


def _note_saved(folder):
    known = record.read(folder.record)
    if known and not known.saved:
        record.write(folder.record, replace(known, saved=True))


def _best_facts(folder, say):
    """Returns the content of best.json; None if it is missing or damaged, which `say` gets."""
    try:
        return best_facts(folder.checkpoints)
    except UserError as error:
        say(f"{error}; the next evaluation is kept as the best")
        return None


def _restore_best(checkpoints, say):
    try:
        return checkpoints.restore_best()
    except UserError as error:
        say(f"{error}; the newest is exported")
        return None


@contextlib.contextmanager
def _stopping(folder):
    """Turns errors of disk and memory in a running training into `Stopped`, with how to resume."""
    try:
        yield
    except BrokenPipeError:
        raise  # from the terminal, not from the run's files
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        at = error.filename or folder.root
        cause = f"no space left in {at}" if full else f"{at}: {error.strerror or error}"
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        cause = f"out of memory; use a smaller --batch-size or a smaller network ({_first_line(error)})"
    else:
        return
    with contextlib.suppress(OSError):
        saved = newest_step(folder.checkpoints)
        kept = f"the last good checkpoint is step {saved}" if saved else "no checkpoint was written yet"
        cause = f"{cause}; {kept}; the same command goes on"
    raise Stopped(cause)


def _first_line(error):
    """Returns the first line of a TensorFlow error, without the names of graph nodes."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\{\{.*\}\} | on /job.*", "", line)


def _describe(job):
    rows, folder = job.rows, job.folder
    job.say(f"run folder: {folder.root}   (to watch it: tensorboard --logdir {shlex.quote(folder.tensorboard)})")
    job.quarantine.tell(job.say, path=folder.quarantine)
    place = "in memory" if rows.in_memory else "on disk"
    classes = f" in {len(rows.classes)} classes ({_shortened(rows.classes)})" if rows.classes else ""
    job.say(f"{rows.count:,} pictures{classes} to train on from {job.run.data}, {rows.nbytes / 1e6:,.0f} MB {place}")


def _shortened(names, most=10):
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def _ended_early(schedule, past):
    comparable = best.comparable(past.evaluations, schedule.metric)
    top = best.best(comparable, schedule.metric)
    return (
        f"ended early at {comparable[-1].images:,} pictures: {schedule.metric} has not improved by more than its error for"
        f" {schedule.patience} evaluations; its best is {top.found[schedule.metric].value:.4g} at {top.images:,} pictures"
    )


def _check_batch(config, strategy):
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise UserError(f"batch_size={config.batch_size} cannot be divided by {replicas} replicas")


def _check_evaluation(evaluation_options, strategy):
    if evaluation_options.every == 0 and (evaluation_options.best or evaluation_options.patience):
        raise UserError("--best and --patience need evaluations, and --eval-every is 0")
    if evaluation_options.patience and isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise UserError("--patience is for one worker: only the first evaluates, and the others would wait")


def _fit(job, cadence, *, schedule, past):
    model, progress = job.model, job.progress
    waiting = pipeline.Waiting()
    augment = tasks.of(model).row_augmentations(job.run.mirror)
    watchers, release = [callbacks.Steps(progress)], []
    if job.chief:
        more, release = _watchers(job, cadence, schedule=schedule, past=past, waiting=waiting)
        watchers += more
    try:
        # Keras runs whole executions only, so the steps after the last whole one run singly.
        # Over several replicas it loses the shapes of batches with several steps per execution.
        usual = model.default_steps_per_execution if job.strategy.num_replicas_in_sync == 1 else 1
        for together in (cadence.steps_per_execution or usual, 1):
            steps = progress.left // together * together
            if steps:
                dataset = pipeline.training(
                    job.rows,
                    model.batch_keys,
                    job.strategy,
                    waiting,
                    batch_size=progress.rows,
                    seed=job.run.seed,
                    position=progress.images,
                    augment=augment,
                )
                model.compile(steps_per_execution=together)
                model.fit(dataset, epochs=1, steps_per_epoch=steps, verbose=0, callbacks=watchers, shuffle=False)
    finally:
        for close in release:
            close()


def _watchers(job, cadence, *, schedule, past, waiting):
    """Returns (callbacks, functions to call at the end) of the process that writes the run folder."""
    run, config, folder, model, progress = job.run, job.config, job.folder, job.model, job.progress
    lines = loggers.JsonLines(folder.metrics)
    board = loggers.TensorBoard(folder.tensorboard, asdict(replace(run, settings={})) | run.settings)
    metric = schedule.metric if schedule else None
    console = loggers.Console(progress, metric)
    watchdog = Watchdog(past, metric, record=[lines.warning, board.warning], say=console.warning)
    draw = tasks.of(model).sample_grid(model, job.rows, run.seed)
    sheet_steps = max(1, (cadence.sample_images or config.images // 20) // progress.rows)
    sheets = callbacks.SampleSheets(progress, sheet_steps, draw=draw, path=folder.sample_path, show=[board.sheet])
    optimizers = [player.optimizer for player in model.players().values()]
    rates = {f"learning_rate_{o.name}": lambda o=o: float(o.learning_rate) for o in optimizers}
    rates |= {"data_wait": waiting.share, "sample_spread": sheets.spread}
    every = cadence.log_steps or max(1, min(50, progress.steps // 200))
    metrics = callbacks.Metrics(progress, every, rates=rates, writers=[lines, board, watchdog, console])
    saving = callbacks.Saving(
        progress,
        job.checkpoints,
        minutes=cadence.checkpoint_minutes,
        metrics=metrics,
        saved=lambda: _note_saved(folder),
    )
    # Callbacks that may end the run come before those that act at its end.
    watchers = [sheets, metrics, saving]
    if schedule:
        writers = [lines.evaluation, board.evaluation, metrics.pause, console.evaluation, watchdog.evaluation]
        evaluations = callbacks.Evaluations(
            progress, schedule, history=past, saving=saving, kept=lambda: _best_facts(folder, job.say), writers=writers
        )
        watchers.insert(0, evaluations)
    return watchers, [saving.release, console.close]
