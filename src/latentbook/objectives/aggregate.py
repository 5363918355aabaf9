r"""The density of the aggregate posterior :math:`q(z) = \frac1N \sum_n q(z|x_n)`, estimated from one batch.

With one sample :math:`z_i \sim q(z|x_i)` for each of the B data points of a batch, and weights :math:`w_{ij}`,

.. math::

    \log \hat q(z_i) = \log \sum_j w_{ij}\, q(z_i|x_j), \qquad
    \log \hat q(z_{ik}) = \log \sum_j w_{ij}\, q(z_{ik}|x_j).

All pairs of samples and posteriors enter, so values take :math:`B^2 D` exponentials and their gradients would take as
much memory. Here the pairs are visited in blocks, the gradients with respect to samples, means and scales are summed up
on the way, and nothing of size :math:`B^2 D` is ever held.

Source of the weights: R. T. Q. Chen, X. Li, R. Grosse, D. Duvenaud, *Isolating Sources of Disentanglement in
Variational Autoencoders*, NeurIPS 2018, appendix C.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal

_BLOCK = {"cpu": 2**19}  # pairs of a sample and a posterior in one block: what fits into a core's cache
_BLOCK_ELSEWHERE = 2**27
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)

ESTIMATORS = ("mws", "mss", "even")


class _Weights(NamedTuple):
    """Weights as a common one, and the factors on it for a sample's own posterior and for the next one."""

    common: float
    own: float = 1.0
    following: float = 1.0


class AggregateDensities(NamedTuple):
    """Log-densities of the aggregate posterior at the samples of a batch, in nats.

    Attributes:
        joint: log q(z_i), (..., batch).
        marginals: log q(z_ik), (..., batch, latents).
    """

    joint: Tensor
    marginals: Tensor


def check_estimator(estimator: str, size: int | None) -> None:
    """Raise unless ``estimator`` is known and ``size``, the number of data points, is given where it is needed.

    Raises:
        ValueError: otherwise.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is {estimator!r}; expected one of {ESTIMATORS}")
    if size is None and estimator != "mws":
        raise ValueError(f"size is None; expected the number of data points, which the estimator {estimator!r} needs")
    if size is not None and (isinstance(size, bool) or not hasattr(size, "__index__") or size < 1):
        raise ValueError(f"size is {size!r}; expected the number of data points, a positive integer")


def _weights(batch: int, size: int | None, estimator: str) -> _Weights:
    check_estimator(estimator, size)
    if size is not None and size < batch:
        raise ValueError(f"size is {size}; expected at least {batch}, the data points in the batch")
    if batch < 2:
        raise ValueError(f"the batch has {batch} data point(s); expected at least 2 to see an aggregate")
    if estimator == "mws":
        return _Weights(1 / (batch * (size or 1)))
    others = batch - 1
    if estimator == "even":
        return _Weights((size - 1) / (size * others), others / (size - 1))
    return _Weights(1 / others, others / size, (size - others) / size)


def minibatch_weights(batch_size: int, size: int | None = None, estimator: str = "mws") -> Tensor:
    r"""The weights :math:`w_{ij}` of the estimate :math:`\hat q(z_i) = \sum_j w_{ij}\, q(z_i|x_j)`, float64 (B, B).

    "mws", minibatch-weighted sampling, has :math:`1/(NB)` everywhere. It is meant as a lower bound on log q(z) and is
    about :math:`q(z)/N`; a sample's own posterior counts like the others, N/B times too much. With ``size`` None the N
    is left out.

    "mss", minibatch-stratified sampling, with :math:`M = B - 1`: 1/N for a sample's own posterior, which is known to be
    in the batch, :math:`(N - M)/(NM)` for one of the others, 1/M for the rest. Rows sum to one, and :math:`\hat q(z_i)`
    is unbiased for batches drawn without replacement. Its logarithm is not, and is too low in the mean.

    "even" is "mss" with its unequal weights averaged: 1/N for a sample's own posterior, :math:`(N - 1)/(NM)` for each
    of the others. Being the mean of "mss" over the order of the others, it has the same mean, no more noise, and a
    logarithm that is less biased. Where the batch is all the data it is exact, which "mss" is not.

    Many published programs fill the matrix of "mss" with the stride B, where a diagonal has the stride B + 1. So a
    sample's own posterior is counted as any other in all rows but the first, and the estimate is biased.

    Args:
        batch_size: B, at least 2.
        size: N, the number of data points; only "mws" does without.
        estimator: "mws", "mss" or "even".

    Raises:
        ValueError: for an unknown estimator, a batch below 2, or a size that is missing or smaller than the batch.
    """
    common, own, following = _weights(batch_size, size, estimator)
    weights = torch.full((batch_size, batch_size), common, dtype=torch.float64)
    weights.fill_diagonal_(common * own)
    row = torch.arange(batch_size)
    weights[row, (row + 1) % batch_size] = common * following
    return weights


class _Blocks:
    """The pairs (lines, batch, batch) cut along the first two axes into blocks, and memory that all blocks share."""

    def __init__(self, like: Tensor) -> None:
        (self.lines, self.batch), pairs = like.shape[:2], _BLOCK.get(like.device.type, _BLOCK_ELSEWHERE)
        self.together = min(self.lines, max(1, pairs // self.batch**2))
        self.rows, self.like = min(self.batch, max(1, pairs // self.batch)), like

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        for line in range(0, self.lines, self.together):
            for row in range(0, self.batch, self.rows):
                yield slice(line, min(line + self.together, self.lines)), slice(row, min(row + self.rows, self.batch))

    def memory(self, count: int) -> Callable[[slice, slice], list[Tensor]]:
        """Room for ``count`` blocks, cut to the size of the block asked for: fresh memory would cost more than sums."""
        held = [self.like.new_empty(self.together, self.rows, self.batch) for _ in range(count)]
        return lambda line, row: [part[: line.stop - line.start, : row.stop - row.start] for part in held]


def _reweigh(exponents: Tensor, rows: slice, weights: _Weights) -> None:
    """Add the logarithms of the factors on a row's own entry and the following one, in place."""
    if weights.own == 1.0 == weights.following:
        return
    exponents[:, :, rows].diagonal(0, 1, 2).add_(math.log(weights.own))
    if weights.following == 1.0:
        return
    exponents[:, :, rows.start + 1 : rows.stop + 1].diagonal(0, 1, 2).add_(math.log(weights.following))
    if rows.stop == exponents.shape[2]:
        exponents[:, -1, 0] += math.log(weights.following)


def _normalise(exponents: Tensor, shares: Tensor) -> Tensor:
    """The logarithm of the sum of exponentials along the last axis; the softmax is written into ``shares``."""
    torch.softmax(exponents, dim=2, out=shares)
    return exponents.amax(2) - shares.amax(2).log()


def _joint(z: Tensor, mean: Tensor, log_scale: Tensor, weights: _Weights, grads: tuple[Tensor, ...] | None) -> Tensor:
    """Values of log q(z_i), (members, batch); adds the gradients of its sum over the batch to ``grads``.

    As one matrix product of [z^2, z] in double precision: in single, the terms of a quadratic form with sigma of 0.01
    are too large to cancel.
    """
    z, mean, log_scale = z.double(), mean.double(), log_scale.double()
    precision = (-2 * log_scale).exp()
    slope = precision * mean
    offset = (-0.5 * slope * mean - log_scale - _LOG_ROOT_2PI).sum(-1)[:, None]
    features, factors = torch.cat([z.square(), z], dim=2), torch.cat([-0.5 * precision, slope], dim=2)
    value, sums = torch.empty_like(z[..., 0]), (torch.zeros_like(features), torch.zeros_like(offset))
    blocks = _Blocks(z)
    room = blocks.memory(2)
    for line, row in blocks:
        exponents, shares = room(line, row)
        torch.baddbmm(offset[line], features[line, row], factors[line].mT, out=exponents)
        _reweigh(exponents, row, weights)
        value[line, row] = _normalise(exponents, shares)
        if grads is not None:
            curvature, force = (shares @ factors[line]).chunk(2, dim=2)
            grads[0][line, row] += 2 * curvature * z[line, row] + force
            sums[0][line] += shares.mT @ features[line, row]
            sums[1][line] += shares.sum(1, keepdim=True)
    if grads is not None:
        (second, first), total = sums[0].chunk(2, dim=2), sums[1].mT
        grads[1].add_(precision * (first - mean * total))
        grads[2].add_(precision * (second - 2 * mean * first + mean.square() * total) - total)
    return value + math.log(weights.common)


def _marginals(
    z: Tensor, mean: Tensor, log_scale: Tensor, weights: _Weights, grads: tuple[Tensor, ...] | None
) -> Tensor:
    """Values of log q(z_i), one latent a line, (lines, batch); subtracts the gradients of its sum from ``grads``.

    The exponent is -u^2 - log sigma with u = (z - mean) / (sqrt 2 sigma), so that nothing large has to cancel.
    """
    rate = (-log_scale).exp() * math.sqrt(0.5)
    shift, value = -mean * rate, torch.empty_like(z)
    total, sums = torch.zeros_like(z)[:, None], z.new_zeros(len(z), 2, z.shape[1])
    ones_and_z = torch.stack([torch.ones_like(z), z], dim=1)
    blocks = _Blocks(z)
    room = blocks.memory(3)
    for line, row in blocks:
        u, exponents, shares = room(line, row)
        torch.addcmul(shift[line, None], z[line, row, None], rate[line, None], out=u)
        torch.addcmul(-log_scale[line, None], u, u, value=-1, out=exponents)
        _reweigh(exponents, row, weights)
        value[line, row] = _normalise(exponents, shares)
        if grads is not None:
            total[line] += ones_and_z[line, :1, row] @ shares
            pulls = u.mul_(shares)
            grads[0][line, row] += 2 * (pulls @ rate[line, :, None])[..., 0]
            sums[line] += ones_and_z[line, :, row] @ pulls
    if grads is not None:
        moved, turned = sums.unbind(1)
        grads[1].sub_(2 * rate * moved)
        grads[2].sub_(2 * (rate * turned + shift * moved) - total[:, 0])
    return value + (math.log(weights.common) - _LOG_ROOT_2PI)


def _by_latent(v: Tensor) -> Tensor:
    """(members, batch, latents) as (members * latents, batch)."""
    return v.transpose(1, 2).reshape(-1, v.shape[1])


def _centred(z: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Samples and means less the mean of the means, which changes no density and keeps numbers small."""
    middle = mean.mean(1, keepdim=True)
    return z - middle, mean - middle


class _TotalCorrelation(torch.autograd.Function):
    """The mean over the batch of log q(z) - sum_k log q(z_k), with its gradient computed beside the value."""

    @staticmethod
    def forward(ctx, z: Tensor, mean: Tensor, log_scale: Tensor, weights: _Weights) -> Tensor:
        parts = (*_centred(z, mean), log_scale)
        wanted = any(ctx.needs_input_grad)
        joint_grads = tuple(torch.zeros_like(v, dtype=torch.float64) for v in parts) if wanted else None
        joint = _joint(*parts, weights, joint_grads)
        lines = tuple(_by_latent(v) for v in parts)
        line_grads = tuple(torch.zeros_like(v) for v in lines) if wanted else None
        marginals = _marginals(*lines, weights, line_grads).view(len(z), z.shape[2], -1)
        if wanted:
            pairs = zip(joint_grads, line_grads, strict=True)
            whole = ((j + m.view(len(z), z.shape[2], -1).mT).to(z.dtype) / z.shape[1] for j, m in pairs)
            ctx.save_for_backward(*whole)
        return (joint - marginals.sum(1, dtype=torch.float64)).mean(1).to(z.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return *(upstream[:, None, None] * grad for grad in ctx.saved_tensors), None


def _checked(z: Tensor, posterior: Normal) -> tuple[Tensor, Tensor, Tensor]:
    """Samples, means and log-scales, (members, batch, latents), after checking their shapes."""
    if z.dim() < 2 or z.shape != posterior.mean.shape:
        found = tuple(z.shape), tuple(posterior.mean.shape)
        raise ValueError(f"z has shape {found[0]} and posterior {found[1]}; expected (..., batch, latents) of both")
    return tuple(v.reshape(-1, *z.shape[-2:]) for v in (z, posterior.mean, posterior.stddev.log()))


def minibatch_total_correlation(
    z: Tensor, posterior: Normal, *, size: int | None = None, estimator: str = "mws"
) -> Tensor:
    r"""The total correlation of the aggregate posterior, estimated from one batch, in nats.

    .. math:: \frac1B \sum_i \Big[ \log \hat q(z_i) - \sum_k \log \hat q(z_{ik}) \Big]

    Neither estimate is unbiased, since the logarithm is not linear. With "mws" and a ``size``, the value contains the
    constant (latents - 1) log N, which no gradient sees: total correlations of independent latents then come out at
    many nats. With the others it can be negative.

    Differentiable once, with respect to z and the posterior.

    Args:
        z: one sample for each data point, (..., batch, latents).
        posterior: its law, of the same shape.
        size: N, the number of data points; only "mws" does without.
        estimator: "mws", "mss" or "even", see :func:`minibatch_weights`.

    Returns:
        The leading axes of z.

    Raises:
        ValueError: for shapes that do not fit, an unknown estimator, a batch below 2, or a size that is missing or
            smaller than the batch.
    """
    parts = _checked(z, posterior)
    return _TotalCorrelation.apply(*parts, _weights(z.shape[-2], size, estimator)).view(z.shape[:-2])


@torch.no_grad()
def aggregate_log_densities(
    z: Tensor, posterior: Normal, *, size: int | None = None, estimator: str = "mws"
) -> AggregateDensities:
    """Log-densities of the aggregate posterior and of its marginals at the samples of a batch, in nats.

    Args:
        z: one sample for each data point, (..., batch, latents).
        posterior: its law, of the same shape.
        size: N, the number of data points; only "mws" does without.
        estimator: "mws", "mss" or "even", see :func:`minibatch_weights`.

    Raises:
        ValueError: as :func:`minibatch_total_correlation`.
    """
    z_all, mean, log_scale = _checked(z, posterior)
    weights, parts = _weights(z.shape[-2], size, estimator), (*_centred(z_all, mean), log_scale)
    joint = _joint(*parts, weights, None).to(z.dtype).view(z.shape[:-1])
    marginals = _marginals(*map(_by_latent, parts), weights, None)
    return AggregateDensities(joint, marginals.view(len(z_all), z.shape[-1], -1).mT.reshape(z.shape))
