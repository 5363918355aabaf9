"""What the tests of sweeps run in other processes: runs that leave a trace of every computation in a folder."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from functools import partial
from pathlib import Path

import torch
from torch import nn

from latentbook.random import Generator
from latentbook.training import TrainConfig, fit, sweep

SEEDS = 12


def trace(folder: Path, what: str) -> None:
    (folder / f"{what}-{uuid.uuid4().hex}").touch()


def traces(folder: Path, what: str) -> int:
    return len(list(folder.glob(f"{what}-*")))


class Scale(nn.Module):
    """A number for each member, pulled to 1 by noisy batches."""

    def __init__(self, seeds: list[int]) -> None:
        super().__init__()
        self.value = nn.Parameter(Generator(seeds).normal(1)[:, 0])


def loss(model: Scale, batch: torch.Tensor, generator: Generator) -> torch.Tensor:
    return (model.value[:, None] - 1 - batch[..., 0]).square().mean(1)


def trained(seeds: list[int], rates: list[float], checkpoint: Path | None, steps: int = 40) -> list[dict]:
    """Train members for real, those with an infinite rate in vain."""
    model = Scale(seeds)
    config = TrainConfig(tuple(seeds), steps, 4, tuple(rates), checkpoint=checkpoint, checkpoint_every=10)
    resume = checkpoint is not None and checkpoint.exists()
    history = fit(model, loss, lambda generator, n: generator.normal(n, 1), config, resume=resume)
    return [
        {"error": f"diverged at step {history.diverged[k]}"}
        if k in history.diverged
        else {"value": float(model.value[k].detach()), "threads": torch.get_num_threads()}
        for k in range(len(seeds))
    ]


def measure(folder: Path, runs: list[dict], checkpoint: Path | None) -> list[dict]:
    """Train; die where the folder asks for it; leave a trace of each run that came to its end."""
    name = f"{runs[0]['method']}-{runs[0]['seed']}"
    trace(folder, f"begun-{name}")
    if runs[0]["method"] == "raises":
        raise RuntimeError("out of\nluck")
    if runs[0]["method"] == "deadly" or ((folder / f"kill-{name}").exists() and traces(folder, f"begun-{name}") == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    rows = trained([run["seed"] for run in runs], [run["rate"] for run in runs], checkpoint)
    for run in runs:
        trace(folder, f"computed-{run['method']}-{run['seed']}")
    return rows


def runs(*methods: str, seeds: int = SEEDS) -> list[dict]:
    """Runs of each method; a single group of deadly ones, which come first."""
    deadly = [{"method": "deadly", "rate": 0.1, "seed": seed} for seed in range(2) if "deadly" in methods]
    plain = [method for method in methods if method != "deadly"]
    return deadly + [{"method": method, "rate": 0.1, "seed": seed} for method in plain for seed in range(seeds)]


def table(log: Path, *methods: str, folder: Path | None, **options):
    return sweep(runs(*methods), partial(measure, log), together=2, folder=folder, **options)


if __name__ == "__main__":  # killed by a test in mid-run
    log, folder, jobs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    table(log, "plain", folder=folder, jobs=jobs)
