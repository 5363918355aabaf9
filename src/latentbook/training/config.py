"""Everything that decides how a model is trained, in frozen dataclasses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from latentbook.random import as_seeds
from latentbook.training.schedules import Ramp


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are trained differently.

    Attributes:
        prefix: the group holds the parameters whose name begins so, such as "encoder", "likelihood" or "objective".
        rate: factor on the learning rate.
        betas: Adam's decay rates, None for those of the config.
        weight_decay: factor of the L2 penalty.
    """

    prefix: str
    rate: float = 1.0
    betas: tuple[float, float] | None = None
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rate", "weight_decay"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if self.betas is not None:
            object.__setattr__(self, "betas", _decay_rates(self.betas))


@dataclass(frozen=True)
class EarlyStop:
    """Stop a member when a recorded value has ceased to improve; it keeps its best parameters.

    Nothing is counted while a schedule of beta or gamma^2 is still moving, since values are then not comparable. A
    stopped member goes on being computed with the others; the run ends when no member is left.

    Attributes:
        record: name of the recorder to watch; its value, (members,), is to become small.
        patience: measurements without improvement after which a member stops.
        least: improvement that counts.
    """

    record: str
    patience: int = 5
    least: float = 0.0

    def __post_init__(self) -> None:
        _positive_integer("patience", self.patience)
        object.__setattr__(self, "least", _number("least", self.least))


@dataclass(frozen=True)
class TrainConfig:
    """How ``fit`` trains.

    Attributes:
        seeds: one per member; a seed fixes a member's batches and noise. Members with the same seed share them, so
            that methods and betas are compared on equal terms; on data held in memory, a seed common to all spares all
            but one copy of each batch. Members of different seeds never share a batch: they would not be independent.
        steps: number of optimiser steps.
        batch_size: data points per member and step.
        learning_rate: Adam's step size; one number, or one per member.
        betas: Adam's decay rates.
        warmup: steps over which the learning rate rises linearly from zero.
        decay: "cosine" lets the learning rate fall to zero, "none" keeps it.
        schedules: multipliers for knobs by name ("beta", "gamma2"), and for "learning_rate".
        groups: parameters that are trained differently; the first group that matches a parameter takes it.
        early_stop: when to stop a member before the last step.
        log_every: steps over which the history averages; a diverged member is noticed this often.
        checkpoint: file for checkpoints (safetensors), None for none.
        checkpoint_every: steps between checkpoints; the last step is always saved.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ...
        compile: True makes one compiled graph of the whole step, gradient and Adam (and on CUDA records it, so that a
            step is one launch); False runs operation by operation. Results agree up to rounding. "auto" compiles where
            there is a compiler, the run is long enough to repay the half minute that compiling takes, and a step does
            not have thousands of operations, as a total correlation over a large batch has.
        precision: "float32" keeps the model's own type. "bfloat16" multiplies matrices in bfloat16: the weights that
            Adam moves, means and log-variances, KL, total correlation, densities and sums stay in float32.
        tf32: let CUDA round the factors of float32 matrix products to TF32 during the run; the setting found before
            is put back.
    """

    seeds: tuple[int, ...] = (0,)
    steps: int = 1000
    batch_size: int = 128
    learning_rate: float | tuple[float, ...] = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: int = 0
    decay: str = "cosine"
    schedules: Mapping[str, Ramp] = field(default_factory=dict)
    groups: tuple[ParameterGroup, ...] = ()
    early_stop: EarlyStop | None = None
    log_every: int = 50
    checkpoint: Path | None = None
    checkpoint_every: int = 1000
    device: str = "auto"
    compile: bool | str = "auto"
    precision: str = "float32"
    tf32: bool = False

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("seeds", as_seeds(self.seeds))
        put("groups", tuple(self.groups))
        put("betas", _decay_rates(self.betas))
        put("schedules", dict(self.schedules))
        put("checkpoint", None if self.checkpoint is None else Path(self.checkpoint).expanduser())
        for name in ("steps", "batch_size", "log_every", "checkpoint_every"):
            _positive_integer(name, getattr(self, name))
        if not isinstance(self.warmup, int) or not 0 <= self.warmup <= self.steps:
            raise ValueError(f"warmup is {self.warmup!r}; expected an integer from 0 to steps = {self.steps}")
        if self.decay not in ("cosine", "none"):
            raise ValueError(f"decay is {self.decay!r}; expected 'cosine' or 'none'")
        if self.compile not in (True, False, "auto"):
            raise ValueError(f"compile is {self.compile!r}; expected True, False or 'auto'")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision is {self.precision!r}; expected 'float32' or 'bfloat16'")
        if not isinstance(self.tf32, bool):
            raise ValueError(f"tf32 is {self.tf32!r}; expected True or False")
        if not isinstance(self.device, str):
            raise ValueError(f"device is {self.device!r}; expected a name such as 'auto', 'cpu' or 'cuda'")
        for name, ramp in self.schedules.items():
            if not isinstance(ramp, Ramp):
                raise ValueError(f"schedules[{name!r}] is {ramp!r}; expected a Ramp")
        if isinstance(getattr(self.schedules.get("learning_rate"), "start", None), tuple):
            raise ValueError("schedules['learning_rate'] differs between members; expected one course for all")
        put("learning_rate", self._rates())

    def _rates(self) -> float | tuple[float, ...]:
        rates = self.learning_rate
        if getattr(rates, "ndim", None) == 0 or not hasattr(rates, "__iter__"):
            return _number("learning_rate", rates, above=0.0)
        rates = tuple(_number("learning_rate", rate, above=0.0) for rate in rates)
        if len(rates) != len(self.seeds):
            raise ValueError(f"learning_rate has {len(rates)} values; expected 1 or one per seed: {len(self.seeds)}")
        return rates

    def resolve_device(self) -> torch.device:
        """The torch device that ``device`` names.

        Raises:
            ValueError: for a device that torch does not know or this machine does not have.
        """
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(
                f"device is {self.device!r}; expected 'auto', 'cpu' or a device of this machine such as 'cuda'"
            ) from error
        return device

    def fingerprint(self) -> dict[str, object]:
        """What must agree between a checkpoint and the run that continues it, as plain JSON values."""
        values = dataclasses.asdict(self)
        free = ("checkpoint", "checkpoint_every", "device", "compile", "tf32")
        return {name: values[name] for name in values if name not in free}


def _positive_integer(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; expected a positive integer")


def _number(name: str, value: object, above: float | None = None) -> float:
    """The value as a finite float of at least 0, or above ``above``."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (above is not None and number <= above):
        wanted = "of at least 0" if above is None else f"above {above:g}"
        raise ValueError(f"{name} is {value!r}; expected a finite number {wanted}")
    return number


def _decay_rates(betas: tuple[float, float]) -> tuple[float, float]:
    betas = tuple(float(beta) for beta in betas)
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas is {betas}; expected two numbers from 0 to below 1")
    return betas
