"""From a run to a served version: as its training ends, from its checkpoints, or at its best."""

import posixpath
from dataclasses import asdict

import tensorflow as tf

from data.catalogue import open_source
from serving.export import export, report
from serving.layout import check_name, latest, versions
from serving.patterns import is_pattern
from trainer.build import make_model
from trainer.checkpoints import Checkpoints, best_facts, newest_step
from trainer.rundir import RunDir
from trainer.strategy import set_precision


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
    model.class_names = tuple(made_from["classes"])
    if facts:
        made_from["best"] = facts
        say(f"the best of the run: {facts['metric']} {facts['value']:.4g} at {facts['images']:,} pictures")
    path = export(model, to, name, version, facts=made_from)
    say(f"exported and verified: {path}")
    if is_pattern(path):
        say(
            "no server loads it from there: TensorFlow takes a path with [ * ? or \\ for a pattern; serve it from another"
        )
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
    """AIP_MODEL_DIR as (folder, name), so that versions lie directly in it, as TensorFlow Serving wants them. ValueError for a name that
    no server can serve.
    """
    folder, name = posixpath.split(uri.rstrip("/"))
    return folder, check_name(name)
