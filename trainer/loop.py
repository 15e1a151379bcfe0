"""One run, from configuration to export: a list of calls."""

import contextlib
import errno
import math
import re
import shlex
from dataclasses import asdict, dataclass, replace

import tensorflow as tf

from data import files, pipeline
from data.batch import ENHANCEMENT, GENERATION, TRANSLATION
from data.cache import enough_rows, load_rows
from data.catalogue import open_source
from data.quarantine import Quarantine
from trainer import best, callbacks, history, memory, precision, record, writers
from trainer.build import configuration, make_model, make_view
from trainer.checkpoints import Checkpoints, best_facts, newest_step, steps
from trainer.cluster import workers
from trainer.config import Measuring, RunConfig
from trainer.errors import Refused, Stopped, refusing
from trainer.exporting import export_run
from trainer.lock import Lock
from trainer.measuring import make_plan
from trainer.rundir import RunDir
from trainer.sheets import make_draw
from trainer.strategy import is_chief, make_strategy, set_precision
from trainer.watchdog import Watchdog

AUGMENT_ROWS = {GENERATION: ("flip",), TRANSLATION: ("flip", "jitter"), ENHANCEMENT: ("dihedral",)}
MIRRORING = {"flip", "dihedral"}


@dataclass(frozen=True)
class Cadence:
    """What a run writes how often; none of it changes what is computed."""

    log_steps: int | None = None  # steps between two lines of metrics; None: about 1,000 lines a run
    sample_images: int | None = None  # pictures between two sample sheets; None: 20 sheets a run
    checkpoint_minutes: float = 5.0
    steps_per_execution: int | None = None  # steps TensorFlow takes in one call; None: what suits the family


def describe(
    run: RunConfig, folder: RunDir, measuring: Measuring, accept_new_data: bool, say
) -> tuple[RunConfig, dict]:
    """(the run with its precision settled, facts of its data), for `--dry-run`. Builds the model and reads up to the first picture that
    can be used, and changes nothing.

    Raises ValueError or OSError, as `train` would.
    """
    run = _as_begun(run, folder, say)
    strategy = make_strategy(run.strategy) if workers() < 2 else tf.distribute.get_strategy()
    ready = _prepare(run, folder, measuring, strategy, accept_new_data, say)
    quarantine = Quarantine()
    for example in ready.source.examples(ready.view.size, run.fit, quarantine):
        try:
            ready.view.rows(example)
            break
        except ValueError as error:
            quarantine.add("an example", str(error))
    else:
        raise ValueError(f"nothing usable was found in {run.data}. {quarantine.sentence()}")
    return ready.run, {
        "spec": ready.data.spec,
        "examples": ready.data.count,
        "classes": list(ready.data.classes),
        "keys": sorted(ready.source.keys),
        "left_out": ready.source.left_out.sentence(),
        "fingerprint": ready.data.fingerprint,
        "view": ready.view.describe(),
    }


@dataclass(frozen=True)
class Ready:
    """What a run needs, found to be good. changed: how the data differ from those it was trained on, None when they do not.
    choice: what `--precision auto` found, None when it had nothing to choose.
    """

    run: RunConfig
    choice: precision.Choice | None
    source: object
    data: record.Data
    known: record.Record | None
    changed: str | None
    model: object
    view: object


def _as_begun(run, folder, say) -> RunConfig:
    """The run in the precision it was begun in, when that is left to `auto`; unchanged when it is new.

    Raises ValueError for a new run of several workers, who have to agree.
    """
    if run.precision != "auto":
        return run
    known = record.read(folder.record)
    if files.exists(folder.config):
        name = folder.read_config().precision
    elif known and known.precision:
        name = known.precision["chosen"]
    elif workers() > 1:
        raise ValueError(
            f"--precision auto measures one machine, and TF_CONFIG names {workers()} workers, which have to compute alike: name a precision"
        )
    else:
        return run
    say(f"--precision auto: {name}, in which this run was begun")
    return replace(run, precision=name)


def _prepare(run, folder, measuring, strategy, accept_new_data, say) -> Ready:
    """All that can be refused before the pictures are read. Raises ValueError or OSError."""
    config = configuration(run)
    folder.check(run)
    _check_measuring(measuring, strategy)
    _check_batch(config, strategy)
    source = open_source(run.data, run.seed)
    folder.check_apart(source)
    if run.conditional:
        _check_classes(run, source)
    view = make_view(run, config)
    view.check(source.keys)
    data, known, changed = record.Data.of(source), record.read(folder.record), None
    if steps(folder.checkpoints):
        if not files.exists(folder.config):
            say(f"{folder.config} is missing: the settings of this command are taken for those of the run")
        if known:
            changed = record.difference(known.data, data, run.conditional)
            if not changed and known.data.spec != data.spec:
                say(f"{data.spec} holds the same pictures, by their names and sizes, as {known.data.spec} did")
        else:
            say(f"{folder.record} is missing: what {run.data} holds now is taken for what the run was trained on")
    if changed and not accept_new_data:
        raise ValueError(
            f"{folder.root} was trained on other data: {changed}. Put the data back, or go on with the new ones by --accept-new-data, which"
            " is written down in the run"
        )
    classes = len(source.classes) if run.conditional else 0
    choice = None
    if run.precision == "auto":
        choice = precision.choose(run, classes, strategy, say)
        say(f"--precision auto takes {choice.chosen}: {choice.why}")
        run = replace(run, precision=choice.chosen)
    else:
        precision.check(run, classes)
    set_precision(run.precision)
    try:
        with strategy.scope():
            model = make_model(run, classes)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise ValueError(f"the model is too large for the memory of this machine: {_first_line(error)}") from error
    memory.check(model, config.batch_size // strategy.num_replicas_in_sync)
    return Ready(run, choice, source, data, known, changed, model, view)


def train(
    run: RunConfig,
    folder: RunDir,
    cadence: Cadence,
    measuring: Measuring,
    export_to: tuple[str, str] | None,
    accept_new_data: bool,
    say,
) -> str | None:
    """Train, or go on training, the run in `folder`, and export it: as it ends, or at its best if the user named what is best or
    gave a patience, which makes a run go on past its best.

    Args:
        export_to: (folder, name) of the export; None: do not export.
        accept_new_data: go on although the data are not those that the run was trained on.
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
            chief = is_chief(strategy)
            ready = _prepare(run, folder, measuring, strategy, accept_new_data, say)
            run = ready.run
            was_there = files.exists(folder.root)
            if chief and was_there:
                lock.take()
            config, model, view = configuration(run), ready.model, ready.view
            quarantine = Quarantine()
            rows = load_rows(
                ready.source,
                view,
                fit=run.fit,
                most=enough_rows(config.images),
                quarantine=quarantine,
                progress=writers.counting,
                say=say,
            )
            if run.conditional and rows.empty_classes:
                missing = ", ".join(rows.empty_classes)
                raise ValueError(
                    f"--conditional: {run.data} has no picture of {missing} to learn from; {quarantine.sentence()}"
                )
            checkpoints = Checkpoints(folder.checkpoints, model.state())
            rows_per_step = config.batch_size * model.rows_per_step
            restored = checkpoints.restore(say)
            if not restored:
                _check_beginning(folder, ready.known, say)
            progress = callbacks.Progress(restored, math.ceil(config.images / rows_per_step), rows_per_step)
            plan = None
            if chief and progress.left:
                plan = make_plan(measuring, run, config, model, view, rows, say)
        with _stopping(folder):
            if chief:
                _enter(folder, lock, was_there)
                folder.open(run)
                checkpoints.tidy()
                folder.forget_metrics_after(progress.step)
                writers.forget_events_after(folder.tensorboard, progress.images if progress.step else -1)
                _write_record(folder, ready, restored, say)
                _describe(run, folder, rows, quarantine, say)
            past = history.read(folder.metrics, plan.judge.of if plan else None) if chief else history.History()
            planned = progress.steps
            if plan and plan.patience_is_over(past):
                progress.end()
            elif progress.step:
                left = f"going on at {progress.images:,} of {progress.steps * rows_per_step:,} pictures"
                say(left if progress.left else f"trained on {progress.images:,} pictures before: nothing is left to do")
            if progress.left:
                _fit(run, config, folder, cadence, strategy, chief, model, rows, checkpoints, progress, plan, past, say)
            if progress.steps < planned:
                say(_ended_early(plan, past))
            if not (chief and export_to):
                return None
            facts = _restore_best(checkpoints, say) if measuring.best or measuring.patience else None
            try:
                return export_run(run, model, ready.data, progress.step, export_to, say, facts=facts)
            except ValueError as error:
                raise Refused(str(error)) from error


def _enter(folder, lock, was_there):
    """Make the run's folder if it is not there, and hold its lock. Raises Refused, and Stopped when the disk is full."""
    with refusing():
        files.make_folder(folder.root)
        lock.take()
        if not was_there and steps(folder.checkpoints):
            raise ValueError(f"another training has begun in {folder.root} meanwhile; repeat the command to go on")


def _check_classes(run, source):
    if not source.classes:
        raise ValueError(f"--conditional needs categories, and {run.data} has none")
    for name in source.classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"--conditional: the category {name!a} has a name that is no UTF-8, which a model cannot be told; rename it"
            ) from None


def _check_beginning(folder, known, say):
    """ValueError if this folder has lost its checkpoints: a training is not begun over what is left of another."""
    written = history.lines(folder.metrics)
    if known.saved if known else written:
        raise ValueError(
            f"{folder.root} was trained in, but {folder.checkpoints} holds no checkpoint any more: put them back (AIP_CHECKPOINT_DIR says"
            " where they are, when it is set), or begin anew in another --job-dir"
        )
    if written:
        say(f"nothing was saved before this run stopped at {written[-1]['images']:,} pictures: it begins anew")


def _write_record(folder, ready, step, say):
    known = ready.known
    if ready.changed:
        say(f"going on with other data, as --accept-new-data allows: {ready.changed}; written down in {folder.record}")
        new = known.changed(ready.data, step)
    elif known and step:
        new = replace(known, data=ready.data)
    else:
        new = record.Record(ready.data, saved=step > 0, precision=known and known.precision)
    if ready.choice:
        new = replace(new, precision=asdict(ready.choice))
    if new != known:
        record.write(folder.record, new)


def _note_saved(folder):
    known = record.read(folder.record)
    if known and not known.saved:
        record.write(folder.record, replace(known, saved=True))


def _best_facts(folder, say):
    """What best.json says; None when there is none, or when it is damaged, which is said."""
    try:
        return best_facts(folder.checkpoints)
    except ValueError as error:
        say(f"{error}; the next evaluation is kept as the best")
        return None


def _restore_best(checkpoints, say):
    try:
        return checkpoints.restore_best()
    except ValueError as error:
        say(f"{error}; the newest is exported")
        return None


@contextlib.contextmanager
def _stopping(folder):
    """Turn what the disk or the memory refuses to a run that has begun into `Stopped`, which says how to go on."""
    try:
        yield
    except BrokenPipeError:
        raise  # of the terminal, not of the run's files
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        at = error.filename or folder.root
        cause = f"no space left in {at}" if full else f"{at}: {error.strerror or error}"
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        cause = f"out of memory; a smaller --batch-size or a smaller network needs less ({_first_line(error)})"
    else:
        return
    with contextlib.suppress(OSError):
        saved = newest_step(folder.checkpoints)
        kept = f"the last good checkpoint is step {saved}" if saved else "no checkpoint was written yet"
        cause = f"{cause}; {kept}; the same command goes on"
    raise Stopped(cause)


def _first_line(error):
    """What TensorFlow says, without the names that it has for parts of its graph."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\{\{.*\}\} | on /job.*", "", line)


def _describe(run, folder, rows, quarantine, say):
    say(f"run folder: {folder.root}   (watch it: tensorboard --logdir {shlex.quote(folder.tensorboard)})")
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


def _check_measuring(measuring, strategy):
    if measuring.every == 0 and (measuring.best or measuring.patience):
        raise ValueError("--best and --patience need evaluations, and --eval-every is 0")
    if measuring.patience and isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise ValueError("--patience is for one worker: only the first evaluates, and the others would wait for it")


def _fit(run, config, folder, cadence, strategy, chief, model, rows, checkpoints, progress, plan, past, say):
    waiting = pipeline.Waiting()
    augment = tuple(name for name in AUGMENT_ROWS[model.task] if run.mirror or name not in MIRRORING)
    watchers, release = [callbacks.Steps(progress)], []
    if chief:
        found, release = _watchers(
            run, config, folder, cadence, model, rows, checkpoints, progress, plan, past, waiting, say
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
                    augment=augment,
                    keys=("label",) if model.classes else (),
                )
                model.compile(steps_per_execution=together)
                model.fit(dataset, epochs=1, steps_per_epoch=steps, verbose=0, callbacks=watchers, shuffle=False)
    finally:
        for close in release:
            close()


def _watchers(run, config, folder, cadence, model, rows, checkpoints, progress, plan, past, waiting, say):
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
    saving = callbacks.Saving(progress, checkpoints, cadence.checkpoint_minutes, metrics, lambda: _note_saved(folder))
    # What may end the run stands before what does something at its end.
    found = [sheets, metrics, saving]
    if plan:

        def keep(evaluation):
            if best.beats(evaluation, _best_facts(folder, say), metric):
                saving.check()
                checkpoints.keep_best(best.facts(evaluation, metric))

        told = [lines.evaluation, board.evaluation, metrics.pause, console.evaluation, watchdog.evaluation]
        found.insert(0, callbacks.Evaluations(progress, plan, past, keep, told))
    return found, [saving.release, console.close]
