"""How much the members axis saves: many seeds in one fit against one seed at a time, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from latentbook.models import VAE
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit


@dataclass(frozen=True)
class Config:
    """What is timed."""

    members: int = 20
    """Seeds in the stack."""
    steps: int = 200
    """Optimiser steps a fit."""
    repetitions: int = 5
    """Times that both ways are run, in turn; medians are reported."""
    data_size: int = 3
    """Features of x."""
    latent_size: int = 3
    """Latents."""
    hidden: tuple[int, ...] = (30, 30)
    """Hidden units of the encoder, and mirrored of the decoder."""
    batch_size: int = 64
    """Data points per member and step."""
    threads: int = 1
    """Torch threads during the measurement; the setting found before is put back."""


def _fit_seconds(config: Config, seeds: Sequence[int], x: torch.Tensor) -> float:
    """Wall-clock seconds of one fit of a small VAE, its construction left out."""
    sizes = (config.data_size, config.latent_size)
    model = VAE.mlp(*sizes, hidden=config.hidden, separate=False, data=x, generator=Generator(seeds))
    train = TrainConfig(seeds=tuple(seeds), steps=config.steps, batch_size=config.batch_size, device="cpu")
    start = time.perf_counter()
    fit(model, ELBO(), x, train, progress=False)
    return time.perf_counter() - start


def interleave(ways: dict[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each way, taken in turn so that a busy machine slows all alike; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(repetitions + 1):
        for name, run in ways.items():
            value = run()
            if repetition:
                seconds[name].append(value)
    return seconds


def run(config: Config) -> pd.DataFrame:
    """Time both ways and return microseconds per seed and step, their spread, and the ratio of the medians."""
    x = Generator(0, stream="data").normal(4096, config.data_size)[0]
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        ways = {
            "one seed at a time": lambda: _fit_seconds(config, [0], x),
            f"{config.members} seeds in one fit": lambda: _fit_seconds(config, range(config.members), x),
        }
        seconds = interleave(ways, config.repetitions)
    finally:
        torch.set_num_threads(before)
    rows = []
    for (name, values), seeds in zip(seconds.items(), (1, config.members), strict=True):
        micro = [1e6 * value / (seeds * config.steps) for value in values]
        median = statistics.median(micro)
        rows.append({"way": name, "us per seed and step": median, "min": min(micro), "max": max(micro)})
    table = pd.DataFrame(rows)
    table["times as fast"] = table["us per seed and step"][0] / table["us per seed and step"]
    return table.round(1)
