"""The ELBO against the likelihood: is the gap the IMA contrast, and what does an encoder network add?

The decoder is held at a known map of normal sources, so that log p(x) of noise-free data and the contrast are exact.
"optimum" finds the best diagonal Gaussian for every point by itself; "amortised" trains an encoder.

The claim is that of P. Reizinger et al., *Embrace the Gap*, NeurIPS 2022, tested there on a triangular network, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
import torch
from torch import Tensor

from latentbook.data import toys
from latentbook.experiments import _config
from latentbook.experiments._ima import Recipe, column, grid, held_out, rows, train
from latentbook.experiments._store import Group, Row, collect
from latentbook.jacobian import jacobian, log_abs_det
from latentbook.metrics import ima_contrast
from latentbook.mixings import InvertibleMLP
from latentbook.models import NormalPrior
from latentbook.objectives import evidence_lower_bound, optimal_posterior
from latentbook.random import Generator
from latentbook.training import TrainConfig


def smooth(s: Tensor) -> Tensor:
    """The map of two sources (s_1 + s_2 / 2, s_2 + 0.3 tanh s_1)."""
    first, second = s.unbind(-1)
    return torch.stack([first + second / 2, second + 0.3 * first.tanh()], dim=-1)


def triangular(seeds: Sequence[int]) -> InvertibleMLP:
    """Two layers with triangular matrices of three sources, one map a seed: its contrast is far from zero."""
    generator = Generator(seeds, stream="map")
    lower = [torch.eye(3) + generator.normal(3, 3, dtype=torch.float64).tril(-1) for _ in range(2)]
    return InvertibleMLP(*lower, slope=0.5)


def orthogonal(seeds: Sequence[int]) -> InvertibleMLP:
    """One layer with an orthogonal matrix, of three sources, one map a seed: its contrast is zero."""
    return InvertibleMLP.random(Generator(seeds, stream="map"), 3, layers=1)


MAPS: dict[str, tuple[int, Callable[[Sequence[int]], Callable[[Tensor], Tensor]]]] = {
    "smooth": (2, lambda seeds: smooth),
    "triangular": (3, triangular),
    "orthogonal": (3, orthogonal),
}


@dataclass(frozen=True)
class Config(_config.Config):
    """What is varied."""

    methods: tuple[Literal["optimum", "amortised"], ...] = ("optimum", "amortised")
    """The best posterior of every point, or an encoder."""
    maps: tuple[Literal["smooth", "triangular", "orthogonal"], ...] | None = None
    """The maps."""
    gamma2: tuple[float, ...] | None = None
    """Precisions of the decoder."""
    seeds: int | None = None
    """Seeds of map, data and encoder, for every precision."""
    steps: int | None = None
    """Optimiser steps of the encoder."""
    points: int | None = None
    """Held-out points for an encoder; a tenth of them where each gets an optimum of its own."""

    scales: ClassVar = {
        "tiny": {"maps": ("smooth",), "gamma2": (1e1, 1e3), "seeds": 2, "steps": 20, "points": 50},
        "live": {"maps": ("smooth",), "gamma2": (1e1, 1e2, 1e3, 1e4, 1e5), "seeds": 5, "steps": 3000, "points": 1000},
        "paper": {
            "maps": ("smooth", "triangular", "orthogonal"),
            "gamma2": tuple(round(10 ** (k / 2), 4) for k in range(2, 11)),
            "seeds": 5,
            "steps": 12000,
            "points": 1000,
        },
    }


def run(config: Config) -> pd.DataFrame:
    """One row a method, map, gamma^2 and seed."""
    groups = []
    for name, method in itertools.product(config.maps, config.methods):
        settings = grid(method=[method], map=[name], gamma2=config.gamma2, seed=range(config.seeds))
        measure = _optimum if method == "optimum" else _amortised
        groups.append(Group(f"{name}-{method}", settings, partial(measure, config, settings)))
    return collect("elbo-gap", config, groups)


def _world(settings: list[Row]) -> tuple[int, Callable[[Tensor], Tensor], Callable[[Generator, int], toys.Sample]]:
    """Number of sources, map, and data."""
    size, make = MAPS[settings[0]["map"]]
    function = make(column(settings, "seed"))

    def draw(generator: Generator, n: int) -> toys.Sample:
        return toys.mixed(generator, n, function, "normal", size=size)

    return size, function, draw


def _truth(function: Callable[[Tensor], Tensor], sources: Tensor) -> dict[str, Tensor]:
    """Mean log p(x) of noise-free data and mean contrast, each (members,)."""
    J = jacobian(function, sources)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(sources).sum(-1) - log_abs_det(J)
    return {"log_likelihood": density.mean(1), "contrast": ima_contrast(J).mean(1)}


def _compared(truth: dict[str, Tensor], elbo: Tensor, mean: Tensor, sources: Tensor) -> dict[str, Tensor]:
    """What a row holds besides: the gap, what is left of it beyond the contrast, and how far means are off."""
    gap, error = truth["log_likelihood"] - elbo, (mean - sources).norm(dim=-1)
    return truth | {
        "elbo": elbo,
        "gap": gap,
        "gap_minus_contrast": gap - truth["contrast"],
        "error_median": error.median(1).values,
        "error_rms": error.square().mean(1).sqrt(),
    }


def _optimum(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    size, function, draw = _world(settings)
    device = TrainConfig(device=config.device).resolve_device()
    sources = held_out(settings, draw, max(2, config.points // 10), device).sources.double()
    gamma2 = torch.tensor(column(settings, "gamma2"), dtype=torch.float64, device=device)
    prior = NormalPrior(size).double().to(device)()
    best = optimal_posterior(function, function(sources), prior, gamma2, start=sources)
    metrics = _compared(_truth(function, sources), best.elbo.mean(1), best.mean, sources)
    metrics["remaining"] = best.remaining.amax(1)
    return [{name: float(value[k]) for name, value in metrics.items()} for k in range(len(settings))]


def _amortised(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    size, function, draw = _world(settings)
    options = {"decoder": function, "device": config.device, "checkpoint": checkpoint}
    model, history = train(settings, draw, Recipe(config.steps), NormalPrior(size), **options)
    sample = held_out(settings, draw, config.points, model.device)
    generator = Generator(history.seeds, device=model.device, stream="evaluation")
    elbo = evidence_lower_bound(model, sample.x, generator, samples=64).elbo.double().mean(1)
    sources = sample.sources.double()
    return rows(_compared(_truth(function, sources), elbo, model.codes(sample.x).double(), sources), history)
