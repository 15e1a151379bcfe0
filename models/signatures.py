"""Signatures of an exported model, derived from the endpoints that a family declares in ports (`models/ports.py`).

An endpoint with pictures has two signatures: one that takes and gives arrays, and one that takes and gives files. Inputs and outputs are
dicts of tensors with the batch axis first. A row's answer depends on that row only, so a server may put requests of many callers into
one batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from data import facts
from data.images import to_uint8
from models.ports import Condition, Count, File, Mask, Picture, Port, Text, resized

IMAGES = "images"  # the port of the pictures that a model is about


@dataclass(frozen=True)
class Signature:
    """One way to ask a model.

    `function` takes keyword tensors as in `inputs` and returns a dict of tensors; `samples(rng, n)` draws n-row requests. `defaults` are
    one-row arrays for inputs that a request may leave out. `interface` describes inputs and outputs as JSON, for export.json; None
    for a signature that was not derived from ports.
    """

    function: Callable[..., dict[str, tf.Tensor]]
    inputs: dict[str, tf.TensorSpec]
    samples: Callable[[np.random.Generator, int], dict[str, np.ndarray]]
    defaults: dict[str, np.ndarray] = field(default_factory=dict)
    interface: dict | None = None

    @functools.cached_property
    def traced(self) -> tf.types.experimental.ConcreteFunction:
        """`function` of tensors like `inputs`, traced once."""
        specs = {alias: tf.TensorSpec(spec.shape, spec.dtype, alias) for alias, spec in self.inputs.items()}
        return tf.function(self.function).get_concrete_function(**specs)


@dataclass(frozen=True)
class Endpoint:
    """One thing that a model can be asked.

    Args:
        function: takes the inputs as keywords, as their ports read them, and returns a dict of outputs, as their ports write them.
        inputs, outputs: ports by name.
        files: whether there is a signature for files as well.
        within: name of an input mask. The output `images` is then the input `images`, byte for byte, wherever the mask is 0; files are
            composed in the photo's own size.
    """

    function: Callable[..., dict[str, tf.Tensor]]
    inputs: dict[str, Port]
    outputs: dict[str, Port]
    files: bool = True
    within: str | None = None


def derive(endpoints: Mapping[str, Endpoint]) -> dict[str, Signature]:
    """The signatures of a model, `serving_default` first, which is another name of the first endpoint's.

    The signature for files is called `<endpoint>_bytes`, or `<endpoint>_png` where pictures only come out. In it a port `images` is
    `image_bytes`, `mask` is `mask_bytes`.
    """
    signatures = {}
    for name, endpoint in endpoints.items():
        signatures[name] = _signature(endpoint, name)
        takes, gives = _has_pictures(endpoint.inputs), _has_pictures(endpoint.outputs)
        if endpoint.files and (takes or gives):
            signatures[f"{name}_bytes" if takes else f"{name}_png"] = _signature(endpoint, name, files=True)
    return {"serving_default": next(iter(signatures.values()))} | signatures


def names_of(condition: facts.Condition) -> Endpoint:
    """The endpoint that tells the names of a condition's values.

    <condition> int64 [n] -> name string [n], count int64 [n]. How many values there are goes with every row, since every answer has the
    batch axis.
    """
    names = tf.constant(list(condition.values), tf.string)

    def answer(**request):
        number = request[condition.name]
        return {"name": tf.gather(names, number), "count": tf.fill(tf.shape(number), tf.size(names))}

    known = Condition(dataclasses.replace(condition, optional=False))
    return Endpoint(answer, {condition.name: known}, {"name": Text(), "count": Count()})


def _signature(endpoint, name, files=False):
    inputs, outputs = _on_the_wire(endpoint.inputs, files), _on_the_wire(endpoint.outputs, files)
    ports = dict(inputs.values())
    answer = _together(endpoint, inputs, outputs, files)
    if files and any(isinstance(port, File) and port.of.size is None for port in ports.values()):
        answer = _one_by_one(answer, dict(outputs.values()))
    interface = {end: {alias: port.describe() for alias, port in named.values()} for end, named in
                 (("inputs", inputs), ("outputs", outputs))}  # fmt: skip
    if files:
        interface["files_of"] = name
    return Signature(
        lambda **request: answer(_complete(ports, request)),
        {alias: port.spec for alias, port in ports.items()},
        lambda rng, n: {alias: port.sample(rng, n) for alias, port in ports.items()},
        {alias: port.absent for alias, port in ports.items() if port.absent is not None},
        interface,
    )


def _on_the_wire(ports, files):
    """{name: (alias, port)}."""
    if not files:
        return {name: (name, port) for name, port in ports.items()}
    return {
        name: (f"{name.removesuffix('s')}_bytes", File(port)) if isinstance(port, Picture | Mask) else (name, port)
        for name, port in ports.items()
    }


def _has_pictures(ports):
    return any(isinstance(port, Picture | Mask) for port in ports.values())


def _complete(ports, request):
    """The request with inputs of the declared ranks, and as many rows of those that may be left out as of the others."""
    request = {alias: tf.ensure_shape(request[alias], port.spec.shape) for alias, port in ports.items()}
    rows = next((tf.shape(request[alias])[:1] for alias, port in ports.items() if port.absent is None), None)
    if rows is None:
        return request
    return {
        alias: value if ports[alias].absent is None else tf.broadcast_to(value, rows)
        for alias, value in request.items()
    }


def _together(endpoint, inputs, outputs, files):
    """A function of a complete request that answers all its rows in one run of the model."""

    def answer(request):
        values = {name: port.read(alias, request[alias]) for name, (alias, port) in inputs.items()}
        if files and endpoint.within:
            values[endpoint.within] = _sized(values[endpoint.within], tf.shape(values[IMAGES])[1:3])
        answers = endpoint.function(**values)
        written = {alias: port.write(answers[name]) for name, (alias, port) in outputs.items() if name in answers}
        if endpoint.within:
            alias, port = outputs[IMAGES]
            if files:
                contents = [request[inputs[name][0]] for name in (IMAGES, endpoint.within)]
                written[alias] = tf.map_fn(
                    lambda row: _composed_file(*row),
                    (*contents, tf.cast(answers[IMAGES], tf.float32)),
                    fn_output_signature=tf.string,
                )
            else:
                written[alias] = port.write(_composed(values[IMAGES], values[endpoint.within], answers[IMAGES]))
        return written

    return answer


def _one_by_one(answer, outputs):
    """A function of a complete request that answers row by row: pictures of several sizes make no batch."""

    def each(row):
        answered = answer({alias: value[tf.newaxis] for alias, value in row.items()})
        return {alias: value[0] for alias, value in answered.items()}

    specs = {alias: tf.TensorSpec(port.spec.shape[1:], port.spec.dtype) for alias, port in outputs.items()}
    return lambda request: tf.map_fn(each, request, fn_output_signature=specs)


def _composed(picture, mask, made):
    """`made` where the mask is 1, the picture itself where it is 0."""
    blended = picture + mask * (tf.cast(made, tf.float32) - picture)
    return tf.where(mask > 0.0, blended, picture)


def _composed_file(content, mask, made):
    picture = Picture().decode(content)
    size = tf.shape(picture)[:2]
    whole = _composed(picture, _sized(Mask().decode(mask), size), resized(made, size))
    return tf.io.encode_png(to_uint8(whole))


def _sized(mask, size):
    return tf.image.resize(mask, size, "nearest")
