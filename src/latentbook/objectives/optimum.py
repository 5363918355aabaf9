r"""The best that any encoder could do: the optimal diagonal Gaussian posterior of every data point, by itself.

.. math:: \mathrm{ELBO}^*(x) = \max_{\mu, \sigma}\; \mathbb E_{z \sim N(\mu, \operatorname{diag} \sigma^2)}
    [\underbrace{\log p(x|z) + \log p(z)}_{h(z)}] + \tfrac12 \sum_k \log(2 \pi e\, \sigma_k^2)

The expectation is a Gauss-Hermite quadrature. So there is no noise, and no network stands between a decoder and its
ELBO. The search is Newton's method in the variables :math:`\mu_k / \sigma_k` and :math:`\log \sigma_k`. With
:math:`z = \mu + \sigma \varepsilon` and :math:`g_k = \sigma_k\, \partial_k h`, repeated use of Stein's identity,
:math:`\mathbb E[g\, \varepsilon_l] = \mathbb E[\partial g / \partial \varepsilon_l]`, gives gradient and Hessian from
first derivatives of h alone:

.. math::

    \text{gradient } \big( \mathbb E[g_k],\; 1 + \mathbb E[g_k \varepsilon_k] \big), \qquad \text{Hessian }
    \begin{pmatrix} \mathbb E[g_k \varepsilon_l] & \mathbb E[g_k (\varepsilon_l^2 - 1)] \\
    \cdot & \mathbb E[g_k \varepsilon_k (\varepsilon_l^2 - 1)] \end{pmatrix}.

A step that does not raise the ELBO is shortened.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from latentbook.jacobian import jacobian
from latentbook.metrics.self_consistency import predicted_variance
from latentbook.models.priors import log_prob
from latentbook.nn import per_member

_BLOCK = 2**17  # points of the quadrature that go through the decoder at once
_LEAST_CURVATURE = 0.1  # directions in which the ELBO bends less (it bends by 1 or more at a Gaussian optimum)


class OptimalPosterior(NamedTuple):
    """The best diagonal Gaussian posteriors, all float64.

    Attributes:
        elbo: ELBO* of every data point, (..., n), in nats.
        mean: (..., n, latents).
        log_variance: (..., n, latents).
        remaining: what the next full step promises, to second order, (..., n), in nats: about how far the ELBO is
            from its optimum. Not small where the search has not converged.
    """

    elbo: Tensor
    mean: Tensor
    log_variance: Tensor
    remaining: Tensor


@torch.no_grad()
def optimal_posterior(
    decode: Callable[[Tensor], Tensor],
    x: Tensor,
    prior: Distribution,
    gamma2: float | Tensor,
    *,
    start: Tensor,
    nodes: int = 7,
    steps: int = 100,
    tolerance: float = 1e-9,
) -> OptimalPosterior:
    r"""ELBO* of every data point under a Gaussian likelihood, :math:`p(x|z) = N(f(z), \gamma^{-2} I)`.

    The search begins at ``start`` with the variances that self-consistency predicts there, and finds a local optimum.

    Args:
        decode: f, a differentiable row-wise function, (rows, latents) to (rows, features) or (members, rows, latents)
            to (members, rows, features), in float64.
        x: data (n, features), or (members, n, features).
        prior: a factorised distribution with batch shape (latents,) or (members, 1, latents), or a joint one.
        gamma2: the decoder's precision, one number or one per member.
        start: where the means begin, (n, latents) or (members, n, latents), such as the true latents of x.
        nodes: of the quadrature along each latent; their number is to the power of the latents in all.
        steps: most evaluations of the decoder.
        tolerance: a data point is done when the next step promises less than this, in nats.

    Returns:
        The optimum, with the leading axes of ``start``.

    Raises:
        ValueError: if shapes do not fit, gamma2 is not positive, or there is no node or step.
    """
    x, start = x.detach().double(), start.detach().double()
    gamma2 = torch.as_tensor(gamma2, dtype=torch.float64, device=x.device)
    _check(x, start, gamma2, nodes, steps)
    x, latents = x.expand(*start.shape[:-1], x.shape[-1]), start.shape[-1]
    rows = max(1, _BLOCK // (math.prod(start.shape[:-2]) * nodes**latents))
    parts = []
    for x_part, mean in zip(x.split(rows, dim=-2), start.split(rows, dim=-2), strict=True):
        evaluate = _Quadrature(decode, x_part, prior, gamma2, latents, nodes)
        variance = predicted_variance(jacobian(decode, mean), gamma2, 1 / prior.variance)
        parts.append(_climb(evaluate, mean, variance.log() / 2, steps, tolerance))
    elbo, mean, log_variance, remaining = zip(*parts, strict=True)
    return OptimalPosterior(*map(torch.cat, (elbo, mean, log_variance, remaining), (-1, -2, -2, -1)))


def _check(x: Tensor, start: Tensor, gamma2: Tensor, nodes: int, steps: int) -> None:
    if start.dim() not in (2, 3) or x.shape[:-1] not in (start.shape[:-1], start.shape[1:-1]) or 0 in start.shape:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and start {tuple(start.shape)}; expected (n, features) or "
            "(members, n, features), and (n, latents) or (members, n, latents)"
        )
    if not bool((gamma2 > 0).all()) or not bool(gamma2.isfinite().all()):
        raise ValueError(f"gamma2 is {gamma2.tolist()}; expected positive, finite precisions")
    if gamma2.dim() > 1 or (gamma2.dim() and (start.dim() < 3 or len(gamma2) != len(start))):
        found, wanted = tuple(gamma2.shape), tuple(start.shape)
        raise ValueError(f"gamma2 has shape {found}; expected one number or (members,), as in start {wanted}")
    if nodes < 1 or steps < 1:
        raise ValueError(f"nodes is {nodes} and steps is {steps}; expected at least 1")


class _Quadrature:
    """The ELBO of some data points as a function of their posteriors, by tensor-product Gauss-Hermite quadrature."""

    def __init__(self, decode, x: Tensor, prior: Distribution, gamma2: Tensor, latents: int, nodes: int) -> None:
        self.decode, self.x, self.prior, self.gamma2 = decode, x, prior, per_member(gamma2, x.dim() + 1)
        line, weight = (torch.as_tensor(v).to(x) for v in np.polynomial.hermite_e.hermegauss(nodes))
        self.noise = torch.cartesian_prod(*[line] * latents).view(-1, latents)
        self.weight = torch.cartesian_prod(*[weight / weight.sum()] * latents).view(-1, latents).prod(-1)

    def __call__(self, mean: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The ELBO (..., n), its gradient (..., n, 2k) and Hessian (..., n, 2k, 2k) in means / sigma and log sigma."""
        scale = log_scale.exp()[..., None, :]
        with torch.enable_grad():
            z = (mean[..., None, :] + scale * self.noise).requires_grad_()
            rows = z.flatten(-3, -2)
            error = self.x[..., None, :] - self.decode(rows).view(*z.shape[:-1], -1)
            precise = self.gamma2 * error.square() - (self.gamma2 / (2 * math.pi)).log()
            h = log_prob(self.prior, rows).view(z.shape[:-1]) - 0.5 * precise.sum(-1)
            (slope,) = torch.autograd.grad(h.sum(), z)
        first = self.weight[:, None] * scale * slope
        second, square = first * self.noise, self.noise.square() - 1
        gradient = torch.cat([first.sum(-2), 1 + second.sum(-2)], dim=-1)
        above = torch.cat([first.mT @ self.noise, first.mT @ square], dim=-1)
        below = torch.cat([(first.mT @ square).mT, second.mT @ square], dim=-1)
        hessian = torch.cat([above, below], dim=-2)
        entropy = (log_scale + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
        return h.detach() @ self.weight + entropy, gradient, (hessian + hessian.mT) / 2


def _full_step(gradient: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """The Newton step, turned uphill and not longer than 1 in any log-scale, and the nats it promises."""
    values, axes = torch.linalg.eigh(hessian)
    along = (axes.mT @ gradient[..., None]) / values[..., None].abs().clamp(min=_LEAST_CURVATURE)
    step = (axes @ along)[..., 0]
    longest = step[..., step.shape[-1] // 2 :].abs().amax(-1, keepdim=True)
    return step / longest.clamp(min=1), 0.5 * (gradient * step).sum(-1)


def _climb(evaluate: _Quadrature, mean: Tensor, log_scale: Tensor, steps: int, tolerance: float) -> OptimalPosterior:
    """Climb until every data point is done, or for that many evaluations."""
    best = torch.full_like(mean[..., 0], -math.inf)
    damping, remaining = torch.ones_like(best), torch.full_like(best, math.inf)
    trial, step = (mean, log_scale), torch.zeros_like(torch.cat([mean, log_scale], dim=-1))
    for _ in range(steps):
        elbo, gradient, hessian = evaluate(*trial)
        better = elbo > best
        row = better[..., None]
        mean, log_scale = torch.where(row, trial[0], mean), torch.where(row, trial[1], log_scale)
        full, promise = _full_step(gradient.where(row, 0.0), hessian.where(row[..., None], 0.0))
        best, step, remaining = (
            torch.where(which, new, old)
            for which, new, old in ((better, elbo, best), (row, full, step), (better, promise, remaining))
        )
        damping = torch.where(better, 2 * damping, damping / 4).clamp(max=1)
        if bool((remaining < tolerance).all()):
            break
        move, turn = (damping[..., None] * step).chunk(2, dim=-1)
        trial = mean + log_scale.exp() * move, log_scale + turn
    return OptimalPosterior(best, mean, 2 * log_scale, remaining)
