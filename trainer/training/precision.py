"""Measures precisions on this machine, and chooses one: by taking steps, not by the processor's flags.

The steps run in a separate process (this file), since a kernel that the machine lacks may abort the process.
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

ROWS = 2  # batch size of a step that only has to work
ROUNDS, SECONDS = 3, 5.0  # at least, of two precisions in turns
# How much faster bfloat16 must be: twice the spread of repeated measurements, since it keeps 8 bits of 24.
MARGIN = 0.1


@dataclasses.dataclass(frozen=True)
class Choice:
    """A precision and the reason for it.

    seconds: median of a step, by precision. ratio: median over the rounds of float32's seconds by mixed_bfloat16's, which other work on
    the machine disturbs least. processor: name of the measured one. All are None if nothing was measured.
    """

    chosen: str
    why: str
    seconds: dict[str, float] | None = None
    ratio: float | None = None
    processor: str | None = None


def choose(run: RunConfig, facts: Facts, *, strategy, say) -> Choice:
    """Returns the faster of float32 and mixed_bfloat16 for the run, whatever its own precision: measured on a CPU, in 20 seconds or more.

    mixed_bfloat16 on a TPU. float32 on a GPU, which a second process cannot use.
    """
    import tensorflow as tf

    if isinstance(strategy, tf.distribute.TPUStrategy):
        return Choice("mixed_bfloat16", "TPUs multiply in bfloat16")
    if not _only_cpu():
        return Choice(
            "float32", "nothing is measured on a machine with a GPU; name mixed_bfloat16 or mixed_float16 to try it"
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
    """Chooses by the seconds of a step in float32 and in mixed_bfloat16, measured in turns."""
    seconds = {"float32": statistics.median(plain), "mixed_bfloat16": statistics.median(half)}
    ratio = statistics.median(a / b for a, b in zip(plain, half, strict=True))
    fast = ratio >= 1 + MARGIN
    why = f"a step in mixed_bfloat16 is {ratio:.2f} times as fast as in float32"
    why += "" if fast else f"; it is chosen from {1 + MARGIN:.2f} on"
    return Choice("mixed_bfloat16" if fast else "float32", why, seconds, ratio)


class Unable(UserError):
    """Error of a machine that cannot train the run's family in its precision, with the reason and a remedy."""


def check(run: RunConfig, facts: Facts = Facts()) -> None:
    """Takes one small step of the run, once. Does nothing in float32, nor with a GPU or TPU, which two processes cannot share.

    Raises:
        Unable: this machine cannot take the step.
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
    """Measures the seconds of a step of each run: one value per round, in which each run takes `steps` steps in turn.

    Args:
        rounds: at least as many; 0: only the first step is taken, and every list is empty.
        seconds: at least as long, over all rounds.

    Raises:
        Unable: this machine cannot take a step of one of the runs.
    """
    described = [json.loads(run.to_json()) for run in runs]
    request = {"runs": described, "facts": facts.to_json(), "rounds": rounds, "seconds": seconds, "steps": steps}
    # Without the devices and the cluster, which the training needs for itself.
    environment = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
    environment |= {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=json.dumps(request), env=environment, capture_output=True, text=True
    )
    if done.returncode > 0:  # a fault of the program, or too large a batch: the run itself reports it
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


def _answer(request):
    """Answers a request of `step_seconds` in the separate process."""
    import tensorflow as tf

    steps = []
    for number, described in enumerate(request["runs"]):
        try:
            steps.append(_step(RunConfig.from_values(described, "the run"), Facts.from_json(request["facts"])))
        except tf.errors.OpError as error:
            return {"run": number, "why": reason(error)}
    if not request["rounds"]:
        return {"seconds": [[] for _ in steps]}
    for step in steps:  # a warm-up round: prepares kernels that the first step did not reach
        _timed(step, request["steps"])
    rounds, end = [], time.perf_counter() + request["seconds"]
    while len(rounds) < request["rounds"] or time.perf_counter() < end:
        rounds.append([_timed(step, request["steps"]) for step in steps])
    return {"seconds": list(zip(*rounds, strict=True))}


def _timed(step, times):
    """Returns the mean seconds of a step over `times` steps."""
    begun = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - begun) / times


def _step(run, facts):
    """Returns a function () that takes a step of the run on noise, after taking one."""
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
    model = make_model(run, facts, parent=lender and parents.open_parent(lender).model)
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
    """Returns the message of a TensorFlow error in one line, without its place in the graph."""
    text = re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*", " ", error.message)
    lines = [line.strip().rstrip(".") for line in text.splitlines() if line.strip()]
    return [line for line in lines if not re.match(r'(File "|Node: |Detected at|Graph execution)', line)][-1]


def _processor():
    """Returns the processor's name, such as "AMD EPYC 9R14 96-Core Processor"; its architecture if the system gives no name."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return next(filter(None, [*names, platform.processor(), platform.machine()]), "unknown")


if __name__ == "__main__":
    print(json.dumps(_answer(json.load(sys.stdin))))
