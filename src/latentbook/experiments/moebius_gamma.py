"""MCC and contrast against gamma^2 on Moebius maps: where the gap finds the factors, and where they collapse.

Three uniform sources, a prior that matches, and a map whose Jacobian has orthogonal columns everywhere. The setting is
that of P. Reizinger et al., *Embrace the Gap*, NeurIPS 2022; the numbers are of held-out data, and the MCC is given for
posterior samples (as in print) and for mean codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from latentbook.data import toys
from latentbook.data.toys import Sample
from latentbook.experiments import _config
from latentbook.experiments._ima import Plain, Recipe, column, grid, held_out, rows, scores, train
from latentbook.experiments._store import Group, Row, collect
from latentbook.mixings import Moebius
from latentbook.models import UniformPrior
from latentbook.random import Generator

SIZE = 3
START = 2.0  # where an annealed gamma^2 begins, in units of 1 / (variance of x): latents are just in use


@dataclass(frozen=True)
class Config(_config.Config):
    """What is varied."""

    maps: Literal["published", "random"] = "published"
    """One map for all seeds, the reconstructed one of the paper; or a random map for every seed."""
    methods: tuple[Literal["whitened", "annealed", "plain"], ...] | None = None
    """The book's recipe; the same with gamma^2 annealed; and one in the manner of the paper, with nothing standardised,
    leaky ReLU and a constant learning rate."""
    gamma2: tuple[float, ...] | None = None
    """Precisions of the decoder."""
    seeds: int | None = None
    """Seeds for every precision."""
    steps: int | None = None
    """Optimiser steps."""
    plain_steps: int | None = None
    """Optimiser steps of the plain recipe."""
    points: int | None = None
    """Held-out points."""

    scales: ClassVar = {
        "tiny": {
            "methods": ("whitened", "annealed", "plain"),
            "gamma2": (1e2, 1e4),
            "seeds": 2,
            "steps": 20,
            "plain_steps": 20,
            "points": 100,
        },
        "live": {
            "methods": ("whitened",),
            "gamma2": (1e1, 1e2, 1e3, 1e4, 1e5),
            "seeds": 5,
            "steps": 1500,
            "plain_steps": 1500,
            "points": 2000,
        },
        "paper": {
            "methods": ("whitened", "annealed", "plain"),
            "gamma2": (1e1, 1e2, 1e3, 1e4, 1e5, 1e6),
            "seeds": 20,
            "steps": 6000,
            "plain_steps": 20000,
            "points": 2000,
        },
    }


def run(config: Config) -> pd.DataFrame:
    """One row a method, gamma^2 and seed."""
    groups = []
    for method in config.methods:
        settings = grid(method=[method], maps=[config.maps], gamma2=config.gamma2, seed=range(config.seeds))
        groups.append(Group(method, settings, partial(_measure, config, settings)))
    return collect("moebius-gamma", config, groups)


def _measure(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    seeds = column(settings, "seed")
    mixing = Moebius.published() if config.maps == "published" else Moebius.random(Generator(seeds), SIZE)

    def draw(generator: Generator, n: int) -> Sample:
        return toys.mixed(generator, n, mixing, "uniform")

    method = settings[0]["method"]
    recipe = Plain(config.plain_steps) if method == "plain" else Recipe(config.steps)
    start = [START] * len(seeds) if method == "annealed" else None
    options = {"start": start, "device": config.device, "checkpoint": checkpoint}
    model, history = train(settings, draw, recipe, UniformPrior(SIZE), **options)
    sample = held_out(settings, draw, config.points, model.device)
    metrics = scores(model, sample, seeds) | {
        "variance": sample.x.var(1).mean(-1),
        "log_likelihood": -mixing.log_abs_det(sample.sources).mean(-1).expand(len(seeds)),
    }
    return rows(metrics, history)
