"""Cost of a call to the local server against the same model in this process, and the gain from batching."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
import numpy as np

from data import quiet
from serving.wire.messages import PredictRequest
from serving.wire.tensors import tensor_to_proto

CLIENTS = 32
SIGNATURES = ("generate_png", "generate")
SIDE = 256  # px: a reply of 256 x 256 x 3 floats is 786 KB


def write(folder: str) -> None:
    """Write two models into `folder`: `toy` (small and large replies) and `dcgan` (the generator of preset 64, as it starts)."""
    import tensorflow as tf

    from models import catalogue
    from serving.export.export import export

    module = tf.Module()
    module.factor = tf.Variable(2.0)

    def large(n):
        return {"y": tf.zeros([tf.shape(n)[0], SIDE, SIDE, 3]) + n[:, None, None, None] * module.factor}

    def trace(function):
        return tf.function(function).get_concrete_function(tf.TensorSpec([None], tf.float32, "n"))

    signatures = {"serving_default": trace(lambda n: {"y": n * module.factor}), "large": trace(large)}
    tf.saved_model.save(module, f"{folder}/toy/1", signatures=signatures)
    family = catalogue.load("dcgan")
    export(family.Model(family.PRESETS["64"]), folder, "dcgan", metadata={})


@contextlib.contextmanager
def served(folder: str, *flags: str):
    """Yields a function that sends a Predict, bytes to bytes, to a server of `folder` in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "serving.server", f"--port={port}", f"--model_config_file={folder}/models.config"]
    process = subprocess.Popen([*command, *flags], stderr=subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(120)
            # Bytes in, bytes out: the cores are shared, and the work of a client on an answer is not the server's.
            yield channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    finally:
        process.terminate()
        process.wait()


def request(model: str, signature: str, inputs: dict) -> bytes:
    """A PredictRequest, serialized."""
    message = PredictRequest(model_spec={"name": model, "signature_name": signature})
    for alias, array in inputs.items():
        message.inputs[alias].CopyFrom(tensor_to_proto(array))
    return message.SerializeToString()


def median_seconds(call, seconds: float) -> float:
    """The median time of `call`, tried for about `seconds`."""
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 10:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def crowd(call, requests: list[bytes], seconds: float) -> float:
    """Calls a second of threads that each send their own of `requests` again and again for `seconds`."""
    done, stop = [0] * len(requests), threading.Event()

    def work(number):
        while not stop.is_set():
            call(requests[number])
            done[number] += 1

    with ThreadPoolExecutor(len(requests)) as pool:
        began = time.perf_counter()
        work_done = [pool.submit(work, number) for number in range(len(requests))]
        time.sleep(seconds)
        stop.set()
        for each in work_done:
            each.result()
        return sum(done) / (time.perf_counter() - began)


def measure(rounds: int, seconds: float) -> dict[str, list[float]]:
    """Returns the results of each round.

    small, large: cost of a call beyond the session's own time, with a reply of 4 bytes and of 786 KB; seconds. session, alone,
    batched, each with a signature: pictures a second of the session in batches of 32, of a server with 32 callers, of one that batches.
    """
    quiet.start()
    from serving.export.session import Session

    results = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        write(folder)
        enter = stack.enter_context
        toy, dcgan = enter(Session(f"{folder}/toy/1")), enter(Session(f"{folder}/dcgan/1"))
        alone, batched = enter(served(folder)), enter(served(folder, "--enable_batching"))
        one = {"n": np.ones(1, np.float32)}
        many = {"seed": np.arange(CLIENTS), "truncation": np.ones(CLIENTS, np.float32)}

        def rows(signature):
            each = [{alias: array[row : row + 1] for alias, array in many.items()} for row in range(CLIENTS)]
            return [request("dcgan", signature, inputs) for inputs in each]

        def cost(signature):
            content = request("toy", signature, one)
            inside = median_seconds(lambda: toy.run(signature, one), seconds / 2)
            return median_seconds(lambda: alone(content), seconds / 2) - inside

        def rate(session, signature):
            return CLIENTS / median_seconds(lambda: session.run(signature, many), seconds)

        works = {
            "small": lambda: cost(""),
            "large": lambda: cost("large"),
        }
        for signature in SIGNATURES:
            works |= {
                f"session {signature}": partial(rate, dcgan, signature),
                f"alone {signature}": partial(crowd, alone, rows(signature), seconds),
                f"batched {signature}": partial(crowd, batched, rows(signature), seconds),
            }
        for turn in range(rounds + 1):
            for name, work in works.items():
                value = work()
                if turn:  # the first warms up
                    results[name].append(value)
    return results
