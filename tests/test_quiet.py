"""What TensorFlow writes on a healthy machine reaches nobody, and what has gone wrong everybody."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from data import quiet

ROOT = Path(__file__).parent.parent
ALARMS = re.compile(r"^(WARNING|[IWEF]\d{4} |\d{4}-\d\d-\d\d )|absl|oneDNN|cuda|CUDA|Warning:", re.MULTILINE)

on_cpu = pytest.mark.skipif(quiet.has_gpu(), reason="what TensorFlow says of a GPU is news")


def environment(**variables):
    """That of a user who asked for no silence."""
    there = {key: value for key, value in os.environ.items() if key not in (quiet.LEVEL, "CUDA_VISIBLE_DEVICES")}
    return there | {"PYTHONPATH": str(ROOT)} | variables


def said(*words, **variables):
    """(exit code, standard error) of a Python process."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment(**variables), capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


@on_cpu
def test_commands_say_only_what_is_theirs(tmp_path):
    run, model = tmp_path / "run", ["--model", "mlp_gan", "--preset", "tiny", "--data", "studio:16", "--images", 16]
    commands = [
        ["-m", "trainer.task", *model, "--job-dir", run],
        ["-m", "trainer.cli", "sample", run, "--n", 4, "--out", tmp_path / "grid.png"],
        ["-m", "trainer.cli", "bundle", run / "export", "--out", tmp_path / "bundle"],  # measures in a child process
    ]
    for command in commands:
        code, words = said(*command)
        assert code == 0, words
        assert words and not ALARMS.search(words), words


@on_cpu
def test_the_server_says_only_what_is_its_own_to_its_end(models):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "serving.server", f"--port={port}", f"--model_base_path={models / 'arrays'}"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True) as server:
        words = ""
        for line in server.stderr:
            words += line
            if "in production run TensorFlow Serving" in line:
                server.terminate()
        assert server.wait(60) == 0 and "stopping" in words, words
    assert not ALARMS.search(words), words


START = "from data import quiet; quiet.start(); import os, sys, tensorflow as tf; "


@pytest.fixture
def stand_in(tmp_path):
    """A path on which `tensorflow` is an empty module: what it would write, the tests write."""
    (tmp_path / "tensorflow.py").touch()
    return f"{tmp_path}{os.pathsep}{ROOT}"


@pytest.mark.parametrize(
    "code, seen",
    [
        ("os.write(2, b'E0000 00:00:1795656426.98   1 gemm.cc:52] no kernel\\n')", "gemm.cc:52] no kernel\n"),
        ("os.write(2, b'an unfinished word')", "an unfinished word"),
        ("os.write(2, b'F0000 00:00:1 1 x.cc:1] Check failed\\n'); os.abort()", "Check failed\n"),
        ("print('Error: no such photo', file=sys.stderr); sys.exit(2)", "Error: no such photo\n"),
    ],
)
def test_what_has_gone_wrong_is_seen(code, seen, stand_in):
    greeting = "os.write(2, b'I0000 00:00:1795656455.98 1 port.cc:153] oneDNN custom operations are on.\\n'); "
    words = said("-c", START + greeting + code, PYTHONPATH=stand_in)[1]
    assert words.endswith(seen) and "port.cc" not in words


def test_the_usual_variable_brings_all_back():
    assert "absl::InitializeLog" in said("-c", START + "tf.config.list_physical_devices()", TF_CPP_MIN_LOG_LEVEL="0")[1]


def test_python_writes_past_the_filter_and_gets_its_stream_back(stand_in):
    code = START + "mine = sys.stderr; assert mine is not sys.__stderr__ and mine.fileno() != 2; quiet.stop(); "
    code += "assert sys.stderr is sys.__stderr__; os.write(2, b'I0000 00:00:1 1 x.cc:1] mine\\n')"
    assert said("-c", code, PYTHONPATH=stand_in) == (0, "I0000 00:00:1 1 x.cc:1] mine\n")


@pytest.mark.parametrize(
    "line, passes",
    [
        (
            b"I0000 00:00:1.1 6 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.",
            True,
        ),
        (b"E0000 00:00:1.1 6 cuda_platform.cc:52] failed call to cuInit: INTERNAL", True),
        (b"W0000 00:00:1.1 6 gpu_device.cc:1] Cannot dlopen some GPU libraries.", True),
        (b"I0000 00:00:1.1 6 port.cc:153] oneDNN custom operations are on.", False),
        (b"2025-01-02 10:11:12.12: E external/xla/cuda_fft.cc:467] Unable to register cuFFT factory: ...", False),
    ],
)
def test_where_there_is_a_gpu_what_tensorflow_says_of_it_is_news(line, passes):
    command = [sys.executable, "-I", "-S", quiet.__file__]
    found = [
        subprocess.run([*command, *more], input=line + b"\nError: mine\n", capture_output=True).stdout
        for more in (["gpu"], [])
    ]
    assert found == [(line + b"\n" if passes else b"") + b"Error: mine\n", b"Error: mine\n"]


def test_without_a_home_no_folder_called_tilde_is_left_behind(tmp_path):
    there = {key: value for key, value in environment().items() if key not in ("HOME", "KERAS_HOME")}
    code = "import os, pwd; pwd.getpwuid = lambda uid: {}[uid]; "  # nobody has an entry
    code += "from data import quiet; quiet.start(); import tensorflow; print(os.listdir())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=there, capture_output=True, text=True)
    assert done.stdout == "[]\n"
