"""What a structured prior costs: log-density with its gradient, against torch's normal law."""

from __future__ import annotations

from functools import partial

import torch
from torch.distributions import Distribution, Normal

from latentbook.distributions import GeneralizedNormal, LpNested
from latentbook.experiments._bench import Comparison, Timer, timed
from latentbook.models.priors import log_prob
from latentbook.random import Generator
from latentbook.training import TrainConfig

SUBSPACES, WIDTH, CALLS = 5, 4, 20


def comparisons(config) -> list[Comparison]:
    """The cost of one call for a batch."""
    device, size = TrainConfig(device=config.device).resolve_device(), SUBSPACES * WIDTH
    options = {"validate_args": False}  # as during training
    zero, one = torch.zeros(size, device=device), torch.ones(size, device=device)
    equal, uneven = [WIDTH] * SUBSPACES, [WIDTH + 1, *[WIDTH] * (SUBSPACES - 2), WIDTH - 1]
    laws = {
        "normal": Normal(zero, one, **options),
        "generalised normal": GeneralizedNormal(zero, one, 2.2 * one, **options),
        "equal subspaces": LpNested.isa(equal, inner=2.2, outer=2.1, scale=one[0], **options),
        "unequal subspaces": LpNested.isa(uneven, inner=2.2, outer=2.1, scale=one[0], **options),
    }
    z = Generator(0, device=device).normal(config.batch_size, size)[0].requires_grad_()
    ways = {name: partial(_calls, law, z) for name, law in laws.items()}
    return [Comparison("prior's log-density and gradient", "us a call", 1e6, ways)]


def _calls(law: Distribution, z: torch.Tensor) -> Timer:
    def run() -> None:
        for _ in range(CALLS):
            torch.autograd.grad(log_prob(law, z).sum(), z)

    return timed(run, z.device, CALLS)
