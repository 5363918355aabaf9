"""What is measured during training, for all members at once, without touching the training noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentbook.objectives.elbo import elbo_gap, evidence_lower_bound
from latentbook.random import Generator


@dataclass(frozen=True)
class Recorder:
    """A measurement taken every so often.

    Attributes:
        name: key in ``history.records``.
        measure: ``measure(model, generator) -> (members, ...)``, called without gradients. The generator is a stream
            of its own, the same at every measurement, so that curves are smooth.
        every: steps between measurements; the first is before training, the last after it.
    """

    name: str
    measure: Callable[[nn.Module, Generator], Tensor]
    every: int = 100

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name is empty; expected a name for the recorder")
        if self.every < 1:
            raise ValueError(f"every is {self.every}; expected a positive number of steps")

    def due(self, step: int, steps: int) -> bool:
        """Whether to measure after ``step`` steps of ``steps``."""
        return step % self.every == 0 or step == steps

    @torch.no_grad()
    def __call__(self, model: nn.Module, generator: Generator) -> Tensor:
        """The measurement, (members, ...), on the CPU.

        Raises:
            ValueError: if the result has no leading members axis.
        """
        value = self.measure(model, generator.child(self.name))
        if not isinstance(value, Tensor):
            raise TypeError(f"recorder {self.name!r} returned {value!r}; expected a tensor ({generator.members}, ...)")
        if value.dim() < 1 or value.shape[0] != generator.members:
            raise ValueError(
                f"recorder {self.name!r} returned shape {tuple(value.shape)}; expected ({generator.members}, ...)"
            )
        return value.detach().cpu().clone()


def negative_elbo(x: Tensor, *, every: int = 100, samples: int = 4, name: str = "negative_elbo") -> Recorder:
    """Mean negative ELBO on held-out data ``x`` (n, features), (members,), in nats: what early stopping watches."""

    def measure(model: nn.Module, generator: Generator) -> Tensor:
        return -evidence_lower_bound(model, x, generator, samples=samples).elbo.mean(1)

    return Recorder(name, measure, every)


def gap(x: Tensor, *, every: int = 500, samples: int = 64, name: str = "gap") -> Recorder:
    """Measured gap between log p(x) and the ELBO on ``x`` (n, features), (members,), in nats."""
    return Recorder(name, lambda model, generator: elbo_gap(model, x, generator, samples=samples).gap, every)


def latent_kl(x: Tensor, *, every: int = 100, name: str = "latent_kl") -> Recorder:
    """Mean KL of each latent to the prior on ``x`` (n, features), (members, latents), in nats (factorised priors)."""

    def measure(model: nn.Module, generator: Generator) -> Tensor:
        return torch.distributions.kl_divergence(model.encode(x), model.prior()).mean(1)

    return Recorder(name, measure, every)
