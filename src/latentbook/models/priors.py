"""Priors: modules whose ``forward(u=None)`` returns a distribution over the latents.

A prior returns either a factorised distribution with batch shape (latents,) or (members, 1, latents), or a joint one
with event shape (latents,). :func:`log_prob` and :func:`kl_divergence` treat both alike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.distributions import kl_divergence as torch_kl_divergence

from latentbook.random import Generator


class NormalPrior(nn.Module):
    """The factorised normal prior N(0, variance).

    Args:
        size: number of latents.
        variance: one number, or one per latent.

    Raises:
        ValueError: if a variance is not positive and finite, or their number is not ``size``.
    """

    def __init__(self, size: int, variance: float | Tensor = 1.0) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size is {size}; expected at least one latent")
        variance = torch.as_tensor(variance, dtype=torch.get_default_dtype())
        if variance.shape not in ((), (size,)):
            raise ValueError(f"variance has shape {tuple(variance.shape)}; expected one number or {size}")
        if not bool((variance > 0).all() and torch.isfinite(variance).all()):
            raise ValueError(f"variance is {variance.tolist()}; expected positive, finite values")
        self.size = size
        self.register_buffer("loc", torch.zeros(size))
        self.register_buffer("scale", variance.sqrt().expand(size).clone())

    def forward(self, u: Tensor | None = None) -> Normal:
        """The distribution, batch shape (latents,); there is no dependence on ``u``."""
        return Normal(self.loc, self.scale, validate_args=False)

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draws of z, ``(members, *shape, latents)``."""
        noise = generator.normal(*shape, self.size, dtype=self.scale.dtype)
        return self.loc + self.scale * noise


def prior_precision(prior: nn.Module) -> Tensor:
    """The inverse variances of a normal prior, (1, 1, latents); a single 1 for priors of other kinds."""
    return prior.scale.pow(-2)[None, None] if isinstance(prior, NormalPrior) else torch.ones(())


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
