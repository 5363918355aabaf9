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
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentbook.knobs import Knob
from latentbook.models.likelihoods import GaussianLikelihood
from latentbook.models.priors import kl_divergence
from latentbook.models.vae import VAE
from latentbook.objectives.loss import Batch, Loss, observations
from latentbook.objectives.sampling import check_data, check_kl, draw, log_density, pieces, with_samples_axis
from latentbook.random import Generator, check_members


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
        check_kl(kl)
        samples = 2 if antithetic and samples == 1 else samples
        if samples < 1 or (antithetic and samples % 2):
            raise ValueError(f"samples is {samples}; expected a positive number, even with antithetic=True")
        self.beta = Knob(beta, name="beta")
        self.samples, self.antithetic, self.kl = samples, antithetic, kl

    def forward(self, model: VAE, batch: Batch, generator: Generator) -> Loss:
        """The loss ``-(reconstruction - beta KL)``, averaged over the batch, of every member.

        Raises:
            ValueError: if beta was given per member, for another number of members.
        """
        x, u = observations(batch)
        posterior, prior = model.encode(x, u), model.prior(u)
        z = draw(posterior, generator, self.samples, self.antithetic)
        reconstruction = model.likelihood.log_prob(model.decode(z), with_samples_axis(x)).mean((1, 2))
        kl = kl_divergence(posterior, prior) if self.kl == "auto" else None
        if kl is None:
            kl = (log_density(posterior, z) - log_density(prior, z)).mean(1)
        kl = kl.mean(1)
        value = self.beta(len(kl)) * kl - reconstruction
        parts = {"reconstruction": reconstruction, "kl": kl, "elbo": reconstruction - kl}
        return Loss(value, {name: term.detach() for name, term in parts.items()})


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


@torch.no_grad()
def evidence_lower_bound(
    model: VAE, x: Tensor, generator: Generator, *, samples: int = 16, u: Tensor | None = None
) -> ElboParts:
    """The ELBO of every data point, with ``samples`` posterior samples and the closed-form KL where there is one.

    Args:
        model: K members.
        x: data (n, features), or (members, n, features); like the generator, on any device.
        generator: one seed per member.
        samples: posterior samples per data point.
        u: auxiliary variable of every data point, for priors (and encoders) that take one; leading axes as x.

    Raises:
        ValueError: if x is empty, is not finite, or does not fit the model; if samples is not positive.
    """
    parts = []
    for piece in pieces(model, x, u, generator, samples):
        reconstruction = ratio = 0.0  # running sums: blocks can be many
        for likelihood, difference in piece.blocks():
            reconstruction = reconstruction + likelihood.sum(1) / samples
            ratio = ratio + difference.sum(1) / samples
        kl = kl_divergence(piece.posterior, piece.prior)
        parts.append((reconstruction, -ratio if kl is None else kl))
    reconstruction, kl = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    return ElboParts(reconstruction - kl, reconstruction, kl)


@torch.no_grad()
def importance_weighted_bound(
    model: VAE, x: Tensor, generator: Generator, *, samples: int = 256, u: Tensor | None = None
) -> Tensor:
    r"""The importance-weighted bound :math:`\log \frac1S \sum_s p(x, z_s) / q(z_s|x)` of every data point.

    In expectation it lies between the ELBO (S = 1) and log p(x), and rises with S (Burda et al., theorem 1).

    Args:
        model: K members.
        x: data (n, features), or (members, n, features); like the generator, on any device.
        generator: one seed per member.
        samples: S.
        u: auxiliary variable, as in :func:`evidence_lower_bound`.

    Returns:
        (members, n), in nats, on the model's device.

    Raises:
        ValueError: as :func:`evidence_lower_bound`.
    """
    bounds = []
    for piece in pieces(model, x, u, generator, samples):
        total = torch.tensor(-math.inf, dtype=torch.float64)  # running, and in double since blocks can be many
        for likelihood, ratio in piece.blocks():
            total = torch.logaddexp(total, (likelihood + ratio).logsumexp(1).double())
        bounds.append((total - math.log(samples)).to(likelihood.dtype))
    return torch.cat(bounds, dim=1)


def elbo_gap(model: VAE, x: Tensor, generator: Generator, *, samples: int = 256, u: Tensor | None = None) -> Gap:
    """The gap log p(x) - ELBO, estimated by the importance-weighted bound, with its standard error.

    Args:
        model: K members.
        x: data (n, features), n at least 2, or (members, n, features).
        generator: one seed per member; its position neither matters nor moves.
        samples: importance samples per data point; the ELBO uses as many.
        u: auxiliary variable, as in :func:`evidence_lower_bound`.

    Raises:
        ValueError: as :func:`evidence_lower_bound`, and for a single data point.
    """
    check_members(generator, model.members)
    check_data(model, x, u)
    if x.shape[-2] < 2:
        raise ValueError(f"x has {x.shape[-2]} data point(s); expected at least 2 for a standard error")
    lower = evidence_lower_bound(model, x, generator.child("elbo"), samples=samples, u=u).elbo
    bound = importance_weighted_bound(model, x, generator.child("bound"), samples=samples, u=u)
    difference = bound - lower
    error = difference.std(1) / math.sqrt(difference.shape[1])
    return Gap(difference.mean(1), error, lower.mean(1), bound.mean(1))


@torch.no_grad()
def three_entropies(model: VAE, x: Tensor, *, u: Tensor | None = None) -> Tensor:
    r"""The sum of entropies that the ELBO equals at a stationary point, (members,), in nats per data point.

    .. math::

        \frac1N \sum_n \mathrm{ELBO}(x_n) = \frac1N \sum_n H[q(z|x_n)] - H[p(z)] - H[p(x|z)]

    wherever the derivatives along two directions vanish: the learned precision gamma^2, and the common scale of a
    latent in encoder and decoder. Elsewhere the difference measures how far a run is from being stationary.

    Args:
        model: K members with a Gaussian likelihood and a normal prior.
        x: the data trained on, (n, features) or (members, n, features).
        u: auxiliary variable, as in :func:`evidence_lower_bound`; the prior's entropy is then a mean as well.

    Raises:
        TypeError: if the likelihood is not Gaussian, since its entropy then depends on z.
        ValueError: if x is empty or not finite.

    Source: S. Damm et al., *The ELBO of Variational Autoencoders Converges to a Sum of Entropies*, AISTATS 2023.
    """
    if not isinstance(model.likelihood, GaussianLikelihood):
        raise TypeError(f"model has a {type(model.likelihood).__name__}; expected a GaussianLikelihood")
    posteriors, priors = [], []
    for piece in pieces(model, x, u):
        posteriors.append(piece.posterior.entropy().sum(-1))
        prior = piece.prior.entropy()
        prior = prior if piece.prior.event_shape else prior.sum(-1)
        priors.append(prior.expand_as(posteriors[-1]))
    posterior, prior = (torch.cat(part, dim=1).mean(1) for part in (posteriors, priors))
    return posterior - prior - model.likelihood.entropy(x.shape[-1])
