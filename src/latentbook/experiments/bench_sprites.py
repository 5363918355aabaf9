"""What sprites cost on one CPU thread: the total correlation of large batches, and pictures that are kept as bits."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Normal

from latentbook.data import sprites
from latentbook.experiments.bench import interleave
from latentbook.models import VAE, BernoulliLikelihood
from latentbook.objectives import ELBO, minibatch_total_correlation
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit


@dataclass(frozen=True)
class Config:
    """What is timed."""

    batch_size: int = 2048
    """Pictures in a batch."""
    latent_size: int = 20
    """Latents of the total correlation, and of the model."""
    hidden: tuple[int, ...] = (1200, 1200)
    """Hidden units of the encoder."""
    decoder_hidden: tuple[int, ...] = (1200, 1200, 1200)
    """Hidden units of the decoder."""
    pictures: int = 4096
    """Pictures in the data set."""
    steps: int = 2
    """Training steps that are timed together."""
    repetitions: int = 3
    """Times that both ways are run, in turn; medians are reported."""


def broadcast_total_correlation(z: Tensor, posterior: Normal) -> Tensor:
    """The same estimate as :func:`~latentbook.objectives.minibatch_total_correlation`, as it is usually written.

    All pairs of a sample and a posterior, in each latent, are held at once, and several times for the gradient.

    Args:
        z: one sample for each data point, (batch, latents).
        posterior: its law, of the same shape.
    """
    scaled = (z[:, None] - posterior.mean) / posterior.stddev
    density = -0.5 * scaled.square() - posterior.stddev.log() - 0.5 * math.log(2 * math.pi)
    joint, marginals = density.sum(2).logsumexp(1), density.logsumexp(1).sum(1)
    return (joint - marginals).mean() + (z.shape[1] - 1) * math.log(len(z))


def _codes(config: Config) -> tuple[Tensor, Tensor, Tensor]:
    """Samples, means and scales of a batch."""
    noise = Generator([0, 1, 2]).normal(config.batch_size, config.latent_size)
    scale = 0.1 * (0.3 * noise[2]).exp()
    return tuple(part.requires_grad_() for part in (noise[0] + scale * noise[1], noise[0], scale))


def _slopes(estimate: Callable[[Tensor, Normal], Tensor], codes: tuple[Tensor, ...]) -> Callable[[], float]:
    """A timer of the estimate and its gradient, in seconds of one thread."""

    def run() -> float:
        start = time.thread_time()
        torch.autograd.grad(estimate(codes[0], Normal(*codes[1:], validate_args=False)), codes)
        return time.thread_time() - start

    return run


def _training(config: Config, data: sprites.Sprites | Tensor) -> Callable[[], float]:
    """A timer of a step of a VAE, in seconds of one thread."""
    options = {"activation": "relu", "decoder_activation": "tanh", "separate": False, "generator": Generator(0)}
    sizes = {"hidden": config.hidden, "decoder_hidden": config.decoder_hidden}
    model = VAE.mlp(4096, config.latent_size, **sizes, **options, likelihood=BernoulliLikelihood())
    train = TrainConfig(seeds=(0,), steps=config.steps, batch_size=config.batch_size, device="cpu")

    def run() -> float:
        start = time.thread_time()
        fit(model, ELBO(), data, train, progress=False)
        return (time.thread_time() - start) / config.steps

    return run


def _pictures(config: Config) -> sprites.Sprites:
    """Sprites with random factors."""
    uniform = Generator(0, stream="factors").uniform(config.pictures, 5)[0]
    factors = (uniform * torch.tensor([3, 6, 40, 32, 32])).long()
    images = sprites.render(factors).flatten(1).numpy()
    return sprites.Sprites(torch.from_numpy(np.packbits(images, axis=1)))


def run(config: Config) -> pd.DataFrame:
    """Time each pair in turn and return milliseconds, and how many times as fast as the usual way it is."""
    codes, packed = _codes(config), _pictures(config)
    rows = packed.batch(torch.arange(len(packed)))
    pairs = {
        "total correlation and gradient": {
            "all pairs at once": _slopes(broadcast_total_correlation, codes),
            "in blocks": _slopes(minibatch_total_correlation, codes),
        },
        "training step": {
            "float32 rows": _training(config, rows),
            "packed bits": _training(config, packed),
        },
    }
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = {what: interleave(ways, config.repetitions) for what, ways in pairs.items()}
    finally:
        torch.set_num_threads(before)
    found = []
    for what, ways in seconds.items():
        medians = {way: 1e3 * statistics.median(values) for way, values in ways.items()}
        usual = next(iter(medians.values()))
        found += [{"what": what, "way": way, "ms": ms, "times as fast": usual / ms} for way, ms in medians.items()]
    return pd.DataFrame(found).round({"ms": 1, "times as fast": 2})
