"""Schedules: how the learning rate, beta and gamma^2 move during training. Functions of the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SHAPES = ("linear", "cosine", "geometric")


@dataclass(frozen=True)
class Ramp:
    """A multiplier that stays at ``start``, moves to ``end``, and stays there.

    Annealing beta is ``{"beta": Ramp(0.0, until=0.3)}``; annealing gamma^2 upwards from a hundredth is
    ``{"gamma2": Ramp(0.01, hold=0.3, until=0.6, shape="geometric")}``.

    Attributes:
        start: first multiplier; one number, or one per member.
        end: last multiplier; one number, or one per member.
        hold: share of training, 0 to 1, during which it stays at ``start``.
        until: share of training at which it reaches ``end``.
        shape: "linear", "cosine" (half a cosine) or "geometric" (linear in the logarithm).

    Raises:
        ValueError: for an unknown shape, shares out of order, or multipliers that are negative, not finite, or of
            different numbers of members.
    """

    start: float | tuple[float, ...] = 0.0
    end: float | tuple[float, ...] = 1.0
    hold: float = 0.0
    until: float = 1.0
    shape: str = "linear"

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"shape is {self.shape!r}; expected one of {SHAPES}")
        if not 0 <= self.hold < self.until <= 1:
            raise ValueError(f"hold is {self.hold} and until is {self.until}; expected 0 <= hold < until <= 1")
        for name in ("start", "end"):
            value = getattr(self, name)
            numbers = tuple(float(v) for v in value) if hasattr(value, "__iter__") else float(value)
            object.__setattr__(self, name, numbers)
            every = numbers if isinstance(numbers, tuple) else (numbers,)
            lowest = 0 if self.shape != "geometric" else math.ulp(0.0)
            if not every or not all(math.isfinite(v) and v >= lowest for v in every):
                raise ValueError(f"{name} is {value}; expected finite numbers of at least 0 (above it for 'geometric')")
        if isinstance(self.start, tuple) and isinstance(self.end, tuple) and len(self.start) != len(self.end):
            raise ValueError(f"end has {len(self.end)} numbers; expected {len(self.start)}, as start has")

    def __call__(self, step: int, steps: int) -> float | Tensor:
        """The multiplier at ``step`` of ``steps``: a number, or (members,) in float64."""
        share = (step / max(steps - 1, 1) - self.hold) / (self.until - self.hold)
        share = min(max(share, 0.0), 1.0)
        if self.shape == "cosine":
            share = 0.5 - 0.5 * math.cos(math.pi * share)
        if isinstance(self.start, float) and isinstance(self.end, float):
            start, end = self.start, self.end
        else:
            start, end = (torch.as_tensor(v, dtype=torch.float64) for v in (self.start, self.end))
        return start ** (1 - share) * end**share if self.shape == "geometric" else start + (end - start) * share


def learning_rate_multiplier(step: int, steps: int, warmup: int, decay: str) -> float:
    """Linear warm-up over ``warmup`` steps, then constant ("none") or half a cosine down to zero ("cosine")."""
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if decay == "none":
        return rise
    return rise * Ramp(1.0, 0.0, shape="cosine")(max(step - warmup, 0), max(steps - warmup, 1) + 1)
