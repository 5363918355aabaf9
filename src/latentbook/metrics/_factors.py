"""What every metric of codes against factors asks of its arguments."""

from __future__ import annotations

import torch
from torch import Tensor

from latentbook.random import Generator, check_members


def factor_levels(factors: Tensor, n: int) -> Tensor:
    """Levels of every factor numbered 0, 1, ... in their order, int64 (n, factors), on the CPU.

    Args:
        factors: integers, (n, factors).
        n: points that there should be.

    Raises:
        ValueError: if the shape does not fit, they are not integers, or a factor has one level only.
    """
    factors = torch.as_tensor(factors).detach().cpu()
    if factors.dim() != 2 or factors.shape[0] != n or not factors.shape[1]:
        raise ValueError(f"factors has shape {tuple(factors.shape)}; expected ({n}, factors), as there are {n} codes")
    if factors.is_floating_point() or factors.is_complex():
        raise ValueError(f"factors has dtype {factors.dtype}; expected integers, the level of each factor")
    levels = torch.stack([column.unique(return_inverse=True)[1] for column in factors.T], dim=1)
    for k, column in enumerate(levels.T):
        if int(column.max()) == 0:
            raise ValueError(f"factors[:, {k}] has one level only; expected at least two, or nothing can be told of it")
    return levels


def entropies(levels: Tensor) -> Tensor:
    """Entropy of every factor in nats, of the observed levels, float64 (factors,)."""
    return torch.stack([torch.special.entr(column.bincount().double() / len(column)).sum() for column in levels.T])


def equal_width(codes: Tensor, bins: int) -> Tensor:
    """The bin of every point in every latent, int64 (..., n, latents): equal widths, the largest in the last.

    A constant latent is in bin 0 throughout.
    """
    low, high = codes.amin(-2, keepdim=True), codes.amax(-2, keepdim=True)
    width = (high - low) / bins
    return ((codes - low) / width.where(width > 0, 1)).floor().long().clamp(0, bins - 1)


def gap(values: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """How far the best latent is ahead of the next best for each factor, divided by ``scale``, (..., factors).

    Negative values count as zero; a single latent has a runner-up of zero.

    Args:
        values: of every latent for every factor, (..., latents, factors).
        scale: of each factor, (factors,).
    """
    best = values.clamp(min=0).sort(dim=-2, descending=True).values
    runner_up = best[..., 1, :] if best.shape[-2] > 1 else 0
    return (best[..., 0, :] - runner_up) / scale


def split(n: int, held_out: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """A random split of n points: those to learn from, and the fraction held out.

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: if the generator has several streams, or the fraction leaves nothing on one side.
    """
    check_members(generator, 1)
    test = round(n * held_out) if 0 < held_out < 1 else 0
    if not 0 < test < n:
        raise ValueError(f"held_out is {held_out} of {n} points; expected a fraction between 0 and 1, at least a point")
    order = generator.child("split", device="cpu").permutation(n)[0]
    return order[test:], order[:test]


def seed_of(generator: Generator) -> int:
    """A seed for scikit-learn, fixed by the generator's own and its stream."""
    return int(generator.child("scikit-learn", device="cpu").integers(2**31 - 1, 1))
