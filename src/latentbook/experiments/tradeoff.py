"""Disentanglement against reconstruction on sprites: beta-VAE, beta-TCVAE, FactorVAE, ISA-VAE, and two controls.

The comparison is that of J. Stühmer, R. E. Turner, S. Nowozin, *Independent Subspace Analysis for Unsupervised Learning
of Disentangled Representations*, 2019. The controls are ours. Their prior of independent subspaces differs from N(0, I)
in two ways, its variance and its shape: "normal-matched" is the normal prior of the same variance, and "isa-unit" the
same shape with variance 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
import torch
from torch import nn

from latentbook.data import Dataset, loaders, sprites
from latentbook.experiments import _config
from latentbook.experiments._ima import column, grid, rows
from latentbook.experiments._images import scores
from latentbook.experiments._store import Group, Row, collect
from latentbook.models import VAE, BernoulliLikelihood, ISAPrior, NormalPrior
from latentbook.models.priors import Prior
from latentbook.objectives import ELBO, TCVAE, FactorVAE
from latentbook.random import Generator
from latentbook.training import History, ParameterGroup, Ramp, TrainConfig, fit

OUTER = 2.1  # the published exponent between subspaces
METHODS = (
    "beta-vae",
    "beta-tcvae",
    "isa-vae",
    "isa-tcvae",
    "normal-matched",
    "isa-unit",
    "isa-learned",
    "factor-vae",
)
Method = Literal[METHODS]


@dataclass(frozen=True)
class Setting:
    """What a data set asks for.

    Attributes:
        load: gives the data set, from the path that the config has.
        scored: the factors that count, by name.
        network: the encoder and decoder: "small" (two layers of 128), "mlp" or "conv" (those of the literature).
        subspaces: latents in each subspace.
        inner: the exponent within subspaces.
        betas: weights of the KL or, for TCVAEs, of the total correlation.
        gammas: weights of the total correlation for FactorVAE.
        epochs: passes over the data.
        batch_size: images a step.
        learning_rate: of Adam.
    """

    load: Callable[[Path | None], Dataset]
    scored: tuple[str, ...]
    network: str
    subspaces: tuple[int, ...]
    inner: float
    betas: tuple[float, ...]
    gammas: tuple[float, ...]
    epochs: int
    batch_size: int
    learning_rate: float


def _dsprites(path: Path | None) -> Dataset:
    return sprites.load() if path is None else loaders.load("dsprites", path)


_POSITION = ("pos_x", "pos_y")
_REDUCED = {
    "network": "small",
    "subspaces": (2,) * 5,
    "inner": 2.2,
    "betas": (1.0, 2.0, 4.0),
    "gammas": (1.0, 3.0, 9.0),
}
_BIG = {"batch_size": 2048, "learning_rate": 1e-3}
_CONV = {"network": "conv", "subspaces": (4, 3, 3), "inner": 1.9, "epochs": 1500, **_BIG}
SETTINGS: dict[str, Setting] = {
    "hearts": Setting(
        lambda path: sprites.hearts(), ("scale", *_POSITION), epochs=125, batch_size=64, learning_rate=1e-2, **_REDUCED
    ),
    "ellipses": Setting(
        lambda path: sprites.ellipses(),
        ("scale", "orientation", *_POSITION),
        epochs=21,
        batch_size=128,
        learning_rate=1e-2,
        **_REDUCED,
    ),
    "dsprites": Setting(
        _dsprites,
        ("scale", "orientation", *_POSITION),
        network="mlp",
        subspaces=(4,) * 5,
        inner=2.2,
        betas=(1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0),
        gammas=tuple(map(float, range(1, 11))),
        epochs=20,
        **_BIG,
    ),
    "faces3d": Setting(
        lambda path: loaders.load("faces3d", path),
        ("azimuth", "elevation", "lighting"),
        betas=(1.0, 1.5, 2.0, 2.5, 3.0, 4.0),
        gammas=tuple(map(float, range(1, 11))),
        **_CONV,
    ),
    "cars3d": Setting(
        lambda path: loaders.load("cars3d", path),
        ("elevation", "azimuth"),
        betas=(1.0, 2.0, 3.0, 4.0),
        gammas=tuple(map(float, range(1, 11))),
        **_CONV,
    ),
}
"""What each data set asks for. Of the full sets: the tables and captions of the paper. It gives the layout of subspaces
for dSprites (5 of 4) and their number for faces (3 in 10 latents); nothing for the cars, which take what the faces have
here. The reduced sets are ours."""


@dataclass(frozen=True)
class Config(_config.Config):
    """What is varied, and how long it is trained. What is None follows from the scale, then from the data set."""

    dataset: Literal["hearts", "ellipses", "dsprites", "faces3d", "cars3d"] | None = None
    """Reduced sprites (hearts, ellipses), all of dSprites as rendered here, or files of your own (see path)."""
    path: Path | None = None
    """Place of the official files, needed for faces3d and cars3d, possible for dsprites."""
    methods: tuple[Method, ...] = METHODS
    """Four methods, two controls, learned exponents, and FactorVAE."""
    betas: tuple[float, ...] | None = None
    """Weights of the KL or, for the two TCVAEs, of the total correlation."""
    gammas: tuple[float, ...] | None = None
    """Weights of the total correlation for FactorVAE."""
    seeds: int | None = None
    """Seeds for every method and weight."""
    together: int | None = None
    """Seeds trained in one fit; many small models at a time, few large ones."""
    subspaces: tuple[int, ...] | None = None
    """Latents in each subspace of the ISA priors; their sum is the number of latents."""
    inner: float | None = None
    """Exponent within subspaces; learned ones start at 2."""
    steps: int | None = None
    """Optimiser steps; None for the epochs that the data set asks for."""
    batch_size: int | None = None
    """Images a step; FactorVAE takes as many again for its permuted codes."""
    learning_rate: float | None = None
    """Of Adam; it falls to zero on the reduced sets, and stays in the paper's setting."""
    anneal: float = 0.0
    """Share of training over which the weight rises from zero; 0 for none, as in the paper."""
    discriminator: tuple[int, ...] | None = None
    """Hidden units of FactorVAE's discriminator."""
    samples: int | None = None
    """Draws for the MIG."""
    images: int | None = None
    """Images, drawn at random, for reconstruction and KL."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the matrix products in training; bfloat16 is twice as fast on a CPU that has units for it, more on a card."""

    scales: ClassVar = {
        "tiny": {
            "dataset": "hearts",
            "betas": (1.0, 4.0),
            "gammas": (3.0,),
            "seeds": 2,
            "together": 2,
            "steps": 4,
            "discriminator": (8,),
            "samples": 20,
            "images": 100,
        },
        "live": {
            "dataset": "hearts",
            "betas": None,
            "gammas": None,
            "seeds": 5,
            "together": 10,
            "steps": None,
            "discriminator": (128, 128, 128),
            "samples": 4000,
            "images": 10_000,
        },
        "paper": {
            "dataset": "dsprites",
            "betas": None,
            "gammas": None,
            "seeds": 50,
            "together": 1,
            "steps": None,
            "discriminator": (1000,) * 5,
            "samples": 10_000,
            "images": 10_000,
        },
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("betas", "gammas", "subspaces", "inner", "batch_size", "learning_rate"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(SETTINGS[self.dataset], name))
        for name in ("betas", "gammas"):
            if not all(math.isfinite(weight) and weight >= 0 for weight in getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}; expected finite weights of at least 0")
        if self.path is None and self.dataset in ("faces3d", "cars3d"):
            raise ValueError(f"path is None; expected the place of the official files, as dataset is {self.dataset!r}")
        if not 0 <= self.anneal <= 1:
            raise ValueError(f"anneal is {self.anneal}; expected a share of training, 0 to 1")

    def weights(self, method: str) -> tuple[float, ...]:
        """The weights that a method is run with."""
        return self.gammas if method == "factor-vae" else self.betas


def run(config: Config) -> pd.DataFrame:
    """One row a method, weight (beta; gamma for FactorVAE) and seed."""
    groups = []
    for method in config.methods:
        for first in range(0, config.seeds, config.together):
            some = range(first, min(first + config.together, config.seeds))
            members = grid(dataset=[config.dataset], method=[method], weight=config.weights(method), seed=some)
            groups.append(Group(f"{method}-{first}", members, partial(measure, config, members)))
    return collect("tradeoff", config, groups)


def build_prior(method: str, config: Config, members: int) -> Prior:
    """The prior of a method, over the latents that the config has."""
    size, isa = sum(config.subspaces), ISAPrior(config.subspaces, inner=config.inner, outer=OUTER)
    if method in ("isa-vae", "isa-tcvae"):
        return isa
    if method == "normal-matched":
        return NormalPrior(size, isa.variance())
    if method == "isa-unit":
        return ISAPrior(config.subspaces, inner=config.inner, outer=OUTER, scale=None)
    if method == "isa-learned":
        return ISAPrior(config.subspaces, inner=2.0, outer=OUTER, learned=True, members=members)
    return NormalPrior(size)


def build_model(data: Dataset, network: str, prior: Prior, weights: Generator) -> VAE:
    """The untrained stack."""
    options = {"likelihood": BernoulliLikelihood(), "prior": prior, "generator": weights}
    features, latents = data.batch(torch.zeros(1, dtype=torch.int64)).shape[-1], prior.size
    if network == "conv":
        height, width, *channels = data.image_shape
        return VAE.conv((*(channels or [1]), height, width), latents, **options)
    hidden, decoder = ((128, 128), (128, 128)) if network == "small" else ((1200, 1200), (1200, 1200, 1200))
    nets = {"hidden": hidden, "activation": "relu", "decoder_hidden": decoder, "decoder_activation": "tanh"}
    return VAE.mlp(features, latents, separate=False, **nets, **options)


def build_objective(method: str, weights: Sequence[float], latents: int, config: Config, start: Generator) -> nn.Module:
    """The objective of a method. The KL is that of one sample for all of them: only that serves every prior."""
    if method == "factor-vae":
        return FactorVAE(latents, weights, hidden=config.discriminator, kl="monte-carlo", generator=start)
    kind = TCVAE if method.endswith("tcvae") else ELBO
    return kind(torch.tensor(weights), kl="monte-carlo")


def train(
    config: Config, data: Dataset, members: Sequence[Row], *, checkpoint: Path | None = None, progress: bool = True
) -> tuple[VAE, History]:
    """Train the members of one method, each with its weight and seed."""
    setting, method, seeds = SETTINGS[config.dataset], members[0]["method"], column(members, "seed")
    place, factor = TrainConfig(device=config.device).resolve_device(), method == "factor-vae"
    start = Generator(seeds, device=place, stream="weights")
    prior = build_prior(method, config, len(seeds))
    model = build_model(data, setting.network, prior, start)
    weights = Generator(seeds, device=place, stream="discriminator")
    objective = build_objective(method, column(members, "weight"), prior.size, config, weights)
    small = setting.network == "small"
    ramp = {"gamma" if factor else "beta": Ramp(0.0, until=config.anneal)} if config.anneal else {}
    slow = 0.3 if small else 0.1  # at the small networks' high rate, 0.3 leaves the discriminator least to see
    groups = (ParameterGroup("objective", rate=slow, betas=(0.5, 0.9)),) if factor else ()
    if method == "isa-learned":
        groups = (ParameterGroup("prior", rate=0.25),)  # of log p: about the published 0.5 of p, near p = 2
    training = TrainConfig(
        seeds=tuple(seeds),
        steps=config.steps or setting.epochs * (len(data) // config.batch_size),
        batch_size=config.batch_size * (2 if factor else 1),
        learning_rate=config.learning_rate,
        decay="cosine" if small else "none",
        schedules=ramp,
        groups=groups,
        checkpoint=checkpoint,
        device=config.device,
        precision=config.precision,
    )
    resume = checkpoint is not None and checkpoint.exists()
    return model, fit(model, objective, data, training, resume=resume, progress=progress)


@functools.lru_cache(maxsize=1)
def _load(dataset: str, path: Path | None) -> Dataset:
    """The data, once in each process."""
    return SETTINGS[dataset].load(path)


def measure(config: Config, members: list[Row], checkpoint: Path | None) -> list[Row]:
    """Train the members of one method, each with its weight and seed, and score them."""
    data = _load(config.dataset, config.path)
    model, history = train(config, data, members, checkpoint=checkpoint)
    scored = SETTINGS[config.dataset].scored
    columns = [data.factor_names.index(name) for name in scored]
    options = {"images": config.images, "samples": config.samples}
    metrics = scores(model, data, data.factors[:, columns], column(members, "seed"), **options)
    for name, gaps in zip(scored, metrics.pop("mig_of").unbind(-1), strict=True):
        metrics[f"mig_{name}"] = gaps
    if members[0]["method"] == "isa-learned":
        exponents = model.prior.inner().detach().reshape(len(members), -1).sort().values
        metrics |= {f"exponent_{k + 1}": exponents[:, k] for k in range(exponents.shape[1])}
    return rows(metrics, history)
