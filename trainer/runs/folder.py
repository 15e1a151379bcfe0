"""Paths of a run folder, and the checks of a new one. All paths may be gs://."""

import json
import os
import posixpath
from dataclasses import replace
from pathlib import Path

from data import files
from data.errors import UserError
from data.sources.listing import PICTURES
from data.sources.protocol import split_option
from trainer.runs import history
from trainer.runs.config import Damaged, RunConfig, differences, from_environment


class RunDir:
    """`config.json`, `record.json`, `checkpoints/`, `metrics.jsonl`, `tensorboard/`, `samples/`, `export/` and `parent/`, the copy of the
    run that lends it networks, under one root.

    AIP_CHECKPOINT_DIR and AIP_TENSORBOARD_LOG_DIR, when set, stand in for the two folders they name, unless it is another run's folder
    (`of_another`).
    """

    def __init__(self, root: str, *, of_another: bool = False):
        self.root = str(root).rstrip("/") or "/"
        self.config = posixpath.join(self.root, "config.json")
        self.record = posixpath.join(self.root, "record.json")
        self.metrics = posixpath.join(self.root, "metrics.jsonl")
        self.quarantine = posixpath.join(self.root, "left_out.json")
        self.samples = posixpath.join(self.root, "samples")
        self.exports = posixpath.join(self.root, "export")
        self.parent = posixpath.join(self.root, "parent")
        checkpoints, tensorboard = (
            None if of_another else from_environment(name) for name in ("AIP_CHECKPOINT_DIR", "AIP_TENSORBOARD_LOG_DIR")
        )
        self.checkpoints = checkpoints or posixpath.join(self.root, "checkpoints")
        self.tensorboard = tensorboard or posixpath.join(self.root, "tensorboard")

    def check(self, run: RunConfig) -> None:
        """Raises UserError if this path is a file, or a run with another configuration (with the differences)."""
        if files.exists(self.config):
            held = self.read_config()
            if files.exists(self.record):  # identifies the data by content, wherever they are now
                held = replace(held, data=run.data)
            changed = differences(held, run)
            if changed:
                raise UserError(
                    f"{self.root} holds a run with another configuration; use another --job-dir, or undo: "
                    + "; ".join(changed)
                )
        elif files.exists(self.root) and not files.is_folder(self.root):
            raise UserError(f"{self.root} is a file; --job-dir takes a folder")

    def check_apart(self, source) -> None:
        """Raises UserError if this folder overlaps with the data: a run would train on its own samples.

        A new folder inside that of the data is allowed: sources recognise it by its config.json and skip it.
        """
        spec = source.spec.partition(":")[2].removesuffix(",BtoA")
        places = {getattr(source, "root", None)}
        if source.spec.partition(":")[0] in ("folder", "pairs", "idx", "list"):
            place = split_option(spec)[0]
            places.add(place if files.is_folder(place) else None)
        elif source.spec.startswith("tfrecord:"):
            places.add(spec if files.is_folder(spec) else os.path.dirname(spec) or ".")
        here, elsewhere = _real(self.root), "; use another --job-dir, such as a folder inside it"
        for place in map(_real, filter(None, places)):
            if here == place:
                raise UserError(
                    f"{self.root} is the folder of the data, and the run would write its files there{elsewhere}"
                )
            for own in (self.samples, self.checkpoints, self.tensorboard, self.exports):
                if place == _real(own) or place.startswith(f"{_real(own)}/"):
                    raise UserError(f"{source.spec} lies in {own}, where this run writes; use another --job-dir")
            inside = here.startswith(f"{place.rstrip('/')}/") and not files.exists(self.config)
            if inside and files.is_folder(here) and any(_is_picture(name) for name in files.walk(here)):
                raise UserError(f"{self.root} holds pictures of the data{elsewhere}")

    def open(self, run: RunConfig) -> None:
        """Makes the folder for `run`, after all checks of the user's input. Raises OSError."""
        for folder in (self.root, self.samples, self.checkpoints, self.tensorboard):
            files.make_folder(folder)
        files.write(self.config, run.to_json().encode())

    def read_config(self) -> RunConfig:
        """Reads the run's configuration. Raises UserError if it is missing or damaged."""
        if not files.exists(self.config):
            raise UserError(f"{self.root} is not a run folder: it has no config.json")
        content = files.read(self.config)
        try:
            return RunConfig.from_json(content.decode(errors="replace"), self.config)
        except Damaged as error:
            why = error if content.strip() else "it is empty"
            raise UserError(
                f"{self.config} is damaged ({why}): restore it from a copy, or remove it and repeat the command that started the run,"
                " which writes it again and resumes from the checkpoints"
            ) from error

    def forget_metrics_after(self, step: int) -> None:
        """Drops the lines of metrics.jsonl that a resumed run will write again, and half-written ones. Raises OSError."""
        if files.exists(self.metrics):
            kept = [json.dumps(line) for line in history.lines(self.metrics) if line["step"] <= step]
            files.write(self.metrics, "".join(f"{line}\n" for line in kept).encode())

    def sample_path(self, images: int) -> str:
        """Returns the path of the sample grid after `images` pictures."""
        return posixpath.join(self.samples, f"{images:09d}.png")


def _real(path):
    return path.rstrip("/") if files.is_remote(path) else os.path.realpath(path)


def _is_picture(name):
    return os.path.splitext(name)[1].lower() in PICTURES


def default_root(model: str, preset: str | None, data: str) -> str:
    """Returns runs/<model>-<preset>-<data>, with the last part of the data's path."""
    kind, _, rest = data.partition(":")
    name = Path(rest.split("#")[0].rstrip("/")).name if rest else kind
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    return "/".join(("runs", "-".join(part for part in (model, preset, plain) if part)))
