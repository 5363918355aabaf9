"""iVAE, its controls and a flow with exact likelihood on the published data: 40 segments of five sources.

The data are those of I. Khemakhem et al., *Variational Autoencoders and Nonlinear ICA*, AISTATS 2020: five normal
sources whose scales are uniform on 0.5 to 3 in every segment, 1000 points a segment, a network of three layers, no
noise. Every seed has scales, sources and a network of its own. The recipe is of this book: whitened data, a common
objective (the ELBO itself), a precision that rises to its value, and a learning rate that falls to zero. The number of
segments and the depth of the network are varied as well, one at a time, for iVAE, VAE and the truth.

The methods: "ivae" (u in prior and encoder), "vae" (nowhere), "vae-u" (in the encoder alone), "ivae-x" (in the prior
alone), and "flow" (u in the prior of a coupling flow, trained by its exact likelihood: no posterior, no gap). Two more
say what the ELBO makes of the right answer. "truth" trains nothing: it is the true map and the true prior with the best
diagonal Gaussian posterior of every point, by quadrature. "ivae-from-truth" starts there, with networks that have
learned map and sources under supervision, and is then trained as "ivae" is, from ``mcc_start`` and ``elbo_start``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from latentbook.data import tcl
from latentbook.data.stacked import Stacked
from latentbook.experiments import _config
from latentbook.experiments._ima import column, rows
from latentbook.experiments._store import Group, Row, collect
from latentbook.jacobian import jacobian
from latentbook.metrics import ima_contrast, mcc
from latentbook.models import VAE, ConditionalNormalPrior, CouplingFlow, GaussianLikelihood, NormalPrior, ivae_mlp
from latentbook.objectives import ELBO, FlowLikelihood, evidence_lower_bound
from latentbook.objectives.optimum import optimal_posterior
from latentbook.random import Generator
from latentbook.training import ParameterGroup, Ramp, TrainConfig, fit

VARIED = ("ivae", "vae", "truth")  # the methods of all settings; the others run on the largest
TRAINING_POINTS = 4000  # of the training data, on which MCC is measured
RISE = Ramp(0.1, hold=0.3, until=0.6, shape="geometric")  # of gamma^2, as a share of its value
JACOBIANS = 500  # points at which the contrast is measured
TRUTH_POINTS = 2  # held-out points in every segment at which the truth is scored


@dataclass(frozen=True)
class Config(_config.Config):
    """What is varied."""

    methods: tuple[Literal["ivae", "vae", "vae-u", "ivae-x", "flow", "truth", "ivae-from-truth"], ...] | None = None
    """What is trained."""
    segments: tuple[int, ...] | None = None
    """Numbers of segments, with the most layers."""
    layers: tuple[int, ...] | None = None
    """Numbers of layers of the mixing network, with the most segments; 1 is a linear mixing."""
    size: int | None = None
    """Sources, observations and latents."""
    per_segment: int | None = None
    """Training points in every segment."""
    deviations: tuple[float, float] = (0.5, 3.0)
    """Range of the sources' standard deviations, uniform on it."""
    reuse: bool = False
    """Use one matrix in all layers of a mixing network, as the published code does."""
    precision: float = 50.0
    """gamma^2; the data are whitened, so that their variance is 1."""
    seeds: int | None = None
    """Seeds, each with a process of its own."""
    steps: int | None = None
    """Optimiser steps of the VAEs."""
    flow_steps: int | None = None
    """Optimiser steps of the flow."""
    points: int | None = None
    """Held-out points in every segment."""

    scales: ClassVar = {
        "tiny": {
            "methods": ("ivae", "vae", "vae-u", "ivae-x", "flow", "truth", "ivae-from-truth"),
            "segments": (3, 5),
            "layers": (2,),
            "size": 2,
            "per_segment": 30,
            "seeds": 2,
            "steps": 10,
            "flow_steps": 10,
            "points": 10,
        },
        "live": {
            "methods": ("ivae", "vae"),
            "segments": (40,),
            "layers": (1, 3),
            "size": 5,
            "per_segment": 1000,
            "seeds": 5,
            "steps": 1500,
            "flow_steps": 1500,
            "points": 50,
        },
        "paper": {
            "methods": ("ivae", "vae", "vae-u", "ivae-x", "flow", "truth", "ivae-from-truth"),
            "segments": (10, 20, 40),
            "layers": (1, 2, 3),
            "size": 5,
            "per_segment": 1000,
            "seeds": 20,
            "steps": 2500,
            "flow_steps": 3000,
            "points": 50,
        },
    }


def run(config: Config) -> pd.DataFrame:
    """One row a method, a number of segments and of layers, and a seed."""
    most = max(config.segments), max(config.layers)
    places = dict.fromkeys([(s, most[1]) for s in config.segments] + [(most[0], n) for n in config.layers])
    groups = []
    for segments, layers in places:
        for method in config.methods:
            if method in VARIED or (segments, layers) == most:
                same = {"method": method, "segments": segments, "layers": layers}
                settings = [{**same, "seed": seed} for seed in range(config.seeds)]
                groups.append(Group(f"{method}-{segments}-{layers}", settings, partial(_measure, config, settings)))
    return collect("ivae", config, groups)


def _measure(config: Config, settings: list[Row], checkpoint: Path | None) -> list[Row]:
    seeds, method = column(settings, "seed"), settings[0]["method"]
    place = TrainConfig(device=config.device).resolve_device()
    data = tcl.segments(
        Generator(seeds, device=place, stream="data"),
        segments=settings[0]["segments"],
        layers=settings[0]["layers"],
        size=config.size,
        per_segment=config.per_segment,
        scale=config.deviations,
        reuse=config.reuse,
        whiten=True,
    )
    held_out = data.process.draw(Generator(seeds, device=place, stream="held out"), config.points)
    if method == "truth":
        metrics = true_scores(data.process, config.precision, Generator(seeds, device=place, stream="truth"))
        return [{name: float(value[k]) for name, value in metrics.items()} for k in range(len(seeds))]
    model = build(method, config, data, Generator(seeds, device=place, stream="weights"))
    flow, informed = method == "flow", method == "ivae-from-truth"
    training = TrainConfig(
        seeds=tuple(seeds),
        steps=config.flow_steps if flow else config.steps,
        batch_size=min(512, data.x.shape[1]),
        learning_rate=5e-3 if flow else 1e-2,
        warmup=min(100, config.steps // 10),
        schedules={} if flow or informed else {"gamma2": RISE},
        device=config.device,
    )
    start = _start_at_the_truth(model, data, held_out, training) if informed else {}
    resume = checkpoint is not None and checkpoint.exists()
    objective = FlowLikelihood() if flow else ELBO()
    history = fit(model, objective, Stacked(data.x, data.u), replace(training, checkpoint=checkpoint), resume=resume)
    return rows(scores(model, data, held_out, seeds) | start, history)


def _start_at_the_truth(
    model: VAE, data: tcl.Segments, held_out: tcl.Segments, training: TrainConfig
) -> dict[str, Tensor]:
    """Set the prior to the truth, teach decoder and encoder the true map, then fit the encoder to them by the ELBO."""
    with torch.no_grad():
        model.prior.table.copy_(2 * data.scale.log())
    held = (ParameterGroup("prior", rate=0.0), ParameterGroup("decoder", rate=0.0))
    fit(model, _supervised, Stacked(data.x, data.u, data.sources), replace(training, groups=held[:1]))
    fit(model, ELBO(), Stacked(data.x, data.u), replace(training, groups=held, learning_rate=5e-3))
    generator = Generator(training.seeds, device=data.x.device, stream="start")
    elbo = evidence_lower_bound(model, held_out.x, generator, u=held_out.u).elbo.mean(1)
    return {"mcc_start": mcc(model.codes(held_out.x, held_out.u), held_out.sources).score, "elbo_start": elbo}


def _supervised(model: VAE, batch: tuple[Tensor, ...], generator: Generator) -> Tensor:
    """The mean of ``-log p(x | s) - log q(s | x, u)`` at the true sources s, (members,)."""
    x, u, s = batch
    return -(model.likelihood.log_prob(model.decode(s), x) + model.encode(x, u).log_prob(s).sum(-1)).mean(-1)


def build(method: str, config: Config, data: tcl.Segments, weights: Generator) -> nn.Module:
    """The untrained stack of a method."""
    size, classes = config.size, data.scale.shape[1]
    some = data.x[:, :: max(1, data.x.shape[1] // TRAINING_POINTS)]  # enough for means and variances
    if method == "flow":
        prior = ConditionalNormalPrior(size, classes=classes, modulates="scale", generator=weights.child("prior"))
        return CouplingFlow(size, 10, (32,), prior, data=some, generator=weights)
    options = {"hidden": (64, 64), "separate": False, "whiten": "zca", "data": some, "generator": weights}
    options["likelihood"] = GaussianLikelihood(config.precision)
    if method == "vae":
        return VAE.mlp(size, size, **options)
    options |= {"classes": classes, "modulates": "scale", "encoder_sees_u": method != "ivae-x"}
    return ivae_mlp(size, size, prior=NormalPrior(size) if method == "vae-u" else None, **options)


@torch.no_grad()
def scores(model: nn.Module, data: tcl.Segments, held_out: tcl.Segments, seeds: list[int]) -> dict[str, Tensor]:
    """What is measured of a trained stack, each (members,).

    On training data, as the published code does, MCC of posterior samples (``mcc``), of mean codes (``mcc_mean``) and
    by ranks (``mcc_spearman``). The same on held-out data (``..._held_out``), with latents matched to sources on the
    training data. ``mcc_x`` is that of the observations themselves. Of held-out data the mean ELBO (of a flow the
    log-likelihood), the true log-likelihood, and the mean contrasts of the learned and of the true map.
    """
    generator = Generator(seeds, device=data.x.device, stream="evaluation")
    some = slice(0, None, max(1, data.x.shape[1] // TRAINING_POINTS))
    few = slice(0, None, max(1, held_out.x.shape[1] // JACOBIANS))
    flow, found, true = isinstance(model, CouplingFlow), {}, {}
    for name, part, at in (("", data, some), ("_held_out", held_out, slice(None))):
        x, u, true[name] = part.x[:, at], part.u[:, at], part.sources[:, at]
        means = model.inverse(x) if flow else model.codes(x, u)
        samples = means if flow else model.codes(x, u, generator.child(f"codes{name}"))
        found[name] = {"mcc": (samples, "pearson"), "mcc_mean": (means, "pearson"), "mcc_spearman": (means, "spearman")}
    metrics = {}
    for name, part in found.items():
        for metric, (z, kind) in part.items():
            matched = (found[""][metric][0], true[""])
            metrics[metric + name] = mcc(z, true[name], kind, fit=matched).score
    x, u = held_out.x, held_out.u
    if flow:
        metrics["elbo"], J = model.log_prob(x, u).mean(1), model.jacobian(model.inverse(x[:, few]))
    else:
        metrics["elbo"] = evidence_lower_bound(model, x, generator.child("elbo"), u=u).elbo.mean(1)
        means = model.encode(x[:, few], u[:, few]).mean.double()
        J = jacobian(copy.deepcopy(model.decoder).double(), means)
    return metrics | {
        "mcc_x": mcc(x, held_out.sources).score,
        "contrast": ima_contrast(J).mean(1),
        "true_contrast": ima_contrast(held_out.process.jacobian(held_out.sources[:, few].double())).mean(1),
        "log_likelihood": held_out.process.log_likelihood(held_out).mean(1),
    }


@torch.no_grad()
def true_scores(process: tcl.SegmentProcess, precision: float, generator: Generator) -> dict[str, Tensor]:
    """The same of the true map and prior, with the best diagonal Gaussian posterior of every point.

    Nothing is trained, so that training data and held-out data are the same here.
    """
    sample = process.draw(generator, TRUTH_POINTS, dtype=torch.float64)
    x, s, whiten, found = sample.x, sample.sources, copy.deepcopy(process.whitening).double(), []
    for segment in range(sample.scale.shape[1]):
        at = slice(segment * TRUTH_POINTS, (segment + 1) * TRUTH_POINTS)
        prior = Normal(process.location[:, segment, None], process.scale[:, segment, None], validate_args=False)
        options = {"start": s[:, at], "nodes": 4, "steps": 60}
        found.append(optimal_posterior(lambda z: whiten(process.mix(z)), x[:, at], prior, precision, **options))
    means, log_variance, elbo = (
        torch.cat([getattr(part, name) for part in found], dim=1) for name in ("mean", "log_variance", "elbo")
    )
    z = means + (log_variance / 2).exp() * generator.child("codes").normal(*means.shape[1:], dtype=means.dtype)
    metrics = {}
    for name, codes, kind in (("", z, "pearson"), ("_mean", means, "pearson"), ("_spearman", means, "spearman")):
        metrics[f"mcc{name}"] = metrics[f"mcc{name}_held_out"] = mcc(codes, s, kind).score
    contrast = ima_contrast(process.jacobian(s)).mean(1)
    true = {"contrast": contrast, "true_contrast": contrast, "log_likelihood": process.log_likelihood(sample).mean(1)}
    return metrics | {"elbo": elbo.mean(1), "mcc_x": mcc(x, s).score} | true
