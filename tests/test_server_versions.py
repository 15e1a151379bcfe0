"""Versions: policies, labels, reloads, swaps, broken folders, warm-up."""

import os
import shutil
import threading
import time

import grpc
import numpy as np
import pytest
import served
import tensorflow as tf
from google.protobuf import text_format
from served import Stub, X, damage, entry, listed, until

from serving.server import repository
from serving.server.local import CannotStart
from serving.wire import messages
from serving.wire.tensors import tensor_to_proto


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    return {factor: served.save(folder / str(factor), factor) for factor in (1, 2)}


@pytest.fixture
def base(saved, tmp_path):
    for number in (1, 2):
        served.place(saved[number], tmp_path / "toy", number)
    return tmp_path / "toy"


def config(text):
    return text_format.Parse(text, messages.ModelServerConfig())


@pytest.fixture
def serve(tmp_path):
    """serve(entry, ...) -> a context of (stub, what was said); reload with `reload(stub, entry, ...)`."""

    def start(*entries, **flags):
        (tmp_path / "models.config").write_text(listed(*entries))
        return served.running(model_config_file=str(tmp_path / "models.config"), rest_api_port=0, **flags)

    return start


def reload(stub, *entries):
    return stub.HandleReloadConfigRequest(messages.ReloadConfigRequest(config=config(listed(*entries))), timeout=30)


def factor(stub, **spec):
    return int(stub.ask(x=X, **spec)["y"][0, 0])


def states(stub, model="toy"):
    response = stub.GetModelStatus(messages.GetModelStatusRequest(model_spec={"name": model}))
    names = {number: name for name, number in messages.STATES.items()}
    return {status.version: names[status.state] for status in response.model_version_status}


def refused(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize(
    "policy, expected",
    [
        ("", {2}),
        ("latest { num_versions: 2 }", {1, 2}),
        ("latest { num_versions: 0 }", {2}),
        ("all {}", {1, 2}),
        ("specific { versions: 1 versions: 9 }", {1}),
    ],
)
def test_policies(serve, base, policy, expected):
    more = f"model_version_policy {{ {policy} }}" if policy else ""
    with serve(entry(base, more)) as flags:
        stub = Stub(flags)
        until(lambda: {number for number, state in states(stub).items() if state == "AVAILABLE"} == expected)
        assert factor(stub) == max(expected)


def test_names_that_are_no_numbers_do_not_count(serve, base):
    os.rename(base / "2", base / "00000002")
    (base / "99999999999999999999").mkdir()
    (base / "tmp-7").mkdir()
    with serve(entry(base)) as flags:
        assert states(Stub(flags)) == {2: "AVAILABLE"} and factor(Stub(flags), version=2) == 2


def test_a_new_version_takes_over_and_the_old_one_ends(serve, saved, tmp_path):
    served.place(saved[1], tmp_path / "toy", 1)
    with serve(entry(tmp_path / "toy"), file_system_poll_wait_seconds=1) as flags:
        stub = Stub(flags)
        assert factor(stub) == 1
        served.place(saved[2], tmp_path / "toy", 2)
        until(lambda: states(stub) == {1: "END", 2: "AVAILABLE"})
        assert factor(stub) == 2
        assert refused(stub.ask, x=X, version=1) == ("NOT_FOUND", "Servable not found for request: Specific(toy, 1)")
        shutil.rmtree(tmp_path / "toy" / "2")  # going back
        until(lambda: states(stub) == {1: "AVAILABLE", 2: "END"})
        assert factor(stub) == 1


def take_variables(version):
    """Half copied: the loader takes it, and only a warm-up request finds out."""
    shutil.rmtree(version / "variables")
    warm(version, log("", x=X))


@pytest.mark.parametrize("break_", [damage, take_variables])
def test_a_broken_version_leaves_the_old_one_serving(serve, saved, tmp_path, break_):
    served.place(saved[1], tmp_path / "toy", 1)
    with serve(entry(tmp_path / "toy"), file_system_poll_wait_seconds=1) as flags:
        stub = Stub(flags)
        broken = tmp_path / "tmp"
        shutil.copytree(saved[2], broken)
        break_(broken)
        os.rename(broken, tmp_path / "toy" / "2")
        until(lambda: states(stub).get(2) == "END")
        assert factor(stub) == 1 and states(stub)[1] == "AVAILABLE"
        one = messages.GetModelStatusRequest(model_spec={"name": "toy", "version": {"value": 2}})
        status = stub.GetModelStatus(one).model_version_status[0].status
        assert status.error_code and status.error_message
        shutil.rmtree(tmp_path / "toy" / "2")  # repaired: gone, then there again
        time.sleep(1.5)
        served.place(saved[2], tmp_path / "toy", 2)
        until(lambda: states(stub) == {1: "END", 2: "AVAILABLE"})


def test_a_load_is_tried_again(serve, saved, tmp_path):
    (tmp_path / "toy" / "1").mkdir(parents=True)
    said = []
    context = serve(
        entry(tmp_path / "toy"),
        said=said,
        max_num_load_retries=200,
        load_retry_interval_micros=50_000,
        num_load_threads=2,
    )

    def repair():
        until(lambda: any("trying again" in words for words in said))
        shutil.copytree(saved[1], tmp_path / "toy" / "1", dirs_exist_ok=True)

    repairer = threading.Thread(target=repair)
    repairer.start()
    with context as flags:
        assert factor(Stub(flags)) == 1
    repairer.join()


def test_nothing_loads_at_start(serve, tmp_path):
    (tmp_path / "toy" / "1").mkdir(parents=True)
    with pytest.raises(CannotStart) as caught, serve(entry(tmp_path / "toy")):
        pass
    text = str(caught.value)
    assert text.startswith("UNKNOWN: 1 servable(s) did not become available: {{{name: toy version: 1} due to error: ")


def test_labels_are_moved_in_two_steps(serve, base):
    both = "model_version_policy { specific { versions: 1 versions: 2 } }"
    one = "model_version_policy { specific { versions: 1 } }"
    label = 'version_labels {{ key: "{}" value: {} }}'.format
    with serve(entry(base, one)) as flags:
        stub = Stub(flags)
        reload(stub, entry(base, one + label("stable", 1)))
        assert factor(stub, label="stable") == 1
        assert refused(reload, stub, entry(base, both + label("stable", 1) + label("canary", 2))) == (
            "FAILED_PRECONDITION",
            "Request to assign label to version 2 of model toy, which is not currently available for inference",
        )
        reload(stub, entry(base, both + label("stable", 1)))
        until(lambda: states(stub) == {1: "AVAILABLE", 2: "AVAILABLE"})
        reload(stub, entry(base, both + label("stable", 1) + label("canary", 2)))
        assert (factor(stub, label="stable"), factor(stub, label="canary")) == (1, 2)
        answer = stub.Predict(served.predict_request(x=X, label="canary"))
        assert answer.model_spec.version.value == 2 and not answer.model_spec.version_label
        reload(stub, entry(base, both + label("stable", 2)))
        assert factor(stub, label="stable") == 2


def test_labels_at_start_need_the_flag(serve, base):
    text = entry(base, 'version_labels { key: "stable" value: 2 }')
    with pytest.raises(CannotStart, match="Request to assign label to version 2 of model toy"), serve(text):
        pass
    with serve(text, allow_version_labels_for_unavailable_models=True) as flags:
        assert factor(Stub(flags), label="stable") == 2


def test_a_reload_replaces_the_whole_list(serve, base, saved, tmp_path):
    served.place(saved[1], tmp_path / "other", 5)
    with serve(entry(base)) as flags:
        stub = Stub(flags)
        response = reload(stub, entry(base), entry(tmp_path / "other", name="other"))
        assert response.HasField("status") and response.status.error_code == 0
        assert factor(stub, model="other") == 1  # a new model is waited for
        reload(stub, entry(tmp_path / "other", name="other"))
        until(lambda: states(stub) == {2: "END"})
        assert refused(stub.ask, x=X) == ("NOT_FOUND", "Servable not found for request: Latest(toy)")


def test_what_a_reload_refuses(serve, base):
    with serve(entry(base)) as flags:
        stub = Stub(flags)
        table = [
            ((entry(base), entry(base)), "Illegal to list model toy multiple times in config list"),
            ((entry("rel"),), "Expected model toy to have an absolute path or URI; got base_path()=rel"),
            (
                (entry(base, platform="p"),),
                "Illegal to change a model's platform. For model toy platform was tensorflow and new platform requested is p",
            ),
            ((entry(base), entry(base, name="m", platform="p")), "Model m requests unsupported platform p"),
            (
                (entry(base, platform=""),),
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform.",
            ),
            (
                (entry(base, "model_type: TENSORFLOW"),),
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform.",
            ),
            (
                (entry(base, "model_type: OTHER", platform=""),),
                "ModelServerConfig::model_type choice 2 not supported.",
            ),
        ]
        for entries, text in table:
            assert refused(reload, stub, *entries) == ("INVALID_ARGUMENT", text)
        assert refused(stub.HandleReloadConfigRequest, messages.ReloadConfigRequest()) == (
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported",
        )
        damage(base.parent / "broken" / "1")
        code, text = refused(reload, stub, entry(base), entry(base.parent / "broken", name="broken"))
        assert code == "UNKNOWN"
        assert text.startswith("1 model(s) did not become available: {{{name: broken version: 1} due to error: ")
        reload(stub, entry(base, "model_type: TENSORFLOW", platform=""))
        assert factor(stub) == 2


def test_the_config_file_is_followed_and_a_bad_one_only_told(serve, base, tmp_path):
    said, label = [], 'version_labels { key: "stable" value: 2 }'
    with serve(entry(base), said=said, model_config_file_poll_wait_seconds=1) as flags:
        stub = Stub(flags)
        (tmp_path / "models.config").write_text("model_config_list {")
        until(lambda: any("is not followed" in words for words in said))
        (tmp_path / "models.config").write_text(listed(entry(base, label)))

        def labelled():
            try:
                return factor(stub, label="stable") == 2
            except grpc.RpcError:
                return False

        until(labelled)


def test_a_missing_folder_is_told_and_changes_nothing(serve, base):
    said = []
    with serve(entry(base), said=said, file_system_poll_wait_seconds=1) as flags:
        stub = Stub(flags)
        os.rename(base, f"{base}-away")
        until(lambda: any(words == f"Could not find base path {base} for servable toy" for words in said))
        assert factor(stub) == 2
        os.rename(f"{base}-away", base)
        for number in (1, 2):
            shutil.rmtree(base / str(number))
        until(lambda: states(stub) == {2: "END"})  # an empty folder unloads everything


@pytest.mark.parametrize(
    "error, words",
    [
        (tf.errors.NotFoundError(None, None, "gone since"), "Could not find base path {} for servable toy"),
        (
            tf.errors.PermissionDeniedError(None, None, "not yours"),
            "Could not read base path {} for servable toy: not yours",
        ),
    ],
)
def test_a_folder_that_cannot_be_read_for_once_is_looked_into_again(serve, base, monkeypatch, error, words):
    said, listdir, errors = [], tf.io.gfile.listdir, [error]

    def failing(path):
        if errors:
            raise errors.pop()
        return listdir(path)

    one = "model_version_policy { specific { versions: 1 } }"
    with serve(entry(base, one), said=said) as flags:
        stub = Stub(flags)
        monkeypatch.setattr(tf.io.gfile, "listdir", failing)
        reload(stub, entry(base))
        until(lambda: words.format(base) in said)
        assert factor(stub) == 1
        reload(stub, entry(base))
        until(lambda: factor(stub) == 2)


def warm(version, *records):
    os.makedirs(os.path.join(version, "assets.extra"), exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(version, "assets.extra", "tf_serving_warmup_requests")) as file:
        for record in records:
            file.write(record)


def log(signature, **inputs):
    message = messages.PredictionLog()
    message.predict_log.request.model_spec.signature_name = signature
    for alias, value in inputs.items():
        message.predict_log.request.inputs[alias].CopyFrom(tensor_to_proto(value))
    return message.SerializeToString()


@pytest.mark.parametrize(
    "records, words",
    [
        ([log("", x=X)], None),
        ([log("", x=np.zeros((1, 3), np.float32))], "is not compatible with expected shape"),
        ([b"\xff\xff"], "Failed to parse warmup record"),
        ([b""], "Unsupported log_type for warmup: 0"),
        ([log("", x=X)] * 1001, "Number of warmup records exceeds the maximum (1000)"),
    ],
    ids=["good", "failing", "unparsable", "empty", "too many"],
)
def test_warm_up_decides_whether_a_version_loads(serve, saved, tmp_path, records, words):
    served.place(saved[1], tmp_path / "toy", 1)
    warm(tmp_path / "toy" / "1", *records)
    if not words:
        with serve(entry(tmp_path / "toy")) as flags:
            assert factor(Stub(flags)) == 1
        return
    with pytest.raises(CannotStart) as caught, serve(entry(tmp_path / "toy")):
        pass
    assert words in str(caught.value)
    with serve(entry(tmp_path / "toy"), enable_model_warmup=False) as flags:
        assert factor(Stub(flags)) == 1


def test_a_damaged_warm_up_file_is_data_loss(serve, saved, tmp_path):
    served.place(saved[1], tmp_path / "toy", 1)
    warm(tmp_path / "toy" / "1", log("", x=X))
    with open(tmp_path / "toy" / "1" / "assets.extra" / "tf_serving_warmup_requests", "r+b") as file:
        file.seek(20)
        file.write(b"\0\0")
    with pytest.raises(CannotStart, match="Please verify your warmup data is in TFRecord format.") as caught:
        with serve(entry(tmp_path / "toy")):
            pass
    assert "DATA_LOSS" in str(caught.value)


def test_a_model_brings_its_own_batching_parameters(serve, saved, tmp_path):
    served.place(saved[1], tmp_path / "toy", 1)
    (tmp_path / "toy" / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    served.place(saved[2], tmp_path / "free", 1)
    flags = {"enable_batching": True, "enable_per_model_batching_parameters": True}
    with serve(entry(tmp_path / "toy"), entry(tmp_path / "free", name="free"), **flags) as running:
        stub, three = Stub(running), np.ones((3, 2), np.float32)
        assert refused(stub.ask, x=three)[1] == "Task size 3 is larger than maximum input batch size 2"
        assert stub.ask(model="free", x=three)["y"].shape == (3, 2)


def test_square_brackets_in_a_path_are_told(saved, tmp_path):
    """As in TensorFlow Serving no model with weights loads from there; here the notice says why."""
    served.place(saved[1], tmp_path / "toy [v2]", 1)
    said = []
    with pytest.raises(CannotStart, match="Failed to find any matching files for"):
        with served.running(said, model_base_path=str(tmp_path / "toy [v2]")):
            pass
    assert any("reads [ and ] in a path as a pattern: rename the folder" in words for words in said)


@pytest.mark.parametrize("name, number", [("00000007", 7), ("0000000000000000000000008", 8), ("+9", 9), ("0", 0)])
def test_names_that_parse_as_a_number_are_versions(tmp_path, name, number):
    (tmp_path / name).mkdir()
    for other in ("-7", "7a", "٧", "tmp-7", "9223372036854775808", "99999999999999999999"):
        (tmp_path / other).mkdir()
    (toy,) = config(listed(entry(tmp_path))).model_config_list.config
    found = repository._wanted_versions(toy, print)
    assert found == {number: f"{tmp_path}/{name}"}
