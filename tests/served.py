"""Small SavedModels and running servers for the tests of serving."""

import contextlib
import os
import shutil
import socket
import time
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving.server.calls import Calls
from serving.server.flags import Flags
from serving.server.local import Server
from serving.wire.messages import SERVICES, PredictRequest
from serving.wire.tensors import proto_to_tensor, tensor_to_proto


def save(path, factor):
    """A version whose answers tell `factor`. Signatures:

    serving_default x float [n, 2] -> y = x * factor; add a, b int32 [n] -> sum; picture image_bytes [n] -> image;
    echo text [n] -> text, text_bytes; wait n int64 [n] -> n after so many turns; classify, regress: inputs, tf.Examples with x;
    conv x float [n, 4, 4, 1] -> y, which trusts its input; scalar x float [n, 2] -> y float [], without a batch axis.
    """
    module = tf.Module()
    module.factor = tf.Variable(float(factor))
    module.kernel = tf.Variable(tf.ones([3, 3, 1, 1]))

    def default(x):
        return {"y": tf.ensure_shape(x, [None, 2]) * module.factor}

    def add(a, b):
        return {"sum": a + b}

    def picture(image_bytes):
        decode = lambda content: tf.image.decode_image(content, 3, expand_animations=False)  # noqa: E731
        return {"image": tf.map_fn(decode, image_bytes, fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8))}

    def echo(text):
        return {"text": tf.identity(text), "text_bytes": tf.identity(text)}

    def wait(n):
        turned = tf.while_loop(lambda i: i < n[0], lambda i: (i + 1,), (tf.constant(0, tf.int64),))[0]
        return {"n": tf.fill(tf.shape(n), turned)}

    def read(inputs):
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]

    def classify(inputs):
        x = read(inputs)
        return {"scores": tf.stack([x, -x], 1), "classes": tf.tile([["plus", "minus"]], [tf.size(x), 1])}

    def regress(inputs):
        return {"outputs": read(inputs) * module.factor}

    def conv(x):
        return {"y": tf.nn.conv2d(x, module.kernel, 1, "SAME")}

    def scalar(x):
        return {"y": tf.reduce_sum(x)}

    def trace(function, **specs):
        specs = {name: tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in specs.items()}
        return tf.function(function).get_concrete_function(**specs)

    rows = [None]
    tf.saved_model.save(
        module,
        str(path),
        signatures={
            "serving_default": trace(default, x=([None, 2], tf.float32)),
            "add": trace(add, a=(rows, tf.int32), b=(rows, tf.int32)),
            "picture": trace(picture, image_bytes=(rows, tf.string)),
            "echo": trace(echo, text=(rows, tf.string)),
            "wait": trace(wait, n=(rows, tf.int64)),
            "classify": trace(classify, inputs=(rows, tf.string)),
            "regress": trace(regress, inputs=(rows, tf.string)),
            "conv": trace(conv, x=([None, 4, 4, 1], tf.float32)),
            "scalar": trace(scalar, x=([None, 2], tf.float32)),
        },
    )
    with edited(path) as graph:  # `b` of `add` is 10 when a request leaves it out
        graph.signature_def["add"].defaults["b"].CopyFrom(tf.make_tensor_proto(np.array([10], np.int32)))
    return str(path)


@contextlib.contextmanager
def edited(path):
    """The MetaGraphDef of a saved version, written back after what was done to it."""
    file = Path(path) / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    yield saved.meta_graphs[0]
    file.write_bytes(saved.SerializeToString())


def place(version, base, number):
    """Copy a saved version to `base`/`number` as a careful person does: under another name first."""
    os.makedirs(base, exist_ok=True)
    shutil.copytree(version, os.path.join(base, f"tmp-{number}"))
    os.rename(os.path.join(base, f"tmp-{number}"), os.path.join(base, str(number)))


def damage(version):
    """Make a version one that does not load."""
    Path(version).mkdir(parents=True, exist_ok=True)
    (Path(version) / "saved_model.pb").write_bytes(b"no graph")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(said=None, calls=Calls, **flags):
    """A server in this process on free ports, as Flags with `port` and `rest_api_port` set. `calls` as for `Server`."""
    chosen = {
        "port": free_port(),
        "rest_api_port": free_port(),
        "file_system_poll_wait_seconds": 0,
        "max_num_load_retries": 0,
    }
    flags = Flags(**(chosen | flags))
    server = Server(flags, (lambda words: None) if said is None else said.append, calls=calls)
    try:
        server.start()
        yield flags
    finally:
        server.stop(5)


def entry(base, more="", name="toy", platform="tensorflow"):
    """A model of a models.config."""
    return f'config {{ name: "{name}" base_path: "{base}" model_platform: "{platform}" {more} }}'


def listed(*entries):
    """A models.config."""
    return f"model_config_list {{ {' '.join(entries)} }}"


def specific(*versions, **labels):
    """For `entry`: these versions, and labels on some of them."""
    numbers = " ".join(f"versions: {version}" for version in versions)
    labelled = " ".join(f'version_labels {{ key: "{label}" value: {number} }}' for label, number in labels.items())
    return f"model_version_policy {{ specific {{ {numbers} }} }} {labelled}"


def until(condition, seconds=20):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class Stub:
    """The calls of a server by name: `Stub(flags).Predict(request)`."""

    def __init__(self, target):
        target = f"127.0.0.1:{target.port}" if isinstance(target, Flags) else target
        largest = 2**31 - 1
        options = [("grpc.max_receive_message_length", largest), ("grpc.max_send_message_length", largest)]
        self.channel = target if isinstance(target, grpc.Channel) else grpc.insecure_channel(target, options)
        for service, methods in SERVICES.items():
            for name, (_, response) in methods.items():
                call = self.channel.unary_unary(
                    f"/{service}/{name}", lambda request: request.SerializeToString(), response.FromString
                )
                setattr(self, name, call)

    def ask(self, model="toy", signature="", version=None, label=None, outputs=(), timeout=30, **inputs):
        """Predict on arrays; arrays by alias come back."""
        request = predict_request(model, signature, version, label, outputs, **inputs)
        response = self.Predict(request, timeout=timeout)
        return {alias: proto_to_tensor(proto) for alias, proto in response.outputs.items()}


def predict_request(model="toy", signature="", version=None, label=None, outputs=(), **inputs):
    request = PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(tensor_to_proto(np.asarray(value)))
    return request


X = np.array([[1, 2]], np.float32)
