"""What a structured prior costs: log-density with its gradient against torch's normal law, on one CPU thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch.distributions import Distribution, Normal

from latentbook.distributions import GeneralizedNormal, LpNested
from latentbook.experiments.bench import interleave
from latentbook.models.priors import log_prob
from latentbook.random import Generator


@dataclass(frozen=True)
class Config:
    """What is timed."""

    batch_size: int = 2048
    """Latent vectors at a time."""
    subspaces: int = 5
    """Subspaces of the prior of independent subspaces."""
    width: int = 4
    """Latents in each."""
    calls: int = 20
    """Evaluations that are timed together."""
    repetitions: int = 15
    """Times that all laws are run, in turn; medians are reported."""


def _call_seconds(law: Distribution, z: torch.Tensor, calls: int) -> Callable[[], float]:
    """A timer of the log-density of all rows and its gradient in z, in seconds of one thread."""

    def run() -> float:
        start = time.thread_time()
        for _ in range(calls):
            torch.autograd.grad(log_prob(law, z).sum(), z)
        return (time.thread_time() - start) / calls

    return run


def run(config: Config) -> pd.DataFrame:
    """Time log-densities in turn and return microseconds a call and their ratio to the normal law."""
    size = config.subspaces * config.width
    z = Generator(0).normal(config.batch_size, size)[0].requires_grad_()
    options = {"validate_args": False}  # as during training
    widths = [config.width] * config.subspaces
    uneven = [config.width + 1, *widths[1:-1], config.width - 1] if config.subspaces > 1 < config.width else widths
    laws = {
        "normal": Normal(torch.zeros(size), torch.ones(size), **options),
        "generalised normal": GeneralizedNormal(torch.zeros(size), 1.0, 2.2, **options),
        "equal subspaces": LpNested.isa(widths, inner=2.2, outer=2.1, **options),
        "unequal subspaces": LpNested.isa(uneven, inner=2.2, outer=2.1, **options),
    }
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ways = {name: _call_seconds(law, z, config.calls) for name, law in laws.items()}
        seconds = interleave(ways, config.repetitions)
    finally:
        torch.set_num_threads(before)
    medians = {name: 1e6 * statistics.median(values) for name, values in seconds.items()}
    table = pd.DataFrame({"law": list(medians), "us a call": list(medians.values())})
    table["times the normal law"] = table["us a call"] / medians["normal"]
    return table.round({"us a call": 0, "times the normal law": 2})
