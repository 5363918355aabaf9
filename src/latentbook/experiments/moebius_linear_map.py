"""A Moebius map followed by a matrix: how does the MCC fall when columns cease to be orthogonal?

The matrix is a random rotation of unit columns that meet at one angle ("cosine"), or has entries between 0 and 1 as in
P. Reizinger et al., *Embrace the Gap*, NeurIPS 2022 ("uniform"); either is scaled to determinant one. The contrast of
the matrix is given as well as that of the whole mixing, which is the one that counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
import torch

from latentbook.data import toys
from latentbook.data.toys import Sample
from latentbook.experiments import _config
from latentbook.experiments._ima import Recipe, column, grid, held_out, rows, scores, train
from latentbook.experiments._store import Group, Row, collect
from latentbook.metrics import ima_contrast
from latentbook.mixings import Compose, Linear, Mixing, Moebius
from latentbook.models import UniformPrior
from latentbook.random import Generator

SIZE = 3
START = 2.0  # where an annealed gamma^2 begins, in units of 1 / (variance of x)


@dataclass(frozen=True)
class Config(_config.Config):
    """What is varied."""

    methods: tuple[Literal["direct", "annealed"], ...] | None = None
    """gamma^2 as it is from the first step, or annealed from a value at which latents are just in use."""
    maps: Literal["published", "random"] = "published"
    """One Moebius map for all seeds, or one for every seed."""
    matrices: tuple[Literal["cosine", "uniform"], ...] | None = None
    """How the matrix is drawn, one for every seed."""
    cosines: tuple[float, ...] | None = None
    """Cosines between the columns."""
    seeds: int | None = None
    """Seeds for every cosine, and ten times as many matrices with uniform entries where there are any."""
    gamma2: float = 1e4
    """Precision of the decoder."""
    steps: int | None = None
    """Optimiser steps."""
    points: int | None = None
    """Held-out points."""

    scales: ClassVar = {
        "tiny": {
            "methods": ("annealed",),
            "matrices": ("cosine",),
            "cosines": (0.0, 0.9),
            "seeds": 2,
            "steps": 20,
            "points": 100,
        },
        "live": {
            "methods": ("annealed",),
            "matrices": ("cosine",),
            "cosines": (0.0, 0.5, 0.8, 0.9),
            "seeds": 5,
            "steps": 2500,
            "points": 2000,
        },
        "paper": {
            "methods": ("direct", "annealed"),
            "matrices": ("cosine", "uniform"),
            "cosines": (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97),
            "seeds": 10,
            "steps": 6000,
            "points": 2000,
        },
    }


def run(config: Config) -> pd.DataFrame:
    """One row a method, kind of matrix, cosine and seed."""
    groups = []
    for matrix in config.matrices:
        common = {"method": config.methods, "maps": [config.maps], "matrix": [matrix], "gamma2": [config.gamma2]}
        if matrix == "cosine":
            settings = grid(**common, cosine=config.cosines, seed=range(config.seeds))
        else:
            settings = grid(**common, cosine=[None], seed=range(10 * config.seeds))
        groups.append(Group(matrix, settings, partial(_measure, config, settings)))
    return collect("moebius-linear-map", config, groups)


def mixing_of(settings: list[Row]) -> Mixing:
    """The mixing of every setting, stacked."""
    generator = Generator(column(settings, "seed"), stream="map")
    moebius = Moebius.published() if settings[0]["maps"] == "published" else Moebius.random(generator, SIZE)
    if settings[0]["matrix"] == "cosine":
        linear = Linear.with_cosine(SIZE, torch.tensor(column(settings, "cosine")), generator)
    else:
        linear = Linear.random(generator, SIZE, entries="uniform")
    return Compose(moebius, linear.unit_determinant())


def _measure(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    mixing = mixing_of(settings)

    def draw(generator: Generator, n: int) -> Sample:
        return toys.mixed(generator, n, mixing, "uniform")

    start = [START if setting["method"] == "annealed" else math.inf for setting in settings]
    options = {"start": start, "device": config.device, "checkpoint": checkpoint}
    model, history = train(settings, draw, Recipe(config.steps), UniformPrior(SIZE), **options)
    sample = held_out(settings, draw, config.points, model.device)
    sources = sample.sources.double()
    metrics = scores(model, sample, history.seeds) | {
        "matrix_contrast": ima_contrast(mixing.parts[1].matrix),
        "true_contrast": ima_contrast(mixing.jacobian(sources)).mean(1),
        "log_likelihood": -mixing.log_abs_det(sources).mean(1),
    }
    return rows(metrics, history)
