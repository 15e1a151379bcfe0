"""The training steps of the peers, in plain PyTorch: the same losses in the same order, Adam, no averaging.

Each variant is what a PyTorch user would choose: nothing, `channels_last`, and that with bfloat16 autocast, with plain and with
fused Adam. A step computes gradients for the player whose turn it is only, as ours does. The schedules of learning rates are left out.
"""

import math
import time

import torch
from torch.nn import functional as F

from benchmarks import peer_flow, peers

VARIANTS = {
    "eager": {},
    "channels_last": {"channels_last": True},
    "channels_last, bf16": {"channels_last": True, "bfloat16": True},
    "channels_last, bf16, fused Adam": {"channels_last": True, "bfloat16": True, "fused": True},
}


class Twin:
    """A family in PyTorch, built from a description by `benchmarks.steps.Ours.describe`."""

    def __init__(self, description, channels_last=False, bfloat16=False, fused=False):
        torch.manual_seed(0)
        self.config = description["config"]
        self.networks = peers.NETWORKS[description["family"]](self.config)
        self.facts = []
        for network, ours in zip(self.networks, description["networks"], strict=True):
            peers.load(network, ours["weights"])
            assert peers.parameters(network) == ours["parameters"]
            self.facts.append((ours["parameters"], peers.difference(network, ours["inputs"], ours["outputs"])))
        layout = torch.channels_last if channels_last else torch.contiguous_format
        for network in self.networks:
            network.to(memory_format=layout)
        self.batch = {
            key: peers.as_tensor(value).contiguous(memory_format=layout) for key, value in description["batch"].items()
        }
        self.transform = peer_flow.waves(self.config["resolution"])
        self.autocast = lambda: torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)
        betas = (self.config.get("beta_1", 0.9), self.config.get("beta_2", 0.999))
        rate = self.config["learning_rate"]
        self.adams = [torch.optim.Adam(n.parameters(), rate, betas, eps=1e-7, fused=fused) for n in self.networks]
        self.steps = 0

    def agreement(self):
        """[(parameters, largest difference of the outputs)] of the networks."""
        return self.facts

    def run(self, steps) -> float:
        """Seconds a step."""
        begun = time.perf_counter()
        for _ in range(steps):
            loss = self.step()
            self.steps += 1
        assert torch.isfinite(loss)
        return (time.perf_counter() - begun) / steps

    def descend(self, player, loss):
        """One step of Adam for a network, from gradients for that network only."""
        self.adams[player].zero_grad()
        loss.backward(inputs=list(self.networks[player].parameters()))
        self.adams[player].step()
        return loss


class Adversarial(Twin):
    """The critic moves first, and the generator on the same fakes."""

    def step(self):
        with self.autocast():
            fakes = self.fakes()
            loss = self.critic_loss(fakes.detach())
        self.descend(1, loss)
        with self.autocast():
            loss = self.generator_loss(fakes)
        return self.descend(0, loss)

    def fakes(self):
        rows = len(self.batch["image"])
        return self.networks[0](torch.randn(rows, self.config["latent_size"]))

    def critic_logits(self, pictures):
        return self.networks[1](pictures).float()


class Dcgan(Adversarial):
    def critic_loss(self, fakes):
        real, fake = self.critic_logits(self.batch["image"]), self.critic_logits(fakes)
        return (F.softplus(-real) + F.softplus(fake)).mean()

    def generator_loss(self, fakes):
        return F.softplus(-self.critic_logits(fakes)).mean()


class R3gan(Adversarial):
    def slope(self, pictures):
        """Logits, and the squared norm of their gradient with respect to the pictures."""
        pictures = pictures.detach().requires_grad_()
        logits = self.critic_logits(pictures)
        (slope,) = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
        return logits, slope.square().sum([1, 2, 3])

    def critic_loss(self, fakes):
        every = self.config["penalty_every"]
        if self.steps % every:
            return F.softplus(self.critic_logits(fakes) - self.critic_logits(self.batch["image"])).mean()
        real, real_norm = self.slope(self.batch["image"])
        fake, fake_norm = self.slope(fakes)
        return (F.softplus(fake - real) + 0.5 * self.config["gamma"] * every * (real_norm + fake_norm)).mean()

    def generator_loss(self, fakes):
        with torch.no_grad():
            real = self.critic_logits(self.batch["image"])
        return F.softplus(real - self.critic_logits(fakes)).mean()


class Stylegan2(Adversarial):
    length = torch.tensor(0.0)  # of paths, on average

    def styles(self, rows):
        """w of each layer, of two z in many rows."""
        generator, size = self.networks[0], self.config["latent_size"]
        first, second = (generator.mapping(torch.randn(rows, size))[:, None] for _ in range(2))
        cut = 1 + torch.floor(torch.rand(rows) * (generator.layers - 1))
        cut = torch.where(torch.rand(rows) < self.config["mixing"], cut, torch.tensor(float(generator.layers)))
        return torch.where((torch.arange(generator.layers) < cut[:, None])[..., None], first, second)

    def noise(self, rows):
        return torch.randn(
            rows, sum(4 ** (2 + stage) * (2 if stage else 1) for stage in range(len(self.config["channels"])))
        )

    def fakes(self):
        rows, generator = len(self.batch["image"]), self.networks[0]
        styles = self.styles(rows)
        generator.mapping.average.follow(styles[:, 0])
        return generator.synthesis(styles, self.noise(rows))

    def critic_loss(self, fakes):
        every, pictures = self.config["penalty_every"], self.batch["image"]
        loss = F.softplus(self.critic_logits(fakes)).mean()
        if self.steps % every:
            return loss + F.softplus(-self.critic_logits(pictures)).mean()
        pictures = pictures.detach().requires_grad_()
        real = self.critic_logits(pictures)
        (slope,) = torch.autograd.grad(real.sum(), pictures, create_graph=True)
        norm = slope.square().sum([1, 2, 3])
        return loss + (F.softplus(-real) + 0.5 * self.config["gamma"] * every * norm).mean()

    def generator_loss(self, fakes):
        loss, every = F.softplus(-self.critic_logits(fakes)).mean(), self.config["path_every"]
        if self.steps % every:
            return loss
        rows = max(len(fakes) // 2, 1)
        styles = self.styles(rows)
        pictures = self.networks[0].synthesis(styles, self.noise(rows)).float()
        (slope,) = torch.autograd.grad((pictures * torch.randn_like(pictures)).sum(), styles, create_graph=True)
        size = pictures.shape[2] * pictures.shape[3] * styles.shape[1]
        lengths = torch.sqrt(slope.float().square().sum([1, 2]) / size + 1e-12)
        weight, away = self.config["path_weight"] * every, lengths - self.length
        self.length = self.length + 0.01 * (lengths.detach().mean() - self.length)
        return loss + weight * away.square().mean()


class Flow(Twin):
    def step(self):
        pictures = self.batch["image"]
        rows, noise = len(pictures), torch.randn_like(pictures)
        time = torch.sigmoid(self.config["time_mean"] + self.config["time_deviation"] * torch.randn(rows))
        t = time[:, None, None, None]
        z = (1 - t) * pictures + t * noise
        power = self.batch["power"]  # of photos, [1, 3, side, side]
        q = (1 - t) ** 2 * power + t**2
        known = self.pictures((t - (1 - t) * power) / q * self.waves(z))
        scale = (power / q).mean([1, 2, 3], keepdim=True).sqrt()
        with self.autocast():
            missed = self.networks[0](torch.cat([z, z - t * known], 1), torch.stack([time, torch.zeros(rows)], 1))
        return self.descend(0, F.mse_loss(known - scale * missed.float(), noise - pictures))

    def waves(self, x):
        cosines, colours = self.transform
        return torch.einsum("dc,nchw->ndhw", colours, cosines @ x @ cosines.T)

    def pictures(self, x):
        cosines, colours = self.transform
        return torch.einsum("dc,ndhw->nchw", colours, cosines.T @ x @ cosines)


class Pix2pix(Adversarial):
    def fakes(self):
        return self.networks[0](self.batch["source"])

    def critic_logits(self, picture):
        return super().critic_logits(torch.cat([self.batch["source"], picture], 1))

    def critic_loss(self, fakes):
        real, fake = self.critic_logits(self.batch["target"]), self.critic_logits(fakes)
        return 0.5 * (F.softplus(-real) + F.softplus(fake)).mean()

    def generator_loss(self, fakes):
        return F.softplus(-self.critic_logits(fakes)).mean() + self.config["l1"] * F.l1_loss(
            fakes, self.batch["target"]
        )


class Espcn(Twin):
    def step(self):
        with self.autocast():
            loss = F.mse_loss(self.networks[0](self.batch["low"]), self.batch["high"])
        return self.descend(0, loss)


class Edsr(Twin):
    def step(self):
        with self.autocast():
            loss = F.l1_loss(self.networks[0](self.batch["low"]).float(), self.batch["high"])
        return self.descend(0, loss)


class Nafnet(Twin):
    def step(self):
        with self.autocast():
            made = self.networks[0](self.batch["low"])
        error = (made.float() - self.batch["high"]).square().mean([1, 2, 3]) / 4
        return self.descend(0, (10 / math.log(10) * torch.log(error + 1e-8)).mean())


FAMILIES = {
    "dcgan": Dcgan, "r3gan": R3gan, "stylegan2": Stylegan2, "flow": Flow, "pix2pix": Pix2pix, "espcn": Espcn, "edsr": Edsr, "nafnet": Nafnet
}  # fmt: skip


def make(description, variant) -> Twin:
    """The peer of the described model, in a variant."""
    return FAMILIES[description["family"]](description, **VARIANTS[variant])
