"""Batches: what is joined, padded, split and refused, and that every caller gets its own rows."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from served import save

from serving.export.session import Call, Session, SessionError, Signature, Tensor
from serving.server.batching import Batcher, Parameters
from serving.server.servable import awaited
from serving.wire.messages import CODES, BatchingParameters


def parameters(text=""):
    return Parameters(text_format.Parse(text, BatchingParameters()))


def run(batcher, call, timeout=None):
    return awaited(batcher.submit(call), timeout)


class Recorder:
    """Stands in for a session: y = 2 x, remembers the inputs of each run, and can be held back."""

    def __init__(self):
        self.runs = []
        self.hold = threading.Event()
        self.hold.set()
        self.begun = threading.Semaphore(0)
        wide = Tensor(tf.float32, (None, None), "x:0")
        self.signatures = {"s": Signature({"x": wide}, {"y": wide}, {})}

    def execute(self, call, *, timeout=None):
        self.begun.release()
        assert self.hold.wait(10)
        self.runs.append(call.inputs["x"])
        if (call.inputs["x"] < 0).any():
            raise SessionError(3, "negative")
        return {"y": call.inputs["x"] * 2}


def call(*rows):
    return Call("s", {"x": np.array(rows, np.float32).reshape(len(rows), -1)}, ("y",))


def crowd(batcher, recorder, calls):
    """Hold the only thread back with one call, let `calls` gather, and return their answers (or errors) in order."""
    recorder.hold.clear()
    with ThreadPoolExecutor(len(calls) + 1) as pool:
        first = pool.submit(run, batcher, call(0))
        recorder.begun.acquire()
        waiting = []
        for each in calls:
            waiting.append(pool.submit(run, batcher, each))
            deadline = time.monotonic() + 10
            while _queued(batcher) < len(waiting) and not waiting[-1].done() and time.monotonic() < deadline:
                time.sleep(0.001)
        recorder.hold.set()
        first.result(10)
        return [each.exception(10) or each.result() for each in waiting]


def _queued(batcher):
    return sum(len(batch.parts) for queue in batcher._queues.values() for batch in queue)


def test_what_waits_becomes_one_batch_and_rows_go_back_to_their_callers():
    recorder, ran = Recorder(), []
    batcher = Batcher(recorder, parameters("num_batch_threads { value: 1 }"), ran=lambda: ran.append(1))
    answers = crowd(batcher, recorder, [call(1), call(2, 3), call(4)])
    batcher.close()
    assert [answer["y"].ravel().tolist() for answer in answers] == [[2], [4, 6], [8]]
    assert [run.ravel().tolist() for run in recorder.runs] == [[0], [1, 2, 3, 4]]
    assert len(ran) == 2


def test_a_batch_is_padded_with_the_first_row_of_the_last_request():
    recorder = Recorder()
    text = "num_batch_threads { value: 1 } max_batch_size { value: 8 } allowed_batch_sizes: 1 allowed_batch_sizes: 8"
    batcher = Batcher(recorder, parameters(text))
    answers = crowd(batcher, recorder, [call(1), call(5, 6)])
    batcher.close()
    assert recorder.runs[1].ravel().tolist() == [1, 5, 6, 5, 5, 5, 5, 5]
    assert [answer["y"].ravel().tolist() for answer in answers] == [[2], [10, 12]]


def test_a_large_request_is_refused_or_split():
    recorder = Recorder()
    batcher = Batcher(recorder, parameters("max_batch_size { value: 2 }"))
    with pytest.raises(SessionError, match="Task size 3 is larger than maximum input batch size 2"):
        run(batcher, call(1, 2, 3))
    batcher.close()
    text = (
        "max_batch_size { value: 4 } max_execution_batch_size { value: 2 } enable_large_batch_splitting { value: true }"
    )
    batcher = Batcher(recorder, parameters(text))
    assert run(batcher, call(1, 2, 3))["y"].ravel().tolist() == [2, 4, 6]
    batcher.close()
    assert sorted(run.ravel().tolist() for run in recorder.runs) == [[1, 2], [3]]


def test_a_full_queue_is_unavailable():
    recorder = Recorder()
    text = "num_batch_threads { value: 1 } max_batch_size { value: 1 } max_enqueued_batches { value: 2 }"
    batcher = Batcher(recorder, parameters(text))
    answers = crowd(batcher, recorder, [call(1), call(2), call(3)])
    batcher.close()
    assert answers[2].code == 14
    assert answers[2].message.startswith("The batch scheduling queue to which this task was submitted is full; ")
    assert answers[0]["y"] == 2 and answers[1]["y"] == 4


def test_one_bad_row_fails_its_batch_and_no_other():
    recorder = Recorder()
    batcher = Batcher(recorder, parameters("num_batch_threads { value: 1 }"))
    answers = crowd(batcher, recorder, [call(1), call(-1)])
    assert [answer.message for answer in answers] == ["negative", "negative"]
    assert run(batcher, call(5))["y"] == 10
    batcher.close()


def test_shapes_that_differ_are_padded_only_when_asked():
    recorder = Recorder()
    batcher = Batcher(recorder, parameters("num_batch_threads { value: 1 }"))
    answers = crowd(batcher, recorder, [call((1, 2)), call((3,))])
    batcher.close()
    assert all(answer.code == 9 and "padding is turned off" in answer.message for answer in answers)
    batcher = Batcher(recorder, parameters("num_batch_threads { value: 1 } pad_variable_length_inputs: true"))
    answers = crowd(batcher, recorder, [call((1, 2)), call((3,))])
    batcher.close()
    assert recorder.runs[-1].tolist() == [[1, 2], [3, 3]]


def test_a_wrong_type_does_not_spoil_the_batch_it_would_be_in():
    recorder = Recorder()
    batcher = Batcher(recorder, parameters("num_batch_threads { value: 1 }"))
    wrong = Call("s", {"x": np.array([[b"s"]], object)}, ("y",))
    answers = crowd(batcher, recorder, [call(1), wrong])
    batcher.close()
    assert answers[0]["y"] == 2
    assert answers[1].message == "Expects arg[0] to be float but string is provided"


@pytest.mark.parametrize(
    "inputs, words",
    [
        ({}, "must have at least one input tensor"),
        ({"x": np.float32(1)}, "input tensors must have at least one dimension"),
        ({"x": np.zeros((1, 1), np.float32), "z": np.zeros((2, 1), np.float32)}, "must have equal 0th-dimension size"),
    ],
)
def test_what_cannot_be_batched(inputs, words):
    batcher = Batcher(Recorder(), parameters())
    with pytest.raises(SessionError, match=words):
        run(batcher, Call("s", {alias: np.asarray(value) for alias, value in inputs.items()}, ("y",)))
    batcher.close()


def test_an_output_without_rows_is_told(tmp_path):
    with Session(save(tmp_path / "v", 1)) as session:
        batcher = Batcher(session, parameters())
        with pytest.raises(SessionError, match="Batched output tensor has 0 dimensions") as caught:
            run(batcher, session.prepare("scalar", {"x": np.zeros((1, 2), np.float32)}))
        assert caught.value.code == 9
        batcher.close()


def test_a_timeout_fills_batches_and_a_full_one_does_not_wait():
    recorder = Recorder()
    text = "num_batch_threads { value: 2 } max_batch_size { value: 2 } batch_timeout_micros { value: 60000000 }"
    batcher = Batcher(recorder, parameters(text))
    with ThreadPoolExecutor(2) as pool:  # each alone would wait a minute
        answers = [pool.submit(run, batcher, call(value)) for value in (1, 2)]
        assert sorted(float(answer.result(10)["y"][0, 0]) for answer in answers) == [2, 4]
    assert len(recorder.runs) == 1
    with pytest.raises(SessionError, match="timeout exceeded while waiting in batching queue"):
        run(batcher, call(1), 0.05)
    batcher.close()


def test_whose_time_is_over_is_told_whether_its_run_had_begun():
    recorder = Recorder()
    batcher = Batcher(recorder, parameters("num_batch_threads { value: 1 }"))
    recorder.hold.clear()
    running = batcher.submit(call(0))
    recorder.begun.acquire()
    for answer, code, words in (
        (running, "DEADLINE_EXCEEDED", "Timed out waiting for notification"),
        (batcher.submit(call(1)), "RESOURCE_EXHAUSTED", "Run() timeout exceeded while waiting in batching queue"),
    ):
        with pytest.raises(SessionError) as caught:
            awaited(answer, 0.001)
        assert (caught.value.code, caught.value.message) == (CODES[code], words)
    recorder.hold.set()
    batcher.close()


def test_who_gives_up_while_waiting_does_not_run():
    recorder = Recorder()
    batcher = Batcher(recorder, parameters("num_batch_threads { value: 1 }"))
    recorder.hold.clear()
    first = batcher.submit(call(0))
    recorder.begun.acquire()
    given_up, kept = batcher.submit(call(1)), batcher.submit(call(2))
    assert given_up.cancel()
    recorder.hold.set()
    assert kept.result(10)["y"] == 4 and first.result(10)["y"] == 0
    batcher.close()
    assert [run.ravel().tolist() for run in recorder.runs] == [[0], [2]]


@pytest.mark.parametrize(
    "text, words",
    [
        ("allowed_batch_sizes: 4 allowed_batch_sizes: 2", "monotonically increasing"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "must equal max_batch_size"),
        ("max_batch_size { value: 0 }", "1 or more"),
    ],
)
def test_parameters_that_cannot_be(text, words):
    with pytest.raises(ValueError, match=words):
        parameters(text)


def test_defaults_are_those_of_tensorflow_serving():
    default = parameters()
    assert (default.most_rows, default.timeout, default.most_batches) == (1000, 0, 10)
