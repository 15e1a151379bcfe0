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


class ConvBlock(nn.Module):
    """A block of a convolutional stage."""

    def __init__(self, channels, size):
        super().__init__()
        self.modulation = Linear(size, 3 * channels)
        self.first, self.second = conv(channels, channels, 3, bias=True), conv(channels, channels, 3, bias=True)

    def forward(self, x, told):
        scale, shift, gate = self.modulation(told)[:, :, None, None].chunk(3, 1)
        y = unit(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) * (1 + scale) + shift
        return x + gate * self.second(F.silu(self.first(y)))


class Flow(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, channels, pixels = config["width"], config["channels"], config["pixel_channels"]
        side = config["resolution"] // 2 ** (len(channels) + 1)
        self.told = nn.ModuleList([Linear(64, width), Linear(width, width)])
        ways = list(zip([6, *channels], channels, strict=False))
        self.down = nn.ModuleList([conv(before, after, 4, 2, bias=True) for before, after in ways])
        self.coarser = nn.ModuleList([ConvBlock(count, width) for count in channels])
        self.tokens = conv(channels[-1], width, 4, 2, bias=True)
        self.places = Places(side**2, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(config["blocks"])])
        self.scale, self.shift = Linear(width, width), Linear(width, width)
        ways = list(zip([width, *channels[::-1]], channels[::-1], strict=False))
        self.up = nn.ModuleList([ShuffledConv2d(before, after, 1, 2) for before, after in ways])
        self.finer = nn.ModuleList([ConvBlock(count, width) for count in channels[::-1]])
        self.seen, self.shuffled = conv(6, pixels, 3, bias=True), ShuffledConv2d(channels[0], pixels, 1, 2)
        self.last = conv(pixels, 3, 3, bias=True)
        self.register_buffer("kernel", torch.tensor([64.0 ** (i / 15.0) for i in range(16)]))  # frequencies

    def forward(self, noisy, times):
        angles = times[:, :, None] * self.kernel
        told = torch.cat([angles.cos(), angles.sin()], 2).flatten(1)
        told = F.silu(self.told[1](F.silu(self.told[0](told))))
        x, skips = noisy, []
        for down, block in zip(self.down, self.coarser, strict=True):
            x = block(down(x), told)
            skips.append(x)
        x = self.tokens(x)
        rows, width, height, across = x.shape
        x = self.places(x.permute(0, 2, 3, 1).reshape(rows, -1, width))
        for block in self.blocks:
            x = block(x, told)
        x = unit(x) * (1 + self.scale(told)[:, None]) + self.shift(told)[:, None]
        x = x.reshape(rows, height, across, width).permute(0, 3, 1, 2)
        for up, block in zip(self.up, self.finer, strict=True):
            x = block(F.pixel_shuffle(up(x), 2) + skips.pop(), told)
        return self.last(F.silu(F.pixel_shuffle(self.shuffled(x), 2) + self.seen(noisy)))


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
