"""The Inception graph of 2015, in miniature: its nodes and quirks with few channels; the real one is never fetched here."""

import hashlib
import io
import tarfile
import urllib.error

import numpy as np
import pytest
import tensorflow as tf

from data.images import bicubic_float
from models.features import inception
from trainer.features.catalogue import open_features

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 40, 56, 3)).astype(np.uint8)
CHANNELS, CLASSES = 6, 5


def miniature(missing=None, seed=0):
    """Bytes of a graph with the names of the original: it decodes one JPEG, resizes without antialiasing, scales, normalises by an
    operation that TensorFlow has since removed, and reshapes to one row."""
    random = np.random.default_rng(seed)
    graph = tf.Graph()
    with graph.as_default():
        raw, v1 = tf.raw_ops, tf.compat.v1

        def constant(shape, name, low=-1.0):
            return tf.constant(random.uniform(low, 1, shape).astype(np.float32), name=name)

        contents = tf.constant(b"", name="DecodeJpeg/contents")
        decoded = tf.cast(raw.DecodeJpeg(contents=contents, channels=3, name="DecodeJpeg"), tf.float32, name="Cast")
        one = raw.ExpandDims(input=decoded, axis=tf.constant(0, name="ExpandDims/dim"), name="ExpandDims")
        resized = raw.ResizeBilinear(images=one, size=tf.constant([299, 299]), name="ResizeBilinear")
        moved = raw.Sub(x=resized, y=tf.constant(128.0, name="Sub/y"), name="Sub")
        here = raw.Mul(x=moved, y=tf.constant(0.0078125, name="Mul/y"), name="Mul")
        width = 3
        for name, stride in (
            ("pool", 8),
            ("pool_1", 2),
            ("mixed_2/join", 2),
            ("mixed_7/join", 2),
            ("mixed_10/join", 2),
        ):
            kernel = constant([1, 1, width, CHANNELS], f"{name}/conv2d_params")
            here = raw.Conv2D(input=here, filter=kernel, strides=[1, stride, stride, 1], padding="VALID")
            variance = constant([CHANNELS], f"{name}/variance", 0.5)
            beta, gamma, mean = (constant([CHANNELS], f"{name}/{part}") for part in ("beta", "gamma", "mean"))
            here, *_ = raw.FusedBatchNorm(
                x=here, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=0.001, is_training=False
            )
            here, width = raw.Relu(features=here, name=name), CHANNELS
        side = here.shape[1]
        window = [1, side, side, 1]
        pooled = raw.AvgPool(value=here, ksize=window, strides=window, padding="VALID", name="pool_3")
        row = raw.Reshape(tensor=pooled, shape=tf.constant([1, CHANNELS]), name="pool_3/_reshape")
        weights = constant([CHANNELS, CLASSES], "softmax/weights")
        product = raw.MatMul(a=row, b=weights, name="softmax/logits/MatMul")
        logits = raw.BiasAdd(value=product, bias=constant([CLASSES], "softmax/biases"), name="softmax/logits")
        v1.nn.softmax(logits, name="softmax")
    found = graph.as_graph_def()
    found.versions.producer = 8
    for node in found.node:  # to the operation of 2015, which TensorFlow no longer lets anyone make
        if node.op == "FusedBatchNorm":
            here, gamma, beta, mean, variance = node.input
            node.op, node.input[:] = "BatchNormWithGlobalNormalization", [here, mean, variance, beta, gamma]
            node.attr.clear()
            node.attr["T"].type = tf.float32.as_datatype_enum
            node.attr["variance_epsilon"].f = 0.001
            node.attr["scale_after_normalization"].b = False
    if missing:
        kept = [node for node in found.node if node.name != missing and missing not in node.input]
        del found.node[:]
        found.node.extend(kept)
    return found.SerializeToString()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "graph.pb"
    path.write_bytes(miniature())
    return path


def by_hand(pictures):
    """pool_3 and the logits without bias of the miniature, in NumPy."""
    graph = tf.compat.v1.GraphDef.FromString(miniature())
    held = {n.name: tf.make_ndarray(n.attr["value"].tensor) for n in graph.node if n.op == "Const"}
    here = (np.stack([bicubic_float(picture, (299, 299)) for picture in pictures]) - 128) / 128
    for name, stride in (("pool", 8), ("pool_1", 2), ("mixed_2/join", 2), ("mixed_7/join", 2), ("mixed_10/join", 2)):
        here = here[:, ::stride, ::stride] @ held[f"{name}/conv2d_params"][0, 0]
        here = (here - held[f"{name}/mean"]) / np.sqrt(held[f"{name}/variance"] + 0.001) + held[f"{name}/beta"]
        here = np.maximum(here, 0)
    rows = here.mean(axis=(1, 2))
    return rows, rows @ held["softmax/weights"]


def test_features_and_chances_are_those_of_the_graph_with_our_resizing(path):
    extractor = open_features(f"inception:{path}")
    rows, logits = by_hand(PICTURES)
    np.testing.assert_allclose(extractor.vectors(PICTURES), rows, rtol=1e-4, atol=1e-5)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(extractor.probabilities(PICTURES), chances, rtol=1e-4)
    assert (extractor.size, extractor.classes) == (299, CLASSES)
    assert [layer.shape[0] for layer in extractor.maps(PICTURES)] == [3] * 5
    assert extractor.name == "inception2015-" + hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def archive(content, name=inception.FILE):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_an_archive_is_as_good_as_the_file(path, tmp_path):
    packed = tmp_path / "inception.tgz"
    packed.write_bytes(archive(path.read_bytes()))
    assert open_features(f"inception:{packed}").name == open_features(f"inception:{path}").name


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"<html>not found</html>", "no TensorFlow graph"),
        (miniature(missing="mixed_7/join"), "not the Inception graph of 2015: it has no mixed_7/join:0"),
        (archive(b"", "other.pb"), "holds no classify_image_graph_def.pb"),
        (archive(miniature())[:500], "damaged archive"),
    ],
    ids=["page", "other graph", "other archive", "cut"],
)
def test_another_file_is_refused(tmp_path, content, sentence):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        open_features(f"inception:{path}")


def test_a_path_with_nothing_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read from .*nothing.pb: No such file"):
        open_features(f"inception:{tmp_path}/nothing.pb")


class Answer(io.BytesIO):
    headers = {"Content-Length": "12"}


def serve(monkeypatch, tmp_path, contents):
    """Stand in for the network: `contents` by address, an exception where it is not reached."""
    asked = []

    def answer(address, timeout):
        asked.append(address)
        if isinstance(contents[address], Exception):
            raise contents[address]
        return Answer(contents[address])

    monkeypatch.setattr("urllib.request.urlopen", answer)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return asked


def test_it_is_fetched_once_and_from_where_it_is_right(monkeypatch, tmp_path):
    right = miniature()
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(right).hexdigest())
    first, second = inception.ADDRESSES
    asked = serve(monkeypatch, tmp_path, {first: miniature(seed=1), second: archive(right)})
    name = open_features("inception").name
    assert asked == [first, second] and (tmp_path / "packshot" / inception.FILE).read_bytes() == right
    assert open_features("inception").name == name and len(asked) == 2
    (tmp_path / "packshot" / inception.FILE).write_bytes(right[:-1])  # not whole
    assert open_features("inception").name == name and len(asked) == 4


def test_without_a_network_a_sentence_says_what_to_do(monkeypatch, tmp_path):
    serve(monkeypatch, tmp_path, dict.fromkeys(inception.ADDRESSES, urllib.error.URLError("no route")))
    with pytest.raises(ValueError, match="no route.*--features inception:PATH"):
        open_features("inception")
    assert not list(tmp_path.rglob("*.pb"))
