"""Likelihoods p(x | z): what the decoder's output means, and how well it explains x, in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentbook.knobs import Knob
from latentbook.nn import per_member
from latentbook.random import Generator


class GaussianLikelihood(nn.Module):
    r"""A Gaussian around the decoder's output, :math:`p(x|z) = N(f(z), \gamma^{-2} I)`.

    Args:
        precision: gamma^2, the inverse noise variance; one number, or one per member.
        learned: learn gamma^2 (its logarithm) with the other parameters.
        members: number of members; needed when a common gamma^2 is learned.

    Raises:
        ValueError: if gamma^2 is negative, zero or not finite.
    """

    def __init__(
        self, precision: float | Sequence[float] | Tensor = 1.0, *, learned: bool = False, members: int | None = None
    ) -> None:
        super().__init__()
        tiny = torch.finfo(torch.get_default_dtype()).tiny
        self.gamma2 = Knob(precision, members=members, learned=learned, name="precision", minimum=tiny)

    @property
    def members(self) -> int | None:
        """Number of members it was made for, None where one value serves all."""
        return self.gamma2.members

    def log_prob(self, decoded: Tensor, x: Tensor) -> Tensor:
        """``log p(x | z)`` in nats, (members, ..., batch), for decoder outputs (members, ..., batch, features)."""
        squared = (x - decoded).square().sum(-1)
        gamma2 = per_member(self.gamma2(), squared.dim())
        return 0.5 * (x.shape[-1] * (gamma2.log() - math.log(2 * math.pi)) - gamma2 * squared)

    def mean(self, decoded: Tensor) -> Tensor:
        """E[x | z]: the decoder's output itself."""
        return decoded

    def sample(self, decoded: Tensor, generator: Generator) -> Tensor:
        """Draws of x from p(x | z), of the shape of ``decoded``."""
        noise = generator.normal(*decoded.shape[1:], dtype=decoded.dtype)
        return decoded + noise * per_member(self.gamma2().rsqrt(), decoded.dim())

    def entropy(self, features: int) -> Tensor:
        """Differential entropy of p(x | z) in nats, the same for every z: () or (members,)."""
        return 0.5 * features * (1 + math.log(2 * math.pi) - self.gamma2().log())


class BernoulliLikelihood(nn.Module):
    """Independent Bernoulli pixels whose logits are the decoder's output; x in [0, 1], meant for 0 or 1."""

    members = None

    def log_prob(self, decoded: Tensor, x: Tensor) -> Tensor:
        """``log p(x | z)`` in nats, (members, ..., batch), for logits (members, ..., batch, features)."""
        x = x.expand_as(decoded)
        return -functional.binary_cross_entropy_with_logits(decoded, x, reduction="none").sum(-1)

    def mean(self, decoded: Tensor) -> Tensor:
        """E[x | z]: the probabilities."""
        return decoded.sigmoid()

    def sample(self, decoded: Tensor, generator: Generator) -> Tensor:
        """Draws of x from p(x | z), zeros and ones of the shape of ``decoded``."""
        uniform = generator.uniform(*decoded.shape[1:], dtype=decoded.dtype)
        return (uniform < decoded.sigmoid()).to(decoded.dtype)
