r"""The evidence lower bound, the importance-weighted bound, and the gap between them.

For one data point

.. math::

    \mathrm{ELBO}(x) = \mathbb E_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x)\,\|\,p(z))
    = \log p(x) - \mathrm{KL}(q(z|x)\,\|\,p(z|x)).

Everything is in nats per data point.

Sources: D. P. Kingma, M. Welling, *Auto-Encoding Variational Bayes*, ICLR 2014; Y. Burda, R. Grosse,
R. Salakhutdinov, *Importance Weighted Autoencoders*, ICLR 2016.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from latentbook.models.likelihoods import GaussianLikelihood
from latentbook.models.priors import kl_divergence, log_prob
from latentbook.models.vae import VAE
from latentbook.nn import Knob
from latentbook.objectives.loss import Batch, Loss, observations
from latentbook.random import Generator, check_members

_CHUNK = 2**19  # numbers a member may hold at once while bounds are evaluated


def _draw(loc: Tensor, scale: Tensor, generator: Generator, samples: int, antithetic: bool) -> Tensor:
    """Posterior samples (members, samples, batch, latents); antithetic ones come in pairs loc +- scale * noise."""
    if samples == 1 and not antithetic:  # the usual training step: spare it the bookkeeping
        return (loc + scale * generator.normal(*loc.shape[1:], dtype=loc.dtype))[:, None]
    if antithetic:
        half = generator.normal(samples // 2, *loc.shape[1:], dtype=loc.dtype)
        noise = torch.cat([half, -half], dim=1)
    else:
        noise = generator.normal(samples, *loc.shape[1:], dtype=loc.dtype)
    return loc[:, None] + scale[:, None] * noise


def _with_samples_axis(x: Tensor) -> Tensor:
    return x if x.dim() == 2 else x[:, None]


class ELBO(nn.Module):
    """The negative ELBO as an objective for ``fit``, with ``beta`` weighing the KL.

    Args:
        beta: weight of the KL; one number, or one per member. 1 gives the bound itself.
        samples: posterior samples per data point.
        antithetic: draw them in pairs mirrored at the mean, which removes the noise of all odd terms; ``samples``
            must then be even, and 1 counts as one pair.
        kl: "auto" uses the closed form where there is one, "monte-carlo" always the samples.

    Raises:
        ValueError: for a negative beta, an odd number of antithetic samples, or an unknown ``kl``.
    """

    def __init__(
        self,
        beta: float | Sequence[float] | Tensor = 1.0,
        *,
        samples: int = 1,
        antithetic: bool = False,
        kl: str = "auto",
    ) -> None:
        super().__init__()
        if kl not in ("auto", "monte-carlo"):
            raise ValueError(f"kl is {kl!r}; expected 'auto' or 'monte-carlo'")
        samples = 2 if antithetic and samples == 1 else samples
        if samples < 1 or (antithetic and samples % 2):
            raise ValueError(f"samples is {samples}; expected a positive number, even with antithetic=True")
        self.beta = Knob(beta, name="beta")
        self.samples, self.antithetic, self.kl = samples, antithetic, kl

    def forward(self, model: VAE, batch: Batch, generator: Generator) -> Loss:
        """The loss ``-(reconstruction - beta KL)``, averaged over the batch, of every member."""
        x, u = observations(batch)
        posterior, prior = model.encode(x), model.prior(u)
        z = _draw(posterior.mean, posterior.stddev, generator, self.samples, self.antithetic)
        reconstruction = model.likelihood.log_prob(model.decode(z), _with_samples_axis(x)).mean((1, 2))
        kl = kl_divergence(posterior, prior) if self.kl == "auto" else None
        if kl is None:
            kl = (_log_density(posterior, z) - _log_density(prior, z)).mean(1)
        kl = kl.mean(1)
        value = self.beta() * kl - reconstruction
        parts = {"reconstruction": reconstruction, "kl": kl, "elbo": reconstruction - kl}
        return Loss(value, {name: term.detach() for name, term in parts.items()})


def _log_density(distribution: Distribution, z: Tensor) -> Tensor:
    """Log-density at samples (members, samples, batch, latents), for any batch shape that broadcasts to the rest."""
    return log_prob(distribution, z.transpose(0, 1)).transpose(0, 1)


class ElboParts(NamedTuple):
    """The ELBO of every data point and its parts, each (members, n), in nats."""

    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor


class Gap(NamedTuple):
    """The measured gap between log p(x) and the ELBO, each (members,), in nats per data point.

    Attributes:
        gap: mean difference between the importance-weighted bound and the ELBO. The bound lies below log p(x) in
            expectation, so this is an estimate from below.
        standard_error: of the mean difference over the data points.
        elbo: mean ELBO.
        bound: mean importance-weighted bound.
    """

    gap: Tensor
    standard_error: Tensor
    elbo: Tensor
    bound: Tensor


def _pieces(x: Tensor, samples: int) -> Iterator[Tensor]:
    """The data in pieces along its data axis; the size depends on one member alone, so that its noise does too."""
    if samples < 1:
        raise ValueError(f"samples is {samples}; expected a positive number")
    return iter(x.split(max(1, _CHUNK // x.shape[-1]), dim=x.dim() - 2))


def _blocks(
    model: VAE, x: Tensor, posterior: Distribution, generator: Generator, samples: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The terms log p(x|z) and log p(z) - log q(z|x), each (members, some samples, n), until all samples are drawn."""
    prior, size = model.prior(), max(1, _CHUNK // (x.shape[-1] * x.shape[-2]))
    for start in range(0, samples, size):
        count = min(size, samples - start)
        z = _draw(posterior.mean, posterior.stddev, generator, count, antithetic=False)
        likelihood = model.likelihood.log_prob(model.decode(z), _with_samples_axis(x))
        yield likelihood, _log_density(prior, z) - _log_density(posterior, z)


@torch.no_grad()
def evidence_lower_bound(model: VAE, x: Tensor, generator: Generator, *, samples: int = 16) -> ElboParts:
    """The ELBO of every data point, with ``samples`` posterior samples and the closed-form KL where there is one.

    Args:
        model: K members.
        x: data (n, features), or (members, n, features).
        generator: one seed per member.
        samples: posterior samples per data point.
    """
    check_members(generator, model.members)
    parts = []
    for piece in _pieces(x, samples):
        posterior = model.encode(piece)
        sums = [(a.sum(1), b.sum(1)) for a, b in _blocks(model, piece, posterior, generator, samples)]
        reconstruction, ratio = (sum(block) / samples for block in zip(*sums, strict=True))
        kl = kl_divergence(posterior, model.prior())
        parts.append((reconstruction, -ratio if kl is None else kl))
    reconstruction, kl = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    return ElboParts(reconstruction - kl, reconstruction, kl)


@torch.no_grad()
def importance_weighted_bound(model: VAE, x: Tensor, generator: Generator, *, samples: int = 256) -> Tensor:
    r"""The importance-weighted bound :math:`\log \frac1S \sum_s p(x, z_s) / q(z_s|x)` of every data point.

    In expectation it lies between the ELBO (S = 1) and log p(x), and rises with S (Burda et al., theorem 1).

    Args:
        model: K members.
        x: data (n, features), or (members, n, features).
        generator: one seed per member.
        samples: S.

    Returns:
        (members, n), in nats.
    """
    check_members(generator, model.members)
    bounds = []
    for piece in _pieces(x, samples):
        blocks = _blocks(model, piece, model.encode(piece), generator, samples)
        logarithms = [(likelihood + ratio).logsumexp(1) for likelihood, ratio in blocks]
        bounds.append(torch.stack(logarithms, dim=1).logsumexp(1) - math.log(samples))
    return torch.cat(bounds, dim=1)


def elbo_gap(model: VAE, x: Tensor, generator: Generator, *, samples: int = 256) -> Gap:
    """The gap log p(x) - ELBO, estimated by the importance-weighted bound, with its standard error.

    Args:
        model: K members.
        x: data (n, features), n at least 2.
        generator: one seed per member.
        samples: importance samples per data point; the ELBO uses as many.
    """
    if x.shape[-2] < 2:
        raise ValueError(f"x has {x.shape[-2]} data point(s); expected at least 2 for a standard error")
    lower = evidence_lower_bound(model, x, generator.child("elbo"), samples=samples).elbo
    bound = importance_weighted_bound(model, x, generator.child("bound"), samples=samples)
    difference = bound - lower
    error = difference.std(1) / math.sqrt(difference.shape[1])
    return Gap(difference.mean(1), error, lower.mean(1), bound.mean(1))


@torch.no_grad()
def three_entropies(model: VAE, x: Tensor) -> Tensor:
    r"""The sum of entropies that the ELBO equals at a stationary point, (members,), in nats per data point.

    .. math::

        \frac1N \sum_n \mathrm{ELBO}(x_n) = \frac1N \sum_n H[q(z|x_n)] - H[p(z)] - H[p(x|z)]

    wherever the derivatives along two directions vanish: the learned precision gamma^2, and the common scale of a
    latent in encoder and decoder. Elsewhere the difference measures how far a run is from being stationary.

    Args:
        model: K members with a Gaussian likelihood and a normal prior.
        x: the data trained on, (n, features).

    Raises:
        TypeError: if the likelihood is not Gaussian, since its entropy then depends on z.

    Source: S. Damm et al., *The ELBO of Variational Autoencoders Converges to a Sum of Entropies*, AISTATS 2023.
    """
    if not isinstance(model.likelihood, GaussianLikelihood):
        raise TypeError(f"model has a {type(model.likelihood).__name__}; expected a GaussianLikelihood")
    posterior = model.encode(x).entropy().sum(-1).mean(1)
    prior = model.prior().entropy().sum(-1)
    return posterior - prior - model.likelihood.entropy(x.shape[-1])
