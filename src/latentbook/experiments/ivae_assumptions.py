"""iVAE against VAE with one assumption changed at a time: segments, modulation, mixing, noise, sizes, and kinds of u.

Small data of segments, in the manner of I. Khemakhem et al., *Variational Autoencoders and Nonlinear ICA*, AISTATS
2020, with a recipe of this book: data whitened, log-uniform scales from 0.1 to 3, the decoder's precision annealed, and
a learning rate that falls to zero. Every seed has a process of its own.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from latentbook.data import tcl
from latentbook.data.stacked import Stacked
from latentbook.data.tcl import SegmentProcess
from latentbook.experiments import _config
from latentbook.experiments._ima import column, rows
from latentbook.experiments._store import Group, Row, collect
from latentbook.jacobian import jacobian
from latentbook.metrics import gaussian_parameters, ima_contrast, linear_mcc, mcc, segment_conditioning
from latentbook.models import VAE, BernoulliLikelihood, GaussianLikelihood
from latentbook.models.ivae import ivae_mlp
from latentbook.objectives import ELBO, evidence_lower_bound
from latentbook.random import Generator
from latentbook.training import Ramp, TrainConfig, fit

PRECISION = 50.0  # gamma^2, in units of 1 / (mean variance of x)
MOMENTS = 50  # segments of a continuous u, for each on average 1 / MOMENTS of the points
PIXELS = 30  # of binary observations
METHODS = ("vae", "ivae")


@dataclass(frozen=True)
class Case:
    """What differs from the plain case.

    Attributes:
        process: options of ``SegmentProcess.random``.
        modulates: what of the model's prior depends on u.
        shuffled: share of the labels that are exchanged at random before the model sees them.
        u: "labels", or "time" for a continuous u with smoothly changing scales.
        x: "whitened", "plain" (unit mean variance), or "binary".
    """

    process: dict[str, object] = field(default_factory=dict)
    modulates: str = "scale"
    shuffled: float = 0.0
    u: str = "labels"
    x: str = "whitened"


CASES = {
    "plain": Case(),
    "2 segments": Case({"segments": 2}),
    "3 segments": Case({"segments": 3}),
    "4 segments": Case({"segments": 4}),
    "6 segments": Case({"segments": 6}),
    "40 segments": Case({"segments": 40}),
    "weak": Case({"scale": (0.5, 3.0), "spread": "uniform"}),
    "location": Case({"modulates": "location"}, "location"),
    "both": Case({"modulates": "both", "location": (-2.0, 2.0)}, "both"),
    "linear": Case({"layers": 1}),
    "linear, location": Case({"layers": 1, "modulates": "location"}, "location"),
    "3 layers": Case({"layers": 3}),
    "laplace": Case({"family": "laplace"}),
    "noise 0.1": Case({"noise": 0.1}),
    "noise 0.3": Case({"noise": 0.3}),
    "noise 1": Case({"noise": 1.0}),
    "2 sources": Case({"size": 2}),
    "5 sources": Case({"size": 5}),
    "9 features": Case({"features": 9}, x="plain"),
    "half shuffled": Case(shuffled=0.5),
    "shuffled": Case(shuffled=1.0),
    "time": Case(u="time"),
    "binary": Case({"layers": 1}, x="binary"),
}


@dataclass(frozen=True)
class Config(_config.Config):
    """What is varied."""

    cases: tuple[str, ...] | None = None
    """Which assumptions are changed, by the names in ``CASES``."""
    seeds: int | None = None
    """Seeds, each with a process of its own."""
    points: int | None = None
    """Data points, shared among the segments."""
    steps: int | None = None
    """Optimiser steps."""

    scales: ClassVar = {
        "tiny": {"cases": ("plain", "time", "binary", "9 features"), "seeds": 2, "points": 400, "steps": 10},
        "live": {"cases": ("plain", "3 segments", "shuffled"), "seeds": 5, "points": 5000, "steps": 800},
        "paper": {"cases": tuple(CASES), "seeds": 10, "points": 5000, "steps": 800},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [name for name in self.cases if name not in CASES]
        if unknown:
            raise ValueError(f"cases holds {unknown}; expected names among {list(CASES)}")


def run(config: Config) -> pd.DataFrame:
    """One row a case, a method and a seed."""
    groups = []
    for number, case in enumerate(config.cases):
        for method in METHODS:
            settings = [{"case": case, "method": method, "seed": seed} for seed in range(config.seeds)]
            groups.append(Group(f"{number}-{method}", settings, partial(_measure, config, settings)))
    return collect("ivae-assumptions", config, groups)


class Observed(NamedTuple):
    """Data of a case: observations, sources, what the model is told of u, and what the scales truly are."""

    x: Tensor
    sources: Tensor
    u: Tensor
    process: SegmentProcess


def observe(case: Case, seeds: list[int], points: int) -> Observed:
    """The data of a case, each seed its own."""
    generator = Generator(seeds, stream="world")
    options = {"segments": 20, "size": 3, "scale": (0.1, 3.0), "spread": "log-uniform", "layers": 2} | case.process
    if case.u == "time":
        options["segments"] = min(MOMENTS, points // 8)
    process = SegmentProcess.random(generator, **options)
    if case.u == "time":
        process = replace(process, scale=_smooth(generator.child("curves"), *process.scale.shape[1:]))
    per_segment = points // options["segments"]
    data = process.draw(generator.child("rows").at(0), per_segment, dtype=torch.float64)
    x = data.x
    if case.x == "binary":
        maps = generator.child("pixels").normal(options["size"], PIXELS, dtype=torch.float64)
        noise = generator.child("binary").uniform(*x.shape[1:-1], PIXELS, dtype=torch.float64)
        x = (noise < (2 * data.sources @ maps).sigmoid()).double()
    elif case.x == "plain":
        x = x / x.var(1, keepdim=True).mean(-1, keepdim=True).sqrt()
    else:
        process = replace(process, whitening=tcl.whitening(x))
        x = process.whitening(x)
    u = data.u
    if case.shuffled:
        u = _shuffle(u, case.shuffled, generator.child("shuffle"))
    if case.u == "time":
        u = (2 * u.double() / (options["segments"] - 1) - 1)[..., None].float()
    return Observed(x.float(), data.sources, u, process)


def _smooth(generator: Generator, segments: int, size: int) -> Tensor:
    """Scales from 0.1 to 3 that swing up and down with time, each source with a pace of its own."""
    time = torch.linspace(0, 1, segments, dtype=torch.float64)[:, None]
    pace = torch.arange(1, size + 1, dtype=torch.float64) / 2
    phase = generator.uniform(1, size, dtype=torch.float64)
    height = 0.5 + 0.5 * torch.sin(2 * math.pi * (pace * time + phase))
    return 0.1 * 30**height


def _shuffle(u: Tensor, share: float, generator: Generator) -> Tensor:
    """The labels, a share of them exchanged among each other at random."""
    chosen = generator.permutation(u.shape[1])[:, : round(share * u.shape[1])]
    order = chosen.gather(1, generator.permutation(chosen.shape[1]))
    return u.scatter(1, chosen, u.gather(1, order))


def _measure(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    seeds, case = column(settings, "seed"), CASES[settings[0]["case"]]
    data = observe(case, seeds, config.points)
    model = _model(case, settings[0]["method"], data, seeds)
    batch_size = min(256, data.x.shape[1])
    options = {"learning_rate": 1e-2, "checkpoint": checkpoint, "device": config.device}
    if case.x != "binary":
        options["schedules"] = {"gamma2": Ramp(0.1, hold=0.3, until=0.6, shape="geometric")}
    training = TrainConfig(seeds=tuple(seeds), steps=config.steps, batch_size=batch_size, **options)
    resume = checkpoint is not None and checkpoint.exists()
    history = fit(model, ELBO(), Stacked(data.x, data.u), training, resume=resume)
    return rows(_scores(model, data, seeds), history)


def _model(case: Case, method: str, data: Observed, seeds: list[int]) -> VAE:
    sizes = data.x.shape[-1], data.sources.shape[-1]
    likelihood = BernoulliLikelihood() if case.x == "binary" else GaussianLikelihood(PRECISION)
    options = {"hidden": (32, 32), "activation": "leaky_relu", "likelihood": likelihood, "data": data.x}
    options |= {"whiten": "zca", "generator": Generator(seeds, stream="weights")}
    if method == "vae":
        return VAE.mlp(*sizes, **options)
    kind = {"u_size": 1} if case.u == "time" else {"classes": data.process.scale.shape[1]}
    return ivae_mlp(*sizes, **kind, modulates=case.modulates, **options)


@torch.no_grad()
def _scores(model: VAE, data: Observed, seeds: list[int]) -> dict[str, Tensor]:
    """MCC of mean codes, of samples, by ranks and up to a linear map; contrasts, ELBO, and rank of the segments."""
    x, s, u, process = data
    device = model.device
    generator = Generator(seeds, device=device, stream="evaluation")
    codes = model.codes(x, u)
    few = slice(0, None, max(1, x.shape[1] // 1000))
    decoder = copy.deepcopy(model.decoder).double()
    learned = jacobian(decoder, model.encode(x[:, few], u[:, few]).mean.double())
    laws = gaussian_parameters(process.location, process.scale, statistics=_statistics(process))
    conditioning = segment_conditioning(laws)
    return {
        "mcc": mcc(codes, s).score,
        "mcc_sampled": mcc(model.codes(x, u, generator.child("codes")), s).score,
        "mcc_spearman": mcc(codes, s, "spearman").score,
        "mcc_linear": linear_mcc(codes, s).score,
        "mcc_x": mcc(x, s).score,
        "contrast": ima_contrast(learned).mean(1),
        "true_contrast": _true_contrast(data, few),
        "elbo": evidence_lower_bound(model, x, generator.child("elbo"), samples=4, u=u).elbo.mean(1),
        "rank": conditioning.rank.double(),
        "parameters": torch.full_like(conditioning.condition, laws.shape[-1]),
    }


def _statistics(process: SegmentProcess) -> str:
    """Which natural parameters change at all."""
    if bool((process.location == 0).all()):
        return "scale"
    return "location" if bool((process.scale == 1).all()) else "both"


def _true_contrast(data: Observed, few: slice) -> Tensor:
    """Mean local contrast of the true map at its sources; NaN for binary observations, which have none."""
    x, s, _, process = data
    size, inputs = s.shape[-1], process.mixing.size
    if process.whitening is None and bool(((x == 0) | (x == 1)).all()):
        return torch.full((len(s),), math.nan)
    J = process.mixing.jacobian(torch.nn.functional.pad(s[:, few], (0, inputs - size)))[..., :size]
    if process.whitening is not None:
        J = process.whitening.matrix.double().mT[:, None] @ J
    return ima_contrast(J).mean(1)
