"""Many seeds of an iVAE at the size of the published one: all in one fit, and one at a time in plain torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from latentbook.data import tcl
from latentbook.data.stacked import Stacked
from latentbook.experiments._bench import FIT, Comparison, FitTimer, Timer, copied, timed
from latentbook.models import VAE, GaussianLikelihood, ivae_mlp
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig

SIZE, SEGMENTS, HIDDEN, BATCH = 5, 40, (100, 100), 64


def comparisons(config) -> list[Comparison]:
    """The cost of a step of one seed."""
    device = TrainConfig(device=config.device).resolve_device()
    seeds = range(config.members)
    data = tcl.segments(Generator(seeds), segments=SEGMENTS, size=SIZE, per_segment=100, whiten=True)
    ways = {
        "plain loop": partial(_loop, data, config.steps, device),
        "fit, one seed": partial(_fit, data, 1, config.steps, device, compile=False),
        **{w: partial(_fit, data, config.members, config.steps, device, **FIT[w]) for w in ("fit", "fit, compiled")},
    }
    return [Comparison(f"iVAE, {config.members} seeds", "us a step and seed", 1e6, ways)]


class Plain(nn.Module):
    """One member of an iVAE written out in plain torch, with the same weights: no members axis, nothing general."""

    def __init__(self, model: VAE, member: int = 0) -> None:
        super().__init__()
        encoder = model.encoder
        networks = (encoder.network, encoder.log_variance, model.decoder)
        self.mean, self.log_variance, self.decoder = (copied(network, member) for network in networks)
        self.prior = nn.Embedding.from_pretrained(model.prior.table[member].detach().clone(), freeze=False)
        self.precision = float(model.likelihood.gamma2().flatten()[0])
        self.classes = model.prior.auxiliary.classes

    def forward(self, x: Tensor, u: Tensor, noise: Tensor) -> Tensor:
        """The negative ELBO, averaged over the batch."""
        both = torch.cat([x, nn.functional.one_hot(u, self.classes).to(x)], dim=1)
        mean, log_variance, prior = self.mean(both), self.log_variance(both), self.prior(u)
        error = (x - self.decoder(mean + (log_variance / 2).exp() * noise)).square().sum(1)
        likelihood = 0.5 * (x.shape[1] * torch.tensor(self.precision / (2 * torch.pi)).log() - self.precision * error)
        kl = 0.5 * ((mean.square() + log_variance.exp()) / prior.exp() - 1 + prior - log_variance).sum(1)
        return (kl - likelihood).mean()


def a_model(
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
    *,
    size: int = SIZE,
    segments: int = SEGMENTS,
    hidden: tuple[int, ...] = HIDDEN,
) -> VAE:
    """The untrained stack."""
    options = {"hidden": hidden, "activation": "leaky_relu", "likelihood": GaussianLikelihood(10.0)}
    of = {"classes": segments, "modulates": "scale", "generator": Generator(seeds, device=device)}
    return ivae_mlp(size, size, **options, **of)


def _fit(data: tcl.Segments, members: int, steps: int, device: torch.device, **options: object) -> Timer:
    seeds, rows = tuple(range(members)), Stacked(data.x[:members], data.u[:members])
    options |= {"seeds": seeds, "batch_size": BATCH, "device": device.type}
    return FitTimer(a_model(seeds, device), ELBO(), rows, steps, members, **options)


def _loop(data: tcl.Segments, steps: int, device: torch.device) -> Timer:
    model, generator = Plain(a_model([0])).to(device), torch.Generator(device)
    x, u, shape = data.x[0].to(device), data.u[0].to(device), (BATCH, SIZE)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def run() -> None:
        order = torch.randperm(len(x), generator=generator, device=device)
        for step in range(steps):
            index = order[(step * BATCH + torch.arange(BATCH, device=device)) % len(x)]
            loss = model(x[index], u[index], torch.randn(shape, generator=generator, device=device))
            adam.zero_grad()
            loss.backward()
            adam.step()

    return timed(run, device, steps)
