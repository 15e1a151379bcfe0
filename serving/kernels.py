"""Which inputs of a signature can bring a shape to a kernel that may end the process.

The C++ runtime checks no shape of an input against the signature. Most kernels refuse a shape they cannot work with; some of TensorFlow
2.21 (convolutions of oneDNN, a pooling) end the process instead when the rank is not theirs. Which do was found by running each kernel with
31 shapes of rank 0 to 10 in processes apart, with oneDNN and without: CHECKED are those that answered every time, sizes of 0 included.
"""

from collections import defaultdict

CHECKED = frozenset()

_NO_SHAPE = {"ReadVariableOp", "VariableV2", "VarHandleOp"}  # a weight has the shape it was saved with


def unguarded(meta_graph) -> dict[str, frozenset[str]]:
    """For each signature of a MetaGraphDef the inputs from which a kernel that is not CHECKED is reached with no EnsureShape before it."""
    graph = meta_graph.graph_def
    library = {function.signature.name: function for function in graph.library.function}
    reach = _Reach(library)
    consumers = _consumers(graph.node)
    return {
        name: frozenset(
            alias
            for alias, info in definition.inputs.items()
            if reach.unchecked(consumers, [info.name.partition(":")[0]])[0]
        )
        for name, definition in meta_graph.signature_def.items()
    }


class _Reach:
    """Follows values through a graph and the functions it calls."""

    def __init__(self, library):
        self._library = library
        self._functions = {}  # name -> (whether an unchecked kernel is reached, whether what it returns depends on its arguments)

    def unchecked(self, consumers, seeds):
        """(whether an unchecked kernel is reached from the nodes named `seeds`, the names of all nodes reached)."""
        reached, waiting = set(seeds), list(seeds)
        while waiting:
            for node in consumers[waiting.pop()]:
                if node.name in reached or node.op in _NO_SHAPE or _fixes_rank(node):
                    continue
                called = [self._function(name) for name in _called(node)]
                if any(unchecked for unchecked, _ in called) or not called and node.op not in CHECKED:
                    return True, reached
                if not called or any(depends for _, depends in called):
                    reached.add(node.name)
                    waiting.append(node.name)
        return False, reached

    def _function(self, name):
        if name not in self._library:  # an op of its own, under the name of a function
            return name not in CHECKED, True
        if name not in self._functions:
            self._functions[name] = False, True  # while it is being followed: one that calls itself
            function = self._library[name]
            unchecked, reached = self.unchecked(
                _consumers(function.node_def), [arg.name for arg in function.signature.input_arg]
            )
            self._functions[name] = (
                unchecked,
                any(value.partition(":")[0] in reached for value in function.ret.values()),
            )
        return self._functions[name]


def _consumers(nodes):
    found = defaultdict(list)
    for node in nodes:
        for source in node.input:
            if not source.startswith("^"):
                found[source.partition(":")[0]].append(node)
    return found


def _called(node):
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        for function in value.list.func:
            yield function.name


def _fixes_rank(node):
    return node.op == "EnsureShape" and not node.attr["shape"].shape.unknown_rank
