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


def half_plus_two(path):
    """What TensorFlow Serving's saved_model_half_plus_two is, saved as TensorFlow 1 did: y = x / 2 + 2, y2 = x / 2 + 3, y3 = x2 / 2 + 3.

    serving_default x float [-1, 1] -> y; regress_x_to_y, regress_x_to_y2, classify_x_to_y: tf.Examples with x and x2 [1];
    regress_x2_to_y3, classify_x2_to_y3: x2 itself as `inputs`.
    """
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        a, b, c = (v1.get_variable(name, initializer=value) for name, value in (("a", 0.5), ("b", 2.0), ("c", 3.0)))
        examples = v1.placeholder(tf.string, name="tf_example")
        features = {"x": v1.FixedLenFeature([1], tf.float32), "x2": v1.FixedLenFeature([1], tf.float32, [0.0])}
        parsed = v1.parse_example(examples, features)
        x, x2 = tf.identity(parsed["x"], name="x"), tf.identity(parsed["x2"], name="x2")
        y, y2 = tf.add(a * x, b, name="y"), tf.add(a * x, c, name="y2")
        y3 = tf.add(a * x2, c, name="y3")

        def signature(method, inputs, outputs):
            infos = [
                {alias: v1.saved_model.build_tensor_info(tensor) for alias, tensor in named.items()}
                for named in (inputs, outputs)
            ]
            return v1.saved_model.build_signature_def(*infos, f"tensorflow/serving/{method}")

        _save_session(
            path,
            session,
            {
                "serving_default": signature("predict", {"x": x}, {"y": y}),
                "regress_x_to_y": signature("regress", {"inputs": examples}, {"outputs": y}),
                "regress_x_to_y2": signature("regress", {"inputs": examples}, {"outputs": y2}),
                "regress_x2_to_y3": signature("regress", {"inputs": x2}, {"outputs": y3}),
                "classify_x_to_y": signature("classify", {"inputs": examples}, {"scores": y}),
                "classify_x2_to_y3": signature("classify", {"inputs": x2}, {"scores": y3}),
            },
        )


def half_plus_three(path):
    """serving_default x float [], a scalar as declared, -> y = x / 2 + 3; saved as TensorFlow 1 did."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [], name="x")
        y = tf.add(v1.get_variable("a", initializer=0.5) * x, v1.get_variable("b", initializer=3.0), name="y")
        _save_session(
            path, session, {"serving_default": v1.saved_model.predict_signature_def(inputs={"x": x}, outputs={"y": y})}
        )


def half_plus_two_of_tf2(path):
    """serving_default x float [-1, 1] -> y = x / 2 + 2, through a tf.function."""
    module = tf.Module()
    module.a, module.b = tf.Variable(0.5), tf.Variable(2.0)
    predict = _trace(lambda x: {"y": module.a * x + module.b}, x=([None, 1], tf.float32))
    tf.saved_model.save(module, str(path), {"serving_default": predict})


def abrupt(path):
    """Signatures whose kernels may end the process, each x float -> y: conv [n, 4, 4, 1], which trusts its input; flat [n, 16],
    which gives it the rank; guarded [n, 4, 4, 1], which checks it; any, conv of any rank; png images uint8 [n, H, W, 3] -> files.
    """
    kernel = tf.ones([3, 3, 1, 1])

    def conv(x):
        return {"y": tf.nn.conv2d(x, kernel, 1, "SAME")}

    def flat(x):
        return conv(tf.reshape(x, [-1, 4, 4, 1]))

    def guarded(x):
        return conv(tf.ensure_shape(x, [None, 4, 4, 1]))

    def png(images):
        return {"files": tf.map_fn(tf.io.encode_png, images, fn_output_signature=tf.string)}

    square = [None, 4, 4, 1]
    signatures = {
        "conv": _trace(conv, x=(square, tf.float32)),
        "flat": _trace(flat, x=([None, 16], tf.float32)),
        "guarded": _trace(guarded, x=(square, tf.float32)),
        "any": _trace(conv, x=(None, tf.float32)),
        "png": _trace(png, images=([None, None, None, 3], tf.uint8)),
    }
    tf.saved_model.save(tf.Module(), str(path), signatures)


def _save_session(path, session, signatures):
    v1 = tf.compat.v1
    session.run(v1.global_variables_initializer())
    builder = v1.saved_model.builder.SavedModelBuilder(str(path))
    builder.add_meta_graph_and_variables(session, ["serve"], signatures, strip_default_attrs=True)
    builder.save()


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
