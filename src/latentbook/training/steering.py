"""What schedules move: the learning rate, and the knobs found in a model and its objective."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from latentbook.knobs import Knob
from latentbook.training.config import TrainConfig
from latentbook.training.schedules import learning_rate_multiplier


class Steering:
    """The knobs of a run by the names of the attributes that hold them, put where their schedules have them.

    Args:
        modules: where to look for knobs; all start at the multiplier 1.
        config: schedules, and how many steps and members there are.

    Raises:
        ValueError: if a schedule names no knob of this run, or is for another number of members.
    """

    def __init__(self, modules: Iterable[nn.Module], config: TrainConfig) -> None:
        self.config, self.knobs = config, {}
        for module in modules:
            for name, part in module.named_modules():
                if isinstance(part, Knob):
                    part.set_multiplier(1.0)
                    self.knobs.setdefault(name.split(".")[-1], []).append(part)
        unknown = set(config.schedules) - set(self.knobs) - {"learning_rate"}
        if unknown:
            raise ValueError(f"schedules names {sorted(unknown)}; expected knobs of this run: {sorted(self.knobs)}")
        members = len(config.seeds)
        for name, ramp in config.schedules.items():
            for numbers in (ramp.start, ramp.end):
                if isinstance(numbers, tuple) and len(numbers) != members:
                    raise ValueError(f"schedules[{name!r}] has {len(numbers)} multipliers; expected 1 or {members}")
        self._until = max([ramp.until for name, ramp in config.schedules.items() if name in self.knobs], default=0.0)

    def __call__(self, step: int, *, whole: bool = False) -> float:
        """Move the knobs to where they are at ``step`` and return the multiplier of the learning rate.

        Args:
            step: number of the step.
            whole: the step is one graph, made for one way of computing: knobs count as moved even at 1.
        """
        config = self.config
        rate = learning_rate_multiplier(step, config.steps, config.warmup, config.decay)
        for name, ramp in config.schedules.items():
            multiplier = ramp(step, config.steps)
            if name == "learning_rate":
                rate *= multiplier
            for knob in self.knobs.get(name, ()):
                knob.set_multiplier(torch.as_tensor(multiplier, dtype=torch.float64) if whole else multiplier)
        return rate

    def over(self, step: int) -> bool:
        """Whether after ``step`` steps no knob moves any more."""
        return not self._until or step - 1 >= self._until * (self.config.steps - 1)
