"""What a precision does on this machine: asked by taking steps, not read from the processor's flags.

The steps are taken in a process apart (this file), since a kernel that the machine lacks may end the process it is asked in.
"""

import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
import time

from data.errors import UserError
from data.facts import Facts
from trainer.runs.config import RunConfig

ROWS = 2  # of the batch of a step that only has to work


class Unable(UserError):
    """This machine cannot train the run's family in its precision; says why, and what to do."""


def check(run: RunConfig, facts: Facts = Facts()) -> None:
    """Take one small step of the run, once. Costs nothing in float32, nor where there is a GPU or TPU, which are not for two processes.

    Raises:
        Unable: this machine cannot take it.
    """
    import tensorflow as tf

    if run.precision != "float32" and all(device.device_type == "CPU" for device in tf.config.list_physical_devices()):
        small = dataclasses.replace(run, settings=run.settings | {"batch_size": ROWS})
        _once(small.to_json(), facts)


@functools.cache
def _once(run, facts):
    step_seconds([RunConfig.from_json(run, "the run")], facts)


def step_seconds(runs: list[RunConfig], facts: Facts = Facts(), rounds: int = 0, steps: int = 1) -> list[list[float]]:
    """Seconds that a step of each run takes once it is traced, [] per run without `rounds`, in which the runs take turns of `steps`.

    Raises:
        Unable: this machine cannot take a step of one of the runs.
    """
    asked = {
        "runs": [json.loads(run.to_json()) for run in runs],
        "facts": facts.to_json(),
        "rounds": rounds,
        "steps": steps,
    }
    # Neither a device nor a cluster that the training needs for itself.
    there = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
    there |= {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-m", "trainer.training.precision"],
        input=json.dumps(asked),
        env=there,
        capture_output=True,
        text=True,
    )
    if done.returncode > 0:  # a fault of ours: it shows where the run itself meets it
        return [[] for _ in runs]
    if done.returncode < 0:
        last = [line.strip().rstrip(".") for line in done.stderr.splitlines() if line.strip()][-1:]
        answer = {"run": len(runs) - 1, "why": ": ".join([f"TensorFlow ended with signal {-done.returncode}", *last])}
    else:
        answer = json.loads(done.stdout.splitlines()[-1])
    if "why" in answer:
        run = runs[answer["run"]]
        raise Unable(
            f"this machine cannot train {run.model} in {run.precision}: {answer['why']}; --precision float32 works everywhere"
        )
    return answer["seconds"]


def _answer(asked):
    """What `step_seconds` is told by the process apart."""
    import tensorflow as tf

    steps = []
    for number, described in enumerate(asked["runs"]):
        try:
            steps.append(_step(RunConfig.from_values(described, "the run"), Facts.from_json(asked["facts"])))
        except tf.errors.OpError as error:
            return {"run": number, "why": reason(error)}
    seconds = [[] for _ in steps]
    for _ in range(asked["rounds"]):
        for step, found in zip(steps, seconds, strict=True):
            begun = time.perf_counter()
            for _ in range(asked["steps"]):
                step()
            found.append((time.perf_counter() - begun) / asked["steps"])
    return {"seconds": seconds}


def _step(run, facts):
    """A function () that takes a step of the run on noise; it has taken one."""
    import numpy as np
    import tensorflow as tf

    from data.batch import PICTURE, kind
    from trainer import tasks
    from trainer.runs.build import make_model
    from trainer.runs.strategy import set_precision

    set_precision(run.precision)
    model = make_model(run, facts)
    config, random = model.config, np.random.default_rng(0)
    rows, batch = config.batch_size * model.rows_per_step, {}
    for key in model.batch_keys:
        if kind(key).spatial:
            side = tasks.of(model).side(config, key)
            shape = (rows, side, side, 3 if kind(key) is PICTURE else 1)
            batch[key] = random.uniform(kind(key).low, kind(key).high, shape).astype("float32")
        else:
            batch[key] = np.zeros((rows,) + (1,) * (kind(key).rank - 1), "int32")
    batch, traced = {key: tf.constant(value) for key, value in batch.items()}, tf.function(model.train_step)
    traced(batch)
    return lambda: [value.numpy() for value in traced(batch).values()]


def reason(error) -> str:
    """What TensorFlow's error says, in one line, without where in the graph it was."""
    text = re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*", " ", error.message)
    lines = [line.strip().rstrip(".") for line in text.splitlines() if line.strip()]
    return [line for line in lines if not re.match(r'(File "|Node: |Detected at|Graph execution)', line)][-1]


if __name__ == "__main__":
    print(json.dumps(_answer(json.load(sys.stdin))))
