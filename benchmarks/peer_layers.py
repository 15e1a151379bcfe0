"""Layers that several peers are made of, in plain PyTorch."""

import torch
from torch import nn
from torch.nn import functional as F


def conv(inputs, outputs, side, stride=1, *, bias=False, groups=1):
    """A convolution that gives 1 / stride of the pixels."""
    padding = "same" if stride == 1 else (side - stride) // 2
    return nn.Conv2d(inputs, outputs, side, stride, padding, bias=bias, groups=groups)


def up(inputs, outputs, side=4, stride=2, bias=False):
    return nn.ConvTranspose2d(inputs, outputs, side, stride, (side - stride) // 2, bias=bias)


class Double(nn.Module):
    """Filtered with [1, 3, 3, 1] / 4 per axis, the edge pixel repeated: that is bilinear interpolation."""

    def forward(self, x):
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Blur(nn.Module):
    """Filtered with [1, 3, 3, 1] / 8 per axis times `gain`, the edge pixel repeated `padding` times, and every `stride`-th pixel kept."""

    def __init__(self, channels, *, padding=1, stride=1, gain=1.0):
        super().__init__()
        taps = gain * torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.padding, self.stride = [padding] * 4, stride
        self.register_buffer("kernel", torch.outer(taps, taps).repeat(channels, 1, 1, 1))

    def forward(self, x):
        return F.conv2d(F.pad(x, self.padding, mode="replicate"), self.kernel, stride=self.stride, groups=x.shape[1])


class ShuffledConv2d(nn.Conv2d):
    """Convolution before a pixel shuffle to `outputs` channels, for which PyTorch numbers the channels in another order than TensorFlow."""

    def __init__(self, inputs, outputs, side, scale, bias=True):
        super().__init__(inputs, outputs * scale**2, side, padding="same", bias=bias)
        self.channels = outputs


class AsOurs(nn.Module):
    """A layer whose arrays have our layout."""
