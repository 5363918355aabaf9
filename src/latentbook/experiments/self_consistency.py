"""Self-consistency: does the encoder invert the decoder, with the variances that the Jacobian predicts?

Three normal sources through a random invertible network. The decoder is held at the true map, or trained; in the latter
case variances are compared with the Jacobian of the *trained* decoder at the trained decoder's own inverse. All numbers
are of held-out points.

The claim is that of P. Reizinger et al., *Embrace the Gap*, NeurIPS 2022.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Normal

from latentbook.data import toys
from latentbook.data.toys import Sample
from latentbook.experiments import _config
from latentbook.experiments._ima import Recipe, column, grid, held_out, rows, scores, train
from latentbook.experiments._store import Group, Row, collect
from latentbook.jacobian import invert, jacobian, log_abs_det
from latentbook.metrics import ima_contrast, predicted_variance
from latentbook.mixings import InvertibleMLP
from latentbook.models import VAE, NormalPrior
from latentbook.objectives import evidence_lower_bound
from latentbook.random import Generator

SIZE = 3
REACH = 6.0


@dataclass(frozen=True)
class Config(_config.Config):
    """What is varied."""

    decoders: tuple[Literal["fixed", "trained"], ...] = ("fixed", "trained")
    """Hold the decoder at the true map, or train it."""
    gamma2: tuple[float, ...] | None = None
    """Precisions of the decoder."""
    seeds: int | None = None
    """Seeds for every precision; each has a map of its own."""
    steps: int | None = None
    """Optimiser steps."""
    points: int | None = None
    """Held-out points."""

    scales: ClassVar = {
        "tiny": {"gamma2": (1e2, 1e3), "seeds": 2, "steps": 20, "points": 50},
        "live": {"gamma2": (1e1, 1e2, 1e3, 1e4, 1e5), "seeds": 5, "steps": 1500, "points": 500},
        "paper": {"gamma2": (1e1, 1e2, 1e3, 1e4, 1e5), "seeds": 20, "steps": 8000, "points": 500},
    }


def run(config: Config) -> pd.DataFrame:
    """One row a decoder (method), gamma^2 and seed."""
    groups = []
    for decoder in config.decoders:
        settings = grid(method=[decoder], gamma2=config.gamma2, seed=range(config.seeds))
        groups.append(Group(decoder, settings, partial(_measure, config, settings)))
    return collect("self-consistency", config, groups)


def _measure(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    seeds, gamma2 = column(settings, "seed"), torch.tensor(column(settings, "gamma2"), dtype=torch.float64)
    mixing = InvertibleMLP.random(Generator(seeds), SIZE)

    def draw(generator: Generator, n: int) -> Sample:
        return toys.mixed(generator, n, mixing, "normal")

    fixed = settings[0]["method"] == "fixed"
    options = {"decoder": mixing if fixed else None, "device": config.device, "checkpoint": checkpoint}
    model, history = train(settings, draw, Recipe(config.steps), NormalPrior(SIZE), **options)
    sample = held_out(settings, draw, config.points, model.device)
    start = sample.sources if fixed else model.codes(sample.x)
    generator = Generator(seeds, device=model.device, stream="gap")
    metrics = scores(model, sample, seeds) | consistency(model, sample.x, start, gamma2.to(model.device), generator)
    metrics["true_contrast"] = ima_contrast(mixing.jacobian(sample.sources.double())).mean(-1)
    return rows(metrics, history)


@torch.no_grad()
def consistency(model: VAE, x: Tensor, start: Tensor, gamma2: Tensor, generator: Generator) -> dict[str, Tensor]:
    """Posteriors against what the decoder's Jacobian predicts at its own inverse of x, each (members,).

    Points without an inverse within six standard deviations of the prior are left out; the share of the others is
    ``inverted``. ``inverse_error`` is the root mean squared distance of posterior mean and inverse. The likelihood is
    that of the noise-free model, which bounds the ELBO in the limit only: where noise is needed to explain some points,
    at low gamma^2, the ``gap`` may be negative.

    Args:
        model: K members with a standard normal prior and as many latents as features.
        x: data, (members, n, features).
        start: where the search for the inverse begins, (members, n, latents).
        gamma2: (members,).
        generator: one seed per member, for the ELBO.
    """
    decode, posterior = copy.deepcopy(model.decoder).double(), model.encode(x)
    z = invert(decode, x.double(), start.double(), steps=20)
    found = (z.abs() < REACH).all(-1)  # false where z is NaN
    z = torch.where(found[..., None], z, math.nan)
    J = torch.where(found[..., None, None], jacobian(decode, z.nan_to_num()), math.nan)
    variance, predicted = posterior.variance.double(), predicted_variance(J, gamma2)
    ratio = (variance / predicted).flatten(1)
    likelihood = Normal(0.0, 1.0, validate_args=False).log_prob(z).sum(-1) - log_abs_det(J)
    elbo = evidence_lower_bound(model, x, generator, samples=64).elbo
    metrics = {
        "inverted": found.double().mean(1),
        "ratio_median": ratio.nanquantile(0.5, 1),
        "ratio_low": ratio.nanquantile(0.25, 1),
        "ratio_high": ratio.nanquantile(0.75, 1),
        "within_5_percent": ((ratio - 1).abs() < 0.05).double().mean(1),
        "inverse_error": (posterior.mean - z).square().sum(-1).nanmean(1).sqrt(),
        "contrast_at_inverse": ima_contrast(J).nanmean(1),
        "log_likelihood": likelihood.nanmean(1),
        "gap": (likelihood - elbo).nanmean(1),
    }
    for name, value in (("log_variance", variance), ("predicted_log_variance", predicted)):
        means = torch.where(found[..., None], value, math.nan).log().nanmean(1)
        metrics |= {f"{name}_{k}": means[:, k] for k in range(means.shape[1])}
    return metrics
