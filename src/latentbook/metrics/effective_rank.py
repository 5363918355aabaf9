r"""Effective rank: over how many directions the variance of codes is spread.

.. math:: \operatorname{erank}(C) = \exp\Big(-\sum_k p_k \log p_k\Big), \qquad p_k = \frac{\lambda_k}{\sum_l \lambda_l}

with the singular values :math:`\lambda_k` of the covariance. It is d for d equal ones and 1 for a single one. Unlike a
correlation it sees sizes: a mean that hardly moves hardly counts.

Source: O. Roy, M. Vetterli, *The effective rank: a measure of effective dimensionality*, EUSIPCO 2007.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentbook.metrics._codes import as_covariance, as_result


def effective_rank(codes: Tensor) -> float | Tensor:
    """The exponential of the entropy of the covariance's normalised singular values.

    Args:
        codes: (..., n, latents) with more points than latents, or a covariance (..., latents, latents).

    Returns:
        (...), float64, between 1 and the number of latents; a float where there are no batch axes. NaN where a batch
        entry is not finite or all its latents are constant.

    Raises:
        ValueError: if there are no more points than latents, or the shape does not fit.
    """
    covariance, finite = as_covariance("codes", codes)
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    total = values.sum(-1, keepdim=True)
    share = values / total.where(total > 0, 1)
    rank = torch.special.entr(share).sum(-1).exp()
    return as_result(rank.where(finite & (total[..., 0] > 0), math.nan))


__all__ = ["effective_rank"]
