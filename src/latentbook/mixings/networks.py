"""Random networks of well-conditioned matrices, as the mixings of nonlinear ICA are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentbook.mixings.base import Compose, Mixing
from latentbook.mixings.linear import Linear
from latentbook.mixings.mlp import LeakyTanh, SmoothLeakyReLU
from latentbook.random import Generator, check_members

ACTIVATIONS: dict[str, Callable[[float], Mixing]] = {"leaky_tanh": LeakyTanh, "leaky_relu": SmoothLeakyReLU}
_CANDIDATES = 1000  # random matrices of which a well-conditioned one is taken


def random_network(
    generator: Generator,
    size: int,
    *,
    layers: int = 3,
    activation: str = "leaky_tanh",
    slope: float = 0.1,
    reuse: bool = False,
) -> Mixing:
    """A random network of well-conditioned matrices with an activation between them, one per seed, float64.

    Entries are uniform on [-1, 1] and every output's weights are scaled to unit length. Of a thousand such matrices
    (fewer for large ones) the quarter with the lowest condition numbers is kept, and the first of it taken.

    Args:
        generator: one seed per member.
        size: number of inputs and outputs.
        layers: number of matrices; one is a linear mixing.
        activation: "leaky_tanh" (:class:`LeakyTanh`) or "leaky_relu" (:class:`SmoothLeakyReLU`).
        slope: of the activation.
        reuse: use one matrix in all layers, as the published code of iVAE does.

    Raises:
        ValueError: for an unknown activation, a slope at which it has no inverse, or sizes below 1.
    """
    check_members(generator)
    _check(size=size, layers=layers)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; expected one of {sorted(ACTIVATIONS)}")
    matrices = well_conditioned(generator, size, 1 if reuse else layers)
    parts = []
    for layer in range(layers):
        parts += [Linear(matrices[:, 0 if reuse else layer].clone()), ACTIVATIONS[activation](slope)]
    return Compose(*parts[:-1])


def well_conditioned(generator: Generator, size: int, count: int = 1) -> Tensor:
    """Random matrices with rows of unit length and a low condition number, (members, count, size, size), float64.

    The condition number is in the lowest quarter of those of random matrices with uniform entries and such rows.

    Raises:
        ValueError: if a number is below 1.
    """
    _check(size=size, count=count)
    candidates = max(4 * count, min(_CANDIDATES, 10**6 // size**3), 64)
    matrices = 2 * generator.uniform(candidates, size, size, dtype=torch.float64) - 1
    matrices = matrices / matrices.norm(dim=-1, keepdim=True)
    condition = torch.linalg.cond(matrices)
    kept = condition.argsort(dim=1)[:, : candidates // 4].sort(dim=1).values[:, :count]
    return matrices.gather(1, kept[..., None, None].expand(-1, -1, size, size))


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ValueError(f"{name} is {value!r}; expected a positive integer")


__all__ = ["random_network", "well_conditioned"]
