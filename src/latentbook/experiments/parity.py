"""Does bfloat16 change what is found? The same runs with matrix products in float32 and in bfloat16.

Hearts by a beta-VAE, where the scores are ELBO and MIG; and a Moebius map of three uniform sources, where they are ELBO
and MCC. Both precisions have the same seeds: the same weights to begin with, batches and noise. What was trained is
measured in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from latentbook.data import toys
from latentbook.data.toys import Sample
from latentbook.experiments import _config, tradeoff
from latentbook.experiments._ima import Recipe, column, grid, held_out, rows, scores, train
from latentbook.experiments._store import Group, Row, collect
from latentbook.mixings import Moebius
from latentbook.models import UniformPrior
from latentbook.random import Generator
from latentbook.training import TrainConfig

PRECISIONS = ("float32", "bfloat16")
SIZE, POINTS = 3, 2000  # sources of the Moebius map, and held-out points


@dataclass(frozen=True)
class Config(_config.Config):
    """What is compared."""

    tasks: tuple[Literal["hearts", "moebius"], ...] = ("hearts", "moebius")
    """Reduced sprites, or a Moebius map."""
    betas: tuple[float, ...] | None = None
    """Weights of the KL, for hearts."""
    precisions: tuple[float, ...] | None = None
    """gamma^2 in units of 1 / (variance of x), for the map."""
    seeds: int | None = None
    """Seeds, for every task and level; each has a map of its own."""
    image_steps: int | None = None
    """Optimiser steps for hearts."""
    steps: int | None = None
    """Optimiser steps for the map."""
    samples: int | None = None
    """Draws for the MIG."""

    scales: ClassVar = {
        "tiny": {"betas": (1.0,), "precisions": (1e2,), "seeds": 2, "image_steps": 4, "steps": 20, "samples": 20},
        "live": {
            "betas": (4.0,),
            "precisions": (1e2,),
            "seeds": 5,
            "image_steps": 3000,
            "steps": 1500,
            "samples": 4000,
        },
        "paper": {
            "betas": (1.0, 4.0),
            "precisions": (1e1, 1e3, 1e5),
            "seeds": 10,
            "image_steps": 3000,
            "steps": 4000,
            "samples": 4000,
        },
    }


@dataclass(frozen=True)
class Rounded(Recipe):
    """The recipe of the experiments on the gap, with matrix products in some precision.

    Attributes:
        precision: as in TrainConfig.
    """

    precision: str = "float32"

    def training(self, seeds: list[int], **options: object) -> TrainConfig:
        """The training config."""
        return super().training(seeds, precision=self.precision, **options)


def run(config: Config) -> pd.DataFrame:
    """One row a precision (method), task, level (beta, or gamma^2 times the variance of x) and seed."""
    tasks = {"hearts": (config.betas, _hearts), "moebius": (config.precisions, _moebius)}
    groups = []
    for task in config.tasks:
        levels, measure = tasks[task]
        for precision in PRECISIONS:
            settings = grid(method=[precision], task=[task], level=levels, seed=range(config.seeds))
            groups.append(Group(f"{task}-{precision}", settings, partial(measure, config, settings)))
    return collect("parity", config, groups)


def _hearts(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    how = tradeoff.Config(
        "live",
        dataset="hearts",
        steps=config.image_steps,
        samples=config.samples,
        device=config.device,
        precision=settings[0]["method"],
    )
    members = [{"method": "beta-vae", "weight": row["level"], "seed": row["seed"]} for row in settings]
    found = tradeoff.measure(how, members, checkpoint)
    return [{name: row[name] for name in ("elbo", "mig", "error") if name in row} for row in found]


def _moebius(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    seeds = column(settings, "seed")
    mixing = Moebius.random(Generator(seeds, stream="map"), SIZE)

    def draw(generator: Generator, n: int) -> Sample:
        return toys.mixed(generator, n, mixing, "uniform")

    variance = draw(Generator(seeds, stream="variance"), 4096).x.var(1).mean(-1).tolist()
    members = [{**s, "gamma2": s["level"] / v} for s, v in zip(settings, variance, strict=True)]
    recipe = Rounded(config.steps, precision=settings[0]["method"])
    model, history = train(members, draw, recipe, UniformPrior(SIZE), device=config.device, checkpoint=checkpoint)
    found = scores(model, held_out(settings, draw, POINTS, model.device), seeds)
    return rows({name: found[name] for name in ("elbo", "mcc_mean")}, history)


def compare(table: pd.DataFrame) -> pd.DataFrame:
    """For every task, level and score: mean and deviation of both precisions, and the mean of the paired differences.

    Args:
        table: as :func:`run` returns it.

    Returns:
        Columns ``float32``, ``bfloat16`` (means over seeds), ``spread`` (deviation of float32 over seeds),
        ``difference`` (mean of bfloat16 less float32, seed by seed), ``error`` (its standard error), and ``seeds``.
    """
    found = []
    fine = table[table.error == ""]
    for (task, level), some in fine.groupby(["task", "level"]):
        for score in ("elbo", "mig", "mcc_mean"):
            pairs = some.pivot_table(index="seed", columns="method", values=score, dropna=False)
            pairs = pairs.reindex(columns=list(PRECISIONS)).dropna()
            if not len(pairs):
                continue
            difference = pairs["bfloat16"] - pairs["float32"]
            found.append(
                {"task": task, "level": level, "score": score, **pairs.mean().to_dict()}
                | {"spread": pairs["float32"].std(), "difference": difference.mean()}
                | {"error": difference.std() / math.sqrt(len(pairs)), "seeds": len(pairs)}
            )
    return pd.DataFrame(found)
