"""What is measured during training, for all members at once, without touching the training noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentbook.metrics import code_correlation, sampled_covariance, total_correlation
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


def negative_elbo(
    x: Tensor, *, u: Tensor | None = None, every: int = 100, samples: int = 4, name: str = "negative_elbo"
) -> Recorder:
    """Mean negative ELBO on held-out data ``x`` (n, features), (members,), in nats: what early stopping watches.

    Where the model has an auxiliary variable, ``u`` is that of every row.
    """

    def measure(model: nn.Module, generator: Generator) -> Tensor:
        return -evidence_lower_bound(model, x, generator, samples=samples, u=u).elbo.mean(1)

    return Recorder(name, measure, every)


def gap(x: Tensor, *, u: Tensor | None = None, every: int = 500, samples: int = 64, name: str = "gap") -> Recorder:
    """Measured gap between log p(x) and the ELBO on ``x`` (n, features), (members,), in nats; ``u`` as above."""
    return Recorder(name, lambda model, generator: elbo_gap(model, x, generator, samples=samples, u=u).gap, every)


def latent_kl(x: Tensor, *, u: Tensor | None = None, every: int = 100, name: str = "latent_kl") -> Recorder:
    """Mean KL of each latent to the prior on ``x`` (n, features), (members, latents), in nats (factorised priors).

    Where the model has an auxiliary variable, ``u`` is that of every row.
    """

    def measure(model: nn.Module, generator: Generator) -> Tensor:
        return torch.distributions.kl_divergence(model.encode(x, u), model.prior(u)).mean(1)

    return Recorder(name, measure, every)


def variance_moments(
    x: Tensor, *, u: Tensor | None = None, every: int = 100, name: str = "variance_moments"
) -> Recorder:
    """Mean and variance over ``x`` of each latent's posterior variance, (members, 2, latents).

    They are what roles are made of: ``roles_from_moments(*records[time].unbind(1))``.

    Args:
        x: data (n, features), or (members, n, features).
        u: auxiliary variable, as for :meth:`~latentbook.models.VAE.encode`.
        every: steps between measurements.
        name: key in ``history.records``.
    """

    def measure(model: nn.Module, generator: Generator) -> Tensor:
        variances = model.encode(x, u).variance
        return torch.stack([variances.mean(1), variances.var(1, correction=0)], dim=1)

    return Recorder(name, measure, every)


def mean_correlation(
    x: Tensor, *, u: Tensor | None = None, every: int = 100, name: str = "mean_correlation"
) -> Recorder:
    """Correlations of the posterior means over ``x``, (members, latents, latents); arguments as above."""
    return Recorder(name, lambda model, generator: code_correlation(model.encode(x, u).mean), every)


def sampled_correlation(
    x: Tensor, *, u: Tensor | None = None, every: int = 100, name: str = "sampled_correlation"
) -> Recorder:
    """Correlations of posterior samples over ``x``, in expectation, (members, latents, latents); no sample is drawn."""

    def measure(model: nn.Module, generator: Generator) -> Tensor:
        posterior = model.encode(x, u)
        return code_correlation(sampled_covariance(posterior.mean, posterior.variance))

    return Recorder(name, measure, every)


def total_correlations(
    x: Tensor, *, u: Tensor | None = None, every: int = 100, name: str = "total_correlations"
) -> Recorder:
    """Gaussian total correlation over ``x`` of the means and of the samples, (members, 2), in nats."""

    def measure(model: nn.Module, generator: Generator) -> Tensor:
        posterior = model.encode(x, u)
        covariances = posterior.mean, sampled_covariance(posterior.mean, posterior.variance)
        return torch.stack([total_correlation(codes) for codes in covariances], dim=-1)

    return Recorder(name, measure, every)
