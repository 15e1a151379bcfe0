"""Flow in plain PyTorch: convolutions around a transformer, with PyTorch's own attention."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.peer_layers import AsOurs, Double, ShuffledConv2d, conv

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


class Modulated(nn.Module):
    """Pixels of length 1, scaled and shifted by what the network is told."""

    def __init__(self, told, channels):
        super().__init__()
        self.scale, self.shift = Linear(told, channels), Linear(told, channels)

    def forward(self, x, told):
        scale, shift = (layer(told)[:, :, None, None] for layer in (self.scale, self.shift))
        return x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-6).to(x.dtype) * (1 + scale) + shift


class Convolved(nn.Module):
    def __init__(self, told, channels):
        super().__init__()
        self.modulated = Modulated(told, channels)
        self.one, self.two = (conv(channels, channels, 3, bias=True) for _ in range(2))

    def forward(self, x, told):
        return x + self.two(F.silu(self.one(F.silu(self.modulated(x, told)))))


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
        width, channels, pixels = config["width"], config["channels"], config["pixel_channels"]
        side = config["resolution"] // 2 ** (len(channels) + 1)
        self.told = nn.ModuleList([Linear(64, width), Linear(width, width)])
        self.down, inputs = nn.ModuleList(), 3
        for outputs in channels:
            self.down.append(nn.ModuleList([conv(inputs, outputs, 4, 2, bias=True), Convolved(width, outputs)]))
            inputs = outputs
        self.tokens, self.places = conv(inputs, width, 4, 2, bias=True), Places(side**2, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(config["blocks"])])
        self.modulated, self.up, inputs = Modulated(width, width), nn.ModuleList(), width
        for outputs in reversed(channels):
            self.up.append(nn.ModuleList([conv(inputs, outputs, 1, bias=True), Convolved(width, outputs)]))
            inputs = outputs
        self.shuffled = ShuffledConv2d(inputs, pixels, 1, 2)
        self.seen, self.mixed = conv(3, pixels, 3, bias=True), conv(pixels, pixels, 3, bias=True)
        self.last, self.enlarge = conv(pixels, 3, 3, bias=True), Double()
        self.register_buffer("kernel", torch.tensor([64.0 ** (i / 15.0) for i in range(16)]))  # frequencies

    def forward(self, noisy, times):
        angles = times[:, :, None] * self.kernel
        told = torch.cat([angles.cos(), angles.sin()], 2).flatten(1)
        told = F.silu(self.told[1](F.silu(self.told[0](told))))
        x, skips = noisy, []
        for halve, convolved in self.down:
            x = convolved(halve(x), told)
            skips.append(x)
        x = self.tokens(x)
        rows, width, height, across = x.shape
        tokens = self.places(x.permute(0, 2, 3, 1).reshape(rows, -1, width))
        for block in self.blocks:
            tokens = block(tokens, told)
        x = self.modulated(tokens.reshape(rows, height, across, width).permute(0, 3, 1, 2), told)
        for narrow, convolved in self.up:
            x = convolved(self.enlarge(narrow(x)) + skips.pop(), told)
        x = F.silu(F.pixel_shuffle(self.shuffled(x), 2) + self.seen(noisy))
        return self.last(F.silu(self.mixed(x)))


def flow(config):
    """(network,)."""
    return (Flow(config),)
