"""Posterior samples, and the terms of the bounds at them, computed in pieces that fit into memory.

The noise is drawn in blocks whose size follows from the data and one member's network alone. So a member's numbers do
not depend on its neighbours, and a stack of twenty peaks at some hundred megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from latentbook.models.priors import kl_divergence, log_prob
from latentbook.models.vae import VAE, FreePosterior
from latentbook.nn import widest
from latentbook.random import Generator, check_members

_BLOCK = 2**17  # numbers that one member may hold at once
_TOTAL = 2**23  # numbers that all members together may hold in a network


def draw(posterior: Distribution, generator: Generator, samples: int, antithetic: bool = False) -> Tensor:
    """Posterior samples (members, samples, batch, latents); antithetic ones come in pairs loc +- scale * noise."""
    loc, scale = posterior.mean, posterior.stddev
    if samples == 1 and not antithetic:  # the usual training step: spare it the bookkeeping
        return (loc + scale * generator.normal(*loc.shape[1:], dtype=loc.dtype))[:, None]
    if antithetic:
        half = generator.normal(samples // 2, *loc.shape[1:], dtype=loc.dtype)
        noise = torch.cat([half, -half], dim=1)
    else:
        noise = generator.normal(samples, *loc.shape[1:], dtype=loc.dtype)
    return loc[:, None] + scale[:, None] * noise


def log_density(distribution: Distribution, z: Tensor) -> Tensor:
    """Log-density at samples (members, samples, batch, latents), for any batch shape that broadcasts to the rest."""
    return log_prob(distribution, z.transpose(0, 1)).transpose(0, 1)


def with_samples_axis(x: Tensor) -> Tensor:
    """Data (batch, features) or (members, batch, features), to broadcast against (members, samples, batch, ...)."""
    return x if x.dim() == 2 else x[:, None]


class OneSample(NamedTuple):
    """What a training step needs of one posterior sample for each data point.

    Attributes:
        z: the samples, (members, batch, latents).
        posterior: their law.
        prior: the prior, for the auxiliary variable where there is one.
        reconstruction: log p(x|z), (members, batch), in nats.
        kl: the KL of every data point, (members, batch), in nats.
    """

    z: Tensor
    posterior: Distribution
    prior: Distribution
    reconstruction: Tensor
    kl: Tensor


def check_kl(kl: str) -> None:
    """Raise unless ``kl`` names a way to compute the KL.

    Raises:
        ValueError: if it is neither "auto" nor "monte-carlo".
    """
    if kl not in ("auto", "monte-carlo"):
        raise ValueError(f"kl is {kl!r}; expected 'auto' or 'monte-carlo'")


def one_sample(model: VAE, x: Tensor, u: Tensor | None, generator: Generator, kl: str = "auto") -> OneSample:
    """The terms of the ELBO at one posterior sample for each data point, with gradients.

    Args:
        model: K members.
        x: data (batch, features), or (members, batch, features).
        u: auxiliary variable of every data point, or None.
        generator: one seed per member.
        kl: "auto" uses the closed form where there is one, "monte-carlo" always the sample.
    """
    posterior, prior = model.encode(x, u), model.prior(u)
    z = draw(posterior, generator, 1)[:, 0]
    reconstruction = model.likelihood.log_prob(model.decode(z), x)
    divergence = kl_divergence(posterior, prior) if kl == "auto" else None
    if divergence is None:
        divergence = log_prob(posterior, z) - log_prob(prior, z)
    return OneSample(z, posterior, prior, reconstruction, divergence)


def check_data(model: VAE, x: Tensor, u: Tensor | None = None) -> None:
    """Raise unless x is finite data with at least one row, and u, where given, has as many.

    Raises:
        TypeError: if x is not a tensor of the model's type.
        ValueError: for the rest.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x is a {type(x).__name__}; expected a tensor (n, features)")
    if x.dtype != model.dtype:
        raise TypeError(f"x has dtype {x.dtype}; expected {model.dtype}, the model's own")
    if x.dim() not in (2, 3) or 0 in x.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (n, features) or (members, n, features), not empty")
    bad = 0 if x.is_meta else int((~x.isfinite()).sum())
    if bad:
        raise ValueError(f"x has {bad} value(s) that are NaN or infinite; expected finite numbers")
    if u is not None and u.shape[: x.dim() - 1] != x.shape[:-1]:
        raise ValueError(f"u has shape {tuple(u.shape)}; expected {tuple(x.shape[:-1])} first, as x has")


@dataclass(frozen=True)
class Piece:
    """Some data points of the model, with all that the bounds need of them."""

    model: VAE
    x: Tensor
    posterior: Distribution
    prior: Distribution
    generator: Generator | None
    samples: int
    width: int

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The terms log p(x|z) and log p(z) - log q(z|x), each (members, some, n), until all samples are drawn."""
        size = max(1, _BLOCK // (self.width * self.x.shape[-2]))
        for start in range(0, self.samples, size):
            z = draw(self.posterior, self.generator, min(size, self.samples - start))
            yield self._log_likelihood(z), log_density(self.prior, z) - log_density(self.posterior, z)

    def _log_likelihood(self, z: Tensor) -> Tensor:
        rows, x = _rows(self.model, z.shape[1], self.width), with_samples_axis(self.x)
        parts = zip(z.split(rows, dim=2), x.split(rows, dim=x.dim() - 2), strict=True)
        return torch.cat([self.model.likelihood.log_prob(self.model.decode(z), x) for z, x in parts], dim=2)


def pieces(
    model: VAE, x: Tensor, u: Tensor | None = None, generator: Generator | None = None, samples: int = 1
) -> Iterator[Piece]:
    """The data in pieces, on the model's device, after checking the arguments.

    Args:
        model: K members.
        x: data (n, features), or (members, n, features).
        u: auxiliary variable of every data point; leading axes as x.
        generator: one seed per member; None where no samples are drawn.
        samples: posterior samples per data point.
    """
    check_data(model, x, u)
    if samples < 1:
        raise ValueError(f"samples is {samples}; expected a positive number")
    if generator is not None:
        check_members(generator, model.members)
        generator = generator.to(model.device)
    width, axis = max(x.shape[-1], widest(model)), x.dim() - 2
    rows = max(1, _BLOCK // width)
    whole = model.encode(x, u) if isinstance(model.encoder, FreePosterior) else None  # wants all data points at once
    for start in range(0, x.shape[axis], rows):
        part = slice(start, start + rows)
        some, aux = (None if v is None else v[(slice(None),) * axis + (part,)].to(model.device) for v in (x, u))
        if whole is None:
            posterior = _posterior(model, some, aux, width)
        else:
            posterior = Normal(whole.mean[:, part], whole.stddev[:, part], validate_args=False)
        yield Piece(model, some, posterior, model.prior(aux), generator, samples, width)


def _rows(model: VAE, samples: int, width: int) -> int:
    """How many data points all members may take through a network at once."""
    return max(1, _TOTAL // (model.members * samples * width))


def _posterior(model: VAE, x: Tensor, u: Tensor | None, width: int) -> Distribution:
    """The posteriors of some data points, encoded in parts where there are many members."""
    axis, rows = x.dim() - 2, _rows(model, 1, width)
    if x.shape[axis] <= rows:
        return model.encode(x, u)
    us = [None] * -(-x.shape[axis] // rows) if u is None else u.split(rows, dim=axis)
    parts = [model.encode(*pair) for pair in zip(x.split(rows, dim=axis), us, strict=True)]
    mean, scale = (torch.cat([getattr(q, name) for q in parts], dim=1) for name in ("mean", "stddev"))
    return Normal(mean, scale, validate_args=False)
