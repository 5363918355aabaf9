"""What the experiments on images share: encoding a data set too large to hold as floats, and its scores."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from latentbook.data import Dataset
from latentbook.metrics import mig, reliability
from latentbook.models import VAE
from latentbook.objectives import evidence_lower_bound
from latentbook.random import Generator

ACTIVE = 0.01  # share of a latent's variance that its mean code must carry for the latent to count as active
_ROWS = 4096  # images that go through the encoder at a time


def _blocks(n: int) -> Iterator[Tensor]:
    return torch.arange(n).split(_ROWS)


@torch.no_grad()
def posteriors(model: VAE, data: Dataset) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of the posteriors of all images, each (members, n, latents), on the CPU."""
    parts = []
    for rows in _blocks(len(data)):
        q = model.encode(data.batch(rows))
        parts.append((q.mean.cpu(), q.stddev.cpu()))
    means, scales = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    return means, scales


def scores(
    model: VAE, data: Dataset, factors: Tensor, seeds: list[int], *, images: int, samples: int
) -> dict[str, Tensor]:
    """What is measured of a trained stack, each (members,) but ``mig_of``, (members, factors).

    Args:
        model: K members.
        data: the images.
        factors: the factors to score, int64 (n, factors).
        seeds: of the members.
        images: images, drawn at random, for reconstruction and KL; all where there are fewer.
        samples: draws for each entropy of the MIG.
    """
    generator = Generator(seeds, stream="evaluation")
    means, scales = posteriors(model, data)
    gaps = mig(means, scales, factors, samples=samples, generator=generator.child("mig"))
    order = Generator(0, stream="images").permutation(len(data))[0]
    parts = evidence_lower_bound(model, data.batch(order[:images]), generator.child("elbo"), samples=1)
    return {
        "mig": gaps.score,
        "reconstruction": parts.reconstruction.mean(1),
        "kl": parts.kl.mean(1),
        "elbo": parts.elbo.mean(1),
        "active": (reliability(means, scales.double().square()) > ACTIVE).sum(1),
        "mig_of": gaps.per_factor,
    }
