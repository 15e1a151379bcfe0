"""Flow in plain PyTorch, with its own attention."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.peer_layers import AsOurs, ShuffledConv2d, conv

HEAD = 32  # numbers of a query


class Linear(AsOurs):
    """A dense layer."""

    def __init__(self, inputs, outputs, *, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight.T, self.bias)


def unit(x):
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


class Places(AsOurs):
    def __init__(self, tokens, width):
        super().__init__()
        self.table = nn.Parameter(torch.empty(tokens, width))

    def forward(self, x):
        return x + self.table


class Block(nn.Module):
    """A block of the transformer."""

    def __init__(self, width):
        super().__init__()
        self.modulation = Linear(width, 6 * width)
        self.asked, self.found = Linear(width, 3 * width, bias=False), Linear(width, width)
        self.up, self.down = Linear(width, 4 * width), Linear(4 * width, width)

    def forward(self, x, told):
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(told)[:, None].chunk(6, -1)
        x = x + gate1 * self.attend(unit(x) * (1 + scale1) + shift1)
        y = unit(x) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.relu(self.up(y)).square())

    def attend(self, x):
        rows, tokens, width = x.shape
        query, key, value = self.asked(x).reshape(rows, tokens, 3, -1, HEAD).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(unit(query), unit(key), value)
        return self.found(seen.transpose(1, 2).reshape(rows, tokens, width))


class Flow(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, patch, pixels = config["width"], config["patch"], config["pixel_channels"]
        side = config["resolution"] // patch
        self.tokens = conv(6, width, 2 * patch, patch, bias=True)
        self.told = nn.ModuleList([Linear(64, width), Linear(width, width)])
        self.places = Places(side**2, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(config["blocks"])])
        self.scale, self.shift = Linear(width, width), Linear(width, width)
        self.shuffled = ShuffledConv2d(width, pixels, 1, patch)
        self.seen, self.mixed = conv(6, pixels, 3, bias=True), conv(pixels, pixels, 3, bias=True)
        self.last, self.patch = conv(pixels, 3, 3, bias=True), patch
        self.register_buffer("kernel", torch.tensor([64.0 ** (i / 15.0) for i in range(16)]))  # frequencies

    def forward(self, noisy, times):
        angles = times[:, :, None] * self.kernel
        told = torch.cat([angles.cos(), angles.sin()], 2).flatten(1)
        told = F.silu(self.told[1](F.silu(self.told[0](told))))
        x = self.tokens(noisy)
        rows, width, height, across = x.shape
        x = self.places(x.permute(0, 2, 3, 1).reshape(rows, -1, width))
        for block in self.blocks:
            x = block(x, told)
        x = unit(x) * (1 + self.scale(told)[:, None]) + self.shift(told)[:, None]
        x = self.shuffled(x.reshape(rows, height, across, width).permute(0, 3, 1, 2))
        x = F.silu(F.pixel_shuffle(x, self.patch) + self.seen(noisy))
        return self.last(F.silu(self.mixed(x)))


def waves(side):
    """The orthonormal cosine transform [side, side], and grey and two opponent colours [3, 3]."""
    number = torch.arange(side, dtype=torch.float64)
    cosines = torch.cos(torch.pi / side * number[:, None] * (number + 0.5)) * (2 / side) ** 0.5
    cosines[0] /= 2**0.5
    colours = torch.tensor([[1.0, 1, 1], [1, -1, 0], [1, 1, -2]]) / torch.tensor([[3.0], [2], [6]]).sqrt()
    return cosines.float(), colours


def flow(config):
    """(network,)."""
    return (Flow(config),)
