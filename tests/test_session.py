"""The C++ session answers as TensorFlow Serving does, in its words, and gives back the memory it took."""

import concurrent.futures
import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from serving.export import c_api
from serving.export.session import Session, SessionError

TYPES = [tf.float32, tf.uint8, tf.int32, tf.int64, tf.bool, tf.float16, tf.bfloat16, tf.string]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """scale (x -> y: times a variable), join (a, b -> joined_bytes), echo_<dtype> and `wait` (a loop of n turns)."""
    module = tf.Module()
    module.factor = tf.Variable(3.0)

    def scale(x):
        return {"y": tf.ensure_shape(x, [None, 2]) * module.factor}

    def join(a, b):
        return {"joined_bytes": tf.strings.join([a, b])}

    def echo(x):
        return {"x": tf.identity(x)}

    def wait(n):
        return {"n": tf.while_loop(lambda i: i < n[0], lambda i: (i + 1,), (tf.constant(0, tf.int64),))[0][tf.newaxis]}

    def trace(function, **dtypes):
        specs = {name: tf.TensorSpec([None], dtype, name) for name, dtype in dtypes.items()}
        return tf.function(function).get_concrete_function(**specs)

    signatures = {
        "serving_default": tf.function(scale).get_concrete_function(tf.TensorSpec([None, 2], tf.float32, "x")),
        "join": trace(join, a=tf.string, b=tf.string),
        "wait": trace(wait, n=tf.int64),
    } | {f"echo_{dtype.name}": trace(echo, x=dtype) for dtype in TYPES}
    path = str(tmp_path_factory.mktemp("model"))
    tf.saved_model.save(module, path, signatures=signatures)
    return path


@pytest.fixture(scope="module")
def session(folder):
    with Session(folder) as session:
        yield session


def test_signatures_are_those_of_the_folder(session):
    inputs, outputs, _ = session.signatures["serving_default"]
    assert inputs["x"].dtype == tf.float32 and inputs["x"].shape == (None, 2)
    assert outputs["y"].dtype == tf.float32 and outputs["y"].shape == (None, 2)
    assert "__saved_model_init_op" not in session.signatures


def test_variables_are_restored_and_the_empty_name_is_serving_default(session):
    x = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(session.run("", {"x": x})["y"], 3 * x)
    np.testing.assert_array_equal(session.run("serving_default", {"x": x.T})["y"], 3 * x.T)  # not contiguous


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("size", [0, 1, 5])
def test_every_type_goes_in_and_out(session, dtype, size):
    texts = np.array([b"", b"a\0b\0", b"x" * 10_000, "ü".encode(), b"end"], object)
    sent = texts[:size] if dtype == tf.string else np.arange(size).astype(dtype.as_numpy_dtype)
    received = session.run(f"echo_{dtype.name}", {"x": sent})["x"]
    assert received.dtype == sent.dtype
    np.testing.assert_array_equal(received, sent)


def test_text_is_sent_in_utf8(session):
    sent = {"a": np.array(["grün", "b"]), "b": np.array([b"!", b"?"])}
    assert session.run("join", sent)["joined_bytes"].tolist() == ["grün!".encode(), b"b?"]


X = np.zeros((1, 2), np.float32)


@pytest.mark.parametrize(
    "signature, inputs, code, words",
    [
        ("nope", {}, 9, 'Serving signature key "nope" not found.'),
        (
            "join",
            {"a": X},
            3,
            "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. "
            "Missing but required: {b}.",
        ),
        (
            "",
            {"x": X, "z": X},
            3,
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
            "Missing but required: {}.",
        ),
        (
            "",
            {"z": X},
            3,
            "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value "
            "provided. Inputs expected to be in the request {z}, or default input alias set: ",
        ),
        ("", {"x": X.astype(np.float64)}, 3, "Expects arg[0] to be float but double is provided"),
        ("", {"x": np.array([b"x"], object)}, 3, "Expects arg[0] to be float but string is provided"),
        ("", {"x": np.zeros((1, 3), np.float32)}, 3, "[1,3] is not compatible with expected shape [?,2]"),
    ],
)
def test_a_wrong_request_gets_the_code_and_the_words_of_the_server(session, signature, inputs, code, words):
    with pytest.raises(SessionError) as caught:
        session.run(signature, inputs)
    assert caught.value.code == code
    assert words in caught.value.message


def test_strings_must_be_bytes(session):
    with pytest.raises(TypeError):
        session.run("echo_string", {"x": np.array([b"a", 5], object)})


def test_a_deadline_is_kept(session):
    with pytest.raises(SessionError) as caught:
        session.run("wait", {"n": np.array([10**12])}, timeout=0.2)
    assert caught.value.code == 4


def test_many_threads_may_ask_at_once(session):
    def ask(i):
        number = np.full((1, 2), i, np.float32)
        text = np.array([b"%d" % i * 50], object)
        joined = session.run("join", {"a": text, "b": text})["joined_bytes"][0]
        return session.run("", {"x": number})["y"][0, 0] == 3 * i and joined == b"%d" % i * 100

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_memory_stays_flat(session):
    pictures = {"a": np.array([b"x" * 20_000] * 4, object), "b": np.array([b"y" * 20_000] * 4, object)}

    def run(times):
        for _ in range(times):
            session.run("join", pictures)
            with pytest.raises(SessionError):
                session.run("join", {"a": pictures["a"], "b": X})
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = run(200)
    assert run(1000) - before < 20_000  # KiB; leaking one of the two inputs would take 160,000


def test_a_folder_without_a_model_is_an_error_and_closing_twice_is_not(folder, tmp_path):
    with pytest.raises(SessionError, match="Could not find SavedModel"):
        Session(tmp_path)
    session = Session(folder)
    session.close()
    session.close()
    with pytest.raises(SessionError, match="closed"):
        session.run("", {"x": X})


def test_closing_waits_for_the_run_under_way(folder):
    session = Session(folder)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(session.run, "wait", {"n": np.array([200_000])})
        while not session._running and not running.done():
            pass
        session.close()
        assert running.result()["n"].tolist() == [200_000]


def test_a_process_that_loaded_a_model_ends_cleanly(folder):
    code = f"from serving.export.session import Session; print(len(Session({folder!r}).signatures))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "11"), done.stderr


@pytest.mark.parametrize(
    "names, chosen",
    [
        (["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"], "libtensorflow_cc.so.2"),
        (["libtensorflow_cc.2.dylib", "libtensorflow_framework.2.dylib"], "libtensorflow_cc.2.dylib"),
    ],
)
def test_the_library_is_found_under_the_name_of_each_system(tmp_path, names, chosen):
    for name in names:
        (tmp_path / name).touch()
    assert c_api._path(str(tmp_path)) == str(tmp_path / chosen)


def test_a_tensorflow_without_the_library_is_one_sentence(tmp_path):
    (tmp_path / "_pywrap_tensorflow_common.dll").touch()
    with pytest.raises(OSError, match="has no libtensorflow_cc, which exporting, sampling and serving need"):
        c_api._path(str(tmp_path))
