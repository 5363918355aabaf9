"""Soft sprites: MCC and contrast against gamma^2 for VAEs on images of known factors.

A small stand-in for the image experiment of P. Reizinger et al., *Embrace the Gap*, NeurIPS 2022: position, size and
hue of one soft disc, Beta-distributed, and a Beta prior that is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
import torch
from torch import Tensor, nn

from latentbook.data.soft_sprites import FACTORS, soft_sprites
from latentbook.data.toys import Sample
from latentbook.experiments import _config
from latentbook.experiments._ima import Recipe, column, grid, held_out, rows, scores, train
from latentbook.experiments._store import Group, Row, collect
from latentbook.models import VAE, BetaPrior, GaussianLikelihood
from latentbook.random import Generator

LAW = 3.0  # both parameters of the factors' Beta laws


@dataclass(frozen=True)
class Config(_config.Config):
    """What is varied."""

    methods: tuple[Literal["conv", "mlp"], ...] | None = None
    """Convolutional networks as in the paper, or fully connected ones, which are cheaper on one core."""
    gamma2: tuple[float, ...] | None = None
    """Precisions of the decoder, per pixel and colour."""
    seeds: int | None = None
    """Seeds for every precision."""
    steps: int | None = None
    """Optimiser steps."""
    points: int | None = None
    """Held-out images; the contrast is measured on a tenth of them."""
    size: int = 16
    """Pixels on a side, divisible by four."""

    scales: ClassVar = {
        "tiny": {"methods": ("conv", "mlp"), "gamma2": (1.0, 1e1), "seeds": 1, "steps": 4, "points": 20},
        "live": {"methods": ("mlp",), "gamma2": (1e1,), "seeds": 5, "steps": 1500, "points": 500},
        "paper": {
            "methods": ("conv", "mlp"),
            "gamma2": (0.1, 1.0, 1e1, 1e2, 1e3),
            "seeds": 10,
            "steps": 4000,
            "points": 1000,
        },
    }


@dataclass(frozen=True)
class Images(Recipe):
    """Networks for images in place of the small ones.

    Attributes:
        method: "conv" or "mlp".
        size: pixels on a side.
    """

    learning_rate: float = 4e-3
    method: str = "conv"
    size: int = 16

    def model(self, data: Tensor, latents: int, gamma2: Sequence[float], prior: nn.Module, weights: Generator) -> VAE:
        """The untrained stack; one network gives means and log-variances."""
        options = {"data": data, "prior": prior, "likelihood": GaussianLikelihood(torch.tensor(gamma2))}
        options |= {"activation": "silu", "generator": weights}
        if self.method == "mlp":
            return VAE.mlp(data.shape[-1], latents, hidden=(128, 64), separate=False, **options)
        return VAE.conv((3, self.size, self.size), latents, channels=(16, 32), hidden=(64,), **options)


def run(config: Config) -> pd.DataFrame:
    """One row a network (method), gamma^2 and seed."""
    groups = []
    for method in config.methods:
        settings = grid(method=[method], gamma2=config.gamma2, seed=range(config.seeds))
        groups.append(Group(method, settings, partial(_measure, config, settings)))
    return collect("sprites-gamma", config, groups)


def _measure(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    def draw(generator: Generator, n: int) -> Sample:
        return soft_sprites(generator, n, size=config.size, alpha=LAW, beta=LAW)

    prior = BetaPrior(len(FACTORS), LAW, LAW, learned=True, members=len(settings))
    recipe = Images(config.steps, method=settings[0]["method"], size=config.size)
    options = {"device": config.device, "checkpoint": checkpoint}
    model, history = train(settings, draw, recipe, prior, **options)
    sample = held_out(settings, draw, config.points, model.device)
    metrics = scores(model, sample, column(settings, "seed"), jacobians=max(2, config.points // 10))
    metrics["squared_error"] = (model.reconstruct(sample.x) - sample.x).square().sum(-1).mean(1)
    return rows(metrics, history)
