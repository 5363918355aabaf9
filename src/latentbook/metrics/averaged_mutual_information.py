r"""Averaged mutual information of pairs of latents, by bins, with its bias and its null level.

Each latent is cut into bins of equal width between its smallest and largest value. The mutual information of a pair is
that of the two-way table of counts, and the score is the mean over all pairs:

.. math:: \frac{1}{d (d-1)} \sum_{i \ne j} \hat I(z_i; z_j), \qquad
    \hat I = \sum_{ab} \frac{n_{ab}}{n} \log \frac{n\, n_{ab}}{n_a n_b} .

**It is not zero for independent latents.** Empty cells look like structure: with 20 bins, independent Gaussian latents
score about 0.083 nats at 1797 points, and 0.015 at 10,000. So a value means nothing without its null level,
:func:`shuffled_mutual_information`.

Source: F. Locatello et al., *Challenging Common Assumptions in the Unsupervised Learning of Disentangled
Representations*, ICML 2019; L. Bonheme, M. Grzes, *Be More Active!*, JMLR 2023. Both take 20 bins and 10,000 points.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from latentbook.metrics._codes import as_codes, as_mask, as_result
from latentbook.metrics._factors import equal_width
from latentbook.random import Generator, check_members


class NullLevel(NamedTuple):
    """What latents score that have nothing to do with each other.

    Attributes:
        mean: over the shufflings, (...), a float where there are no batch axes.
        deviation: standard deviation over them, the same shape.
    """

    mean: float | Tensor
    deviation: float | Tensor


def averaged_mutual_information(
    codes: Tensor, subset: object = None, *, bins: int = 20, correction: str = "none"
) -> float | Tensor:
    """Mean mutual information of the pairs of latents, in nats, as published: by 20 bins and biased upwards.

    Args:
        codes: means or samples, (..., n, latents), with more points than latents.
        subset: latents to keep: indices, or truth values (latents,) or (..., latents).
        bins: of equal width for every latent.
        correction: "none", or "miller-madow", which takes off :math:`(K_{ij} - K_i - K_j + 1) / 2n` with the numbers K
            of bins and cells that are not empty. It takes off most of the bias where cells hold several points each.

    Returns:
        (...), float64, a float where there are no batch axes. NaN for a batch entry that is not finite, and where a
        mask leaves fewer than two latents in some entries. A constant latent has no information with any other.

    Raises:
        ValueError: if fewer than two latents are left everywhere, there are no more points than latents, bins is below
            2, or ``correction`` is unknown.
    """
    matrix = pairwise_mutual_information(codes, bins=bins, correction=correction)
    return _mean_over_pairs(matrix, subset)


def pairwise_mutual_information(codes: Tensor, *, bins: int = 20, correction: str = "none") -> Tensor:
    """Mutual information of every pair of latents, (..., latents, latents), in nats; the diagonal holds entropies.

    Args and errors as :func:`averaged_mutual_information`.
    """
    if correction not in ("none", "miller-madow"):
        raise ValueError(f"correction is {correction!r}; expected 'none' or 'miller-madow'")
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 2:
        raise ValueError(f"bins is {bins!r}; expected an integer of at least 2")
    codes, finite = as_codes("codes", codes, latents=2)
    information = _from_labels(equal_width(codes, bins), bins, correction == "miller-madow")
    return information.where(finite[..., None, None], math.nan)


def shuffled_mutual_information(
    codes: Tensor, generator: Generator, subset: object = None, *, bins: int = 20, draws: int = 10
) -> NullLevel:
    """The averaged mutual information once the points of every latent are shuffled by themselves: its null level.

    The laws of the single latents, and so the bias of the bins, stay what they are; all dependence is gone.

    Args:
        codes: (..., n, latents).
        generator: of the shufflings; one stream, or one for each entry of the leading axis of ``codes``.
        subset: as for :func:`averaged_mutual_information`.
        bins: the same.
        draws: shufflings, at least 2.

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: as :func:`averaged_mutual_information`; if ``draws`` is below 2, or the generator has another number
            of streams.
    """
    check_members(generator)
    if draws < 2:
        raise ValueError(f"draws is {draws}; expected at least 2")
    codes, finite = as_codes("codes", codes, latents=2)
    if generator.members not in (1, codes.shape[0] if codes.dim() > 2 else 1):
        raise ValueError(f"generator has {generator.members} seeds; expected 1, or one per entry of codes' first axis")
    shuffled, source = [], generator.child("shuffle", device="cpu")
    for draw in range(draws):
        noise = source.at(draw).uniform(*codes.shape[1:] if generator.members > 1 else codes.shape)
        order = (noise if generator.members > 1 else noise[0]).argsort(-2)
        matrix = pairwise_mutual_information(codes.gather(-2, order), bins=bins)
        matrix = matrix.where(finite[..., None, None], math.nan)
        shuffled.append(torch.as_tensor(_mean_over_pairs(matrix, subset)))
    values = torch.stack(shuffled)
    return NullLevel(as_result(values.mean(0)), as_result(values.std(0)))


def _mean_over_pairs(matrix: Tensor, subset: object) -> float | Tensor:
    mask = as_mask(subset, matrix.shape[:-1])
    number = mask.sum(-1)
    if not bool((number >= 2).any()):
        raise ValueError("subset leaves fewer than two latents; expected at least two")
    pairs = mask[..., :, None] & mask[..., None, :] & ~torch.eye(matrix.shape[-1], dtype=torch.bool)
    total = matrix.where(pairs, 0).sum((-2, -1))
    return as_result((total / (number * (number - 1))).where(number >= 2, math.nan))


def _from_labels(labels: Tensor, bins: int, corrected: bool) -> Tensor:
    """Mutual information of labels in 0 .. bins - 1, (..., n, latents) to (..., latents, latents)."""
    n, latents = labels.shape[-2:]
    flat = labels.reshape(-1, n, latents)
    result = torch.empty(len(flat), latents, latents, dtype=torch.float64)
    for entry, matrix in zip(flat, result, strict=True):
        cells = torch.zeros(n, latents * bins, dtype=torch.float32)  # counts below 2^24 are exact
        cells.scatter_(1, entry + bins * torch.arange(latents), 1.0)
        joint = (cells.mT @ cells).double().view(latents, bins, latents, bins).transpose(1, 2) / n
        single = cells.double().mean(0).view(latents, bins)
        entropy = torch.special.entr(single).sum(-1)
        matrix.copy_((entropy[:, None] + entropy - torch.special.entr(joint).sum((-2, -1))).clamp(min=0))
        if corrected:
            cells_used, used = (joint > 0).sum((-2, -1)), (single > 0).sum(-1)
            matrix.sub_((cells_used - used[:, None] - used + 1) / (2 * n))
    return result.view(*labels.shape[:-2], latents, latents)


__all__ = ["NullLevel", "averaged_mutual_information", "pairwise_mutual_information", "shuffled_mutual_information"]
