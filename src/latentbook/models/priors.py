"""Priors: modules whose ``forward(u=None)`` returns a distribution over the latents.

A prior returns either a factorised distribution with batch shape (latents,) or (members, 1, latents), or a joint one
with event shape (latents,). :func:`log_prob` and :func:`kl_divergence` treat both alike.

**Priors on the unit interval.** A Gaussian posterior does not fit into [0, 1]. So the model's latent variable is then
the *logit* v of the latent z that is meant: the prior gives the law of v, the posterior is a Gaussian in v (z is
logistic-normal), and the decoder begins with the sigmoid. Renaming a variable changes neither KL nor ELBO.
:meth:`Prior.natural` takes v back to z.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Laplace, Normal
from torch.distributions import kl_divergence as torch_kl_divergence

from latentbook.distributions.logit_beta import LogitBeta
from latentbook.nn import stack_size
from latentbook.random import Generator


def _per_latent(name: str, value: float | Tensor, size: int) -> Tensor:
    """One positive, finite number per latent, (size,), after checking them and ``size``."""
    if size < 1:
        raise ValueError(f"size is {size}; expected at least one latent")
    value = torch.as_tensor(value, dtype=torch.get_default_dtype())
    if value.shape not in ((), (size,)):
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected one number or {size}")
    if not bool((value > 0).all() and torch.isfinite(value).all()):
        raise ValueError(f"{name} is {value.tolist()}; expected positive, finite values")
    return value.expand(size).clone()


class Prior(nn.Module):
    """What the priors here have in common.

    Args:
        size: number of latents.

    Attributes:
        size: number of latents.
        on_unit_interval: whether the latent variable of the model is the logit of a latent in [0, 1].
        conditional: whether the law depends on an auxiliary variable u, which must then be given.
    """

    on_unit_interval = False
    conditional = False

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @property
    def members(self) -> int | None:
        """Number of members it has laws for, None where one law serves all."""
        return stack_size(self)

    def natural(self, v: Tensor) -> Tensor:
        """The latent that is meant, z, from the model's latent variable v: its sigmoid, or v itself."""
        return v.sigmoid() if self.on_unit_interval else v

    def variance(self) -> Tensor:
        """Variances of the model's latent variable, (latents,) or (members, 1, latents)."""
        return self().variance


class NormalPrior(Prior):
    """The factorised normal prior N(0, variance).

    Args:
        size: number of latents.
        variance: one number, or one per latent.

    Raises:
        ValueError: if a variance is not positive and finite, or their number is not ``size``.
    """

    def __init__(self, size: int, variance: float | Tensor = 1.0) -> None:
        super().__init__(size)
        self.register_buffer("scale", _per_latent("variance", variance, size).sqrt())
        self.register_buffer("loc", torch.zeros(size))

    def forward(self, u: Tensor | None = None) -> Normal:
        """The distribution, batch shape (latents,); there is no dependence on ``u``."""
        return Normal(self.loc, self.scale, validate_args=False)

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draws of z, ``(members, *shape, latents)``."""
        noise = generator.normal(*shape, self.size, dtype=self.scale.dtype)
        return self.loc + self.scale * noise


class LaplacePrior(Prior):
    r"""The factorised Laplace prior, :math:`p(z) \propto e^{-|z| / b}` with the variance :math:`2 b^2`.

    Args:
        size: number of latents.
        variance: one number, or one per latent.

    Raises:
        ValueError: if a variance is not positive and finite, or their number is not ``size``.
    """

    def __init__(self, size: int, variance: float | Tensor = 1.0) -> None:
        super().__init__(size)
        self.register_buffer("scale", (_per_latent("variance", variance, size) / 2).sqrt())
        self.register_buffer("loc", torch.zeros(size))

    def forward(self, u: Tensor | None = None) -> Laplace:
        """The distribution, batch shape (latents,); there is no dependence on ``u``."""
        return Laplace(self.loc, self.scale, validate_args=False)

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draws of z, ``(members, *shape, latents)``."""
        return self().icdf(generator.uniform(*shape, self.size, dtype=self.scale.dtype))


class BetaPrior(Prior):
    r"""Independent Beta laws on [0, 1]; the latent variable of the model is their logit.

    .. math:: z_k \sim \mathrm{Beta}(\alpha_k, \beta_k), \qquad v_k = \log\frac{z_k}{1 - z_k}.

    Args:
        size: number of latents.
        alpha: one positive number, or one per latent.
        beta: the same.
        learned: learn alpha and beta (their logarithms) with the other parameters, each member its own.
        members: number of members; needed when they are learned.

    Raises:
        ValueError: if a parameter is not positive and finite, if their number is not ``size``, or if ``members`` is
            missing for a learned prior.
    """

    on_unit_interval = True

    def __init__(
        self,
        size: int,
        alpha: float | Tensor = 1.0,
        beta: float | Tensor = 1.0,
        *,
        learned: bool = False,
        members: int | None = None,
    ) -> None:
        super().__init__(size)
        if learned and (members is None or members < 1):
            raise ValueError(f"members is {members}; expected the number of members, since the prior is learned")
        for name, value in (("alpha", alpha), ("beta", beta)):
            logarithm = _per_latent(name, value, size).log()
            if learned:
                setattr(self, f"log_{name}", nn.Parameter(logarithm.expand(members, 1, size).clone()))
            else:
                self.register_buffer(f"log_{name}", logarithm)

    def forward(self, u: Tensor | None = None) -> LogitBeta:
        """The law of v, batch shape (latents,), learned (members, 1, latents); no dependence on ``u``."""
        return LogitBeta(self.log_alpha.exp(), self.log_beta.exp(), validate_args=False)

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draws of v, ``(members, *shape, latents)``, by the inverse distribution function."""
        uniform = generator.uniform(*shape, self.size, dtype=self.log_alpha.dtype)
        alpha, beta = (p.exp().view(-1, *(1,) * len(shape), self.size) for p in (self.log_alpha, self.log_beta))
        return LogitBeta(alpha, beta, validate_args=False).icdf(uniform)


class UniformPrior(BetaPrior):
    """Independent uniform laws on [0, 1], Beta(1, 1); the latent variable of the model is their logit.

    Args:
        size: number of latents.

    Raises:
        ValueError: if ``size`` is below 1.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)


def log_prob(distribution: Distribution, z: Tensor) -> Tensor:
    """Log-density of whole latent vectors, (..., latents) -> (...), factorised or joint, in nats."""
    value = distribution.log_prob(z)
    return value if distribution.event_shape else value.sum(-1)


def kl_divergence(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """KL(posterior || prior) in closed form, (members, batch), in nats; None where there is no closed form."""
    try:
        value = torch_kl_divergence(posterior, prior)
    except NotImplementedError:
        return None
    return value if posterior.event_shape else value.sum(-1)
