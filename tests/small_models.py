"""Models for the tests of clients, small enough to tell by hand what they answer. Each is saved as one version."""

import tensorflow as tf
from served import edited

WIDTH = 2**20  # floats in a row of `large`: one of them alone is the 4 MiB that clients take by default
SIZE = 8  # of the pictures of `gan`
ROWS = [None]


def arrays(path):
    """Signatures: serving_default x float [n, 3] -> y = 2 x; kinds: one input of each type -> the same, the string twice;
    large n float [n] -> rows float [n, WIDTH]; classify and regress: tf.Examples with a `value`, 0 when it is left out.
    """

    def double(x):
        return {"y": 2 * tf.ensure_shape(x, [None, 3])}

    def kinds(f, i, l, u, b, s):  # noqa: E741 - named for their types
        same = {"f": f, "i": i, "l": l, "u": u, "b": b, "text": s, "raw_bytes": s}
        return {alias: tf.identity(tensor) for alias, tensor in same.items()}

    def large(n):
        return {"rows": tf.zeros([tf.size(n), WIDTH]) + n[:, None]}

    def examples(inputs):
        value = tf.io.parse_example(inputs, {"value": tf.io.FixedLenFeature([], tf.float32, 0.0)})["value"]
        classes = tf.tile([["yes", "no"]], [tf.size(value), 1])
        return {"classes": classes, "scores": tf.stack([value, 1 - value], 1), "outputs": 2 * value}

    types = {"f": tf.float32, "i": tf.int32, "l": tf.int64, "u": tf.uint8, "b": tf.bool, "s": tf.string}
    signatures = {
        "serving_default": _trace(double, x=([None, 3], tf.float32)),
        "kinds": _trace(kinds, **{alias: (ROWS, dtype) for alias, dtype in types.items()}),
        "large": _trace(large, n=(ROWS, tf.float32)),
        "examples": _trace(examples, inputs=(ROWS, tf.string)),
    }
    tf.saved_model.save(tf.Module(), str(path), signatures)
    with edited(path) as graph:
        both = graph.signature_def.pop("examples")
        # One input tensor for two signatures, as MultiInference wants it, and as Keras and tf.function cannot save it.
        for name, outputs in (("classify", ("classes", "scores")), ("regress", ("outputs",))):
            signature = graph.signature_def[name]
            signature.method_name = f"tensorflow/serving/{name}"
            signature.inputs["inputs"].CopyFrom(both.inputs["inputs"])
            for alias in outputs:
                signature.outputs[alias].CopyFrom(both.outputs[alias])


def gan(path, label=False, classes=()):
    """Pictures of one colour each, which tells seed, truncation in hundredths, and label (0 for a model without).

    With `classes` it has a signature that answers their names.
    """

    def generate(seed, truncation, label=None):
        label = tf.zeros_like(seed) if label is None else label
        colours = tf.stack([seed % 256, tf.cast(truncation * 100, tf.int64), label], 1)
        return {"images": tf.tile(tf.cast(colours, tf.uint8)[:, None, None], [1, SIZE, SIZE, 1])}

    def generate_png(**given):
        return {"image_bytes": tf.map_fn(tf.io.encode_png, generate(**given)["images"], fn_output_signature=tf.string)}

    inputs = {"seed": (ROWS, tf.int64), "truncation": (ROWS, tf.float32)}
    if label:
        inputs["label"] = (ROWS, tf.int64)
    signatures = {"generate": _trace(generate, **inputs), "generate_png": _trace(generate_png, **inputs)}
    if classes:

        def names(label):
            return {"name": tf.gather(tf.constant(classes), label), "count": tf.zeros_like(label) + len(classes)}

        signatures["classes"] = _trace(names, label=(ROWS, tf.int64))
    tf.saved_model.save(tf.Module(), str(path), signatures | {"serving_default": signatures["generate"]})


def negative(path):
    """Files of pictures -> PNG files of their negatives."""

    def turn(content):
        return tf.io.encode_png(255 - tf.io.decode_image(content, 3, expand_animations=False))

    def apply(image_bytes):
        return {"image_bytes": tf.map_fn(turn, image_bytes)}

    traced = _trace(apply, image_bytes=(ROWS, tf.string))
    tf.saved_model.save(tf.Module(), str(path), {"serving_default": traced, "apply_bytes": traced})


def save_all(folder):
    """Version 1 of each of `arrays`, `gan`, `conditional`, `named` and `negative`, as `folder`/<name>/1."""
    arrays(folder / "arrays" / "1")
    gan(folder / "gan" / "1")
    gan(folder / "conditional" / "1", label=True)
    gan(folder / "named" / "1", label=True, classes=("1", "2", "a/b shoes"))
    negative(folder / "negative" / "1")


def _trace(function, **inputs):
    specs = {alias: tf.TensorSpec(shape, dtype, alias) for alias, (shape, dtype) in inputs.items()}
    return tf.function(function).get_concrete_function(**specs)
