"""Gate of an export: a folder passes if the server's own code loads it and answers as the live model does.

Each check adds its figure to the report or raises ExportRefused. The reasons for the checks: Keras 3 writes SavedModels
whose variables a server does not find, or that hold every weight twice. Python's loader runs functions that a server
does not have. Server batching needs a free batch axis and independent rows.
"""

import math
import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from data.errors import UserError
from serving.export.session import Session, SessionError
from serving.export.warmup import Exchange

TOLERANCE = 1 / 255  # of the range of a picture: one step of uint8
BATCHES = (1, 3)

_TYPES = (tf.float32, tf.uint8, tf.int32, tf.int64, tf.string)
_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_OUTSIDE = frozenset({"ReadFile", "WriteFile", "MatchingFiles", "PrintV2", "Print", "LoadDataset", "TFRecordDataset"})


class ExportRefused(UserError):
    """The export did not pass; the message names the check and the fault."""


def inspect(folder: str, signatures: Mapping, rng: np.random.Generator) -> tuple[dict, list[Exchange]]:
    """Check the SavedModel in `folder` (a local path) against the live `signatures`.

    Those are objects with `function`, `inputs` and `samples`, by name. Returns the figures of the checks, and exchanges
    of one and of three rows for each signature. Raises ExportRefused.
    """
    with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
        graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0].graph_def
    nodes = _check_operations(graph)
    stored, read = _check_stored_once(folder, graph)
    try:
        session = Session(folder)
    except SessionError as error:
        raise ExportRefused(f"loading: the server cannot load the export: {error.message}") from error
    with session:
        _check_interface(session.signatures)
        exchanges, from_live, from_batch = [], 0.0, 0.0
        for name, signature in signatures.items():
            for size in BATCHES:
                request = signature.samples(rng, size)
                response = _ask(session, name, request)
                exchanges.append(Exchange(name, request, response))
                live = signature.function(**{alias: tf.constant(value) for alias, value in request.items()})
                live = {alias: value.numpy() for alias, value in live.items()}
                from_live = max(from_live, _difference(f"pixels: {name} and the live model", response, live))
                if size > 1:
                    alone = _ask_row_by_row(session, name, request, size)
                    from_batch = max(from_batch, _difference(f"rows: {name} alone and in a batch", response, alone))
    return {
        "graph nodes without Python, files, assignments or XLA": nodes,
        "bytes of weights stored": stored,
        "bytes of weights read": read,
        "signatures": sorted(session.signatures),
        "batches": list(BATCHES),
        "tolerance": TOLERANCE,
        "largest difference from the live model": from_live,
        "largest difference of a row alone from the row in a batch": from_batch,
    }, exchanges


def _check_operations(graph):
    bodies = [("the graph", graph.node)] + [(f.signature.name, f.node_def) for f in graph.library.function]
    for where, nodes in bodies:
        for node in nodes:
            if node.op in _PYTHON:
                raise ExportRefused(f"operations: {node.op} in {where} needs Python, which a server does not have")
            if node.op in _OUTSIDE:
                raise ExportRefused(f"operations: {node.op} in {where} reaches outside the model")
            if node.op.startswith("Assign") and where != "the graph" and "_traced_restore" not in where:
                raise ExportRefused(f"operations: {node.op} in {where} changes the model while it answers")
    for compiled in [*graph.library.function, *(node for _, nodes in bodies for node in nodes)]:
        if "_XlaMustCompile" in compiled.attr and compiled.attr["_XlaMustCompile"].b:
            raise ExportRefused("operations: a function has jit_compile=True, and a server has XLA off by default")
    return sum(len(nodes) for _, nodes in bodies)


def _check_stored_once(folder, graph):
    reader = tf.train.load_checkpoint(os.path.join(folder, "variables", "variables"))
    types = reader.get_variable_to_dtype_map()
    shapes = reader.get_variable_to_shape_map()
    stored = sum(math.prod(shapes[key]) * types[key].size for key in shapes if types[key] != tf.string)
    # Every variable is an input of the calls that save and restore; the calls of signatures show which are read.
    calls = [node for node in graph.node if "f" in node.attr and "_traced_" not in node.attr["f"].func.name]
    inputs = {name for call in calls for name in call.input}
    read = sum(
        math.prod(dim.size for dim in node.attr["shape"].shape.dim) * tf.as_dtype(node.attr["dtype"].type).size
        for node in graph.node
        if node.op == "VarHandleOp" and node.name in inputs
    )
    if stored > 1.05 * read + 1024:
        raise ExportRefused(f"weights: {stored} bytes are stored where the signatures read {read}; store each once")
    return stored, read


def _check_interface(signatures):
    if "serving_default" not in signatures:
        raise ExportRefused("interface: there is no signature serving_default")
    for name, (inputs, outputs, _) in signatures.items():
        for alias, tensor in [*inputs.items(), *outputs.items()]:
            if tensor.dtype not in _TYPES:
                allowed = ", ".join(dtype.name for dtype in _TYPES)
                raise ExportRefused(f"interface: {alias} of {name} is {tensor.dtype.name}; allowed are {allowed}")
            if not tensor.shape or tensor.shape[0] is not None:
                raise ExportRefused(
                    f"batch axis: {alias} of {name} has the shape {tensor.shape}; the first axis must be None"
                )


def _ask(session, name, request):
    try:
        return session.run(name, request)
    except SessionError as error:
        raise ExportRefused(f"running: {name} fails in the server: {error.message}") from error


def _ask_row_by_row(session, name, request, size):
    rows = [_ask(session, name, {alias: value[i : i + 1] for alias, value in request.items()}) for i in range(size)]
    return {alias: np.concatenate([row[alias] for row in rows]) for alias in rows[0]}


def _difference(what, ours, theirs):
    """The largest difference between two responses, as a fraction of a picture's range; ExportRefused above TOLERANCE."""
    largest = 0.0
    for alias in ours:
        if ours[alias].shape != theirs[alias].shape:
            raise ExportRefused(f"{what} differ in {alias}: {ours[alias].shape} is not {theirs[alias].shape}")
        gap = _gap(ours[alias], theirs[alias])
        if not gap <= TOLERANCE:  # in this form NaN is refused too
            raise ExportRefused(f"{what} differ by {gap:.4f} in {alias}; {TOLERANCE:.4f} is allowed")
        largest = max(largest, gap)
    return largest


def _gap(a, b):
    if a.dtype.hasobject:
        return max(map(_gap_of_files, a.flat, b.flat), default=0.0)
    span = 255.0 if a.dtype == np.uint8 else 1.0
    return float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)), initial=0.0)) / span


def _gap_of_files(a, b):
    """The gap between the pixels of two pictures; other bytes must be equal."""
    if a == b:
        return 0.0
    try:
        a, b = tf.io.decode_image(a).numpy(), tf.io.decode_image(b).numpy()
    except tf.errors.InvalidArgumentError:
        return math.inf
    return _gap(a, b) if a.shape == b.shape else math.inf
