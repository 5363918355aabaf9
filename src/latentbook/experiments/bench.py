"""What the book's ways of computing cost, side by side with the usual ones, in one run.

Every way is timed in turn with the others, several times; the table has medians, the least and the most, and how many
times as fast a way is as the first of its kind. A CPU is timed on one thread by that thread's own clock, so that a busy
machine does little harm; a card on the wall. What bounds a way from above, matrix products alone, is timed in the same
process; the column ``of_roof`` has the share of it that was reached. What this machine cannot do, a row says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from latentbook.experiments import (
    _bench_ensemble,
    _bench_images,
    _bench_ivae,
    _bench_metrics,
    _bench_priors,
    _config,
)
from latentbook.experiments._bench import Comparison
from latentbook.experiments._store import Group, Row, collect

SECTIONS = {
    "ensemble": _bench_ensemble.comparisons,
    "stack": _bench_ensemble.stacks,
    "ivae": _bench_ivae.comparisons,
    "mlp": _bench_images.mlp,
    "tcvae": _bench_images.tcvae,
    "conv": _bench_images.conv,
    "metrics": _bench_metrics.comparisons,
    "priors": _bench_priors.comparisons,
}
"""Small models, stacks of several sizes, iVAE, the three kinds of models of sprites, metrics, and priors."""


@dataclass(frozen=True)
class Config(_config.Config):
    """What is timed."""

    sections: tuple[Literal[tuple(SECTIONS)], ...] = tuple(SECTIONS)
    """Parts of the bench."""
    compiled: bool | None = None
    """Time what needs a compiler as well, with some seconds of compiling for every way."""
    repetitions: int | None = None
    """Times that every way is run, in turn, after a first time that is not counted."""
    members: int | None = None
    """Seeds in a stack of small models; on a card, of large ones too."""
    steps: int | None = None
    """Steps of small models that are timed together."""
    batch_size: int | None = None
    """Images a step."""
    hidden: tuple[int, ...] | None = None
    """Hidden units of the fully connected encoder of images; the decoder has one layer more."""
    grid: tuple[int, ...] | None = None
    """Levels of the factors for the metrics; every combination is a data point."""
    samples: int | None = None
    """Draws for a whole mutual information gap."""

    scales: ClassVar = {
        "tiny": {
            "compiled": False,
            "repetitions": 1,
            "members": 2,
            "steps": 2,
            "batch_size": 8,
            "hidden": (8,),
            "grid": (2, 3),
            "samples": 20,
        },
        "live": {
            "compiled": True,
            "repetitions": 3,
            "members": 20,
            "steps": 100,
            "batch_size": 2048,
            "hidden": (1200, 1200),
            "grid": (6, 12, 16, 16),
            "samples": 10_000,
        },
        "paper": {
            "compiled": True,
            "repetitions": 7,
            "members": 20,
            "steps": 200,
            "batch_size": 2048,
            "hidden": (1200, 1200),
            "grid": (3, 6, 40, 32, 32),
            "samples": 10_000,
        },
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("repetitions", "members", "steps", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a positive number")
        if self.batch_size < 2:
            raise ValueError(f"batch_size is {self.batch_size}; expected at least 2, for the total correlation")


def run(config: Config) -> pd.DataFrame:
    """One row a way of doing something: the time it takes and its spread, and ratios of medians."""
    groups = []
    for section in config.sections:
        settings = [{"section": section, **row} for found in _comparisons(config, section) for row in found.settings()]
        groups.append(Group(section, settings, partial(_measure, config, section)))
    return collect("bench", config, groups)


def _comparisons(config: Config, section: str) -> list[Comparison]:
    return [found.without("" if config.compiled else "compiled") for found in SECTIONS[section](config)]


def _measure(config: Config, section: str, checkpoint: Path | None) -> list[Row]:
    return [row for found in _comparisons(config, section) for row in found.rows(config.repetitions)]
