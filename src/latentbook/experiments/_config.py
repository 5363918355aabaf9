"""What the configs of all experiments share: a scale that picks the numbers, and where results go."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

Scale = Literal["tiny", "live", "paper"]
# fields that do not decide what is computed
_HOW = ("out", "resume", "device", "jobs", "threads", "progress", "path", "models")


@dataclass(frozen=True)
class Config:
    """An experiment's settings. A field that is None takes the value that the scale has for it."""

    scale: Scale = "live"
    """tiny: a smoke test in seconds. live: what a chapter can wait for. paper: what the papers ran."""
    out: Path | None = None
    """Folder for results, such as book/results. None: nothing is stored."""
    resume: bool = True
    """Keep runs that are stored already; otherwise start afresh and replace them."""
    device: str = "auto"
    """"auto" (CUDA where there is one), "cpu", "cuda", ..."""
    jobs: int | None = None
    """Processes; None for what ``joblib.parallel_config`` says and, without it, none besides this one."""
    threads: int = 1
    """Torch threads of each process during the run: small models are fastest on one."""
    progress: bool | None = None
    """A bar of runs done, rate and time left. None: on a terminal. True: in a notebook as well."""

    scales: ClassVar[Mapping[str, Mapping[str, object]]] = {"tiny": {}, "live": {}, "paper": {}}

    def __post_init__(self) -> None:
        if self.scale not in self.scales:
            raise ValueError(f"scale is {self.scale!r}; expected one of {list(self.scales)}")
        for name, value in self.scales[self.scale].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    def plain(self) -> dict[str, object]:
        """What decides the numbers, as JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values = {name: value for name, value in values.items() if name not in _HOW}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def options(self) -> str:
        """The command-line options that stand for this config."""
        words = ["--scale", self.scale]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("scale", *_HOW):
                continue
            if value != self.scales[self.scale].get(field.name, field.default):
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{field.name.replace('_', '-')}", *map(str, values)]
        return " ".join(words)
