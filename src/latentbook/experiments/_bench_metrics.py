"""What the mutual information gap costs: densities under all components by broadcasting, in blocks, and merged."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from latentbook.experiments._bench import Comparison, timed
from latentbook.metrics import mig
from latentbook.metrics._mixtures import Components, cells, log_density, merge
from latentbook.random import Generator

ACTIVE, INACTIVE = 6, 14  # latents that follow the factors, and that have collapsed to the prior
SAMPLES = 400
FEW = 20  # samples for the broadcasting way, whose cost is exactly linear in them


def comparisons(config) -> list[Comparison]:
    """The densities alone, and a whole mutual information gap; on the CPU, where the metrics work."""
    cpu = torch.device("cpu")
    means, scales, factors = smooth_codes(config.grid, ACTIVE, INACTIVE)
    active = slice(0, ACTIVE)
    z = draws(means[:, active], scales[:, active], SAMPLES)
    densities = {"broadcast": (broadcast_log_density, FEW), "exact": (exact, SAMPLES), "binned": (binned, SAMPLES)}
    ways = {
        way: lambda run=run, n=n: timed(
            lambda: run(z[:n], means[:, active], scales[:, active]), cpu, n * len(means) * ACTIVE
        )
        for way, (run, n) in densities.items()
    }
    gaps = {
        way: partial(timed, partial(mig, means, scales, factors, samples=config.samples, estimator=way), cpu)
        for way in ("exact", "binned")
    }
    return [
        Comparison("aggregate density", "ns a sample, component and latent", 1e9, ways),
        Comparison(f"MIG of {len(means)} codes, {config.samples} samples", "s", 1.0, gaps),
    ]


def draws(means: Tensor, scales: Tensor, n: int) -> Tensor:
    """Samples of posteriors chosen at random, (n, latents)."""
    generator = Generator(0, stream="bench")
    points = generator.integers(len(means), n)[0]
    return means[points] + scales[points] * generator.normal(n, means.shape[1])[0]


def smooth_codes(sizes: tuple[int, ...], active: int, inactive: int) -> tuple[Tensor, Tensor, Tensor]:
    """Means and scales (n, latents), float32, that are smooth functions of a grid of factors, and the grid itself.

    Each active latent follows one factor, bends a little with another, and has a scale of 0.02 to 0.2 that depends on
    both; inactive ones stay within a hundredth of the prior.
    """
    factors = torch.cartesian_prod(*(torch.arange(size, dtype=torch.int16) for size in sizes))
    unit = 2 * factors.float() / (torch.tensor(sizes) - 1).clamp(min=1) - 1
    means, scales = [], []
    for j in range(active):
        own, other = unit[:, -1 - j % len(sizes)], unit[:, -1 - (j + 1) % len(sizes)]
        means.append(1.5 * own + 0.3 * torch.sin(2 * other + j))
        scales.append(0.06 * torch.exp(0.6 * own * (-1) ** j + 0.5 * other))
    for j in range(inactive):
        means.append(0.01 * torch.sin(unit.sum(1) + j))
        scales.append(1 - 0.005 * unit[:, 0].abs())
    return torch.stack(means, 1), torch.stack(scales, 1), factors


def broadcast_log_density(z: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """``log 1/N sum_n N(z; mean_n, scale_n)`` of each latent, (samples, latents): all terms of ten samples at once.

    The plain way, as a reference: every block holds (n, latents, 10) numbers several times over.
    """
    parts = []
    for block in z.split(10):
        terms = torch.distributions.Normal(means[..., None], scales[..., None]).log_prob(block.T)
        parts.append(terms.logsumexp(0).T - math.log(len(means)))
    return torch.cat(parts)


def exact(z: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """The same in blocks that fit a core's cache."""
    ones = torch.ones(len(means))
    columns = [Components(means[:, j, None], scales[:, j, None], ones) for j in range(means.shape[1])]
    return torch.stack([log_density(z[:, j, None], column) for j, column in enumerate(columns)], 1)


def binned(z: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """The same after components that are nearly alike were merged."""
    columns = [merge(mean, scale, cells(mean, scale))[0] for mean, scale in zip(means.T, scales.T, strict=True)]
    return torch.stack([log_density(z[:, j, None], column) for j, column in enumerate(columns)], 1)
