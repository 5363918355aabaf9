"""Encoders: modules that give the posterior q(z|x) of a variational autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from latentbook.nn import Linear, keep_exact, per_member


class GaussianEncoder(nn.Module):
    """x -> the diagonal Gaussian posterior q(z|x) = N(mean, diag exp(log variance)).

    Args:
        network: gives means and log-variances side by side, (members, batch, 2 latents), when ``log_variance`` is
            None; else the means alone.
        log_variance: a network of its own for the log-variances (separate nets fit better, a shared one is cheaper).
        whiten: a fixed map applied to x first.
    """

    def __init__(
        self, network: nn.Module, log_variance: nn.Module | None = None, *, whiten: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.network, self.log_variance, self.whiten = network, log_variance, whiten
        keep_exact(network)
        if log_variance is not None:
            keep_exact(log_variance)

    def forward(self, x: Tensor, shift: Tensor | float = 0.0) -> Normal:
        """The posterior of x (batch, features) or (members, batch, features); ``shift`` is added to log-variances."""
        x = x if self.whiten is None else self.whiten(x)
        if self.log_variance is None:
            mean, log_variance = self.network(x).chunk(2, dim=-1)
        else:
            mean, log_variance = self.network(x), self.log_variance(x)
        return Normal(mean, ((log_variance + shift) / 2).exp(), validate_args=False)

    @torch.no_grad()
    def start_log_variance(self, value: Tensor | float) -> None:
        """Set the output bias of the log-variance to ``value``: a number, (members,) or (members or 1, 1, latents).

        Raises:
            ValueError: if ``value`` has another shape.
        """
        last: Linear = (self.network if self.log_variance is None else self.log_variance).last
        bias = last.bias[..., last.bias.shape[-1] // 2 :] if self.log_variance is None else last.bias
        value = torch.as_tensor(value, dtype=bias.dtype)
        shaped = value if value.dim() == 3 else per_member(value, 3)
        if value.dim() not in (0, 1, 3) or any(n not in (1, m) for n, m in zip(shaped.shape, bias.shape, strict=False)):
            members = bias.shape[0]
            raise ValueError(f"log-variance starts at shape {tuple(value.shape)}; expected one number or ({members},)")
        bias.copy_(shaped.expand_as(bias))


class FreePosterior(nn.Module):
    """A posterior of its own for every data point, in the place of an encoder: no amortisation.

    Trained with the decoder held fixed, it gives the best diagonal Gaussian for each data point, and so separates the
    approximation gap from the amortisation gap (C. Cremer, X. Li, D. Duvenaud, *Inference Suboptimality in Variational
    Autoencoders*, ICML 2018).

    Args:
        start: posteriors to start from, batch shape (members, n, latents), such as ``model.encode(x)``.
    """

    def __init__(self, start: Normal) -> None:
        super().__init__()
        self.mean = nn.Parameter(start.mean.detach().clone())
        self.log_variance = nn.Parameter(2 * start.stddev.detach().log())

    def forward(self, x: Tensor, shift: Tensor | float = 0.0) -> Normal:
        """The posteriors; ``x`` must be all the data points, in their order."""
        if x.shape[-2] != self.mean.shape[1]:
            raise ValueError(f"x has {x.shape[-2]} data points; expected all {self.mean.shape[1]} at once, in order")
        return Normal(self.mean, ((self.log_variance + shift) / 2).exp(), validate_args=False)
