"""Finds inputs of a signature whose shape may make a kernel abort the process.

The C++ runtime does not check shapes of inputs against the signature. Most kernels refuse a shape that they cannot
compute. Some kernels of TensorFlow 2.21 abort the process instead, on a wrong rank (convolutions of oneDNN) or a size of
0 (EncodePng). Each kernel was run in separate processes with 31 shapes of rank 0 to 10, with and without oneDNN: CHECKED
are those that never aborted.
"""

from collections import defaultdict
from typing import NamedTuple

CHECKED = frozenset(
    """
    Identity IdentityN Placeholder Snapshot StopGradient PreventGradient DeepCopy EnsureShape NoOp Const Assert CheckNumerics
    Abs Acos Acosh Asin Asinh Atan Atan2 Atanh Ceil Cos Cosh Digamma Elu Erf Erfc Erfinv Exp Expm1 Floor Invert IsFinite IsInf IsNan
    LeakyRelu Lgamma Log Log1p LogicalNot Ndtri Neg OnesLike Reciprocal Relu Relu6 Rint Round Rsqrt Selu Sigmoid Sign Sin Sinh Softplus
    Softsign Sqrt Square Tan Tanh ZerosLike Bitcast Cast ClipByValue Bucketize FakeQuantWithMinMaxArgs
    Add AddN AddV2 ApproximateEqual BitwiseAnd BitwiseOr BitwiseXor Div DivNoNan Equal FloorDiv FloorMod Greater GreaterEqual Igamma
    Igammac LeftShift Less LessEqual LogicalAnd LogicalOr Maximum Minimum Mod Mul MulNoNan NextAfter NotEqual Polygamma Pow RealDiv
    RightShift SelectV2 SquaredDifference Sub TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta
    BatchMatMul BatchMatMulV2 BiasAdd Einsum L2Loss LogSoftmax MatMul Softmax SoftmaxCrossEntropyWithLogits
    SparseSoftmaxCrossEntropyWithLogits InTopKV2
    All Any ArgMax ArgMin Cumprod Cumsum Max Mean Min Prod Sum TopKV2 Unique Where DenseBincount
    BroadcastTo ConcatV2 ExpandDims Fill GatherNd GatherV2 LinSpace MatrixBandPart MatrixDiagPartV3 MatrixDiagV3 MirrorPad OneHot Pack
    Pad PadV2 Range Rank Reshape ReverseV2 ScatterNd Shape Size Slice Split SplitV Squeeze StridedSlice TensorScatterUpdate Tile
    Transpose Unpack
    AsString DecodeBase64 DecodeCSV DecodeRaw EncodeBase64 ReduceJoin StaticRegexReplace StringJoin StringLength StringLower
    StringSplitV2 StringToHashBucketFast StringToNumber Substr UnicodeDecode
    DecodeImage DecodeJpeg DecodePng ParseExample ParseExampleV2 ParseTensor
    RandomUniform StatelessRandomGetKeyCounter StatelessRandomNormalV2 StatelessRandomUniform
    TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem TensorListStack
    """.split()
)

_NO_SHAPE = {"ReadVariableOp", "VariableV2", "VarHandleOp"}  # a weight has the shape it was saved with


class Unguarded(NamedTuple):
    """Inputs of a signature that reach a kernel that is not CHECKED, with no EnsureShape on the path.

    rank: inputs whose rank is not fixed; sizes: inputs whose sizes of all axes but the first are not fixed.
    """

    rank: frozenset[str]
    sizes: frozenset[str]


def unguarded(meta_graph) -> dict[str, Unguarded]:
    """The Unguarded inputs of each signature of a MetaGraphDef."""
    library = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    consumers = _consumers(meta_graph.graph_def.node)
    past_ranks, past_sizes = _Reach(library, _fixes_rank), _Reach(library, _fixes_sizes)

    def found(definition, reach):
        ends = {alias: info.name.partition(":")[0] for alias, info in definition.inputs.items()}
        return frozenset(alias for alias, end in ends.items() if reach.from_nodes(consumers, [end])[0])

    return {
        name: Unguarded(found(definition, past_ranks), found(definition, past_sizes))
        for name, definition in meta_graph.signature_def.items()
    }


class _Reach:
    """Follows values through a graph and the functions it calls, up to the nodes that guard."""

    def __init__(self, library, is_guard):
        self._library = library
        self._is_guard = is_guard
        self._functions = {}

    def from_nodes(self, consumers, seeds):
        """(True if the nodes named `seeds` reach an unchecked kernel, the names of all nodes reached)."""
        reached, waiting, given = set(seeds), list(seeds), defaultdict(set)
        while waiting:
            for node, place in consumers[waiting.pop()]:
                if node.op in _NO_SHAPE or self._is_guard(node) or place in given[node.name]:
                    continue
                given[node.name].add(place)
                called = [self._function(name, _arguments(node, given[node.name])) for name in _called(node)]
                if any(unchecked for unchecked, _ in called) or not called and node.op not in CHECKED:
                    return True, reached
                if node.name not in reached and (not called or any(depends for _, depends in called)):
                    reached.add(node.name)
                    waiting.append(node.name)
        return False, reached

    def _function(self, name, places):
        """(True if the arguments at `places` reach an unchecked kernel, True if a result depends on them)."""
        if name not in self._library:  # an op that is called like a function
            return name not in CHECKED, True
        if (name, places) not in self._functions:
            self._functions[name, places] = False, True  # for a recursive call while it is being followed
            function = self._library[name]
            arguments = [arg.name for place, arg in enumerate(function.signature.input_arg) if place in places]
            unchecked, reached = self.from_nodes(_consumers(function.node_def), arguments)
            depends = any(value.partition(":")[0] in reached for value in function.ret.values())
            self._functions[name, places] = unchecked, depends
        return self._functions[name, places]


def _consumers(nodes):
    """{name of a node: [(a node that reads it, index of the input)]}."""
    consumers = defaultdict(list)
    for node in nodes:
        for place, source in enumerate(node.input):
            if not source.startswith("^"):
                consumers[source.partition(":")[0]].append((node, place))
    return consumers


def _arguments(node, places):
    """Indices of the arguments that the inputs at `places` become in the functions that `node` calls."""
    if "While" in node.op:  # results of one round are arguments of the next
        return frozenset(range(len(node.input)))
    first = 1 if "If" in node.op or "Case" in node.op else 0
    return frozenset(place - first for place in places)


def _called(node):
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        for function in value.list.func:
            yield function.name


def _fixes_rank(node):
    return node.op == "EnsureShape" and not node.attr["shape"].shape.unknown_rank


def _fixes_sizes(node):
    return _fixes_rank(node) and all(axis.size > 0 for axis in node.attr["shape"].shape.dim[1:])
