r"""Worked cases of factor analysis: the optimum over the weights, a rotation in the plane, an over-complete model.

Source: appendix B of J. Stühmer, R. E. Turner, S. Nowozin, *Independent Subspace Analysis for Unsupervised Learning of
Disentangled Representations*, arXiv:1909.05063. The rotation printed there multiplies the weights from the left, which
changes the likelihood; the statement holds for rotations from the right.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from latentbook.models.linear import FactorAnalysis, as_noise, as_second_moment, floating, positive


def probabilistic_pca(
    second_moment: Tensor, latents: int, noise_variance: float | Tensor | None = None, beta: float | Tensor = 1.0
) -> FactorAnalysis:
    r"""The linear VAE with the greatest beta-weighted free energy among all weights, for equal noise.

    With eigenvalues :math:`\lambda_1 \ge \lambda_2 \ge \dots` of the second moment S, column k of W lies along the k-th
    eigenvector, and

    .. math:: \|w_k\|^2 = \max(\lambda_k - \beta \gamma^{-2}, 0), \qquad
        \gamma^{-2} = \min_{m \le d,\; \beta m < D} \frac{\sum_{j > m} \lambda_j}{D - \beta m},

    the second where the noise variance is learned, too (D features, d latents): the free energy that remains has one
    stationary point in it, at which m is the number of latents in use. At beta = 1 and d < D it is the mean of the
    discarded eigenvalues (M. E. Tipping, C. M. Bishop, *Probabilistic Principal Component Analysis*, JRSS B 1999).
    Where a whole range is equally good (beta = 1, d >= D) it is the largest. The columns are orthogonal: no gap.

    Args:
        second_moment: S, the mean of x x^T without subtraction of the mean, (..., features, features).
        latents: number of columns of W; those beyond the rank that the data support are zero.
        noise_variance: a number or (...), or None to learn it.
        beta: weight of the KL, a number or (...).

    Returns:
        The model; its ``weights`` are (..., features, latents), each column with its largest entry positive.

    Raises:
        ValueError: if ``latents`` is below 1, ``second_moment`` is not a second moment, noise or beta is not positive,
            or the noise is to be learned where the latents can explain the data without any.
    """
    moment = as_second_moment(second_moment)
    if isinstance(latents, bool) or not isinstance(latents, int) or latents < 1:
        raise ValueError(f"latents is {latents!r}; expected an integer of at least 1")
    beta = positive("beta", floating(beta=beta)[0].to(moment))
    eigenvalues, directions = torch.linalg.eigh(moment)
    eigenvalues, directions = eigenvalues.flip(-1).clamp(min=0), directions.flip(-1)
    if noise_variance is None:
        noise = _best_noise(eigenvalues, latents, beta)
    else:
        noise = positive("noise_variance", floating(noise_variance=noise_variance)[0].to(moment))
    features, used = moment.shape[-1], min(latents, moment.shape[-1])
    sign = directions.gather(-2, directions.abs().argmax(-2, keepdim=True)).sign()
    norms = (eigenvalues[..., :used] - (beta * noise)[..., None]).clamp(min=0).sqrt()
    weights = (directions * sign)[..., :used] * norms[..., None, :]
    empty = weights.new_zeros(*weights.shape[:-1], latents - used)
    noise = noise.expand(weights.shape[:-2])[..., None]
    return FactorAnalysis(torch.cat([weights, empty], dim=-1), as_noise(noise, features))


def _best_noise(eigenvalues: Tensor, latents: int, beta: Tensor) -> Tensor:
    """The noise variance that maximises the free energy, (...), for eigenvalues (..., features), largest first."""
    features = eigenvalues.shape[-1]
    total = eigenvalues.sum(-1, keepdim=True)
    unexplained = torch.cat([total, total - eigenvalues.cumsum(-1)], dim=-1)[..., : latents + 1]
    freedom = features - beta[..., None] * torch.arange(unexplained.shape[-1]).to(eigenvalues)
    candidates = torch.where(freedom > 0, unexplained / freedom, math.inf)
    noise = candidates.min(-1).values
    if not bool((noise > 1e3 * torch.finfo(noise.dtype).eps * eigenvalues[..., 0]).all()):
        raise ValueError(
            f"noise_variance is None, but latents={latents} explain the data without noise; expected fewer latents or "
            "a given noise variance"
        )
    return noise


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def rotated(
    a: float | Tensor,
    c: float | Tensor,
    angle: float | Tensor,
    noise_variance: float | Tensor,
    *,
    side: Literal["right", "left"] = "right",
) -> FactorAnalysis:
    r"""Factor analysis of the plane with rotated weights, :math:`W = \operatorname{diag}(a, c)\, R(\theta)`.

    A rotation from the right turns the latents: the likelihood does not change, the free energy does (by
    :func:`rotation_gap`). ``side="left"`` gives :math:`R(\theta) \operatorname{diag}(a, c)`, which turns the data: the
    likelihood changes, and there is never a gap.

    Args:
        a: first column norm at angle 0, a number or (...).
        c: second column norm at angle 0, a number or (...).
        angle: :math:`\theta` in radians, a number or (...).
        noise_variance: of both features, a number or (...).
        side: where the rotation stands.

    Returns:
        A model whose leading axes are those of the arguments, broadcast.

    Raises:
        ValueError: if noise is not positive, a number is not finite, or ``side`` is unknown.
    """
    a, c, angle, noise = torch.broadcast_tensors(*floating(a=a, c=c, angle=angle, noise_variance=noise_variance))
    if side not in ("right", "left"):
        raise ValueError(f"side is {side!r}; expected 'right' or 'left'")
    scale, rotation = torch.diag_embed(torch.stack([a, c], -1)), _rotation(angle)
    return FactorAnalysis(scale @ rotation if side == "right" else rotation @ scale, noise[..., None])


def rotation_gap(
    a: float | Tensor,
    c: float | Tensor,
    angle: float | Tensor,
    noise_variance: float | Tensor,
    beta: float | Tensor = 1.0,
) -> Tensor:
    r"""Free energy lost when the weights of :func:`rotated` turn away from angle 0, (...), nats per data point.

    .. math:: F_\beta(0) - F_\beta(\theta) = \tfrac\beta2 \log\Big(1 + \frac{(A - C)^2 \sin^2 2\theta}{4 A C}\Big),
        \qquad A = 1 + \frac{\gamma^2 a^2}{\beta}, \quad C = 1 + \frac{\gamma^2 c^2}{\beta}.

    It is zero at every angle when :math:`a = c`.

    Args:
        a: first column norm at angle 0.
        c: second column norm at angle 0.
        angle: in radians.
        noise_variance: :math:`\gamma^{-2}` of both features.
        beta: weight of the KL.

    Raises:
        ValueError: if noise or beta is not positive, or a number is not finite.
    """
    a, c, angle, noise, beta = floating(a=a, c=c, angle=angle, noise_variance=noise_variance, beta=beta)
    scale = positive("beta", beta) * positive("noise_variance", noise)
    first, second = 1 + a.square() / scale, 1 + c.square() / scale
    return 0.5 * beta * ((first - second).square() * (2 * angle).sin().square() / (4 * first * second)).log1p()


def overcomplete(alpha: float | Tensor, noise_variance: float | Tensor, rho: float | Tensor = 1.0) -> FactorAnalysis:
    r"""Three latents for two features, of which two share a direction (equation 23 of the source).

    .. math:: W = \frac1{\sqrt2} \begin{pmatrix} \alpha & \sqrt{1 - \alpha^2} & \rho \\
        \alpha & \sqrt{1 - \alpha^2} & -\rho \end{pmatrix}.

    The likelihood is the same for every alpha; the free energy is not (:func:`overcomplete_gap`). At alpha = 0 the
    first latent is pruned.

    Args:
        alpha: share of the first latent, a number or (...) in [0, 1].
        noise_variance: of both features, a number or (...).
        rho: norm of the third column, a number or (...).

    Raises:
        ValueError: if ``alpha`` is outside [0, 1], noise is not positive, or a number is not finite.
    """
    alpha, noise, rho = torch.broadcast_tensors(*floating(alpha=alpha, noise_variance=noise_variance, rho=rho))
    _check_alpha(alpha)
    rest = (1 - alpha.square()).sqrt()
    weights = torch.stack([torch.stack([alpha, rest, rho], -1), torch.stack([alpha, rest, -rho], -1)], -2)
    return FactorAnalysis(weights / math.sqrt(2), noise[..., None])


def overcomplete_gap(alpha: float | Tensor, noise_variance: float | Tensor, beta: float | Tensor = 1.0) -> Tensor:
    r"""The gap of :func:`overcomplete`, (...), nats per data point, whatever rho is.

    .. math:: \tfrac\beta2 \log\Big(1 + \frac{\alpha^2 (1 - \alpha^2)}{\beta\gamma^{-2} (\beta\gamma^{-2} + 1)}\Big).

    Args:
        alpha: share of the first latent, in [0, 1].
        noise_variance: :math:`\gamma^{-2}` of both features.
        beta: weight of the KL.

    Raises:
        ValueError: if ``alpha`` is outside [0, 1], noise or beta is not positive, or a number is not finite.
    """
    alpha, noise, beta = floating(alpha=alpha, noise_variance=noise_variance, beta=beta)
    _check_alpha(alpha)
    scale = positive("beta", beta) * positive("noise_variance", noise)
    return 0.5 * beta * (alpha.square() * (1 - alpha.square()) / (scale * (scale + 1))).log1p()


def _check_alpha(alpha: Tensor) -> None:
    if not bool(((alpha >= 0) & (alpha <= 1)).all()):
        verb = "is" if alpha.numel() == 1 else "holds"
        raise ValueError(f"alpha {verb} {float(alpha.min() if alpha.min() < 0 else alpha.max()):g}; expected 0 to 1")
