"""Arrays out of a pickle, without running what is in it.

A pickle is a program, and may call any function it names. Here it finds two names only, and under both a class of this module that does
nothing but take down what it is given; NumPy itself is never called by it.
"""

import io
import pickle

import numpy as np

MOST_NESTED = 8


def read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """Float32 arrays from a pickle of nested dicts, by their way: {"VGG16_0/Conv_0/bias": [64], ...}.

    Raises ValueError for anything else.
    """
    try:
        tree = _Reader(io.BytesIO(content)).load()
        return dict(_leaves(tree, ""))
    except MemoryError:
        raise
    except Exception as error:  # a program that is not one can go wrong in every way
        raise ValueError(f"not a pickle of float32 arrays: {error}") from error


def _leaves(tree, way):
    if isinstance(tree, _Array):
        yield way, tree.array
    elif isinstance(tree, dict) and way.count("/") < MOST_NESTED:
        for name, branch in tree.items():
            yield from _leaves(branch, f"{way}/{name}".lstrip("/"))
    else:
        raise ValueError(f"it holds a {type(tree).__name__}")


class _Type:
    """Stand-in for `numpy.dtype`."""

    def __init__(self, code, *rest):
        self.code = code

    def __setstate__(self, state):
        if (self.code, state[1]) != ("f4", "<"):
            raise ValueError(f"it holds numbers of type {state[1]}{self.code}")


class _Array:
    """Stand-in for `numpy.ndarray`, and for the function that makes an empty one."""

    def __init__(self, *rest):
        self.array = None

    def __setstate__(self, state):
        _, shape, kind, by_columns, content = state
        if type(kind) is not _Type or kind.code != "f4":
            raise ValueError("it holds an array without a type")
        self.array = np.frombuffer(content, "<f4").reshape(shape, order="F" if by_columns else "C")


class _Reader(pickle.Unpickler):
    _CLASSES = {
        ("numpy", "dtype"): _Type,
        ("numpy", "ndarray"): _Array,
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
    }

    def find_class(self, module, name):
        if (module, name) not in self._CLASSES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._CLASSES[module, name]
