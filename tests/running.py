"""Commands as a user gives them, run in this process, and what they leave."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from trainer import task

TINY = ["--model", "mlp_gan", "--preset", "tiny", "--data", "studio:40"]  # the family that is traced soonest


def invoke(command, *arguments, **environment):
    result = CliRunner().invoke(command, [str(a) for a in arguments], env=environment or None)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def train(*arguments, **environment):
    return invoke(task.main, *arguments, **environment)


def checkpoint(folder):
    """Every variable of the newest checkpoint of a run, by name."""
    reader = tf.train.load_checkpoint(f"{folder}/checkpoints")
    names = [
        name for name in reader.get_variable_to_shape_map() if ".ATTRIBUTES" in name and "save_counter" not in name
    ]
    return {name: reader.get_tensor(name) for name in names}


def lines(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def photos(folder, *contents):
    """Pictures of one grey each; bytes are written as they are."""
    folder.mkdir(parents=True)
    for number, content in enumerate(contents):
        if isinstance(content, bytes):
            (folder / f"{number}.jpg").write_bytes(content)
        else:
            Image.fromarray(np.full((20, 24, 3), content, np.uint8)).save(folder / f"{number}.jpg")
