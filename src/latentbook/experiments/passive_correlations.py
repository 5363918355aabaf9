"""Hearts: are passive latents correlated with the others in the means, and not in the samples?

A reduced stand-in for the dSprites runs of L. Bonheme, M. Grzes, *Be More Active!*, JMLR 2023: one shape in six scales
at 256 places, 32 x 32 pixels, fully connected networks, 3000 steps. Their images are 64 x 64, their networks
convolutional, their runs a hundred times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentbook.data import sprites
from latentbook.experiments import _config
from latentbook.experiments._ima import column, grid, rows
from latentbook.experiments._store import Group, Row, collect
from latentbook.metrics import (
    averaged_mutual_information,
    code_correlation,
    latent_roles,
    latent_roles_by_share,
    sampled_covariance,
    total_correlation,
)
from latentbook.models import VAE, BernoulliLikelihood
from latentbook.objectives import ELBO, evidence_lower_bound
from latentbook.random import Generator
from latentbook.report import report
from latentbook.training import TrainConfig, fit, mean_correlation, variance_moments

LATENTS = 10
MEANS, SAMPLES = 0.3, 0.05
"""A passive latent counts as found if it is correlated above the first with an active one in the means, and below the
second in the samples."""


@dataclass(frozen=True)
class Config(_config.Config):
    """What is varied."""

    methods: tuple[Literal["beta-vae"], ...] = ("beta-vae",)
    """The objective; the one there is."""
    betas: tuple[float, ...] | None = None
    """Weights of the KL. A picture has a quarter of the original's pixels, so that 2 presses about like 8 there."""
    seeds: int | None = None
    """Seeds for every beta."""
    steps: int | None = None
    """Optimiser steps."""

    scales: ClassVar = {
        "tiny": {"betas": (4.0,), "seeds": 2, "steps": 4},
        "live": {"betas": (4.0,), "seeds": 5, "steps": 1000},
        "paper": {"betas": (1.0, 2.0, 4.0, 8.0), "seeds": 10, "steps": 3000},
    }


def run(config: Config) -> pd.DataFrame:
    """One row a beta and seed."""
    groups = []
    for beta in config.betas:
        settings = grid(method=config.methods, beta=[beta], seed=range(config.seeds))
        groups.append(Group(f"beta-{beta:g}", settings, partial(_measure, config, settings)))
    return collect("passive-correlations", config, groups)


def _measure(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    seeds, x = column(settings, "seed"), sprites.hearts().x
    options = {"likelihood": BernoulliLikelihood(), "activation": "relu", "separate": False}
    weights = Generator(seeds, stream="weights")
    model = VAE.mlp(x.shape[1], LATENTS, hidden=(128,), generator=weights, **options)
    every = max(1, config.steps // 12)
    recorders = [mean_correlation(x, every=every), variance_moments(x, every=every)]
    training = {"batch_size": 64, "learning_rate": 3e-3, "decay": "none", "device": config.device}
    training |= {"checkpoint": checkpoint, "checkpoint_every": config.steps}
    training = TrainConfig(seeds=tuple(seeds), steps=config.steps, **training)
    resume = {"recorders": recorders, "resume": checkpoint is not None}
    history = fit(model, ELBO(column(settings, "beta")), x, training, **resume)
    if not bool(history.alive.any()):
        return rows({}, history)  # there is nothing to report on
    terms = evidence_lower_bound(model, x, Generator(seeds, stream="elbo"), samples=4)
    metrics = {name: getattr(terms, name).mean(1) for name in ("elbo", "reconstruction", "kl")}
    metrics["contrast"] = torch.tensor(report(model, x).members["contrast"].fillna(0.0).to_numpy())
    posterior = model.encode(x)  # what has diverged is told by the history, and any numbers serve here
    means, variances = posterior.mean.detach().nan_to_num(0.0), posterior.variance.detach().nan_to_num(1.0)
    metrics |= dependence(means, variances)
    kept = torch.from_numpy(np.array(latent_roles(variances)) != "passive")
    metrics |= course(history.records["mean_correlation"], history.record_steps["mean_correlation"], kept)
    return rows(metrics, history)


def dependence(means: Tensor, variances: Tensor) -> dict[str, Tensor]:
    """Roles, the strongest correlations with passive latents, and dependence with and without these, each (members,).

    Correlations of samples are exact: those of the means, attenuated. A maximum over no pair is 0.

    Args:
        means: posterior means, (members, n, latents).
        variances: posterior variances, the same shape.
    """
    roles = np.array(latent_roles(variances))
    found = {role: torch.from_numpy((roles == role).sum(1)).double() for role in ("active", "mixed", "passive")}
    by_share = np.array(latent_roles_by_share(variances))
    for role in ("active", "mixed", "intermediate", "passive"):
        found[f"{role}_by_share"] = torch.from_numpy((by_share == role).sum(1)).double()
    active, passive = (torch.from_numpy(roles == role) for role in ("active", "passive"))
    covariance = sampled_covariance(means, variances)
    of_means, of_samples = code_correlation(means).abs(), code_correlation(covariance).abs()
    for name, others in (("active", active), ("kept", ~passive)):
        pairs = others[:, :, None] & passive[:, None, :]
        place = of_means.where(pairs, 0).flatten(1).argmax(1, keepdim=True)
        strongest = (matrix.where(pairs, 0).flatten(1).gather(1, place)[:, 0] for matrix in (of_means, of_samples))
        found[f"{name}_passive_means"], found[f"{name}_passive_samples"] = strongest
        hits = (of_means > MEANS) & (of_samples < SAMPLES) & pairs
        found[f"{name}_passive_found"] = hits.any((1, 2)).double()
    enough = (~passive).sum(1) >= 2
    for name, codes in (("means", means), ("samples", covariance)):
        found[f"tc_{name}"] = total_correlation(codes)
        found[f"tc_{name}_kept"] = total_correlation(codes, ~passive) if bool(enough.any()) else enough / 0
    noise = Generator(range(len(means)), stream="samples").to(means.device).normal(*means.shape[1:], dtype=means.dtype)
    for name, codes in (("means", means), ("samples", means + variances.sqrt() * noise)):
        found[f"mi_{name}"] = averaged_mutual_information(codes)
        found[f"mi_{name}_kept"] = averaged_mutual_information(codes, ~passive) if bool(enough.any()) else enough / 0
    return found


def course(correlations: Tensor, steps: Sequence[int], kept: Tensor) -> dict[str, Tensor]:
    """Mean absolute correlation of the means, of latents that end passive with those that do not, at recorded steps.

    Args:
        correlations: (times, members, latents, latents).
        steps: when, (times,).
        kept: which latents do not end passive, (members, latents).
    """
    pairs = (kept[:, :, None] & ~kept[:, None, :]).double()
    values = (correlations.abs() * pairs).sum((2, 3)) / pairs.sum((1, 2)).clamp(min=1)
    return {f"passive_at_{int(step)}": value for step, value in zip(steps, values, strict=True)}
