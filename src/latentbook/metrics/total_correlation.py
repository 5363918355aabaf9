r"""Total correlation: how far latents are from independence, by the Gaussian formula.

.. math:: \mathrm{TC} = \tfrac12 \Big( \sum_k \log C_{kk} - \log\det C \Big) = -\tfrac12 \log\det R

with the covariance C of the codes, or their correlation matrix R: the two give the same number, since units do not
matter. It is exact for Gaussian codes. For others it is the total correlation of the Gaussian with the same moments
and sees linear dependence alone: zero for codes that are uncorrelated, however much they depend on each other.

Source: F. Locatello et al., *Challenging Common Assumptions in the Unsupervised Learning of Disentangled
Representations*, ICML 2019; L. Bonheme, M. Grzes, *Be More Active!*, JMLR 2023, by subsets of the latents.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentbook.metrics._codes import as_covariance, as_mask, as_result, correlation_of


def total_correlation(codes: Tensor, subset: object = None) -> float | Tensor:
    """Gaussian total correlation of all latents, or of a subset, in nats.

    A constant latent is independent of everything and adds nothing. Where one latent is a linear function of others
    the value is infinite.

    Args:
        codes: means or samples (..., n, latents) with more points than latents; or a covariance or correlation matrix
            (..., latents, latents). A square matrix is read as a covariance.
        subset: latents to keep: indices, or truth values (latents,), or one set of them for each batch entry,
            (..., latents).

    Returns:
        (...), float64, a float where there are no batch axes. NaN for a batch entry that is not finite, and where a
        mask leaves fewer than two latents in some entries.

    Raises:
        ValueError: if fewer than two latents are left everywhere, there are no more points than latents, or a shape
            does not fit.

    Example:
        >>> round(total_correlation([[1.0, 0.6], [0.6, 1.0]]), 4)  # -log(1 - 0.36) / 2
        0.2231
    """
    covariance, finite = as_covariance("codes", codes, latents=2)
    mask = as_mask(subset, covariance.shape[:-1])
    enough = mask.sum(-1) >= 2
    if not bool(enough.any()):
        raise ValueError("subset leaves fewer than two latents; expected at least two")
    pairs = mask[..., :, None] & mask[..., None, :]
    eye = torch.eye(covariance.shape[-1], dtype=torch.float64)
    correlation = correlation_of(covariance).where(pairs, eye)
    eigenvalues = torch.linalg.eigvalsh(correlation)
    rounding = 4 * torch.finfo(torch.float64).eps * covariance.shape[-1]
    singular = eigenvalues[..., 0] <= rounding
    value = -0.5 * eigenvalues.clamp(min=rounding).log().sum(-1)
    value = value.clamp(min=0).masked_fill(singular, math.inf)
    return as_result(value.where(finite & enough, math.nan))


__all__ = ["total_correlation"]
