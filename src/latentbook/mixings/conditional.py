r"""Conditional distribution functions, one coordinate after another: what the Darmois construction is made of.

Each function here returns a function that maps the first i coordinates, (..., n, i), to
:math:`P(X_i \le x_i \mid x_1, \dots, x_{i-1})`, (..., n), for every i from 1 to the number of coordinates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from latentbook.mixings.base import Stackable

Conditional = Callable[[Tensor], Tensor]
_CHUNK = 2**20  # points at which a density is evaluated at once


class KernelConditional(Stackable):
    """For a mixture of normal densities around samples, of standard deviations ``bandwidth``; exact.

    Args:
        samples: (count, d) or (members, count, d).
        bandwidth: (d,) or (members, d).
    """

    def __init__(self, samples: Tensor, bandwidth: Tensor) -> None:
        super().__init__()
        self._hold("samples", samples, 2)
        self._hold("bandwidth", bandwidth, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The conditional distribution function of the last of the given coordinates, (..., n, i) to (..., n)."""
        i = x.shape[-1]
        distance = x[..., :, None, :] - self.samples.to(x)[..., None, :, :i]
        distance = distance / self.bandwidth.to(x)[..., None, None, :i]
        weights = (-0.5 * distance[..., :-1].square().sum(-1)).softmax(-1)
        return (weights * torch.special.ndtr(distance[..., -1])).sum(-1)


def quadrature_conditional(
    log_density: Callable[[Tensor], Tensor], lower: Tensor, upper: Tensor, nodes: int
) -> Conditional:
    """For a density that is smooth on the box between ``lower`` and ``upper`` (d,), by Gauss-Legendre quadrature."""
    points, weights = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(nodes))
    points, log_weights = (points + 1) / 2, weights.log()

    def log_mass(x: Tensor, end: Tensor) -> Tensor:
        """Of the box at the given first coordinates, from the last of them to ``end``; up to a constant."""
        start = x[..., -1:]
        axis = start + (end - start) * points.to(x)
        grid, weight = _product(points.to(x), log_weights.to(x), len(lower) - x.shape[-1])
        rest = lower.to(x)[x.shape[-1] :] + (upper - lower).to(x)[x.shape[-1] :] * grid
        shape = (*axis.shape, len(grid))
        parts = (x[..., None, None, :-1], axis[..., None, None], rest)
        at = torch.cat([part.expand(*shape, part.shape[-1]) for part in parts], -1)
        value = log_density(at.flatten(-4, -2)).unflatten(-1, shape[-3:])
        total = torch.logsumexp(value + weight + log_weights.to(x)[:, None], dim=(-2, -1))
        return total + (end - start).abs().log()[..., 0]

    def conditional(x: Tensor) -> Tensor:
        i = x.shape[-1]
        rows = max(1, _CHUNK // nodes ** (len(lower) - i + 1))
        ends = lower.to(x)[i - 1], upper.to(x)[i - 1]
        odds = [log_mass(part, ends[0]) - log_mass(part, ends[1]) for part in x.split(rows, dim=-2)]
        return torch.cat(odds, -1).sigmoid()

    return conditional


def _product(points: Tensor, log_weights: Tensor, axes: int) -> tuple[Tensor, Tensor]:
    """The tensor product of a quadrature rule with itself, (nodes ** axes, axes), and its log-weights."""
    grid, weight = points.new_zeros(1, 0), points.new_zeros(1)
    for _ in range(axes):
        old, new = grid.repeat_interleave(len(points), 0), points.repeat(len(grid))[:, None]
        grid, weight = torch.cat([old, new], -1), (weight[:, None] + log_weights).flatten()
    return grid, weight
