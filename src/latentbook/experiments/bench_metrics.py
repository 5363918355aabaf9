"""What the mutual information gap costs: densities under all components by broadcasting, in blocks, and merged."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from latentbook.experiments.bench import interleave
from latentbook.metrics import mig
from latentbook.metrics._mixtures import Components, cells, log_density, merge
from latentbook.random import Generator


@dataclass(frozen=True)
class Config:
    """What is timed."""

    sizes: tuple[int, ...] = (6, 12, 16, 16)
    """Levels of the factors; every combination is a data point. 3 6 40 32 32 is the size of dSprites."""
    active: int = 6
    """Latents that follow the factors."""
    inactive: int = 14
    """Latents that have collapsed to the prior."""
    samples: int = 400
    """Samples of q(z | x) for the densities of the two ways of this package."""
    broadcast_samples: int = 20
    """Samples for the broadcasting way, whose cost is exactly linear in them."""
    mig_samples: int = 10_000
    """Samples for the whole mutual information gap."""
    repetitions: int = 5
    """Times that all ways are run, in turn; medians are reported."""


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


def _exact(z: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    ones = torch.ones(len(means))
    columns = [Components(means[:, j, None], scales[:, j, None], ones) for j in range(means.shape[1])]
    return torch.stack([log_density(z[:, j, None], column) for j, column in enumerate(columns)], 1)


def _binned(z: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    columns = [merge(mean, scale, cells(mean, scale))[0] for mean, scale in zip(means.T, scales.T, strict=True)]
    return torch.stack([log_density(z[:, j, None], column) for j, column in enumerate(columns)], 1)


def _seconds(run: Callable[[], object]) -> Callable[[], float]:
    """A timer of ``run``, in seconds of one thread."""

    def timed() -> float:
        start = time.thread_time()
        run()
        return time.thread_time() - start

    return timed


def run(config: Config) -> pd.DataFrame:
    """Time all ways in turn; nanoseconds per sample, component and latent, ratios, errors, and seconds of a whole MIG.

    Errors are those of the entropies of the active latents, in nats, against float64 sums with a maximum taken first.
    """
    means, scales, factors = smooth_codes(config.sizes, config.active, config.inactive)
    active = slice(0, config.active)
    generator = Generator(0, stream="bench")
    points = generator.integers(len(means), config.samples)[0]
    noise = generator.normal(config.samples, config.active)[0]
    z = means[points, active] + scales[points, active] * noise
    few = z[: config.broadcast_samples]
    ways = {
        "broadcast": lambda: broadcast_log_density(few, means[:, active], scales[:, active]),
        "exact": lambda: _exact(z, means[:, active], scales[:, active]),
        "binned": lambda: _binned(z, means[:, active], scales[:, active]),
    }
    gaps = {
        f"MIG {name}": lambda name=name: mig(means, scales, factors, samples=config.mig_samples, estimator=name)
        for name in ("exact", "binned")
    }
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        truth = broadcast_log_density(few.double(), means[:, active].double(), scales[:, active].double())
        errors = {name: float((way()[: len(few)].mean(0) - truth.mean(0)).abs().max()) for name, way in ways.items()}
        timers = {name: _seconds(way) for name, way in {**ways, **gaps}.items()}
        seconds = interleave(timers, config.repetitions)
    finally:
        torch.set_num_threads(before)
    rows = []
    for name in ways:
        number = len(few) if name == "broadcast" else config.samples
        nanoseconds = 1e9 * statistics.median(seconds[name]) / (number * len(means) * config.active)
        whole = seconds.get(f"MIG {name}")
        rows.append(
            {
                "way": name,
                "ns": nanoseconds,
                "error in nats": errors[name],
                "s a MIG": statistics.median(whole) if whole else math.nan,
            }
        )
    table = pd.DataFrame(rows)
    table.insert(2, "times as fast", table["ns"][0] / table["ns"])
    return table.round({"ns": 3, "times as fast": 1, "s a MIG": 2})
