"""From a run to a served version: as its training ends, from its checkpoints, or at its best."""

import posixpath

import tensorflow as tf

from data import files
from data.errors import UserError
from serving.export.export import export, report
from serving.export.layout import check_name, latest, versions
from serving.export.patterns import is_pattern
from trainer.runs import parents
from trainer.runs.build import make_model
from trainer.runs.checkpoints import Checkpoints, best_facts, newest_step, steps
from trainer.runs.folder import RunDir
from trainer.runs.strategy import set_precision


def export_run(run, model, *, data, step, export_to, say, version=None, best=None):
    """Export the model's served network, computing in float32, with what it was made from; returns the version's folder.

    Args:
        data: what it was trained on, a `record.Data`. step: how far the run has come.
        best: what best.json says, when the model is as it was at its best.
    """
    if run.precision != "float32":
        set_precision("float32")
        trained, model = model.state(), make_model(run, model.facts, model.parent)
        for identifier, variable in model.state().items():
            variable.assign(trained[identifier])
    to, name = export_to
    shown = best["step"] if best else step
    made_from = {
        "model": run.model,
        "task": model.task,
        "configuration": run.as_values(),
        "classes": list(model.facts.classes),
        "conditions": model.facts.to_json(),
        "data": {"spec": run.data, "fingerprint": data.fingerprint},
        "step": shown,
        "images_seen": shown * model.config.batch_size * model.rows_per_step,
        "of_run_at_step": step,
    }
    if best:
        made_from["best"] = best
        say(f"the best of the run: {best['metric']} {best['value']:.4g} at {best['images']:,} pictures")
    path = export(model, to, name, version, metadata=made_from)
    say(f"exported and verified: {path}")
    if is_pattern(path):
        say(
            "no server loads it from there: TensorFlow takes a path with [ * ? or \\ for a pattern; "
            "serve it from a folder without them"
        )
    return path


def export_checkpoint(
    root: str, to: str, *, name: str | None = None, version: int | None = None, say, at_best: bool = False
) -> str:
    """Export the newest checkpoint of the run in folder `root`, or its best; returns the version's folder. UserError if there is none.

    Reads the run alone: what it was trained on may have changed since, or be gone.
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
        run, model, data=known.data, step=step, export_to=(to, name or run.model), say=say, version=version, best=best
    )


def find_export(path: str, say, at_best=False) -> str:
    """The newest exported version of a run, of a model's folder, or that folder itself. UserError if there is none.

    A run that has been saved since its newest export, or has none, is exported as it stands first; with `at_best`, which is for runs
    only, one whose newest export is not of its best.
    """
    folder = RunDir(path)
    if not files.exists(folder.config):
        if at_best:
            raise UserError(f"--best is for run folders, and {path} is none")
        return latest(path)
    run = folder.read_config()
    exported = posixpath.join(folder.exports, run.model)
    if versions(exported):
        newest = latest(exported)
        metadata = _metadata(newest, say)
        if at_best and metadata.get("best") and metadata["best"] == best_facts(folder.checkpoints):
            return newest
        at = metadata.get("of_run_at_step", metadata.get("step", -1))
        # Reading a whole checkpoint only where its name says that it is a newer one.
        if not at_best and (at >= max(steps(folder.checkpoints), default=0) or at >= newest_step(folder.checkpoints)):
            return newest
    say(f"exporting the {'best' if at_best else 'newest'} checkpoint of {path}")
    return export_checkpoint(path, folder.exports, say=say, at_best=at_best)


def _metadata(version, say):
    """What an export's report says of the run; {} when it is damaged, which is said."""
    try:
        return report(version)["metadata"]
    except (UserError, KeyError, TypeError, OSError, tf.errors.NotFoundError):
        say(f"the export.json of {version} is missing or damaged")
        return {}


def split_model_dir(uri: str) -> tuple[str, str]:
    """AIP_MODEL_DIR as (folder, name), so that versions lie directly in it, as TensorFlow Serving wants them. UserError for a name that
    no server can serve.
    """
    folder, name = posixpath.split(uri.rstrip("/"))
    return folder, check_name(name)
