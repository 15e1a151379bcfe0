"""The messages built at run time are TensorFlow Serving's, and TensorFlow reads the tensors."""

import importlib

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, text_format

from serving.export import config
from serving.wire import messages, tensors

ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array([[1.5], [-2.5]], np.float64),
    np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3),
    np.array([-1, 2**40, 0, 127, 128, -(2**63)], np.int64),
    np.array([-1, 5, 300], np.int32),
    np.array([2**32 - 1, 0], np.uint32),
    np.array(7, np.int32),
    np.array([True, False]),
    np.array([1.5, 65504], np.float16),
    np.array([b"", b"a\0", b"x" * 100], object),
    np.zeros((0, 4), np.float32),
    np.arange(600, dtype=np.float32).reshape(2, 300),
    np.arange(-300, 300),
    np.arange(600).astype(np.uint8),
    np.arange(600) % 3 == 0,
    np.linspace(-2, 2, 600).astype(np.float16),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
def test_a_tensor_crosses_the_wire_both_ways_and_tensorflow_agrees(array):
    tf = pytest.importorskip("tensorflow")
    from tensorflow.core.framework import tensor_pb2

    ours = tensors.tensor_to_proto(array)
    np.testing.assert_array_equal(tensors.proto_to_tensor(ours), array)
    theirs = tensor_pb2.TensorProto.FromString(ours.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(theirs), array)
    # A server answers with typed values where we send tensor_content.
    wire = tensors.tensor_to_wire(array, typed=True)
    theirs = tensor_pb2.TensorProto.FromString(wire)
    assert not theirs.tensor_content
    np.testing.assert_array_equal(tf.make_ndarray(theirs), array)
    back = tensors.proto_to_tensor(messages.TensorProto.FromString(wire))
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype and back.shape == array.shape
    back[...] = back  # the caller's to change


def test_few_values_repeat_the_last_none_are_zeros_and_many_are_cut():
    def read(values):
        return tensors.proto_to_tensor(
            messages.TensorProto(dtype=1, tensor_shape={"dim": [{"size": 3}]}, float_val=values)
        )

    assert read([1, 2]).tolist() == [1, 2, 2]
    assert read([]).tolist() == [0, 0, 0]
    assert read([1, 2, 3, 4]).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"dtype": 1, "tensor_shape": {"dim": [{"size": 2}]}, "tensor_content": b"abc"}, "3 bytes"),
        ({"dtype": 1, "tensor_shape": {"dim": [{"size": -1}]}}, "not fully known"),
        ({"dtype": 21}, "DataType 21"),
        ({"dtype": 1, "tensor_shape": {"dim": [{"size": 2**40}]}}, "too large"),
        ({"dtype": 1, "tensor_shape": {"dim": [{"size": 1}] * 65}}, "too large"),
    ],
)
def test_a_malformed_tensor_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        tensors.proto_to_tensor(messages.TensorProto(**fields))


def test_a_type_without_a_place_in_a_request_is_refused():
    with pytest.raises(ValueError, match="complex64"):
        tensors.tensor_to_proto(np.zeros(2, np.complex64))


@pytest.mark.parametrize(
    "module, names",
    [
        ("tensorflow_serving.apis.prediction_log_pb2", ["PredictionLog"]),
        (
            "tensorflow_serving.apis.get_model_metadata_pb2",
            ["GetModelMetadataRequest", "GetModelMetadataResponse", "SignatureDefMap"],
        ),
        (
            "tensorflow_serving.apis.get_model_status_pb2",
            ["GetModelStatusRequest", "GetModelStatusResponse"],
        ),
        ("tensorflow_serving.apis.model_management_pb2", ["ReloadConfigRequest", "ReloadConfigResponse"]),
        ("tensorflow_serving.config.model_server_config_pb2", ["ModelServerConfig"]),
    ],
)
def test_every_field_is_the_one_upstream_has(module, names):
    upstream = pytest.importorskip(module)
    for name in names:
        _compare(getattr(messages, name).DESCRIPTOR, getattr(upstream, name).DESCRIPTOR, set())


def test_every_tensor_field_is_the_one_tensorflow_has():
    pytest.importorskip("tensorflow")
    tensor_pb2 = importlib.import_module("tensorflow.core.framework.tensor_pb2")
    _compare(messages.TensorProto.DESCRIPTOR, tensor_pb2.TensorProto.DESCRIPTOR, set())


def _declared(message):
    proto = descriptor_pb2.DescriptorProto()
    message.CopyToProto(proto)
    return {field.name: field for field in proto.field}


def _compare(ours, theirs, seen):
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    assert ours.full_name == theirs.full_name
    our_fields, their_fields = _declared(ours), _declared(theirs)
    for field in ours.fields:
        upstream = theirs.fields_by_name[field.name]
        a, b = our_fields[field.name], their_fields[field.name]
        assert (a.number, a.type, a.label, a.type_name) == (b.number, b.type, b.label, b.type_name), field.full_name
        assert bool(field.containing_oneof) == bool(upstream.containing_oneof), field.full_name
        if field.message_type:
            _compare(field.message_type, upstream.message_type, seen)
        if field.enum_type:
            known = {value.name: value.number for value in upstream.enum_type.values}
            assert {value.name: value.number for value in field.enum_type.values}.items() <= known.items()


def test_configs_read_back_and_say_what_was_asked():
    text = config.models({"shoes": "/m/shoes", "hats": "gs://bucket/hats"})
    entries = text_format.Parse(text, messages.ModelServerConfig()).model_config_list.config
    assert [(entry.name, entry.base_path) for entry in entries] == [("hats", "gs://bucket/hats"), ("shoes", "/m/shoes")]
    parameters = text_format.Parse(config.batching((1, 8)), messages.BatchingParameters())
    assert list(parameters.allowed_batch_sizes) == [1, 8] and parameters.max_batch_size.value == 8
    assert text_format.Parse(config.monitoring(), messages.MonitoringConfig()).prometheus_config.enable


def test_policy_and_labels_somebody_wrote_are_kept_with_the_path_there_is_and_one_without_a_model_is_dropped():
    kept = """model_config_list {
      config { name: "shoes" base_path: "/srv/shoes" model_platform: "tensorflow"
               model_version_policy { specific { versions: 3 versions: 4 } } version_labels { key: "stable" value: 3 } }
      config { name: "gone" base_path: "/m/gone" model_platform: "tensorflow" } }"""
    text = config.models({"shoes": "/m/shoes", "hats": "/m/hats"}, kept)
    hats, shoes = text_format.Parse(text, messages.ModelServerConfig()).model_config_list.config
    assert (hats.name, shoes.base_path) == ("hats", "/m/shoes")
    assert list(shoes.model_version_policy.specific.versions) == [3, 4] and shoes.version_labels["stable"] == 3


@pytest.mark.parametrize("paths, kept", [({"a": "rel"}, ""), ({"a": "/m/a"}, "not a config")])
def test_a_config_the_server_would_refuse_is_not_written(paths, kept):
    with pytest.raises(ValueError):
        config.models(paths, kept)


@pytest.mark.parametrize("sizes", [(), (0, 1), (4, 2), (2, 2)])
def test_batch_sizes_must_rise(sizes):
    with pytest.raises(ValueError, match="rise"):
        config.batching(sizes)
