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
from trainer import callbacks
from trainer.checkpoints import Checkpoints, newest_step
from trainer.config import RunConfig
from trainer.errors import refusing
from trainer.rundir import RunDir
from trainer.sheets import make_draw
from trainer.strategy import is_chief, make_strategy, set_precision

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


def train(run: RunConfig, root: str, cadence: Cadence, export_to: tuple[str, str] | None, say) -> str | None:
    """Train, or go on training, the run in folder `root`, and export it.

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
        source = open_source(run.data, run.seed)
        classes = len(source.classes) if run.conditional else 0
        if run.conditional and not classes:
            raise ValueError(f"--conditional needs categories, and {run.data} has none")
        with strategy.scope():
            model = make_model(run, classes)
        quarantine = Quarantine()
        rows = load_rows(
            source, make_view(run, config), fit=run.fit, quarantine=quarantine, progress=callbacks.counting
        )
        _check_batch(config, strategy)
        if chief:
            folder.open(run)
            _describe(run, folder, rows, quarantine, say)
        checkpoints = Checkpoints(folder.checkpoints, model.state())
        done = checkpoints.restore()
    rows_per_step = config.batch_size * model.rows_per_step
    progress = callbacks.Progress(done, math.ceil(config.images / rows_per_step), rows_per_step)
    if done:
        say(f"going on at {progress.images:,} of {progress.steps * rows_per_step:,} pictures")
    if progress.left:
        _fit(run, config, folder, cadence, strategy, chief, model, rows, checkpoints, progress)
    if not (chief and export_to):
        return None
    with refusing():
        return export_run(run, model, source, progress.step, export_to, say)


def _describe(run, folder, rows, quarantine, say):
    if len(quarantine):
        quarantine.write(folder.quarantine)
        say(f"{quarantine.sentence()}; the list is in {folder.quarantine}")
    place = "in memory" if rows.in_memory else "on disk"
    say(f"{rows.count:,} pictures to train on from {run.data}, {rows.nbytes / 1e6:,.0f} MB {place}")


def _check_batch(config, strategy):
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise ValueError(f"batch_size={config.batch_size} cannot be shared evenly by {replicas} replicas")


def _fit(run, config, folder, cadence, strategy, chief, model, rows, checkpoints, progress):
    waiting = pipeline.Waiting()
    watchers = [callbacks.Steps(progress)]
    release = []
    if chief:
        folder.forget_metrics_after(progress.step)
        console = callbacks.Console(progress)
        board = callbacks.TensorBoard(folder.tensorboard, asdict(replace(run, settings={})) | run.settings)
        rates = {f"learning_rate_{o.name}": lambda o=o: float(o.learning_rate) for o in model.optimizers()}
        rates["data_wait"] = waiting.share
        every = cadence.log_steps or max(1, min(50, progress.steps // 200))
        writers = [callbacks.JsonLines(folder.metrics), board, callbacks.stop_at_nonfinite, console]
        metrics = callbacks.Metrics(progress, every, rates, writers)
        sheet_steps = max(1, (cadence.sample_images or config.images // 20) // progress.rows)
        draw = make_draw(model, rows, config, run.seed)
        saving = callbacks.Saving(progress, checkpoints, cadence.checkpoint_minutes, metrics)
        sheets = callbacks.SampleSheets(progress, sheet_steps, draw, folder.sample_path, [board.sheet])
        watchers += [metrics, sheets, saving]
        release = [saving.release, console.close]
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


def export_run(run, model, source, step, export_to, say, version=None):
    """Export the model's served network, computing in float32, with what it was made from; returns the version's folder."""
    if run.precision != "float32":
        set_precision("float32")
        trained, model = model.state(), make_model(run, model.classes)
        for identifier, variable in model.state().items():
            variable.assign(trained[identifier])
    to, name = export_to
    facts = {
        "model": run.model,
        "task": model.task,
        "configuration": asdict(run),
        "classes": list(source.classes) if model.classes else [],
        "data": {"spec": run.data, "fingerprint": source.fingerprint()},
        "step": step,
        "images_seen": step * model.config.batch_size * model.rows_per_step,
    }
    path = export(model, to, name, version, facts=facts)
    say(f"exported and verified: {path}")
    return path


def export_checkpoint(root: str, to: str, name: str | None, version: int | None, say) -> str:
    """Export the newest checkpoint of the run in folder `root`; returns the version's folder. ValueError if there is none."""
    folder = RunDir(root)
    run = folder.read_config()
    set_precision(run.precision)
    source = open_source(run.data, run.seed)
    model = make_model(run, len(source.classes) if run.conditional else 0)
    step = Checkpoints(folder.checkpoints, model.state()).restore()
    if not step:
        raise ValueError(f"{root} holds no checkpoint yet")
    return export_run(run, model, source, step, (to, name or run.model), say, version)


def find_export(path: str, say) -> str:
    """The newest exported version of a run, of a model's folder, or that folder itself. ValueError if there is none.

    A run that has been saved since its newest export, or has none, is exported as it stands first.
    """
    folder = RunDir(path)
    if not tf.io.gfile.exists(folder.config):
        return latest(path)
    run = folder.read_config()
    exported = posixpath.join(folder.exports, run.model)
    if versions(exported):
        newest = latest(exported)
        if report(newest)["facts"]["step"] >= newest_step(folder.checkpoints):
            return newest
    say(f"exporting the newest checkpoint of {path}")
    return export_checkpoint(path, folder.exports, run.model, None, say)


def split_model_dir(uri: str) -> tuple[str, str]:
    """AIP_MODEL_DIR as (folder, name), so that versions lie directly in it, as TensorFlow Serving wants them."""
    return posixpath.split(uri.rstrip("/"))
