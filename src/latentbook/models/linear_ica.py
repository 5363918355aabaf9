r"""Linear ICA with Student-t sources: mean-field variational EM, and the exact likelihood to compare it with.

.. math:: p(z_k) = t_\nu(z_k), \qquad x \mid z \sim N(W z, \Psi), \qquad
    q_i(z) = \prod_k N(z_k;\, m_{ik},\, s_{ik}^2) \text{ for every data point } i.

Both steps maximise the free energy per data point, with KL weight :math:`\beta`. The prior's expectation under q is a
Gauss-Hermite sum. Because :math:`\log(1 + z^2/\nu)` is concave in :math:`z^2`, its tangent there bounds every node's
term by a quadratic in m and s, whose maximum has a closed form: each update can only raise the free energy.

Everything is vectorised over data points and over leading batch axes (seeds, values of beta).

Source: the experiment is that of appendix B of J. Stühmer, R. E. Turner, S. Nowozin, *Independent Subspace Analysis for
Unsupervised Learning of Disentangled Representations*, arXiv:1909.05063. It does not state directions, norms, noise or
sample size; those used in the book are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import gammainccinv, gammaincinv, stdtrit
from torch import Tensor

from latentbook.models.linear import FactorAnalysis, as_noise, floating, positive
from latentbook.random import Generator

_CHUNK = 2**21  # numbers held at once by the exact likelihood


def directions(degrees: Sequence[float] | Tensor) -> Tensor:
    """Weights (2, latents) whose columns are unit vectors at these angles, in degrees, float64.

    Example:
        >>> directions([0, 90]).round(decimals=6).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    angle = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], -2)


def student_t_mixture(
    n: int, weights: Tensor, noise_variance: float | Tensor, degrees_of_freedom: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Draw ``x`` (members, n, features) and its Student-t sources ``s`` (members, n, latents) for x = W s + noise.

    Args:
        n: rows for every member.
        weights: W, (features, latents) or (members, features, latents).
        noise_variance: one number or one per feature.
        degrees_of_freedom: of the sources; their variance is infinite up to 2, their fourth moment up to 4.
        generator: one stream per member.

    Raises:
        ValueError: if ``n`` is below 1, or a size or number is not valid.
    """
    model, nu = FactorAnalysis(weights, noise_variance), _check_degrees(degrees_of_freedom)
    if n < 1:
        raise ValueError(f"n is {n}; expected at least 1 row")
    features, latents = model.weights.shape[-2:]
    uniform = generator.uniform(n, latents, dtype=torch.float64)
    s = torch.from_numpy(stdtrit(nu, uniform.cpu().numpy())).to(model.weights)
    noise = generator.normal(n, features, dtype=model.weights.dtype)
    return s @ model.weights.mT + noise * model.noise_variance.sqrt()[..., None, :], s


def _check_degrees(degrees_of_freedom: float) -> float:
    if not 0 < float(degrees_of_freedom) < math.inf:
        raise ValueError(f"degrees_of_freedom is {degrees_of_freedom}; expected a positive, finite number")
    return float(degrees_of_freedom)


def _log_constant(nu: float) -> float:
    return math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi)


def _angle(pair: Tensor) -> Tensor:
    cosine = pair.prod(-1).sum(-1).abs() / pair.norm(dim=-2).prod(-1)
    return torch.rad2deg(cosine.clamp(max=1).acos())


@dataclass(frozen=True)
class ICAFit:
    """What :func:`fit_linear_ica` did, iteration by iteration; the leading axes after the first are batch axes.

    Attributes:
        weights: W at the start and after every iteration, (iterations + 1, ..., features, latents).
        free_energy: after the E step with these weights, (iterations + 1, ...), nats per data point.
        means: of q at the end, (..., n, latents).
        variances: of q at the end, (..., n, latents).
    """

    weights: Tensor
    free_energy: Tensor
    means: Tensor
    variances: Tensor

    @property
    def norms(self) -> Tensor:
        """Column norms, (iterations + 1, ..., latents)."""
        return self.weights.norm(dim=-2)

    def pruned(self, threshold: float = 0.2) -> Tensor:
        """Which columns are shorter than ``threshold`` times the longest, (iterations + 1, ..., latents).

        The norm tells, not the posterior variance: a short column that lives on serves a few outliers.
        """
        return self.norms < threshold * self.norms.amax(-1, keepdim=True)

    def angle(self, first: int, second: int) -> Tensor:
        """Angle between two columns as lines, 0 to 90 degrees, (iterations + 1, ...); NaN where one is zero."""
        return _angle(self.weights[..., [first, second]])

    def longest_angle(self) -> Tensor:
        """Angle between the two longest columns, 0 to 90 degrees, (iterations + 1, ...): those that survive."""
        longest = self.norms.topk(2, dim=-1).indices[..., None, :]
        return _angle(self.weights.take_along_dim(longest, dim=-1))


class _Expectation:
    """The E step for Student-t sources, at fixed data, noise and beta."""

    def __init__(self, x: Tensor, noise: Tensor, nu: float, beta: Tensor, nodes: int) -> None:
        points, weights = np.polynomial.hermite_e.hermegauss(nodes)
        self.points, self.node_weights = torch.from_numpy(points).to(x), torch.from_numpy(weights).to(x)
        self.node_weights = self.node_weights / self.node_weights.sum()
        self.moments = torch.stack([self.node_weights * self.points**power for power in range(3)], -1)
        self.x, self.noise, self.nu, self.beta = x, noise, nu, beta[..., None, None]

    def _nodes(self, mean: Tensor, scale: Tensor) -> Tensor:
        return torch.addcmul(mean[..., None], scale[..., None], self.points).square_()

    def update(self, weights: Tensor, mean: Tensor, scale: Tensor, sweeps: int) -> tuple[Tensor, Tensor]:
        """Raise the free energy by ``sweeps`` exact maximisations of the quadratic bound, over m and then over s."""
        scaled = weights / self.noise[..., None]
        explained, target = scaled.mT @ weights, self.x @ scaled
        likelihood = explained.diagonal(dim1=-2, dim2=-1)[..., None, :]
        for _ in range(sweeps):
            tangent = self._nodes(mean, scale).add_(self.nu).reciprocal_()
            curvature, cross, square = (self.beta[..., None] * (self.nu + 1) * tangent @ self.moments).unbind(-1)
            matrix = explained[..., None, :, :] + torch.diag_embed(curvature)
            mean = torch.cholesky_solve((target - cross * scale)[..., None], torch.linalg.cholesky(matrix))[..., 0]
            half, total = 0.5 * cross * mean, likelihood + square
            scale = ((half.square() + self.beta * total).sqrt() - half) / total
        return mean, scale

    def free_energy(self, weights: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        """F_beta, (...), nats per data point."""
        precision = self.noise.reciprocal()[..., None, :]
        residual = self.x - mean @ weights.mT
        spread = scale.square() @ weights.square().mT
        reconstruction = -0.5 * ((residual.square() + spread) * precision - (precision / (2 * math.pi)).log()).sum(-1)
        prior = -0.5 * (self.nu + 1) * (self._nodes(mean, scale).div_(self.nu).log1p_() @ self.node_weights)
        entropy = scale.log() + 0.5 * (1 + math.log(2 * math.pi))
        return (reconstruction + self.beta[..., 0] * (prior + entropy + _log_constant(self.nu)).sum(-1)).mean(-1)


def _best_weights(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """The M step, exact for any diagonal noise: W = (x^T m)(m^T m + diag sum s^2)^-1."""
    second = mean.mT @ mean + torch.diag_embed(scale.square().sum(-2))
    return torch.linalg.solve(second, mean.mT @ x).mT


def fit_linear_ica(
    x: Tensor,
    weights: Tensor,
    noise_variance: float | Tensor,
    *,
    degrees_of_freedom: float,
    beta: float | Tensor = 1.0,
    iterations: int = 60,
    start_mean: Tensor | None = None,
    sweeps: int = 8,
    first_sweeps: int = 200,
    nodes: int = 16,
) -> ICAFit:
    """Mean-field variational EM for linear ICA with Student-t sources; the free energy never decreases.

    The noise is kept. The posteriors first settle at the starting weights; an iteration is then an exact M step for the
    weights and ``sweeps`` monotone updates of all posteriors.

    Args:
        x: data, (..., n, features).
        weights: W to start from, (..., features, latents).
        noise_variance: its variances, the diagonal of Psi: a number or (..., features).
        degrees_of_freedom: nu of the sources; a very large one makes them Gaussian.
        beta: weight of the KL, a number or (...).
        iterations: number of M steps.
        start_mean: posterior means to start from, (..., n, latents), such as the true sources; by default those of
            factor analysis with these weights.
        sweeps: updates of the posteriors in an iteration.
        first_sweeps: updates of the posteriors before the first iteration.
        nodes: Gauss-Hermite nodes.

    Returns:
        The path. Its batch axes are those of ``x``, ``weights`` and ``beta``, broadcast: with x (3, n, 2) and beta
        (2, 1), say, they are (2, 3).

    Raises:
        ValueError: if sizes disagree, noise, beta or degrees of freedom are not positive, a count is below its minimum,
            or a number is not finite.
    """
    counts = {
        "iterations": (iterations, 0),
        "sweeps": (sweeps, 1),
        "first_sweeps": (first_sweeps, 1),
        "nodes": (nodes, 2),
    }
    for name, (count, least) in counts.items():
        if count < least:
            raise ValueError(f"{name} is {count}; expected at least {least}")
    nu = _check_degrees(degrees_of_freedom)
    x, weights, noise = floating(x=x, weights=weights, noise_variance=noise_variance)
    model = FactorAnalysis(weights, noise)
    if x.dim() < 2 or x.shape[-1] != weights.shape[-2]:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (..., n, {weights.shape[-2]})")
    beta = positive("beta", floating(beta=beta)[0].to(x))
    mean = model.mean_field(x).mean if start_mean is None else floating(start_mean=start_mean)[0].to(x)
    try:
        batch = torch.broadcast_shapes(x.shape[:-2], model.batch_shape, beta.shape, mean.shape[:-2])
        mean = mean.expand(*batch, x.shape[-2], weights.shape[-1])
    except RuntimeError as error:
        shapes = ", ".join(str(tuple(value.shape)) for value in (x, weights, beta, mean))
        raise ValueError(
            f"x, weights, beta and start_mean have shapes {shapes}; expected (..., n, features), "
            "(..., features, latents), (...) and (..., n, latents) with leading axes that go together"
        ) from error
    weights, noise = weights.expand(*batch, *weights.shape[-2:]), as_noise(noise, weights.shape[-2])
    expectation = _Expectation(x, noise, nu, beta, nodes)
    likelihood = (weights.square() / noise[..., None]).sum(-2)[..., None, :]
    scale = (likelihood / beta[..., None, None] + (nu + 1) / nu).rsqrt().expand_as(mean)
    mean, scale = expectation.update(weights, mean, scale, first_sweeps)
    path, energy = [weights], [expectation.free_energy(weights, mean, scale)]
    for _ in range(iterations):
        weights = _best_weights(x, mean, scale)
        mean, scale = expectation.update(weights, mean, scale, sweeps)
        path.append(weights)
        energy.append(expectation.free_energy(weights, mean, scale))
    return ICAFit(torch.stack(path), torch.stack(energy), mean, scale.square())


def linear_ica_log_likelihood(
    x: Tensor, weights: Tensor, noise_variance: float | Tensor, *, degrees_of_freedom: float, nodes: int = 32
) -> Tensor:
    r"""Log-likelihood of every data point under linear ICA with Student-t sources, (..., n), nats, by quadrature.

    A Student-t variable is a Gaussian of random precision, :math:`\tau \sim \mathrm{Gamma}(\nu/2, \nu/2)`. Given the
    precisions, x is Gaussian, so only they are integrated over:

    .. math:: p(x) = \int N\big(x;\, 0,\, W \operatorname{diag}(\tau)^{-1} W^\top + \Psi\big)
        \prod_k p(\tau_k)\, \mathrm d\tau_k,

    by the trapezoidal rule in :math:`\log \tau`, in float64. The work grows as ``nodes ** latents``: for up to three
    latents. With 32 nodes and nu = 3.5 the error is below 1e-5 nats.

    Args:
        x: data, (..., n, features).
        weights: W, (features, latents).
        noise_variance: its variances, the diagonal of Psi: a number or (features,).
        degrees_of_freedom: nu of the sources.
        nodes: quadrature nodes for each source.

    Raises:
        ValueError: if sizes disagree or a number is not valid.
    """
    nu = _check_degrees(degrees_of_freedom)
    if nodes < 2:
        raise ValueError(f"nodes is {nodes}; expected at least 2")
    x, weights, noise = (t.double() for t in floating(x=x, weights=weights, noise_variance=noise_variance))
    model = FactorAnalysis(weights, noise)
    features, latents = weights.shape[-2:]
    if model.batch_shape:
        raise ValueError(f"weights has shape {tuple(weights.shape)}; expected one matrix (features, latents)")
    if x.dim() < 2 or x.shape[-1] != features:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (..., n, {features})")
    signal_to_noise = float(weights.detach().square().sum(0).max() / model.noise_variance.min())
    log_tau, log_weight = _precision_nodes(nu, nodes, max(signal_to_noise, 1e-3) * 1e-11)  # beyond it float64 fails
    grid = torch.cartesian_prod(*[log_tau] * latents).reshape(-1, latents)
    log_weights = torch.cartesian_prod(*[log_weight] * latents).reshape(-1, latents).sum(-1)
    covariance = (weights * (-grid).exp()[:, None, :]) @ weights.mT + torch.diag_embed(model.noise_variance)
    factor = torch.linalg.cholesky(covariance)
    log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    quadratic = torch.cholesky_inverse(factor).flatten(-2)
    constant = log_weights - log_det - 0.5 * features * math.log(2 * math.pi)
    flat = x.reshape(-1, features)
    products = (flat[:, :, None] * flat[:, None, :]).flatten(-2)
    rows = max(1, _CHUNK // len(constant))
    parts = [
        torch.logsumexp(torch.addmm(constant, part, quadratic.mT, alpha=-0.5), -1) for part in products.split(rows)
    ]
    return torch.cat(parts).reshape(x.shape[:-1])


def _precision_nodes(nu: float, nodes: int, least: float) -> tuple[Tensor, Tensor]:
    """Nodes in log tau >= log least and the logarithms of their weights, for tau ~ Gamma(nu / 2, rate nu / 2)."""
    half = nu / 2
    lowest = max(math.log(gammaincinv(half, 1e-10) / half), math.log(least))
    highest = math.log(gammainccinv(half, 1e-14) / half)
    log_tau = torch.linspace(lowest, highest, nodes, dtype=torch.float64)
    log_weight = half * (log_tau - torch.expm1(log_tau))
    return log_tau, torch.log_softmax(log_weight, 0)
