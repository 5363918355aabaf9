"""Early stopping, member by member."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latentbook.nn import per_member
from latentbook.training.config import EarlyStop
from latentbook.training.history import History


class Stopper:
    """Watches a recorded value and keeps the parameters at which each member did best.

    Raises:
        ValueError: if no recorder has the name to watch.
    """

    def __init__(
        self, rule: EarlyStop | None, parameters: Sequence[nn.Parameter], members: int, recorders: Sequence[str]
    ) -> None:
        if rule is not None and rule.record not in recorders:
            raise ValueError(f"early_stop watches {rule.record!r}; expected one of the recorders {list(recorders)}")
        self.rule, self.parameters = rule, parameters
        self.best = torch.full((members,), torch.inf, dtype=torch.float64)
        self.waited = torch.zeros(members, dtype=torch.int64)
        self.kept = [parameter.detach().clone() for parameter in parameters] if rule else []

    def watches(self, name: str) -> bool:
        """Whether the rule is about the recorder of that name."""
        return self.rule is not None and name == self.rule.record

    @torch.no_grad()
    def look(self, value: Tensor, step: int, history: History) -> None:
        """Take in a measurement (members,); note in the history which members stop."""
        running = torch.tensor([k not in history.stopped | history.diverged for k in range(len(value))])
        better = running & (value.double() < self.best - self.rule.least)
        self.best = torch.where(better, value.double(), self.best)
        self.waited = torch.where(better, 0, self.waited + running.long())
        for kept, parameter in zip(self.kept, self.parameters, strict=True):
            kept.copy_(torch.where(per_member(better.to(kept.device), kept.dim()), parameter, kept))
        for member in (running & (self.waited >= self.rule.patience)).nonzero().flatten().tolist():
            history.stopped[member] = step

    @torch.no_grad()
    def restore_best(self) -> None:
        """Give every member that was measured the parameters at which it did best."""
        measured = torch.isfinite(self.best)
        for kept, parameter in zip(self.kept, self.parameters, strict=False):
            parameter.copy_(torch.where(per_member(measured.to(kept.device), kept.dim()), kept, parameter))

    def tensors(self) -> dict[str, Tensor]:
        """The state, for a checkpoint."""
        kept = {f"kept.{number}": tensor for number, tensor in enumerate(self.kept)}
        return {"best": self.best, "waited": self.waited} | kept

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take the state from a checkpoint."""
        self.best, self.waited = tensors["best"], tensors["waited"]
        for number, kept in enumerate(self.kept):
            kept.copy_(tensors[f"kept.{number}"])
