"""What the experiments on the gap share: train a stack over a grid of settings, and measure it on held-out data.

A setting is a dictionary with at least "seed" and "gamma2"; each is a member of one stack. Members of the same seed see
the same batches and noise and start from the same weights, so that they differ by their setting alone.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from latentbook.data.toys import Sample
from latentbook.experiments._store import Row
from latentbook.jacobian import jacobian
from latentbook.metrics import ima_contrast, mcc, mean_jacobian_contrast
from latentbook.models import VAE, FixedDecoder, GaussianLikelihood
from latentbook.objectives import ELBO, evidence_lower_bound
from latentbook.random import Generator
from latentbook.training import History, Ramp, TrainConfig, fit

REFERENCE = 2048  # data points from which whitening and scales are computed
Draw = Callable[[Generator, int], Sample]


def grid(**axes: Iterable[object]) -> list[Row]:
    """Every combination of the values, as settings."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def column(settings: Sequence[Row], name: str) -> list:
    """The values that one entry has in the settings."""
    return [setting[name] for setting in settings]


@dataclass(frozen=True)
class Recipe:
    """How the small VAEs of these experiments are built and trained.

    The defaults make a few thousand steps enough: data whitened for the encoder and scaled for the decoder, smooth
    networks, variances that start near their end, pairs of mirrored samples, and a learning rate that falls to zero.

    Attributes:
        steps: optimiser steps.
        learning_rate: of Adam, before decay.
        hidden: hidden units of the encoder, mirrored in the decoder.
    """

    steps: int
    learning_rate: float = 5e-3
    hidden: tuple[int, ...] = (32, 32)

    def model(self, data: Tensor, latents: int, gamma2: Sequence[float], prior: nn.Module, weights: Generator) -> VAE:
        """The untrained stack."""
        likelihood = GaussianLikelihood(torch.tensor(gamma2))
        options = {"data": data, "whiten": "zca", "prior": prior, "likelihood": likelihood, "generator": weights}
        return VAE.mlp(data.shape[-1], latents, hidden=self.hidden, **options)

    def objective(self) -> ELBO:
        """The negative ELBO, by a pair of mirrored samples."""
        return ELBO(antithetic=True)

    def training(self, seeds: Sequence[int], **options: object) -> TrainConfig:
        """The training config."""
        warmup = min(100, self.steps // 10)
        rate = {"learning_rate": self.learning_rate, "batch_size": 64, "warmup": warmup}
        return TrainConfig(seeds=tuple(seeds), steps=self.steps, **rate, **options)


class Plain(Recipe):
    """A recipe in the manner of the paper's: one network for mean and variance, leaky ReLU, nothing standardised.

    The learning rate stays at 1e-3, and one posterior sample is drawn.
    """

    def model(self, data: Tensor, latents: int, gamma2: Sequence[float], prior: nn.Module, weights: Generator) -> VAE:
        """The untrained stack: two layers with 30 hidden units, variances that start at one."""
        likelihood = GaussianLikelihood(torch.tensor(gamma2))
        nets = {"hidden": (30,), "activation": "leaky_relu", "separate": False, "initial_log_variance": 0.0}
        options = {"prior": prior, "likelihood": likelihood, "generator": weights}
        return VAE.mlp(data.shape[-1], latents, **nets, **options)

    def objective(self) -> ELBO:
        """The negative ELBO, by one sample."""
        return ELBO()

    def training(self, seeds: Sequence[int], **options: object) -> TrainConfig:
        """The training config."""
        return TrainConfig(seeds=tuple(seeds), steps=self.steps, batch_size=64, decay="none", **options)


def train(
    settings: Sequence[Row],
    draw: Draw,
    recipe: Recipe,
    prior: nn.Module,
    *,
    start: Sequence[float] | None = None,
    decoder: Callable[[Tensor], Tensor] | None = None,
    device: str = "auto",
    checkpoint: Path | None = None,
) -> tuple[VAE, History]:
    """Train one member a setting on fresh data, with as many latents as there are sources.

    Args:
        settings: what the members are.
        draw: makes data for generators with one seed a setting.
        recipe: how to build and train.
        prior: of the latents.
        start: where gamma^2 begins if that is lower than its value, in units of 1 / (variance of x), one number a
            setting. It stays there for 30 % of the steps and arrives at 60 %.
        decoder: a map to hold fixed, (members, n, latents) -> (members, n, features); None trains a decoder.
        device: where.
        checkpoint: file for checkpoints; the run continues from it if it is there.
    """
    seeds, gamma2 = column(settings, "seed"), column(settings, "gamma2")
    place = TrainConfig(device=device).resolve_device()
    reference = draw(Generator(seeds, device=place, stream="reference"), REFERENCE)
    weights = Generator(seeds, device=place, stream="weights")
    model = recipe.model(reference.x, reference.sources.shape[-1], gamma2, prior, weights)
    if decoder is not None:
        model.decoder = FixedDecoder(decoder, members=len(seeds)).to(place)
    schedules = {} if start is None else _annealed(reference.x, gamma2, start)
    config = recipe.training(seeds, checkpoint=checkpoint, device=device, schedules=schedules)
    resume = checkpoint is not None and checkpoint.exists()
    history = fit(model, recipe.objective(), lambda generator, n: draw(generator, n).x, config, resume=resume)
    return model, history


def _annealed(x: Tensor, gamma2: Sequence[float], start: Sequence[float]) -> dict[str, Ramp]:
    """A schedule of gamma^2 that begins at ``start`` where this is lower."""
    full = x.var(-2).mean(-1).cpu() * torch.tensor(gamma2)
    first = (torch.tensor(start) / full).clamp(max=1).tolist()
    return {"gamma2": Ramp(tuple(first), 1.0, hold=0.3, until=0.6, shape="geometric")}


def held_out(settings: Sequence[Row], draw: Draw, points: int, device: torch.device) -> Sample:
    """Data that no training has seen: the same for all members of a seed."""
    return draw(Generator(column(settings, "seed"), device=device, stream="held out"), points)


@torch.no_grad()
def decoder_jacobian(model: VAE, x: Tensor) -> Tensor:
    """The decoder's Jacobian at the mean codes of x, by the latents in the prior's units, in float64.

    Returns:
        (members, n, features, latents).
    """
    v = model.encode(x).mean.double()
    J = jacobian(copy.deepcopy(model.decoder).double(), v)
    return J / (v.sigmoid() * (-v).sigmoid())[..., None, :] if model.prior.on_unit_interval else J


def scores(model: VAE, sample: Sample, seeds: Sequence[int], *, jacobians: int | None = None) -> dict[str, Tensor]:
    """What every experiment measures of a trained stack, each (members,).

    MCC of posterior samples and of mean codes, Spearman's of mean codes; mean local contrast of the decoder at the mean
    codes (of the first ``jacobians`` points), and the contrast of its mean Jacobian; mean ELBO.
    """
    x, sources = sample
    generator = Generator(seeds, device=x.device, stream="evaluation")
    codes, J = model.codes(x), decoder_jacobian(model, x[:, :jacobians])
    return {
        "mcc": mcc(model.codes(x, generator=generator.child("codes")), sources).score,
        "mcc_mean": mcc(codes, sources).score,
        "mcc_spearman": mcc(codes, sources, "spearman").score,
        "contrast": ima_contrast(J).mean(1),
        "contrast_of_mean": mean_jacobian_contrast(J),
        "elbo": evidence_lower_bound(model, x, generator.child("elbo")).elbo.mean(1),
    }


def rows(metrics: dict[str, Tensor], history: History) -> list[Row]:
    """One dictionary a member: its metrics, or why it has none."""
    members = range(history.members)
    return [
        {"error": f"diverged at step {history.diverged[k]}"}
        if k in history.diverged
        else {name: float(value[k]) for name, value in metrics.items()}
        for k in members
    ]
