"""The run folder: every path inside it, and how files get there whole. All paths may be gs://."""

import json
import posixpath
from pathlib import Path

import tensorflow as tf

from trainer.config import RunConfig, differences, from_environment


class RunDir:
    """`config.json`, `checkpoints/`, `metrics.jsonl`, `tensorboard/`, `samples/`, `export/` under one root.

    AIP_CHECKPOINT_DIR and AIP_TENSORBOARD_LOG_DIR, when set, stand in for the two folders they name.
    """

    def __init__(self, root: str):
        self.root = str(root).rstrip("/")
        self.config = posixpath.join(self.root, "config.json")
        self.metrics = posixpath.join(self.root, "metrics.jsonl")
        self.quarantine = posixpath.join(self.root, "left_out.json")
        self.samples = posixpath.join(self.root, "samples")
        self.exports = posixpath.join(self.root, "export")
        self.checkpoints = from_environment("AIP_CHECKPOINT_DIR") or posixpath.join(self.root, "checkpoints")
        self.tensorboard = from_environment("AIP_TENSORBOARD_LOG_DIR") or posixpath.join(self.root, "tensorboard")

    def check(self, run: RunConfig) -> None:
        """Raise ValueError if this folder cannot be that of `run`: a file is in its place, or a run with another configuration is
        (the sentence shows the difference)."""
        if tf.io.gfile.exists(self.config):
            changed = differences(self.read_config(), run)
            if changed:
                raise ValueError(
                    f"{self.root} holds a run with another configuration; use another --job-dir, or undo: "
                    + "; ".join(changed)
                )
        elif tf.io.gfile.exists(self.root) and not tf.io.gfile.isdir(self.root):
            raise ValueError(f"{self.root} is a file; --job-dir takes a folder")

    def open(self, run: RunConfig) -> None:
        """Make the folder for `run`, once everything that the user gave has been found to be good."""
        for folder in (self.root, self.samples, self.checkpoints, self.tensorboard):
            tf.io.gfile.makedirs(folder)
        write_whole(self.config, run.to_json())

    def read_config(self) -> RunConfig:
        """The run's configuration. ValueError if there is none or it cannot be read."""
        if not tf.io.gfile.exists(self.config):
            raise ValueError(f"{self.root} is not a run folder: it has no config.json")
        with tf.io.gfile.GFile(self.config) as file:
            return RunConfig.from_json(file.read())

    def forget_metrics_after(self, step: int) -> None:
        """Drop the lines of metrics.jsonl that a resumed run will write again, and a half-written last line."""
        if not tf.io.gfile.exists(self.metrics):
            return
        kept = []
        with tf.io.gfile.GFile(self.metrics) as file:
            for line in file.read().splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line)
                except (json.JSONDecodeError, KeyError):
                    continue
        write_whole(self.metrics, "".join(f"{line}\n" for line in kept))

    def sample_path(self, images: int) -> str:
        """Where the sample sheet after so many pictures goes."""
        return posixpath.join(self.samples, f"{images:09d}.png")


def write_whole(path: str, content: str | bytes) -> None:
    """Write a file under a temporary name, then rename it: a reader never sees half of it."""
    temporary = f"{path}.writing"
    with tf.io.gfile.GFile(temporary, "wb" if isinstance(content, bytes) else "w") as file:
        file.write(content)
    tf.io.gfile.rename(temporary, path, overwrite=True)


def default_root(model: str, preset: str | None, data: str) -> str:
    """runs/<model>-<preset>-<data>, with the data's last name only."""
    kind, _, rest = data.partition(":")
    name = Path(rest.split("#")[0].rstrip("/")).name if rest else kind
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    return "/".join(("runs", "-".join(part for part in (model, preset, plain) if part)))
