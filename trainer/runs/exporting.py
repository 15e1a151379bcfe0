"""Exports a run: its state at the end of training, its newest checkpoint, or its best."""

import posixpath

import tensorflow as tf

from data import files
from data.edits import Chain
from data.errors import UserError
from models.edits import Edited
from serving.export.export import export, report
from serving.export.layout import check_name, latest, versions
from serving.export.patterns import is_pattern
from trainer.runs import parents
from trainer.runs.build import make_model
from trainer.runs.checkpoints import Checkpoints, best_facts, newest_step, steps
from trainer.runs.folder import RunDir
from trainer.runs.strategy import set_precision


def export_run(run, model, *, data, step, export_to, say, version=None, best=None, more=None, edits=None):
    """Exports the model's served network, computing in float32, with its metadata; returns the version's folder.

    Args:
        data: the training data, a `record.Data`. step: the step of the run.
        best: content of best.json if the model is at its best; else None. more: further metadata, in place of the usual if they have the
            same name. edits: chains before and behind the model that the export holds, or None.
    """
    if run.precision != "float32":
        set_precision("float32")
        trained, model = model.state(), make_model(run, model.facts, parent=model.parent)
        for identifier, variable in model.state().items():
            variable.assign(trained[identifier])
    to, name = export_to
    shown = best["step"] if best else step
    metadata = {
        "model": run.model,
        "task": model.task,
        "configuration": run.as_values(),
        "classes": list(model.facts.classes),
        "conditions": model.facts.to_json(),
        "data": {"spec": run.data, "fingerprint": data.fingerprint},
        "step": shown,
        "images_seen": shown * model.config.batch_size * model.rows_per_step,
        "of_run_at_step": step,
        "borrowed": list(model.borrowed()),
    }
    if best:
        metadata["best"] = best
        say(f"the best of the run: {best['metric']} {best['value']:.4g} at {best['images']:,} pictures")
    if edits:
        before, after = edits
        model = Edited(model, before, after)
        metadata["edits"] = {"before": str(before), "after": str(after)}
    path = export(model, to, name, version=version, metadata=metadata | (more or {}))
    say(f"exported and verified: {path}")
    if is_pattern(path):
        say(
            "no server loads it from there: TensorFlow reads a path with [ * ? or \\ as a pattern; "
            "serve it from a folder without them"
        )
    return path


def export_checkpoint(
    root: str,
    to: str,
    *,
    name: str | None = None,
    version: int | None = None,
    say,
    at_best: bool = False,
    edits: tuple[Chain, Chain] | None = None,
) -> str:
    """Exports the newest or the best checkpoint of the run in `root`; returns the version's folder. Raises UserError if there is none,
    and as `Edited` for `edits`, the chains before and behind the model that the export holds.

    Reads only the run: the training data may have changed since, or be gone.
    """
    folder = RunDir(root)
    run = folder.read_config()
    set_precision(run.precision)
    model, known, _ = parents.build(run, folder)
    checkpoints = Checkpoints(folder.checkpoints, model.state())
    best = checkpoints.restore_best() if at_best else None
    step = newest_step(folder.checkpoints) if at_best else checkpoints.restore(say)
    if not step and not at_best:
        raise UserError(f"{root} holds no checkpoint yet")
    return export_run(
        run,
        model,
        data=known.data,
        step=step,
        export_to=(to, name or run.model),
        say=say,
        version=version,
        best=best,
        edits=edits,
    )


def find_export(path: str, say, *, at_best=False) -> str:
    """Returns the newest exported version of a run or of a model's folder, or a version's folder itself. Raises UserError if there is none.

    A run without an export, or saved since its newest export, is exported first. With `at_best`, for runs only, it is exported if its
    newest export is not of its best.
    """
    folder = RunDir(path)
    if not files.exists(folder.config):
        if at_best:
            raise UserError(f"--best is for run folders, and {path} is not one")
        return latest(path)
    run = folder.read_config()
    exported = posixpath.join(folder.exports, run.model)
    if versions(exported):
        newest = latest(exported)
        metadata = _metadata(newest, say)
        if at_best and metadata.get("best") and metadata["best"] == best_facts(folder.checkpoints):
            return newest
        at = metadata.get("of_run_at_step", metadata.get("step", -1))
        # Read a whole checkpoint only if its name is of a newer step.
        if not at_best and (at >= max(steps(folder.checkpoints), default=0) or at >= newest_step(folder.checkpoints)):
            return newest
    say(f"exporting the {'best' if at_best else 'newest'} checkpoint of {path}")
    return export_checkpoint(path, folder.exports, say=say, at_best=at_best)


def _metadata(version, say):
    """Returns the metadata in an export's report; {} if it is damaged, which `say` gets."""
    try:
        return report(version)["metadata"]
    except (UserError, KeyError, TypeError, OSError, tf.errors.NotFoundError):
        say(f"the export.json of {version} is missing or damaged")
        return {}


def split_model_dir(uri: str) -> tuple[str, str]:
    """Splits AIP_MODEL_DIR into (folder, name), so that versions lie directly in it, as TensorFlow Serving expects. Raises UserError for a
    name that no server can serve.
    """
    folder, name = posixpath.split(uri.rstrip("/"))
    return folder, check_name(name)
