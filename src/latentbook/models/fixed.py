"""A known map in the place of a decoder, so that only the encoder is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


class FixedDecoder(nn.Module):
    """A map that is held fixed, in the place of a decoder.

    Args:
        function: the map, (members, n, latents) to (members, n, features), such as one of
            :mod:`latentbook.mixings`, with one map per member or one shared by all, or a trained decoder. A module is
            copied, and the copy's parameters are not trained.
        members: number of members K of the model.

    Raises:
        ValueError: if ``members`` is below 1; on use, if the latents have another number of members.

    Example:
        ``model.decoder = FixedDecoder(mixing, members=5)`` leaves a VAE with its encoder to learn.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], *, members: int) -> None:
        super().__init__()
        if members < 1:
            raise ValueError(f"members is {members}; expected at least 1")
        if isinstance(function, nn.Module):
            function = copy.deepcopy(function).requires_grad_(False)
        self.function = function
        self.standing = nn.Parameter(torch.zeros(members), requires_grad=False)  # for members, type and device

    def forward(self, z: Tensor) -> Tensor:
        """The map at z, (members, ..., latents) to (members, ..., features); z may be shared, (n, latents)."""
        members = len(self.standing)
        if z.dim() == 2:
            z = z.expand(members, *z.shape)
        if z.dim() < 3 or len(z) != members:
            size = z.shape[-1] if z.dim() else "latents"
            expected = f"(n, {size}) or ({members}, ..., {size})"
            raise ValueError(f"z has shape {tuple(z.shape)}; expected {expected}")
        return self.function(z.flatten(1, -2)).unflatten(1, z.shape[1:-1])


__all__ = ["FixedDecoder"]
