"""What the server answers over gRPC: the table of TensorFlow Serving's codes and texts, on real sockets."""

import grpc
import numpy as np
import pytest
import served
from served import Stub, X, predict_request

from serving.wire import messages
from serving.wire.tensors import proto_to_tensor, tensor_to_proto


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return served.save(tmp_path_factory.mktemp("saved") / "v", 3)


@pytest.fixture(scope="module")
def stub(version, tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "toy"
    served.place(version, base, 7)
    with served.running(model_name="toy", model_base_path=str(base)) as flags:
        yield Stub(flags)


def refused(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value.code().name, caught.value.details()


def test_predict_answers_with_the_number_of_the_version_and_typed_values(stub):
    response = stub.Predict(predict_request(x=X))
    assert list(response.outputs["y"].float_val) == [3, 6] and not response.outputs["y"].tensor_content
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name, spec.version_label) == ("toy", 7, "serving_default", "")
    assert proto_to_tensor(response.outputs["y"]).shape == (1, 2)


def test_an_output_filter_chooses_and_a_default_fills_in(stub):
    assert stub.ask(signature="echo", text=np.array([b"a\0"], object), outputs=["text_bytes"]).keys() == {"text_bytes"}
    assert stub.ask(signature="add", a=np.array([1], np.int32)) == {"sum": 11}
    assert stub.ask(signature="add", a=np.array([1], np.int32), b=np.array([2], np.int32)) == {"sum": 3}


def edited(**changes):
    """A good request with fields of its input x changed."""
    request = predict_request(x=X)
    for name, value in changes.items():
        setattr(request.inputs["x"], name, value)
    return request


TABLE = [
    (messages.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    (predict_request(model="", x=X), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    (predict_request(model="nope", x=X), "NOT_FOUND", "Servable not found for request: Latest(nope)"),
    (predict_request(version=99, x=X), "NOT_FOUND", "Servable not found for request: Specific(toy, 99)"),
    (predict_request(label="beta", x=X), "INVALID_ARGUMENT", "Unrecognized servable version label: beta"),
    (predict_request(signature="s", x=X), "FAILED_PRECONDITION", 'Serving signature key "s" not found.'),
    (
        predict_request(signature="add", b=X),
        "INVALID_ARGUMENT",
        "Signature input alias: a(feed name: add_a:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {b}, or default input alias set: {b}",
    ),
    (
        predict_request(),
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    ),
    (
        predict_request(x=X, z=X),
        "INVALID_ARGUMENT",
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}.",
    ),
    (
        predict_request(z=X),
        "INVALID_ARGUMENT",
        "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {z}, or default input alias set: ",
    ),
    (
        predict_request(signature="add", a=X, z=X),
        "INVALID_ARGUMENT",
        "Inputs contains invalid name. Used request inputs: {a}, request input: {a,z}",
    ),
    (
        predict_request(x=np.array([[b"s"]], object)),
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but string is provided",
    ),
    (edited(tensor_content=b"abc"), "INVALID_ARGUMENT", "tensor parsing error: x"),
    (edited(dtype=21), "INVALID_ARGUMENT", "tensor parsing error: x"),
    (
        predict_request(x=X, outputs=["w"]),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: w Outputs expected to be in the set {y}.",
    ),
    (predict_request(x=X, outputs=["y", "y"]), "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
]


@pytest.mark.parametrize("request_, code, text", TABLE, ids=[f"{place}-{row[1]}" for place, row in enumerate(TABLE)])
def test_what_is_wrong_is_told_in_the_words_of_the_real_server(stub, request_, code, text):
    assert refused(stub.Predict, request_) == (code, text)


def test_errors_of_the_graph_come_from_the_runtime(stub):
    code, text = refused(stub.ask, x=np.zeros((1, 3), np.float32))
    assert code == "INVALID_ARGUMENT" and "is not compatible with expected shape [?,2]" in text
    code, text = refused(stub.ask, signature="picture", image_bytes=np.array([b"no picture"], object))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required.")


def test_a_tensor_of_the_wrong_rank_does_not_end_the_process(stub):
    # With oneDNN TensorFlow 2.21 aborts; without, and later, the kernel says what is wrong.
    assert refused(stub.ask, signature="conv", x=np.zeros((4, 4, 1), np.float32))[0] == "INVALID_ARGUMENT"
    assert stub.ask(signature="conv", x=np.ones((1, 4, 4, 1), np.float32))["y"].max() == 9


def test_errors_are_cut_after_1024_bytes(stub):
    code, text = refused(stub.ask, model="é" * 2000, x=X)
    start = "Servable not found for request: Latest("
    assert code == "NOT_FOUND" and text == start + "é" * ((1024 - len(start)) // 2) + "...TRUNCATED"
    text = refused(stub.ask, model="m" * (1024 - len(start) - 1), x=X)[1]
    assert len(text) == 1024 and text.endswith("m)")


def test_a_deadline_stops_the_run(stub):
    assert refused(stub.ask, signature="wait", n=np.array([10**12]), timeout=0.3)[0] == "DEADLINE_EXCEEDED"


def test_too_few_values_repeat_the_last(stub):
    request = predict_request(x=X)
    request.inputs["x"].CopyFrom(messages.TensorProto(dtype=1, float_val=[5]))
    for size in (2, 2):
        request.inputs["x"].tensor_shape.dim.add(size=size)
    assert list(stub.Predict(request).outputs["y"].float_val) == [15] * 4


def test_replies_beyond_four_mebibytes_pass(stub):
    assert stub.ask(x=np.ones((600_000, 2), np.float32))["y"].shape == (600_000, 2)


def example(**features):
    made = messages.Example()
    for name, value in features.items():
        made.features.feature[name].float_list.value.append(value)
    return made


def examples(kind, signature, values, model="toy"):
    request = kind()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.input.example_list.examples.extend(example(x=value) for value in values)
    return request


def test_classify_and_regress(stub):
    response = stub.Classify(examples(messages.ClassificationRequest, "classify", [2, 3]))
    told = [[(each.label, each.score) for each in row.classes] for row in response.result.classifications]
    assert told == [[("plus", 2), ("minus", -2)], [("plus", 3), ("minus", -3)]]
    assert response.model_spec.version.value == 7 and response.model_spec.signature_name == "classify"
    response = stub.Regress(examples(messages.RegressionRequest, "regress", [2, 3]))
    assert [each.value for each in response.result.regressions] == [6, 9]


def test_the_context_stands_before_each_example(stub):
    request = examples(messages.RegressionRequest, "regress", [])
    request.input.example_list_with_context.context.CopyFrom(example(x=5))
    request.input.example_list_with_context.examples.extend([messages.Example(), example(x=2)])
    assert [each.value for each in stub.Regress(request).result.regressions] == [15, 6]


@pytest.mark.parametrize(
    "method, signature, values, code, text",
    [
        ("Classify", "nope", [1], "INVALID_ARGUMENT", "No signature was found with the name: nope"),
        ("Classify", "classify", [], "INVALID_ARGUMENT", "Input is empty."),
        ("Regress", "add", [1], "INVALID_ARGUMENT", "Expected one input Tensor."),
        ("Classify", "serving_default", [1], "INVALID_ARGUMENT", "No classification inputs found in SignatureDef: "),
        ("Regress", "serving_default", [1], "INVALID_ARGUMENT", "No regression inputs found in SignatureDef: "),
        ("Regress", "classify", [1], "INVALID_ARGUMENT", "Expected one output Tensor."),
    ],
)
def test_what_classify_and_regress_refuse(stub, method, signature, values, code, text):
    kind = messages.SERVICES["tensorflow.serving.PredictionService"][method][0]
    got = refused(getattr(stub, method), examples(kind, signature, values))
    assert got[0] == code and got[1].startswith(text)


def tasks(*named):
    request = messages.MultiInferenceRequest()
    for signature, method in named:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "toy", signature
    request.input.example_list.examples.append(example(x=2))
    return request


def test_multi_inference(stub):
    (result,) = stub.MultiInference(tasks(("regress", "regress"))).results
    assert [each.value for each in result.regression_result.regressions] == [6]
    assert (result.model_spec.name, result.model_spec.version.value) == ("toy", 7)
    table = [
        (messages.MultiInferenceRequest(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (messages.MultiInferenceRequest(tasks=[{}]), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            tasks(("regress", "predict")),
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (tasks(("no", "regress")), "INVALID_ARGUMENT", "Requested signature not found in model graph: no"),
        (tasks(("regress", "regress")), None, None),
        (
            tasks(("regress", "regress"), ("regress", "regress")),
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: regress",
        ),
        (
            tasks(("regress", "regress"), ("classify", "classify")),
            "INVALID_ARGUMENT",
            "Input tensor must be the same for all Signatures.",
        ),
    ]
    for request, code, text in table:
        if code:
            assert refused(stub.MultiInference, request) == (code, text)


def test_metadata_lists_all_signatures(stub):
    request = messages.GetModelMetadataRequest(model_spec={"name": "toy"}, metadata_field=["signature_def"])
    response = stub.GetModelMetadata(request)
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (7, "")
    signatures = messages.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "add", "__saved_model_init_op"} <= set(signatures.signature_def)
    x = signatures.signature_def["serving_default"].inputs["x"]
    assert x.dtype == 1 and [dim.size for dim in x.tensor_shape.dim] == [-1, 2]
    request.metadata_field[:] = []
    assert (
        refused(stub.GetModelMetadata, request)[1] == "GetModelMetadataRequest must specify at least one metadata_field"
    )
    request.metadata_field[:] = ["f"]
    assert refused(stub.GetModelMetadata, request) == ("INVALID_ARGUMENT", "Metadata field f is not supported")


def test_status(stub):
    (status,) = stub.GetModelStatus(messages.GetModelStatusRequest(model_spec={"name": "toy"})).model_version_status
    assert (status.version, status.state, status.status.error_code) == (7, messages.STATES["AVAILABLE"], 0)
    unknown = messages.GetModelStatusRequest(model_spec={"name": "toy", "version": {"value": 99}})
    assert refused(stub.GetModelStatus, unknown) == ("NOT_FOUND", "Could not find version 99 of model toy")
    unknown = messages.GetModelStatusRequest(model_spec={"name": "m"})
    assert refused(stub.GetModelStatus, unknown) == ("NOT_FOUND", "Could not find any versions of model m")
    assert refused(stub.GetModelStatus, messages.GetModelStatusRequest())[1] == "Missing ModelSpec"


def test_a_method_name_is_insisted_on_when_asked_for(version, tmp_path):
    served.place(version, tmp_path / "toy", 1)
    flags = {"model_name": "toy", "model_base_path": str(tmp_path / "toy")}
    with served.running(**flags, enable_signature_method_name_check=True, rest_api_port=0) as running:
        request = examples(messages.RegressionRequest, "regress", [2])
        assert refused(Stub(running).Regress, request) == (
            "INVALID_ARGUMENT",
            "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/predict",
        )


def test_stock_stubs_get_answers(stub, version, tmp_path):
    """Code that knows nothing of this project: what tensorflow-serving-api gives its users."""
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    theirs = prediction_service_pb2_grpc.PredictionServiceStub(stub.channel)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(X))
    np.testing.assert_array_equal(tf.make_ndarray(theirs.Predict(request).outputs["y"]), X * 3)


def test_tensor_content_on_request(version, tmp_path):
    served.place(version, tmp_path / "toy", 1)
    flags = {"model_name": "toy", "model_base_path": str(tmp_path / "toy"), "rest_api_port": 0}
    with served.running(**flags, enable_serialization_as_tensor_content=True) as running:
        answer = Stub(running).Predict(predict_request(x=X)).outputs["y"]
        assert answer == tensor_to_proto(X * 3) and answer.tensor_content
