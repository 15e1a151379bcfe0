"""Measures what a precision does on this machine, and chooses one: by taking steps, not by the processor's flags.

The steps are taken in a process apart (this file), since a kernel that the machine lacks may end the process it is asked in.
"""

import dataclasses
import functools
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time

from data.errors import UserError
from data.facts import Facts
from trainer.runs.config import RunConfig

ROWS = 2  # of the batch of a step that only has to work
ROUNDS, SECONDS = 3, 5.0  # that two precisions take turns for, at least
# By how much bfloat16 must be faster: twice what repeated measurements differ by, since it keeps 8 bits of 24.
MARGIN = 0.1


@dataclasses.dataclass(frozen=True)
class Choice:
    """A precision and the reason for it.

    seconds: median of a step, by precision; ratio: median over the rounds of float32's seconds by mixed_bfloat16's, which other
    work on the machine disturbs least; processor: name of the one that was measured. All None where nothing was measured.
    """

    chosen: str
    why: str
    seconds: dict[str, float] | None = None
    ratio: float | None = None
    processor: str | None = None


def choose(run: RunConfig, facts: Facts, *, strategy, say) -> Choice:
    """The faster of float32 and mixed_bfloat16 for the run, whatever its own precision: measured on a CPU, in 20 seconds and more.

    On a TPU mixed_bfloat16. On a GPU float32: a process apart cannot have it.
    """
    import tensorflow as tf

    if isinstance(strategy, tf.distribute.TPUStrategy):
        return Choice("mixed_bfloat16", "TPUs multiply in bfloat16")
    if not _only_cpu():
        return Choice(
            "float32", "nothing is measured where there is a GPU; name mixed_bfloat16 or mixed_float16 to try it"
        )
    say("measuring steps in float32 and mixed_bfloat16")
    runs = [dataclasses.replace(run, precision=name) for name in ("float32", "mixed_bfloat16")]
    cycle = run.settings.get("penalty_every", 1)
    try:
        plain, half = step_seconds(runs, facts, rounds=ROUNDS, seconds=SECONDS, steps=cycle)
    except Unable as error:
        return Choice("float32", str(error))
    if not plain:
        return Choice("float32", "steps could not be measured")
    return dataclasses.replace(faster(plain, half), processor=_processor())


def faster(plain: list[float], half: list[float]) -> Choice:
    """The choice by the seconds of a step in float32 and in mixed_bfloat16, measured in turns."""
    seconds = {"float32": statistics.median(plain), "mixed_bfloat16": statistics.median(half)}
    ratio = statistics.median(a / b for a, b in zip(plain, half, strict=True))
    fast = ratio >= 1 + MARGIN
    why = f"a step in mixed_bfloat16 is {ratio:.2f} times as fast as in float32"
    why += "" if fast else f"; it is taken from {1 + MARGIN:.2f} on"
    return Choice("mixed_bfloat16" if fast else "float32", why, seconds, ratio)


class Unable(UserError):
    """This machine cannot train the run's family in its precision; says why, and what to do."""


def check(run: RunConfig, facts: Facts = Facts()) -> None:
    """Take one small step of the run, once. Costs nothing in float32, nor where there is a GPU or TPU, which are not for two processes.

    Raises:
        Unable: this machine cannot take it.
    """
    if run.precision != "float32" and _only_cpu():
        small = dataclasses.replace(run, settings=run.settings | {"batch_size": ROWS})
        try:
            _once(small.to_json(), facts)
        except Unable as error:
            raise Unable(f"{error}; --precision float32 works everywhere") from error


@functools.cache
def _once(run, facts):
    step_seconds([RunConfig.from_json(run, "the run")], facts)


def _only_cpu():
    import tensorflow as tf

    return all(device.device_type == "CPU" for device in tf.config.list_physical_devices())


def step_seconds(
    runs: list[RunConfig], facts: Facts = Facts(), *, rounds: int = 0, seconds: float = 0, steps: int = 1
) -> list[list[float]]:
    """Seconds that a step of each run takes, one for each round, in which every run takes `steps` steps in its turn.

    Args:
        rounds: how many at least; 0: none, only the first step is taken, and every list is empty.
        seconds: how long at least, all rounds together.

    Raises:
        Unable: this machine cannot take a step of one of the runs.
    """
    described = [json.loads(run.to_json()) for run in runs]
    asked = {"runs": described, "facts": facts.to_json(), "rounds": rounds, "seconds": seconds, "steps": steps}
    # Neither a device nor a cluster that the training needs for itself.
    there = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
    there |= {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=json.dumps(asked), env=there, capture_output=True, text=True
    )
    if done.returncode > 0:  # a fault of ours, or too large a batch: the run itself meets it
        return [[] for _ in runs]
    if done.returncode < 0:
        last = [line.strip().rstrip(".") for line in done.stderr.splitlines() if line.strip()][-1:]
        answer = {"run": len(runs) - 1, "why": ": ".join([f"TensorFlow ended with signal {-done.returncode}", *last])}
    else:
        answer = json.loads(done.stdout.splitlines()[-1])
    if "why" in answer:
        run = runs[answer["run"]]
        raise Unable(f"this machine cannot train {run.model} in {run.precision}: {answer['why']}")
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
    if not asked["rounds"]:
        return {"seconds": [[] for _ in steps]}
    for step in steps:  # one round that does not count: kernels that the first step did not reach are prepared in it
        _timed(step, asked["steps"])
    rounds, end = [], time.perf_counter() + asked["seconds"]
    while len(rounds) < asked["rounds"] or time.perf_counter() < end:
        rounds.append([_timed(step, asked["steps"]) for step in steps])
    return {"seconds": list(zip(*rounds, strict=True))}


def _timed(step, times):
    """Seconds that a step takes, of so many."""
    begun = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - begun) / times


def _step(run, facts):
    """A function () that takes a step of the run on noise; it has taken one."""
    import numpy as np
    import tensorflow as tf

    from data.batch import PICTURE, kind
    from trainer import tasks
    from trainer.runs import parents
    from trainer.runs.build import make_model
    from trainer.runs.strategy import set_precision
    from trainer.training import memory

    set_precision(run.precision)
    lender = parents.lender(run)
    model = make_model(run, facts, lender and parents.open_parent(lender).model)
    memory.check(model, model.config.batch_size)
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


def _processor():
    """The processor's name, such as "AMD EPYC 9R14 96-Core Processor"; its architecture where the system tells no name."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return next(filter(None, [*names, platform.processor(), platform.machine()]), "unknown")


if __name__ == "__main__":
    print(json.dumps(_answer(json.load(sys.stdin))))
