"""Which prior for uniform sources? Uniform, normal and Laplace priors on Moebius maps of two to ten dimensions.

The comparison is that of P. Reizinger et al., *Embrace the Gap*, NeurIPS 2022, who vary the prior on uniform sources.
Every seed has a map of its own.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from latentbook.data import toys
from latentbook.data.toys import Sample
from latentbook.experiments import _config
from latentbook.experiments._ima import Recipe, column, grid, held_out, rows, scores, train
from latentbook.experiments._store import Group, Row, collect
from latentbook.mixings import Moebius
from latentbook.models import LaplacePrior, NormalPrior, UniformPrior
from latentbook.random import Generator

PRIORS = {"uniform": UniformPrior, "normal": NormalPrior, "laplace": LaplacePrior}


@dataclass(frozen=True)
class Config(_config.Config):
    """What is varied."""

    priors: tuple[Literal["uniform", "normal", "laplace"], ...] = ("uniform", "normal", "laplace")
    """Priors of the model; the sources are uniform."""
    sizes: tuple[int, ...] | None = None
    """Numbers of sources."""
    precisions: tuple[float, ...] | None = None
    """gamma^2 in units of 1 / (variance of x), so that maps of any scale compare."""
    start: float | None = None
    """Where gamma^2 begins, in the same units, to be annealed; None for no annealing."""
    seeds: int | None = None
    """Seeds, each with a map of its own."""
    steps: int | None = None
    """Optimiser steps."""
    points: int | None = None
    """Held-out points."""

    scales: ClassVar = {
        "tiny": {"sizes": (2,), "precisions": (30.0,), "seeds": 2, "steps": 20, "points": 100},
        "live": {"sizes": (2, 3), "precisions": (30.0,), "seeds": 5, "steps": 2000, "points": 2000},
        "paper": {"sizes": (2, 3, 5, 10), "precisions": (1e1, 1e2, 1e3), "seeds": 10, "steps": 4000, "points": 2000},
    }


def run(config: Config) -> pd.DataFrame:
    """One row a prior (method), size, precision and seed."""
    groups = []
    for size, prior in itertools.product(config.sizes, config.priors):
        settings = grid(method=[prior], size=[size], precision=config.precisions, seed=range(config.seeds))
        groups.append(Group(f"{prior}-{size}", settings, partial(_measure, config, settings)))
    return collect("prior-choice", config, groups)


def _measure(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    seeds, size = column(settings, "seed"), settings[0]["size"]
    mixing = Moebius.random(Generator(seeds, stream="map"), size)

    def draw(generator: Generator, n: int) -> Sample:
        return toys.mixed(generator, n, mixing, "uniform")

    variance = draw(Generator(seeds, stream="variance"), 4096).x.var(1).mean(-1).tolist()
    members = [{**s, "gamma2": s["precision"] / v} for s, v in zip(settings, variance, strict=True)]
    prior = PRIORS[settings[0]["method"]](size)
    start = None if config.start is None else [config.start] * len(seeds)
    options = {"start": start, "device": config.device, "checkpoint": checkpoint}
    model, history = train(members, draw, Recipe(config.steps), prior, **options)
    sample = held_out(settings, draw, config.points, model.device)
    metrics = scores(model, sample, seeds) | {
        "gamma2": model.likelihood.gamma2.base(),
        "log_likelihood": -mixing.log_abs_det(sample.sources.double()).mean(1),
    }
    return rows(metrics, history)
