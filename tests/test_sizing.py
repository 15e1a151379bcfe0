"""Batch sizes and memory follow from the figures by the stated rules, and the figures come from the server's session."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from serving.deploy import sizing
from serving.export import warmup

MIB = 1 << 20


def test_the_largest_size_under_the_limit_has_all_smaller_ones_under_it():
    seconds = {1: 0.010, 2: 0.015, 4: 0.030, 8: 0.060}
    assert sizing.under_limit(seconds, 0.060) == 8
    assert sizing.under_limit(seconds, 0.059) == 4
    assert sizing.under_limit({1: 0.010, 2: 0.070, 4: 0.030}, 0.060) == 1  # 4 was luck
    assert sizing.under_limit(seconds, 0.001) == 1  # one row is always asked for


def test_a_size_is_useful_when_it_gives_more_rows_a_second_than_the_last_useful_one():
    # 100, 200, 204, 400 and 390 rows a second: 4 gives 2 % more than 2, 16 less than 8.
    seconds = {1: 1 / 100, 2: 2 / 200, 4: 4 / 204, 8: 8 / 400, 16: 16 / 390}
    assert sizing.useful(seconds) == (1, 2, 8)
    assert sizing.useful({1: 0.01, 2: 0.02, 4: 0.04}) == (1,)


def test_one_server_batches_to_what_no_model_is_too_slow_for_and_one_of_them_gains_from():
    quick = {1: 0.010, 2: 0.010, 4: 0.010, 8: 0.010}
    slow = {1: 0.020, 2: 0.040, 4: 0.080, 8: 0.160}
    assert sizing.batch_sizes([quick], 0.1) == (1, 2, 4, 8)
    assert sizing.batch_sizes([quick, slow], 0.1) == (1, 2, 4)
    assert sizing.batch_sizes([slow], 0.1) == (1,)


tables = st.lists(st.floats(1e-4, 1.0), min_size=len(sizing.SIZES), max_size=len(sizing.SIZES)).map(
    lambda seconds: dict(zip(sizing.SIZES, seconds, strict=True))
)


@hypothesis.given(st.lists(tables, min_size=1, max_size=4), st.floats(1e-3, 1.0))
def test_batch_sizes_are_always_ones_a_server_takes(measured, limit):
    sizes = sizing.batch_sizes(measured, limit)
    assert sizes[0] == 1 and list(sizes) == sorted(set(sizes))
    for table in measured:
        assert all(table[size] <= limit for size in sizes[1:])
    assert all(any(size in sizing.useful(table) for table in measured) for size in sizes)


def test_memory_by_hand():
    # 512 for the server, 1.2 * 2 * 100 for one version and its successor, 3 runs of 50: 902 MiB, up to 1024.
    assert sizing.memory([(1, 100 * MIB, 50 * MIB)], runs=3) == 1024 * MIB
    # A second model with two versions adds 1.2 * 3 * 10; the larger of the runs counts: 512 + 240 + 36 + 3 * 60 = 968.
    assert sizing.memory([(1, 100 * MIB, 50 * MIB), (2, 10 * MIB, 60 * MIB)], runs=3) == 1024 * MIB
    assert sizing.memory([(1, 0, 0)], runs=8) == 512 * MIB
    assert sizing.memory([(1, 0, None)], runs=2) == 1024 * MIB  # nobody looked: 256 a run


def test_there_are_threads_to_fill_the_batches_that_run_and_the_next():
    assert sizing.threads((1, 2, 32), cpus=2) == 96
    assert sizing.threads((1,), cpus=2) == 8  # the server's own default


def save(path, main, inputs, request, **others):
    """A version whose serving_default is `main`, of inputs name -> (shape, dtype), asked `request` at export."""

    def trace(function, inputs):
        specs = {name: tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in inputs.items()}
        return tf.function(function).get_concrete_function(**specs)

    signatures = {"serving_default": trace(main, inputs)} | {name: trace(*other) for name, other in others.items()}
    tf.saved_model.save(tf.Module(), str(path), signatures=signatures)
    warmup.write(str(path), "model", [warmup.Exchange("serving_default", request, {})])
    return str(path)


def test_a_model_is_measured_with_pictures_of_the_size_that_was_asked_for(tmp_path):
    version = save(
        tmp_path / "1",
        lambda images: {"images": 255 - images},
        {"images": ([None, None, None, 3], tf.uint8)},
        {"images": np.zeros([1, 4, 6, 3], np.uint8)},
        fixed=(lambda x: {"y": 2.0 * x}, {"x": ([None, 2], tf.float32)}),
    )
    told = []

    def progress(items, total, what):
        told.append(total)
        for item in items:
            told.append(item)
            yield item

    found = sizing.measure(version, cpus=1, pixels=16, progress=progress)
    runs = [*sizing.SIZES] * (sizing.ROUNDS + 1)
    assert told == [len(runs) + 1, *runs, found]
    assert found.request == {"images": "uint8 [16, 16, 3]"}
    assert tuple(found.seconds) == sizing.SIZES and min(found.seconds.values()) > 0
    assert list(found.run_bytes.values()) == sorted(found.run_bytes.values())  # a peak never falls
    assert found.load_bytes > 0
    assert found.any_size == ("serving_default",)
    assert found.signatures == {"serving_default": {"images": "uint8 [any, any, 3]"}, "fixed": {"x": "float32 [2]"}}


def test_a_model_that_cannot_be_loaded_is_told_from_one_that_takes_its_process_along(tmp_path):
    with pytest.raises(sizing.CannotMeasure, match="Could not find SavedModel"):
        sizing.measure(str(tmp_path), cpus=1, pixels=16, timed=False)

    def fall_over(x):
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="the model fell over")]):
            return {"y": tf.identity(x)}

    version = save(tmp_path / "1", fall_over, {"x": ([None], tf.float32)}, {"x": np.zeros([1], np.float32)})
    with pytest.raises(sizing.CannotMeasure, match="exit code -6: .*the model fell over"):
        sizing.measure(version, cpus=1, pixels=16)
