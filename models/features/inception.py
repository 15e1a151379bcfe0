"""The Inception network of December 2015, whose features nearly all published FID, KID, IS, precision and recall were measured with.

`classify_image_graph_def.pb` takes pictures in [0, 255] and scales them itself, by its nodes `Sub` (128) and `Mul` (1/128). It was made for
one JPEG file: before those nodes it decodes and resizes, and behind `pool_3` it reshapes to one row. So pictures go in behind its
resizing, which does not antialias and is replaced by ours, and come out at `pool_3`, as Heusel et al. 2017 do it; from there the logits are
one product, which leaves out the bias, as the Inception Score of Salimans et al. 2016 does.

The file is fetched on demand and checked. The hash is that published for the copy that evaluations of diffusion models use; TensorFlow's
own archive of 2015 holds a file of the same name and length, which is taken only if it has this hash too.
"""

import hashlib
import io
import os
import tarfile
import urllib.request
from pathlib import Path

from data import files
from data.errors import UserError
from models.features.network import FeatureNetwork

FILE = "classify_image_graph_def.pb"
SHA256 = "009d6814d1bc560d4e7b236e170e9b2d5ca6f4b57bd8037f6db05776204415c6"
ADDRESSES = (
    "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/ref_batches/classify_image_graph_def.pb",
    "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz",
)
SIZE = 299  # px
INPUT = "ResizeBilinear:0"
POOL = "pool_3:0"
LOGITS = "softmax/logits/MatMul"  # its second input are the weights
LAYERS = ("pool:0", "pool_1:0", "mixed_2/join:0", "mixed_7/join:0", "mixed_10/join:0")


def open_inception(path: str | None = None) -> FeatureNetwork:
    """The network of the graph file `path`, or of the archive that holds it; without a path the cached file, fetched first if need be.

    2,048 features, 1,008 classes, five layers of maps, which are to be had of pictures of any size. Raises UserError for a file that
    cannot be read or is not this graph, and when it cannot be fetched.
    """
    import tensorflow as tf

    content = _given(path) if path else _cached()
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(content)
    except Exception as error:  # the parser's own class is not public
        raise UserError(f"{path or FILE} is no TensorFlow graph") from error
    there = {node.name for node in graph.node}
    missing = [name for name in (INPUT, POOL, *LAYERS, LOGITS) if name.partition(":")[0] not in there]
    if missing:
        raise UserError(f"{path or FILE} is not the Inception graph of 2015: it has no {', '.join(missing)}")
    return Inception(f"inception2015-{hashlib.sha256(content).hexdigest()[:8]}", graph)


class Inception(FeatureNetwork):
    """The network of a parsed graph, which is changed: normalisation is put into the words of today."""

    size = SIZE
    layers = compared = tuple(name.removesuffix(":0") for name in LAYERS)
    batch = 32

    def __init__(self, name, graph):
        import tensorflow as tf

        self.name = name
        _renew(graph)

        def imported(pictures):
            fetched = tf.import_graph_def(graph, {INPUT: pictures}, [*LAYERS, POOL, LOGITS], name="")
            weights = fetched.pop().inputs[1]
            rows = tf.squeeze(fetched[-1], [1, 2])
            return fetched[:-1], rows, tf.nn.softmax(rows @ weights)

        shape = tf.TensorSpec([None, None, None, 3], tf.float32)
        whole = tf.compat.v1.wrap_function(imported, [shape])
        self._layers, self._rows, self._chances = (
            whole.prune(whole.inputs, outputs) for outputs in whole.structured_outputs
        )
        self.classes = self._chances.output_shapes[-1]

    def _vectors(self, pictures):
        return self._rows((pictures + 1.0) * 127.5)

    def _probabilities(self, pictures):
        return self._chances((pictures + 1.0) * 127.5)

    def _maps(self, pictures, layers):
        found = self._layers((pictures + 1.0) * 127.5)
        return [found[self.layers.index(name)] for name in layers]


def _renew(graph):
    """Replace the normalisation of 2015, which TensorFlow runs only in graphs of that time, by the one that came after it.

    BatchNormWithGlobalNormalization(x, mean, variance, beta, gamma) divides by sqrt(variance + epsilon) as FusedBatchNorm does; gamma
    counts only where `scale_after_normalization` is set.
    """
    import tensorflow as tf

    ones = []
    for node in graph.node:
        if node.op != "BatchNormWithGlobalNormalization":
            continue
        pictures, mean, variance, beta, gamma, *control = node.input
        epsilon = node.attr["variance_epsilon"].f
        if not node.attr["scale_after_normalization"].b:
            gamma = f"{node.name}/ones"
            one = tf.compat.v1.NodeDef(name=gamma, op="OnesLike", input=[beta])
            one.attr["T"].type = tf.float32.as_datatype_enum
            ones.append(one)
        node.op, node.input[:] = "FusedBatchNormV3", [pictures, gamma, beta, mean, variance, *control]
        node.attr.clear()
        node.attr["T"].type = node.attr["U"].type = tf.float32.as_datatype_enum
        node.attr["epsilon"].f = epsilon
        node.attr["is_training"].b = False
    graph.node.extend(ones)


def _given(path):
    try:
        return _unpacked(files.read(path), path)
    except OSError as error:
        raise UserError(f"the Inception network cannot be read from {path}: {error.strerror or error}") from error


def _cached():
    """The bytes of the cached graph file, fetched if it is not there or not whole."""
    path = files.cache_folder() / FILE
    if path.is_file() and _is_right(content := path.read_bytes()):
        return content
    reasons = []
    for address in ADDRESSES:
        try:
            content = _unpacked(_fetch(address), address)
        except (OSError, ValueError) as error:
            reasons.append(f"{address}: {error}")
            continue
        if _is_right(content):
            files.write(path, content)
            return content
        reasons.append(f"{address}: not the file expected, of SHA-256 {SHA256}")
    raise UserError(
        f"the Inception network could not be fetched ({'; '.join(reasons)}); bring {FILE} here by other means "
        "and say --features inception:PATH"
    )


def _is_right(content):
    return hashlib.sha256(content).hexdigest() == SHA256


def _fetch(address):
    from tqdm import tqdm

    found = io.BytesIO()
    with urllib.request.urlopen(address, timeout=30) as answer:
        length = int(answer.headers.get("Content-Length") or 0) or None
        with tqdm(total=length, unit="B", unit_scale=True, desc=Path(address).name, disable=None) as bar:
            while part := answer.read(1 << 20):
                found.write(part)
                bar.update(len(part))
    return found.getvalue()


def _unpacked(content, where):
    """The graph file itself, out of the gzipped archive if `content` is one."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                if os.path.basename(member.name) == FILE and member.isfile():
                    return archive.extractfile(member).read()
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{where} is a damaged archive ({error})") from error
    raise UserError(f"the archive {where} holds no {FILE}")
