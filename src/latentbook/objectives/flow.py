"""Maximum likelihood for models whose density is exact, with or without an auxiliary variable."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from latentbook.objectives.loss import Batch, Loss, observations
from latentbook.random import Generator


class DensityModel(Protocol):
    """What the objective asks of a model: the density of x, given u where there is one."""

    def log_prob(self, x: Tensor, u: Tensor | None = None) -> Tensor:
        """The log-density of every x, (members, n), in nats."""


class FlowLikelihood(nn.Module):
    """The negative log-likelihood, an objective for ``fit``: of x, or of x given u for batches ``(x, u)``."""

    def forward(self, model: DensityModel, batch: Batch, generator: Generator | None = None) -> Loss:
        """The loss ``-log p(x | u)``, averaged over the batch, of every member.

        Nothing is random here, so ``generator`` is not used.
        """
        x, u = observations(batch)
        log_likelihood = model.log_prob(x, u).mean(-1)
        return Loss(-log_likelihood, {"log_likelihood": log_likelihood.detach()})
