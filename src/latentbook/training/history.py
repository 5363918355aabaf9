"""What a training run leaves behind besides the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor


@dataclass
class History:
    """The course of a run, on the CPU.

    Attributes:
        seeds: one per member.
        steps: after how many steps each row of ``loss`` and ``terms`` ends, (rows,).
        loss: mean loss over the steps of a row, (rows, members); NaN once a member has diverged.
        terms: named parts of the loss in nats per data point, each (rows, members).
        records: what the recorders measured, by name: (times, members, ...).
        record_steps: when, by name: (times,).
        diverged: member -> first step at which its loss was not finite.
        stopped: member -> step at which early stopping ended it.
        seconds: wall-clock time of training, without what an interrupted run lost.
    """

    seeds: tuple[int, ...]
    steps: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    loss: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    terms: dict[str, Tensor] = field(default_factory=dict)
    records: dict[str, Tensor] = field(default_factory=dict)
    record_steps: dict[str, Tensor] = field(default_factory=dict)
    diverged: dict[int, int] = field(default_factory=dict)
    stopped: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def members(self) -> int:
        """Number of members K."""
        return len(self.seeds)

    @property
    def alive(self) -> Tensor:
        """Which members never diverged, bool (members,)."""
        return torch.tensor([member not in self.diverged for member in range(self.members)])

    def append(self, step: int, names: Sequence[str], values: Tensor) -> None:
        """Add a row that ends after ``step`` steps: ``values`` (1 + len(names), members), the loss first."""
        values = values.detach().cpu().to(torch.float64)
        self.steps = torch.cat([self.steps, torch.tensor([step])])
        self.loss = torch.cat([self.loss.reshape(-1, self.members), values[:1]])
        for name, row in zip(names, values[1:], strict=True):
            self.terms[name] = torch.cat([self.terms.get(name, row[:0].reshape(0, self.members)), row[None]])

    def record(self, name: str, step: int, value: Tensor) -> None:
        """Add a measurement (members, ...) taken after ``step`` steps."""
        before = self.records.get(name)
        self.records[name] = value[None] if before is None else torch.cat([before, value[None]])
        when = self.record_steps.get(name, torch.zeros(0, dtype=torch.int64))
        self.record_steps[name] = torch.cat([when, torch.tensor([step])])

    def frame(self) -> pd.DataFrame:
        """Loss and terms as a table, one row per logged step and member."""
        rows = len(self.steps)
        columns = {"step": self.steps.repeat_interleave(self.members).numpy()}
        columns["member"] = torch.arange(self.members).repeat(rows).numpy()
        columns["seed"] = torch.tensor(self.seeds).repeat(rows).numpy()
        columns["loss"] = self.loss.flatten().numpy()
        columns |= {name: values.flatten().numpy() for name, values in self.terms.items()}
        return pd.DataFrame(columns)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors, by flat names, for a checkpoint."""
        flat = {"steps": self.steps, "loss": self.loss}
        flat |= {f"terms/{name}": value for name, value in self.terms.items()}
        flat |= {f"records/{name}": value for name, value in self.records.items()}
        return flat | {f"record_steps/{name}": value for name, value in self.record_steps.items()}

    def header(self) -> dict[str, object]:
        """Everything else, as JSON values."""
        return {"diverged": list(self.diverged.items()), "stopped": list(self.stopped.items()), "seconds": self.seconds}

    @classmethod
    def from_checkpoint(
        cls, seeds: tuple[int, ...], tensors: dict[str, Tensor], header: dict[str, object], names: Sequence[str]
    ) -> History:
        """The history that :meth:`tensors` and :meth:`header` describe, its terms in the order of ``names``."""
        groups: dict[str, dict[str, Tensor]] = {"terms": {}, "records": {}, "record_steps": {}}
        for name, value in tensors.items():
            group, _, key = name.partition("/")
            if key:
                groups[group][key] = value
        groups["terms"] = {name: groups["terms"][name] for name in names if name in groups["terms"]}
        lists = {name: {int(k): int(v) for k, v in header[name]} for name in ("diverged", "stopped")}
        return cls(seeds, tensors["steps"], tensors["loss"], **groups, **lists, seconds=float(header["seconds"]))
