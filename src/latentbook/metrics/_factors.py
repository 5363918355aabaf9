"""What every metric of codes against factors asks of its arguments."""

from __future__ import annotations

import torch
from torch import Tensor


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


def codes_of(name: str, value: Tensor, *, least: int = 2) -> Tensor:
    """Codes as float64 (..., n, latents) on the CPU, without gradient.

    Raises:
        ValueError: if the shape does not fit, or there are fewer than ``least`` points.
    """
    value = torch.as_tensor(value).detach().to("cpu", torch.float64)
    if value.dim() < 2 or not value.shape[-1]:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected (..., n, latents)")
    if value.shape[-2] < least:
        raise ValueError(f"{name} has {value.shape[-2]} point(s); expected at least {least}")
    return value
