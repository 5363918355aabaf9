"""What the structured laws have in common: how arguments are read, what is checked, and the two ways to sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from latentbook.distributions.noise import CounterNoise, GlobalNoise, Noise
from latentbook.random import Generator, check_members

Numbers = float | Sequence[float] | Tensor
LOG2 = math.log(2.0)


def as_tensors(**values: Numbers) -> tuple[Tensor, ...]:
    """The values as tensors of one floating-point type, the widest given (torch's default for plain numbers).

    They are put on one device: the first in the list that is not the CPU, where there is one.

    Raises:
        TypeError: if a value is not made of numbers.
    """
    given = [value for value in values.values() if isinstance(value, Tensor)]
    types = [value.dtype for value in given if value.is_floating_point()]
    device = max(given, key=lambda value: value.device.type != "cpu").device if given else None
    dtype = reduce(torch.promote_types, types) if types else torch.get_default_dtype()
    tensors = []
    for name, value in values.items():
        try:
            tensors.append(torch.as_tensor(value, dtype=dtype, device=device))
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{name} is {value!r}; expected a number or a tensor") from error
    return tuple(tensors)


def common_shape(**shapes: Sequence[int]) -> torch.Size:
    """The shape that all of them broadcast to.

    Raises:
        ValueError: if there is none.
    """
    try:
        return torch.broadcast_shapes(*shapes.values())
    except RuntimeError as error:
        listed = ", ".join(f"{name} has shape {tuple(shape)}" for name, shape in shapes.items())
        raise ValueError(f"{listed}; expected shapes that broadcast") from error


def check_positive(**tensors: Tensor) -> None:
    """Raise a ValueError unless every number is positive and finite."""
    for name, tensor in tensors.items():
        bad = tensor[~((tensor > 0) & tensor.isfinite())]
        if len(bad):
            raise ValueError(f"{name} has {len(bad)} value(s) such as {float(bad[0])}; expected positive, finite ones")


def check_finite(**tensors: Tensor) -> None:
    """Raise a ValueError unless every number is finite."""
    for name, tensor in tensors.items():
        bad = tensor[~tensor.isfinite()]
        if len(bad):
            raise ValueError(f"{name} has {len(bad)} value(s) such as {float(bad[0])}; expected finite ones")


def magnitude(z: Tensor) -> Tensor:
    """``|z|``, bounded at the smallest normal number, so that its logarithm and powers have finite gradients at z = 0.

    The gradient at 0 is 0, a subgradient of every power of ``|z|`` that has one there.
    """
    return z.abs().clamp(min=torch.finfo(z.dtype).tiny)


class StructuredDistribution(Distribution):
    """A law that is sampled as a function of gamma variates and uniform numbers."""

    has_rsample: ClassVar[bool] = True

    def _validates(self, validate_args: bool | None) -> bool:
        return self._validate_args if validate_args is None else validate_args

    def _target(self, variance: Numbers) -> Tensor:
        """A variance to solve for, after checking it."""
        target, _ = as_tensors(variance=variance, scale=self.scale)
        if self._validate_args:
            check_positive(variance=target)
        return target

    def _validate_sample(self, value: Tensor) -> None:
        super()._validate_sample(value)
        check_finite(value=value)

    def _draw(self, lead: torch.Size, noise: Noise) -> Tensor:
        """Draws ``(*lead, *event_shape)``; the batch shape broadcasts to ``lead``."""
        raise NotImplementedError

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws ``(*sample_shape, *batch_shape, *event_shape)`` from torch's global state, differentiable."""
        return self._draw(torch.Size(sample_shape) + self.batch_shape, GlobalNoise())

    @torch.no_grad()
    def sample_with(self, generator: Generator, shape: Sequence[int] = ()) -> Tensor:
        """Draws ``(members, *shape, *event_shape)`` that depend on seed and step of each member alone.

        Args:
            generator: one seed per member.
            shape: of one member's draws; the batch shape must broadcast to ``(members, *shape)``.

        Raises:
            TypeError: if ``generator`` is not a :class:`~latentbook.random.Generator`.
            ValueError: if the batch shape does not broadcast.
        """
        check_members(generator)
        lead = torch.Size((generator.members, *shape))
        batch = self.batch_shape
        if len(batch) > len(lead) or any(b not in (1, k) for b, k in zip(batch[::-1], lead[::-1], strict=False)):
            raise ValueError(
                f"shape is {tuple(shape)} for {generator.members} member(s); expected one such that the batch shape "
                f"{tuple(batch)} broadcasts to {tuple(lead)}"
            )
        return self._draw(lead, CounterNoise(generator))


__all__ = [
    "LOG2",
    "Numbers",
    "StructuredDistribution",
    "as_tensors",
    "check_finite",
    "check_positive",
    "common_shape",
    "magnitude",
]
