"""StyleGAN2 in plain PyTorch, with the arithmetic of ours: styles scale what goes into a convolution and what comes out of it."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.peer_layers import AsOurs, Blur, Double

ROOT2 = math.sqrt(2.0)
GROUP = 4  # rows over which the critic sees a deviation


def active(x):
    return F.leaky_relu(x, 0.2)


class EqualLinear(AsOurs):
    """A linear map with an equalised learning rate."""

    def __init__(self, inputs, outputs, *, gain=1.0, rate=1.0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(inputs, outputs)), nn.Parameter(torch.empty(outputs))
        self.scale, self.rate = rate * gain / math.sqrt(inputs), rate

    def forward(self, x):
        return F.linear(x, (self.weight * self.scale).T, self.bias * self.rate)


class EqualConv2d(nn.Module):
    """A convolution with an equalised learning rate."""

    def __init__(self, inputs, outputs, side, stride=1, *, padding="same", gain=1.0, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        self.scale, self.stride, self.padding = gain / math.sqrt(inputs * side**2), stride, padding

    def forward(self, x):
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)


class PatchedConv2d(EqualConv2d):
    """A convolution of side 2 * patch and stride patch; ours computes it on pixels folded into channels."""

    def __init__(self, inputs, outputs, patch, **options):
        super().__init__(inputs, outputs, 2 * patch, patch, padding=patch // 2, **options)
        self.patch = patch


class Affine(AsOurs):
    """w to the factor of each channel."""

    def __init__(self, size, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(size, channels)), nn.Parameter(torch.empty(channels))

    def forward(self, w):
        return w @ (self.weight / math.sqrt(len(self.weight))) + self.bias


class ModulatedConv2d(EqualConv2d):
    """A convolution that all rows share, with scaled inputs and, if it demodulates, scaled outputs."""

    def __init__(self, size, inputs, outputs, side, *, gain=1.0, demodulate=True, enlarge=False):
        super().__init__(inputs, outputs, side, gain=gain, bias=not demodulate)
        self.affine = Affine(size, inputs)
        self.gain, self.demodulate, self.enlarge = gain, demodulate, enlarge

    def forward(self, x, w):
        style, kernel = self.affine(w), self.weight * self.scale
        x = x * style[:, :, None, None]
        if self.enlarge:
            x = F.conv_transpose2d(x, kernel.transpose(0, 1), self.bias, stride=2)
        else:
            x = F.conv2d(x, kernel, self.bias, padding="same")
        if not self.demodulate:
            return x
        energy = (kernel / self.gain).square().sum([2, 3])
        return x * torch.rsqrt(style.square() @ energy.T + 1e-8)[:, :, None, None]


class LearnedPicture(nn.Module):
    """The picture that every generated one starts from."""

    def __init__(self, channels):
        super().__init__()
        self.constant = nn.Parameter(torch.empty(1, channels, 4, 4))

    def forward(self, rows):
        return self.constant.expand(rows, -1, -1, -1)


class AddNoise(nn.Module):
    def __init__(self, channels, rate):
        super().__init__()
        self.rate = rate
        self.bias, self.strength = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(()))

    def forward(self, x, noise):
        return x + self.bias[:, None, None] + noise * (self.rate * self.strength)


class Average(AsOurs):
    """The moving average of w."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))

    @torch.no_grad()
    def follow(self, w):
        self.mean += 0.01 * (w - self.mean).mean(0)


class Mapping(nn.Module):
    """z -> w."""

    def __init__(self, config):
        super().__init__()
        size, rate = config["latent_size"], config["mapping_rate"]
        self.layers = nn.ModuleList(
            [EqualLinear(size, size, gain=ROOT2, rate=rate) for _ in range(config["mapping_layers"])]
        )
        self.average = Average(size)

    def forward(self, z):
        w = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            w = active(layer(w))
        return w


class Synthesis(nn.Module):
    """(w of each layer, noise) -> pictures: the sum of those of all stages."""

    def __init__(self, config):
        super().__init__()
        size, channels = config["latent_size"], config["channels"]
        self.constant, self.styled, self.colours = LearnedPicture(channels[0]), nn.ModuleList(), nn.ModuleList()
        inputs = channels[0]
        for stage, outputs in enumerate(channels):
            for enlarge in (True, False) if stage else (False,):
                convolution = ModulatedConv2d(size, inputs, outputs, 3, gain=ROOT2, enlarge=enlarge)
                blur = Blur(outputs, gain=2.0) if enlarge else nn.Identity()
                self.styled.append(nn.ModuleList([convolution, blur, AddNoise(outputs, config["noise_rate"])]))
                inputs = outputs
        for outputs in channels:
            self.colours.append(ModulatedConv2d(size, outputs, 3, 1, demodulate=False))
        self.enlarge = Double()

    def forward(self, styles, noise):
        x, picture, layer, used = self.constant(len(styles)), None, 0, 0
        for stage, colours in enumerate(self.colours):
            for _ in range(2 if stage else 1):
                convolution, blur, add = self.styled[layer]
                x = blur(convolution(x, styles[:, layer]))
                side = x.shape[-1]
                x = active(add(x, noise[:, used : used + side**2].reshape(-1, 1, side, side)))
                layer, used = layer + 1, used + side**2
            own = colours(x, styles[:, layer - 1])
            picture = own if picture is None else self.enlarge(picture) + own
        return picture


class Generator(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.mapping, self.synthesis = Mapping(config), Synthesis(config)
        self.layers = len(self.synthesis.styled)

    def forward(self, z, noise):
        return self.synthesis(self.mapping(z)[:, None].expand(-1, self.layers, -1), noise)


class Halving(nn.Module):
    """A residual block of the critic, to half the side."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.one, self.blur = EqualConv2d(inputs, inputs, 3, gain=ROOT2), Blur(inputs, padding=2)
        self.two = EqualConv2d(inputs, outputs, 3, 2, padding="valid")
        self.halve = Blur(inputs, stride=2)
        self.skip = EqualConv2d(inputs, outputs, 1, gain=1 / ROOT2, bias=False)

    def forward(self, x):
        return active(self.two(self.blur(active(self.one(x))))) + self.skip(self.halve(x))


class Critic(nn.Module):
    def __init__(self, config):
        super().__init__()
        channels, patch = config["channels"], config["patch"]
        *others, last = channels[: len(channels) - int(math.log2(patch))]
        self.first = PatchedConv2d(3, last, patch, gain=ROOT2) if patch > 1 else EqualConv2d(3, last, 1, gain=ROOT2)
        widths = [last, *reversed(others)]
        self.blocks = nn.Sequential(*[Halving(*pair) for pair in zip(widths, widths[1:], strict=False)])
        self.deep = EqualConv2d(channels[0] + 1, channels[0], 3, gain=ROOT2)
        self.dense = EqualLinear(16 * channels[0], channels[0], gain=ROOT2)
        self.last = EqualLinear(channels[0], 1)

    def forward(self, pictures):
        x = self.blocks(active(self.first(pictures)))
        x = active(self.deep(torch.cat([x, deviation(x)], 1)))
        return self.last(active(self.dense(x.permute(0, 2, 3, 1).flatten(1))))[:, 0]


def deviation(x):
    """The deviation over groups of rows, averaged over places and channels, as one more channel."""
    rows, _, height, width = x.shape
    group = next(size for size in range(GROUP, 0, -1) if rows % size == 0)
    grouped = x.float().reshape(-1, group, *x.shape[1:])
    value = torch.sqrt(grouped.var(1, unbiased=False) + 1e-8).mean([1, 2, 3])
    return value.repeat_interleave(group)[:, None, None, None].expand(-1, 1, height, width).to(x.dtype)


def stylegan2(config):
    """(generator, critic)."""
    return Generator(config), Critic(config)
