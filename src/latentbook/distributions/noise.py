"""The two random variates that the structured laws are made of, from torch's global state or from a counter.

A law here is written once, as a function of gamma variates and uniform numbers. Where these come from is its argument:
:class:`GlobalNoise` serves ``rsample`` and ``sample``, as usual in torch; :class:`CounterNoise` serves
``sample_with(generator, shape)``, where a member's draws depend on its seed and step alone.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Gamma

from latentbook.random import Generator


class Noise(Protocol):
    """A source of independent variates, each in the shape, type and device of the tensor it is given."""

    def gamma(self, shape: Tensor) -> Tensor:
        """Gamma variates with those shape parameters, all at least 1, and scale 1."""

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers in (0, 1]."""


class GlobalNoise:
    """Variates from torch's global random state; the gamma variates carry implicit gradients in their shape.

    Source: M. Figurnov, S. Mohamed, A. Mnih, *Implicit Reparameterization Gradients*, NeurIPS 2018.
    """

    def gamma(self, shape: Tensor) -> Tensor:
        """Gamma variates with gradients."""
        return Gamma(shape, torch.ones_like(shape), validate_args=False).rsample()

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers in (0, 1]."""
        return 1 - torch.rand(like.shape, dtype=like.dtype, device=like.device)


class CounterNoise:
    """Variates from a :class:`~latentbook.random.Generator`, without gradients; the first axis is its members."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers in (0, 1)."""
        return self.generator.to(like.device).uniform(*like.shape[1:], dtype=like.dtype)

    @torch.no_grad()
    def gamma(self, shape: Tensor) -> Tensor:
        r"""Gamma variates by rejection, at most one proposal in twenty being rejected.

        With :math:`d = a - \frac13`, a normal x and :math:`v = (1 + x / \sqrt{9 d})^3`, the variate is :math:`d v`,
        accepted where :math:`\log u < \frac12 x^2 + d (1 - v + \log v)`.

        A shape that is not finite, as of a member that diverged, gives a variate that is not.

        The rounds have a stream of their own, seeded by one number that is drawn here, and what is left of a member
        takes the first numbers of a round. So the draws do not depend on how often a neighbour was rejected.

        Source: G. Marsaglia, W. W. Tsang, *A simple method for generating gamma variables*, ACM TOMS 26, 2000.
        """
        high, low = self.generator.integers(2**31, 2).T.tolist()
        stream = Generator([(h << 31) | k for h, k in zip(high, low, strict=True)], device=shape.device)
        flat, number = shape.reshape(len(shape), -1), 0
        value, good = _propose(flat, stream.uniform(flat.shape[1], 2, dtype=flat.dtype))
        while not good.all():
            number += 1
            member, place = (~good).nonzero(as_tuple=True)
            order = (~good).cumsum(1)[member, place] - 1
            uniform = stream.at(number).uniform(int(order.max()) + 1, 2, dtype=flat.dtype)
            value[member, place], good[member, place] = _propose(flat[member, place], uniform[member, order])
        return value.view_as(shape)


def _propose(shape: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Proposals for gamma variates from uniform numbers (..., 2), and which of them are accepted."""
    x, log_u, d = math.sqrt(2) * torch.erfinv(2 * uniform[..., 0] - 1), uniform[..., 1].log(), shape - 1 / 3
    v = (1 + x / (9 * d).sqrt()).pow(3)
    accepted = (v > 0) & (log_u < x.square() / 2 + d * (1 - v + v.log()))
    return d * v, accepted | ~d.isfinite()


__all__ = ["CounterNoise", "GlobalNoise", "Noise"]
