"""The flags are tensorflow_model_server's, and what it would silently ignore is refused."""

import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from serving.server.__main__ import main
from serving.server.flags import BadFlags, Flags, parse, usage

ROOT = Path(__file__).parent.parent


def test_names_defaults_and_forms():
    flags = parse(["--model_base_path=/m", "--enable_batching", "--enable_model_warmup=false", "--port=9000"])
    assert flags == Flags(model_base_path="/m", enable_batching=True, enable_model_warmup=False, port=9000)
    defaults = Flags()
    assert (defaults.port, defaults.rest_api_port, defaults.model_name) == (8500, 0, "default")
    assert (defaults.file_system_poll_wait_seconds, defaults.max_num_load_retries) == (1, 5)
    assert defaults.load_retry_interval_micros == 60_000_000 and defaults.bind_address == "127.0.0.1"
    assert parse(["--model_base_path=/m", "--enable_profiler", "--saved_model_tags=serve"]) == Flags(
        model_base_path="/m"
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--port", "8500"], "--port needs a value: write --port=VALUE"),
        (["8500"], "'8500' is not a flag"),
        (["--modle_name=x"], "unknown flag --modle_name, which TensorFlow Serving would ignore"),
        (["--enable_batching=1"], "takes true or false, not '1'"),
        (["--port=x"], "takes a whole number"),
        (["--port=70000"], "out of range"),
        (["--port=1", "--port=2"], "given twice"),
        (["--mixed_precision=bfloat16"], "works in TensorFlow Serving only"),
        (
            [],
            "Both server_options.model_base_path and server_options.model_config_file are empty!",
        ),
        (["--max_num_load_retries=-1"], "out of range: 0 to"),
        (["--port=1_000"], "takes a whole number, not '1_000'"),
        (["--port=٣"], "takes a whole number"),
        (["--rest_api_timeout_in_ms=3000000000"], "out of range"),
        (["--model_config_file=f", "--model_name=x"], "have no effect with --model_config_file"),
        (["--model_base_path=rel"], "Expected model default to have an absolute path or URI; got base_path()=rel"),
        (
            ["--model_base_path=/m", "--port=0"],
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set",
        ),
        (["--model_base_path=/m", "--rest_api_port=8500"], "is the gRPC port"),
        (
            ["--model_base_path=/m", "--batching_parameters_file=f"],
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
        ),
        (
            ["--model_base_path=/m", "--enable_per_model_batching_parameters"],
            "has no effect without --enable_batching",
        ),
        (["--model_base_path=/m", "--monitoring_config_file=f"], "has no effect without --rest_api_port"),
        (["--model_base_path=/m", "--model_config_file_poll_wait_seconds=3"], "no effect without --model_config_file"),
    ],
)
def test_what_would_be_ignored_is_refused(arguments, words):
    with pytest.raises(BadFlags) as caught:
        parse(arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "load_retry_interval_micros",
        "num_request_iterations_for_warmup",
        "rest_api_timeout_in_ms",
    ],
)
def test_numbers_below_0_that_mean_none(name):
    assert getattr(parse(["--model_base_path=/m", "--rest_api_port=1", f"--{name}=-1"]), name) == -1


def test_vertex_ai_says_the_http_port(monkeypatch):
    monkeypatch.setenv("AIP_HTTP_PORT", "8080")
    assert parse(["--model_base_path=/m"]).rest_api_port == 8080
    assert parse(["--model_base_path=/m", "--rest_api_port=1"]).rest_api_port == 1


def test_the_version_is_that_of_tensorflow(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.endswith(f"TensorFlow Library: {tf.__version__}\n")


def test_no_models_end_the_server_before_it_starts(capsys):
    assert main([]) == 2
    said = "Failed to start server. Error: Both server_options.model_base_path and server_options.model_config_file are empty!"
    assert capsys.readouterr().err.startswith(said)


def test_help_names_every_flag_without_tensorflow():
    code = (
        "import sys, runpy; sys.modules['tensorflow'] = None; sys.argv = ['x', '--help'];"
        "runpy.run_module('serving.server', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == usage() + "\n"
    assert all(f"--{name}=" in done.stdout for name in Flags.__dataclass_fields__)


@pytest.mark.parametrize(
    "text", ["x {", 'max_batch_size { value: "a" }', "allowed_batch_sizes: 4 allowed_batch_sizes: 2"]
)
def test_a_file_that_cannot_be_read_is_one_sentence_and_exit_code_2(tmp_path, text):
    (tmp_path / "batching").write_text(text)
    command = [
        *(sys.executable, "-m", "serving.server", f"--model_base_path={tmp_path}"),
        *("--enable_batching", f"--batching_parameters_file={tmp_path}/batching"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and f"Invalid protobuf file: '{tmp_path}/batching'" in done.stderr
    assert "Traceback" not in done.stderr
