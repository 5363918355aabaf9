"""How fast many seeds of an iVAE train: all in one fit, one at a time, and one at a time in plain torch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from latentbook.data import tcl
from latentbook.data.stacked import Stacked
from latentbook.experiments.bench import interleave
from latentbook.models import VAE, GaussianLikelihood, ivae_mlp
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit


@dataclass(frozen=True)
class Config:
    """What is timed; the sizes are those of the published model."""

    members: int = 20
    """Seeds in the stack."""
    steps: int = 100
    """Optimiser steps a fit."""
    repetitions: int = 5
    """Times that all ways are run, in turn; medians are reported."""
    size: int = 5
    """Sources, observations and latents."""
    segments: int = 40
    """Segments, the labels u."""
    hidden: tuple[int, ...] = (100, 100)
    """Hidden units of each network; means, log-variances and decoder have one each."""
    batch_size: int = 64
    """Data points per member and step."""


class Plain(nn.Module):
    """One member of an iVAE written out in plain torch, with the same weights: no members axis, nothing general."""

    def __init__(self, model: VAE, member: int = 0) -> None:
        super().__init__()
        encoder = model.encoder
        networks = (encoder.network, encoder.log_variance, model.decoder)
        self.mean, self.log_variance, self.decoder = (_copied(network, member) for network in networks)
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


def _copied(network: nn.Sequential, member: int) -> nn.Sequential:
    """One member of a stacked network as a network of torch's own layers."""
    layers = []
    for part in network:
        if hasattr(part, "weight"):
            layer = nn.utils.skip_init(nn.Linear, *part.weight.shape[1:])
            with torch.no_grad():
                layer.weight.copy_(part.weight[member].T)
                layer.bias.copy_(part.bias[member, 0])
            part = layer
        layers.append(part)
    return nn.Sequential(*layers)


def a_model(config: Config, seeds: Sequence[int]) -> VAE:
    """The untrained stack."""
    options = {"hidden": config.hidden, "activation": "leaky_relu", "likelihood": GaussianLikelihood(10.0)}
    of = {"classes": config.segments, "modulates": "scale", "generator": Generator(seeds)}
    return ivae_mlp(config.size, config.size, **options, **of)


def _fit_seconds(config: Config, seeds: Sequence[int], data: tcl.Segments) -> float:
    model, rows = a_model(config, seeds), Stacked(data.x[: len(seeds)], data.u[: len(seeds)])
    train = TrainConfig(seeds=tuple(seeds), steps=config.steps, batch_size=config.batch_size, device="cpu")
    start = time.thread_time()
    fit(model, ELBO(), rows, train, progress=False)
    return time.thread_time() - start


def _plain_seconds(config: Config, data: tcl.Segments) -> float:
    model, generator = Plain(a_model(config, [0])), torch.Generator()
    x, u, shape = data.x[0], data.u[0], (config.batch_size, config.size)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    start = time.thread_time()
    order = torch.randperm(len(x), generator=generator)
    for step in range(config.steps):
        index = order[(step * shape[0] + torch.arange(shape[0])) % len(x)]
        loss = model(x[index], u[index], torch.randn(shape, generator=generator))
        adam.zero_grad()
        loss.backward()
        adam.step()
    return time.thread_time() - start


def run(config: Config) -> pd.DataFrame:
    """Time all ways in turn on one thread; return microseconds of it per seed and step, and ratios of medians."""
    seeds = range(config.members)
    data = tcl.segments(Generator(seeds), segments=config.segments, size=config.size, per_segment=100, whiten=True)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ways = {
            "one seed at a time, plain torch": (lambda: _plain_seconds(config, data), 1),
            "one seed at a time": (lambda: _fit_seconds(config, [0], data), 1),
            f"{config.members} seeds in one fit": (lambda: _fit_seconds(config, seeds, data), config.members),
        }
        seconds = interleave({name: way for name, (way, _) in ways.items()}, config.repetitions)
    finally:
        torch.set_num_threads(before)
    rows = []
    for name, (_, count) in ways.items():
        micro = [1e6 * value / (count * config.steps) for value in seconds[name]]
        rows.append(
            {"way": name, "us per seed and step": statistics.median(micro), "min": min(micro), "max": max(micro)}
        )
    table = pd.DataFrame(rows)
    table["times as fast"] = table["us per seed and step"][0] / table["us per seed and step"]
    return table.round(1)
