"""What can be measured of each kind of model: codes, bounds, contrast; and what cannot, with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, kl_divergence

from latentbook.jacobian import jacobian
from latentbook.models import VAE, BernoulliLikelihood, CouplingFlow, FactorAnalysis, NormalPrior
from latentbook.objectives import elbo_gap
from latentbook.random import Generator
from latentbook.report.codes import Codes

POINTS = 200  # rows on which the gap and the contrast are measured
_SAMPLES = 64


@dataclass
class Findings:
    """What a model of any kind says about itself.

    Attributes:
        means: codes, (members, n, latents), float64 on the CPU.
        variances: posterior variances, the same shape, None where there is no posterior.
        relative: the variances over those of the prior.
        kl: mean KL of each latent to the prior, (members, latents), None where unknown.
        bounds: log-likelihood, ELBO, gap and its standard error, by name, each (members,).
        jacobians: of the decoder in units of the noise, (members, points, features, latents), None where unknown.
        missing: quantity -> why it is missing.
    """

    means: Tensor
    variances: Tensor | None = None
    relative: Tensor | None = None
    kl: Tensor | None = None
    bounds: dict[str, Tensor] = field(default_factory=dict)
    jacobians: Tensor | None = None
    missing: dict[str, str] = field(default_factory=dict)


@torch.no_grad()
def measure(model: object, x: Tensor | None, u: Tensor | None, generator: Generator | None) -> Findings:
    """The findings for one of the models of this book, or for codes.

    Raises:
        TypeError: for another kind of model.
        ValueError: if the data are missing, or do not fit.
    """
    if isinstance(model, Codes):
        return _of_codes(model)
    if not isinstance(model, VAE | FactorAnalysis | CouplingFlow):
        kind = type(model).__name__
        raise TypeError(
            f"model is a {kind}; expected a VAE, a FactorAnalysis, a CouplingFlow, or Codes(means, variances)"
        )
    if not isinstance(x, Tensor) or x.dim() not in (2, 3) or x.shape[-2] < 2:
        found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"data is {found}; expected a data set, or a tensor (n, features) with at least 2 rows")
    if isinstance(model, VAE):
        return _of_vae(model, x, u, generator)
    return _of_factor_analysis(model, x) if isinstance(model, FactorAnalysis) else _of_flow(model, x)


def every_so_many(x: Tensor | None, most: int, axis: int) -> Tensor | None:
    """At most ``most`` entries of ``x`` along an axis, evenly spread; all where there are no more."""
    if x is None or x.shape[axis] <= most:
        return x
    return x.index_select(axis, torch.linspace(0, x.shape[axis] - 1, most).long().to(x.device))


def _of_codes(codes: Codes) -> Findings:
    reason = "arrays hold no model"
    missing = dict.fromkeys(("log-likelihood", "gap", "contrast"), reason)
    if codes.variances is None:
        missing["roles"] = missing["KL"] = "no variances were given"
        return Findings(codes.means, missing=missing)
    kl = 0.5 * (codes.means.square() + codes.variances - 1 - codes.variances.log()).mean(1)
    return Findings(codes.means, codes.variances, codes.variances, kl, missing=missing)


def _of_vae(model: VAE, x: Tensor, u: Tensor | None, generator: Generator | None) -> Findings:
    generator = Generator(range(model.members), stream="report") if generator is None else generator
    posterior, prior = model.encode(x, u), model.prior(None if u is None else u.to(model.device))
    missing, kl = {}, _kl_per_latent(posterior, prior, generator)
    if kl is None:
        missing["KL"] = "the prior is a joint one: its KL does not split into latents"
    axis = x.dim() - 2
    some, aux = (every_so_many(value, POINTS, axis) for value in (x, u))
    gap = elbo_gap(model, some, generator.child("gap"), samples=_SAMPLES, u=aux)
    bounds = {"log-likelihood": gap.bound, "ELBO": gap.elbo, "gap": gap.gap, "gap, standard error": gap.standard_error}
    z = model.encode(some, aux).mean
    relative = posterior.variance / prior.variance
    return Findings(
        *(_plain(value) for value in (posterior.mean, posterior.variance, relative)),
        kl=None if kl is None else _plain(kl),
        bounds={name: _plain(value) for name, value in bounds.items()},
        jacobians=_plain(_in_units_of_noise(model, z)),
        missing=missing,
    )


def _kl_per_latent(posterior: Normal, prior: Distribution, generator: Generator) -> Tensor | None:
    """Mean KL of each latent, (members, latents); from 64 samples where there is no closed form."""
    if prior.event_shape:
        return None
    try:
        return kl_divergence(posterior, prior).mean(1)
    except NotImplementedError:
        pass
    total, source = 0.0, generator.child("kl").to(posterior.mean.device)
    for _ in range(_SAMPLES):
        z = posterior.mean + posterior.stddev * source.normal(*posterior.mean.shape[1:], dtype=posterior.mean.dtype)
        total = total + (posterior.log_prob(z) - prior.log_prob(z)).mean(1) / _SAMPLES
    return total


def _in_units_of_noise(model: VAE, z: Tensor) -> Tensor:
    """Jacobians of the decoder at z; for Bernoulli pixels those of the logits, times sqrt(p (1 - p)) of each pixel.

    Then J^T J is what the likelihood adds to the posterior's precision, up to a common factor.
    """
    matrices = jacobian(model.decode, z)
    if isinstance(model.likelihood, BernoulliLikelihood):
        p = model.decode(z).sigmoid()
        matrices = matrices * (p * (1 - p)).sqrt()[..., None]
    return matrices


def _of_factor_analysis(model: FactorAnalysis, x: Tensor) -> Findings:
    posterior = model.mean_field(x)
    mean, variance = (value.reshape(-1, *value.shape[-2:]) for value in (posterior.mean, posterior.variance))
    rows = x.to(model.weights)
    moment = rows.mT @ rows / rows.shape[-2]
    bounds = {
        "log-likelihood": model.log_likelihood(moment),
        "ELBO": model.free_energy(moment),
        "gap": model.gap(),
        "gap, standard error": torch.zeros(()),
    }
    bounds = {name: _plain(value).reshape(-1).expand(len(mean)) for name, value in bounds.items()}
    kl = kl_divergence(Normal(mean, variance.sqrt()), NormalPrior(mean.shape[-1])().expand(mean.shape)).mean(1)
    scaled = model.weights / model.noise_variance.sqrt()[..., None]
    jacobians = _plain(scaled).reshape(-1, 1, *scaled.shape[-2:]).expand(len(mean), -1, -1, -1)
    mean, variance = _plain(mean), _plain(variance)
    return Findings(mean, variance, variance, _plain(kl), bounds, jacobians)


def _of_flow(model: CouplingFlow, x: Tensor) -> Findings:
    z = _plain(model.inverse(x))
    reason = "a flow is invertible: its codes have no variance, and every latent is in use"
    missing = {"roles": reason, "KL": reason, "gap": "the likelihood of a flow is exact, there is no ELBO"}
    bounds = {"log-likelihood": _plain(model.log_prob(x).mean(1))}
    some = every_so_many(model.inverse(x), POINTS, 1)
    return Findings(z, bounds=bounds, jacobians=_plain(model.jacobian(some)), missing=missing)


def _plain(value: Tensor) -> Tensor:
    return value.detach().to("cpu", torch.float64)


__all__ = ["POINTS", "Findings", "every_so_many", "measure"]
