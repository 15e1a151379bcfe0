"""Our networks in plain PyTorch, and the copying of our weights into them."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.peer_flow import flow
from benchmarks.peer_layers import AsOurs, Blur, Double, ShuffledConv2d, conv, up
from benchmarks.peer_stylegan2 import LearnedPicture, PatchedConv2d, stylegan2


def dcgan(config):
    """(generator, critic)."""
    stages = config["resolution"].bit_length() - 3
    widths = [min(config["width"] * 2 ** (stages - 1 - stage), config["widest"]) for stage in range(stages)]
    z = config["latent_size"]
    generator = [nn.Unflatten(1, (z, 1, 1)), nn.ConvTranspose2d(z, widths[0], 4, bias=False)]
    for inputs, outputs in zip(widths, [*widths[1:], 3], strict=True):
        generator += [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), up(inputs, outputs, bias=outputs == 3)]
    critic = [conv(3, widths[-1], 4, 2, bias=True), nn.LeakyReLU(0.2, inplace=True)]
    for inputs, outputs in zip(widths[:0:-1], widths[-2::-1], strict=True):
        critic += [conv(inputs, outputs, 4, 2), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2, inplace=True)]
    critic += [nn.Conv2d(widths[0], 1, 4), nn.Flatten(0)]
    return nn.Sequential(*generator, nn.Tanh()), nn.Sequential(*critic)


class LearnedConstant(AsOurs):
    """A learned 4x4 picture whose channels z scales."""

    def __init__(self, latent, channels):
        super().__init__()
        self.basis = nn.Parameter(torch.empty(channels, 4, 4))
        self.scale = nn.Parameter(torch.empty(latent, channels))

    def forward(self, z):
        return (z @ self.scale)[:, :, None, None] * self.basis


class Block(nn.Sequential):
    """x + conv1(act(grouped conv3(act(conv1 x))))."""

    def __init__(self, channels, config):
        inner = channels * config["expansion"]
        super().__init__(
            conv(channels, inner, 1, bias=True),
            nn.LeakyReLU(0.2),
            conv(inner, inner, 3, bias=True, groups=max(inner // config["group_width"], 1)),
            nn.LeakyReLU(0.2),
            conv(inner, channels, 1),
        )

    def forward(self, x):
        return x + super().forward(x)


class Generator(nn.Module):
    """Stages from 4x4 px upwards; the picture is made of the last, or with `skips` summed up from all."""

    def __init__(self, config):
        super().__init__()
        channels = config["channels"]
        self.stages, self.colours = nn.ModuleList(), nn.ModuleList()
        for stage, (width, blocks) in enumerate(zip(channels, config["blocks"], strict=True)):
            before = channels[stage - 1]
            layers = [conv(before, width, 1)] * (before != width) + [Double()]
            if not stage:
                layers = [LearnedConstant(config["latent_size"], width)]
            self.stages.append(nn.Sequential(*layers, *[Block(width, config) for _ in range(blocks)]))
            if stage == len(channels) - 1:
                self.colours.append(conv(width, 3, config["last_side"]))
            elif config["skips"]:
                self.colours.append(conv(width, 3, 1))
        self.enlarge = Double()

    def forward(self, x):
        pictures = []
        for stage in self.stages:
            x = stage(x)
            pictures.append(x)
        picture, *others = [colour(x) for colour, x in zip(self.colours, pictures[-len(self.colours) :], strict=True)]
        for other in others:
            picture = self.enlarge(picture) + other
        return picture


def r3gan(config):
    """(generator, critic)."""
    channels, patch = config["channels"], config["patch"]
    stages = (config["resolution"] // patch).bit_length() - 2
    critic = [conv(3, channels[stages - 1], 1 if patch == 1 else 2 * patch, patch)]
    for stage in reversed(range(stages)):
        width, before = channels[stage], channels[stage - 1]
        critic += [Block(width, config) for _ in range(config["blocks"][stage])]
        if stage:
            critic += [Blur(width, stride=2)] + [conv(width, before, 1)] * (before != width)
    critic += [
        nn.Conv2d(channels[0], channels[0], 4, groups=channels[0], bias=False),
        nn.Conv2d(channels[0], 1, 1, bias=False),
    ]
    return Generator(config), nn.Sequential(*critic, nn.Flatten(0))


class UNet(nn.Module):
    """Down to 1x1 px and up again, each stage joined with its equal on the way down and the last with the source."""

    def __init__(self, config):
        super().__init__()
        stages, width = config["resolution"].bit_length() - 1, config["width"]
        widths = [min(width * 2**stage, config["widest"]) for stage in range(stages)]
        self.down, self.up = nn.ModuleList([conv(3, widths[0], 4, 2, bias=True)]), nn.ModuleList()
        for stage in range(1, stages):
            last = stage == stages - 1
            layers = [nn.LeakyReLU(0.2), conv(widths[stage - 1], widths[stage], 4, 2, bias=last)]
            self.down.append(nn.Sequential(*layers, *[nn.BatchNorm2d(widths[stage])] * (not last)))
        inputs = widths[-1]
        for stage, outputs in enumerate([*reversed(widths[:-1]), width]):
            layers = [nn.ReLU(), conv(inputs, outputs, 3), nn.BatchNorm2d(outputs), Double()]
            self.up.append(nn.Sequential(*layers, *[nn.Dropout(config["dropout"])] * (stage < 3)))
            inputs = 2 * outputs
        first, second = conv(width + 3, width // 2, 3, bias=True), conv(width // 2, 3, 3, bias=True)
        self.last = nn.Sequential(nn.ReLU(), first, nn.ReLU(), second, nn.Tanh())

    def forward(self, source):
        x, skips = source, [source]
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        skips.pop()
        for layer in self.up:
            x = torch.cat([layer(x), skips.pop()], 1)
        return self.last(x)


def pix2pix(config):
    """(generator, critic)."""
    width, widest, layers = config["width"], config["widest"], config["critic_layers"]
    critic = [conv(6, width, 4, 2, bias=True), nn.LeakyReLU(0.2, inplace=True)]
    for layer in range(1, layers + 1):
        inputs, outputs = (min(width * 2**power, widest) for power in (layer - 1, layer))
        critic += [
            conv(inputs, outputs, 4, 2 if layer < layers else 1),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return UNet(config), nn.Sequential(*critic, conv(outputs, 1, 4, bias=True), nn.Flatten(1, 2))


class Espcn(nn.Module):
    """Computes at the small size a residual that is added to the repeated pixels of the input."""

    def __init__(self, config):
        super().__init__()
        self.scale = config["scale"]
        first, second = config["widths"]
        last = ShuffledConv2d(second, 3, 3, self.scale)
        self.layers = nn.Sequential(
            conv(3, first, 5, bias=True), nn.Tanh(), conv(first, second, 3, bias=True), nn.Tanh(), last
        )

    def forward(self, low):
        return F.pixel_shuffle(self.layers(low) + low.repeat_interleave(self.scale**2, 1), self.scale)


def espcn(config):
    """(network,)."""
    return (Espcn(config),)


class ResidualBlock(nn.Sequential):
    """x + conv(ReLU(conv x))."""

    def __init__(self, width):
        super().__init__(conv(width, width, 3, bias=True), nn.ReLU(inplace=True), conv(width, width, 3, bias=True))

    def forward(self, x):
        return x + super().forward(x)


class Edsr(nn.Module):
    """Residual blocks without normalisation and one convolution to pixels, added to the repeated pixels of the input."""

    def __init__(self, config):
        super().__init__()
        width, self.scale = config["width"], config["scale"]
        self.head = conv(3, width, 3, bias=True)
        self.body = nn.Sequential(
            *[ResidualBlock(width) for _ in range(config["blocks"])], conv(width, width, 3, bias=True)
        )
        self.last = ShuffledConv2d(width, 3, 3, self.scale)

    def forward(self, low):
        x = self.head(low)
        return F.pixel_shuffle(self.last(x + self.body(x)) + low.repeat_interleave(self.scale**2, 1), self.scale)


def edsr(config):
    """(network,)."""
    return (Edsr(config),)


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of each pixel."""

    def __init__(self, channels):
        super().__init__(channels, eps=1e-6)

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Scaled(nn.Module):
    """Each channel times a learned number."""

    def __init__(self, channels):
        super().__init__()
        self.factor = nn.Parameter(torch.empty(channels))

    def forward(self, x):
        return x * self.factor[:, None, None]


class Gate(nn.Module):
    """Half of the channels times the other half."""

    def forward(self, x):
        one, other = x.chunk(2, dim=1)
        return one * other


class Attention(nn.Module):
    """Channels times a linear map of their means."""

    def __init__(self, channels):
        super().__init__()
        self.map = conv(channels, channels, 1, bias=True)

    def forward(self, x):
        return x * self.map(x.mean([2, 3], keepdim=True))


class NafBlock(nn.Module):
    """The block of NAFNet."""

    def __init__(self, channels):
        super().__init__()
        double = 2 * channels
        self.first = nn.Sequential(
            LayerNorm2d(channels),
            conv(channels, double, 1, bias=True),
            conv(double, double, 3, bias=True, groups=double),
            Gate(),
            Attention(channels),
            conv(channels, channels, 1, bias=True),
            Scaled(channels),
        )
        self.second = nn.Sequential(
            LayerNorm2d(channels),
            conv(channels, double, 1, bias=True),
            Gate(),
            conv(channels, channels, 1, bias=True),
            Scaled(channels),
        )

    def forward(self, x):
        x = x + self.first(x)
        return x + self.second(x)


class Nafnet(nn.Module):
    """A U-Net of such blocks."""

    def __init__(self, config):
        super().__init__()
        width = config["width"]
        self.head, self.down = conv(3, width, 3, bias=True), nn.ModuleList()
        for blocks in config["encoder"]:
            stage = nn.Sequential(*[NafBlock(width) for _ in range(blocks)])
            self.down.append(nn.ModuleList([stage, conv(width, 2 * width, 2, 2, bias=True)]))
            width *= 2
        self.middle = nn.Sequential(*[NafBlock(width) for _ in range(config["middle"])])
        self.up = nn.ModuleList()
        for blocks in config["decoder"]:
            width //= 2
            enlarge = nn.Sequential(ShuffledConv2d(2 * width, width, 1, 2, bias=False), nn.PixelShuffle(2))
            self.up.append(nn.ModuleList([enlarge, nn.Sequential(*[NafBlock(width) for _ in range(blocks)])]))
        self.last = conv(width, 3, 3, bias=True)

    def forward(self, low):
        x, skips = self.head(low), []
        for stage, halve in self.down:
            x = stage(x)
            skips.append(x)
            x = halve(x)
        x = self.middle(x)
        for enlarge, stage in self.up:
            x = stage(enlarge(x) + skips.pop())
        return self.last(x) + low


def nafnet(config):
    """(network,)."""
    return (Nafnet(config),)


NETWORKS = {
    "dcgan": dcgan, "r3gan": r3gan, "stylegan2": stylegan2, "flow": flow, "pix2pix": pix2pix, "espcn": espcn, "edsr": edsr, "nafnet": nafnet
}  # fmt: skip


def load(network, weights):
    """Copy `weights` (arrays in the order and the layouts of ours) into a peer; AssertionError unless they are as many.

    Keras lists the layers of two branches by their distance from the end, so each tensor takes the first array of its size that is
    a vector as it is, or is not.
    """
    left = list(weights)
    with torch.no_grad():
        for module in network.modules():
            own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
            for name, tensor in own.items():
                if tensor.is_floating_point() and name != "kernel":
                    vector = tensor.ndim == 1
                    place = next(
                        place
                        for place, array in enumerate(left)
                        if array.size == tensor.numel() and (array.ndim == 1) == vector
                    )
                    array = torch.from_numpy(np.array(_turned(module, left.pop(place), tensor.shape), order="C"))
                    assert array.shape == tensor.shape, f"{module}: {array.shape} for {tensor.shape}"
                    tensor.copy_(array)
    assert not left, "weights are left over"


def _turned(module, array, shape):
    """An array of ours in PyTorch's layout."""
    if isinstance(module, LearnedConstant) and array.ndim == 3:
        return array.transpose(2, 0, 1)
    if isinstance(module, LearnedPicture):
        return array.transpose(0, 3, 1, 2)
    if isinstance(module, PatchedConv2d) and array.ndim == 4:
        array = array.reshape(2, 2, module.patch, module.patch, -1, array.shape[-1])
        array = array.transpose(0, 2, 1, 3, 4, 5).reshape(2 * module.patch, 2 * module.patch, *array.shape[-2:])
    if isinstance(module, ShuffledConv2d):  # pixel by pixel, all channels of each, to channel by channel
        array = array.reshape(*array.shape[:-1], -1, module.channels).swapaxes(-1, -2).reshape(array.shape)
    if array.ndim < 2 or isinstance(module, AsOurs):
        return array
    if isinstance(module, nn.ConvTranspose2d):
        if array.ndim == 2:  # a dense layer in front of a reshape
            return array.reshape(len(array), *shape[2:], -1).transpose(0, 3, 1, 2)
        return array.transpose(3, 2, 0, 1)
    if array.ndim == 2:  # a dense layer behind a flattening
        array = array.reshape(*shape[2:], -1, shape[0])
    if array.ndim == 4 and array.shape[-1] == 1 and shape[1] == 1:  # a depthwise convolution
        return array.transpose(2, 3, 0, 1)
    if array.ndim == 3:  # weights of a channel's pixels
        return array.transpose(2, 0, 1)[:, None]
    return array.transpose(3, 2, 0, 1)


def as_tensor(array):
    """Ours [batch, height, width, channels] as PyTorch's [batch, channels, height, width]; what has no pixels stays."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1) if array.ndim == 4 else array))


def difference(network, inputs, outputs) -> float:
    """The largest absolute difference between the outputs of a peer and of ours, both in inference."""
    network.eval()
    with torch.no_grad():
        answers = network(*map(as_tensor, inputs))
    network.train()
    return float((answers - as_tensor(outputs)).abs().max())


def parameters(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
