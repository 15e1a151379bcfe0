"""The training steps of the peers, in plain PyTorch: the same losses in the same order, Adam, no averaging.

Each variant is what a PyTorch user would choose: nothing, `channels_last`, and that with bfloat16 autocast, with plain and with
fused Adam. A step computes gradients for the player whose turn it is only, as ours does. The schedules of learning rates are left out.
"""

import math
import time

import torch
from torch.nn import functional as F

from benchmarks import peers

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


FAMILIES = {"dcgan": Dcgan, "r3gan": R3gan, "pix2pix": Pix2pix, "espcn": Espcn, "edsr": Edsr, "nafnet": Nafnet}


def make(description, variant) -> Twin:
    """The peer of the described model, in a variant."""
    return FAMILIES[description["family"]](description, **VARIANTS[variant])
